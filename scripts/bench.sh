#!/bin/sh
# Measures the guard beside Debian's earlyoom and beside the cheapest scan there can be, and prints one table.
#
#   scripts/bench.sh [scan|arm|match|idle|size|react]...      all of them unless told otherwise, about 20 minutes
#
# scan   Processor time of one scan with 1,000 and with 5,000 sleeping processes: "all tie" are sleepers only, "one stands
#        out" is with one process of 1 GiB and oom_score_adj 400, started last. Of a small one the guard would ask whether
#        all together hold what is missing, and look at all once more, as it does where all tie. Guard and earlyoom run
#        with --dryrun and a level that always holds; their time comes from the first field of /proc/PID/schedstat, summed
#        over all threads and the helper process, from the end of one scan to the end of a later one (each scan prints a
#        line). So all that goes on between two scans is counted, too. The floor is one open, read and close of one
#        oom_score a process (of one statm for --sort-by-rss), with /proc listed before or anew for each scan. It rests a
#        second between scans, as the guard does in a dry run, and earlyoom is made to, or they would have warmer caches.
#        "Cold" is with the kernel's caches of names dropped before each scan; that takes a writable drop_caches.
#        The programs take turns; a ratio is the median of the ratios within each round.
# arm    The scan where one of 1,000 stands out, by the release for aarch64 in qemu-user beside a floor of the same kind: the
#        instructions of such a processor, on the kernel of this one.
# match  Microseconds for matching 5,000 names, by our matcher and by the regex crate: a short pattern and an alternation
#        of 2 KiB.
# idle   Wake-ups (context switches of all threads, voluntary and not) in 60 idle seconds, default options with --dryrun
#        and -r 0, both programs at the same time: on this machine, and in an emulated one of 256 MiB and one processor.
# size   Resident memory (Rss and Pss of smaps_rollup, guard and helper together) and size of the binary: of the static
#        release, and of a plain build with the shared C library, also without patterns.
# react  From the moment when available memory crosses the threshold to the arrival of SIGTERM at a hog that fills
#        1 GiB/s, with about 160 processes; a third program sees both (tests/tools/observer.rs). The level lies 1 GiB below
#        what is available at the start of each run.
#
# Guard, earlyoom and hogs run in PID namespaces of their own: no other process can be hit. That takes root, or user
# namespaces. Nothing needs the network, except that the emulated machine wants a kernel: where apt-get is, it is
# downloaded once and kept below target/.
#
# Environment: ROUNDS (5) of the scan, PROCESSES ("1000 5000") of it, REACT_ROUNDS (10), IDLE_SECONDS (60), EARLYOOM (path of
# earlyoom), GUARD_BIN and GUARD_TOOLS (the guard, and the directory of hog, floor and observer: nothing is built then),
# GUARD_BEFORE (path of another guard, which stands beside this one as "before").
set -u

usage() {
    echo "usage: bench.sh [scan|arm|match|idle|size|react]..." >&2
    exit 2
}

say() {
    echo "bench: $*" >&2
}

die() {
    say "$*"
    exit 1
}

# skip WHAT WHY: also kept for the lines below the table.
skip() {
    say "skipped: $1: $2"
    echo "skipped: $1: $2" >>"$BENCH_DIR/skips"
}

# result MEASURE PROGRAM VALUE
result() {
    printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$BENCH_DIR/results"
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# ---- reading /proc ----

# The process and its children: the guard's helper is one.
family() {
    echo "$1"
    # The name may hold anything, so count from its last parenthesis: state, then parent.
    cat /proc/[0-9]*/stat 2>/dev/null | awk -v parent="$1" '{
        pid = $1
        sub(/.*\) /, "")
        if ($2 == parent) print pid
    }'
}

# Nanoseconds on a processor so far, all threads of all these processes.
cpu_ns() {
    for cpu_pid in "$@"; do
        cat /proc/"$cpu_pid"/task/*/schedstat
    done | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

context_switches() {
    for switch_pid in "$@"; do
        cat /proc/"$switch_pid"/task/*/status
    done | awk '/^(non)?voluntary_ctxt_switches:/ { sum += $2 } END { print sum + 0 }'
}

# rollup_kib KEY PID...
rollup_kib() {
    rollup_key=$1
    shift
    for rollup_pid in "$@"; do
        cat /proc/"$rollup_pid"/smaps_rollup
    done | awk -v key="$rollup_key:" '$1 == key { sum += $2 } END { print sum }'
}

meminfo_kib() {
    awk -v key="$1:" '$1 == key { print $2 }' /proc/meminfo
}

# ---- what runs in a namespace of its own ----

# Ends a process that this script started.
stop() {
    kill "$1" 2>/dev/null
    wait "$1" 2>/dev/null
}

# start_hog OPTION...: returns when it holds what it should. It ends with the namespace.
start_hog() {
    mkfifo "$BENCH_DIR/ready"
    "$BENCH_TOOLS/hog" "$@" >"$BENCH_DIR/ready" &
    read -r hog_says <"$BENCH_DIR/ready"
    rm -f "$BENCH_DIR/ready"
    [ "$hog_says" = ready ] || die "hog $* did not start"
}

DROP=/proc/sys/vm/drop_caches

# next_scan: waits for the line that a scan ends with, on descriptor 3. False if the program is gone. A program that
# scans more often than once a second is stopped for the rest of it: all scans meet caches of the same age.
next_scan() {
    while read -r scan_line <&3; do
        case $scan_line in
        *SIG[TK]*" to process "*)
            if [ "$scan_name" = earlyoom ]; then
                kill -STOP "$scan_pid"
            fi
            # Directories and inodes; the guard looks at no process before the next scan.
            [ -z "$case_cold" ] || echo 2 >"$DROP"
            if [ "$scan_name" = earlyoom ]; then
                sleep 0.9
                kill -CONT "$scan_pid"
            fi
            return 0
            ;;
        esac
    done
    return 1
}

# time_scans MEASURE NAME WARMUP SCANS COMMAND...: milliseconds of processor time a scan.
time_scans() {
    scan_measure=$1
    scan_name=$2
    scan_warmup=$3
    scan_count=$4
    shift 4
    mkfifo "$BENCH_DIR/log"
    "$@" >"$BENCH_DIR/log" 2>&1 &
    scan_pid=$!
    # Without a line, the read below would wait for ever.
    (
        sleep 60 &
        # The sleep must not outlive the watchdog, or there would be one process more at each run.
        # shellcheck disable=SC2064 # the pid of now
        trap "kill $!; exit" TERM
        wait
        kill "$scan_pid"
    ) 2>/dev/null &
    scan_watchdog=$!
    exec 3<"$BENCH_DIR/log"
    scan_ms=
    while [ "$scan_warmup" -gt 0 ] && next_scan; do
        scan_warmup=$((scan_warmup - 1))
    done
    # Finding the helper costs the other processor some time; one scan later it is quiet again.
    scan_family=$(family "$scan_pid")
    if next_scan; then
        # Unquoted on purpose here and below: one word a process.
        # shellcheck disable=SC2086
        scan_start_ns=$(cpu_ns $scan_family)
        scan_left=$scan_count
        while [ "$scan_left" -gt 0 ] && next_scan; do
            scan_left=$((scan_left - 1))
        done
        if [ "$scan_left" -eq 0 ]; then
            # shellcheck disable=SC2086
            scan_ms=$(awk -v a="$scan_start_ns" -v b="$(cpu_ns $scan_family)" -v n="$scan_count" \
                'BEGIN { printf "%.3f\n", (b - a) / n / 1000000 }')
        fi
    fi
    stop "$scan_watchdog"
    stop "$scan_pid"
    exec 3<&-
    rm -f "$BENCH_DIR/log"
    if [ -n "$scan_ms" ]; then
        result "$scan_measure" "$scan_name" "$scan_ms"
    else
        say "$scan_measure: $scan_name printed too few scans within 60 s"
    fi
}

# time_floor MEASURE NAME OPTION...
time_floor() {
    floor_measure=$1
    floor_name=$2
    shift 2
    result "$floor_measure" "$floor_name" \
        "$("$BENCH_FLOOR" "$@" --pause 1000 4 | awk '$1 == "cpu_ns_median" { printf "%.3f\n", $2 / 1000000 }')"
}

# The same with caches dropped: cold_case MEASURE FLOOR_FILE
cold_case() {
    if [ -w "$DROP" ]; then
        case_cold=--cold
        scan_case "$@"
        case_cold=
    else
        skip "$1" "$DROP cannot be written"
    fi
}
case_cold=

# One row of the table: scan_case MEASURE FLOOR_FILE OPTION...
scan_case() {
    case_measure=$1
    case_file=$2
    shift 2
    case_round=0
    while [ "$case_round" -lt "$BENCH_ROUNDS" ]; do
        case_round=$((case_round + 1))
        say "$case_measure: round $case_round of $BENCH_ROUNDS"
        # Shares that always hold: earlyoom takes no more than 99, of a total that holds more than processes do. What
        # the guard counts may be available to the last percent.
        time_scans "$case_measure" guard 1 5 "$BENCH_GUARD" --dryrun -r 0 -m 99.99,1 -s 100 "$@"
        if [ -n "$BENCH_BEFORE" ]; then
            time_scans "$case_measure" before 1 5 "$BENCH_BEFORE" --dryrun -r 0 -m 99.99,1 -s 100 "$@"
        fi
        if [ -n "$BENCH_EARLYOOM" ] && { [ "${1-}" != --sort-by-rss ] || [ -n "$BENCH_EARLYOOM_SORTS" ]; }; then
            time_scans "$case_measure" earlyoom 1 5 "$BENCH_EARLYOOM" --dryrun -r 0 -m 99,1 -s 100 "$@"
        fi
        # shellcheck disable=SC2086 # an option, or nothing
        time_floor "$case_measure" floor --file "$case_file" $case_cold
        # shellcheck disable=SC2086
        time_floor "$case_measure" floor+list --file "$case_file" --list $case_cold
    done
}

# As users have them; none of the sleepers matches.
PREFERRED='(chromium|firefox|java)'
AVOIDED='(^|/)(init|Xorg|sshd|systemd-.*)$'

# inside_scan PROCESSES
inside_scan() {
    start_hog --name sleeper --sleepers "$1" --apart
    scan_case "scan ms, $1 processes, all tie" oom_score
    if [ "$1" -ge 5000 ]; then
        scan_case "scan ms, $1, all tie, --sort-by-rss" statm --sort-by-rss
        scan_case "scan ms, $1, all tie, prefer, avoid" oom_score --prefer "$PREFERRED" --avoid "$AVOIDED"
    fi
    start_hog --name outlier --size 1G --adj 400
    scan_case "scan ms, $1 processes, one stands out" oom_score
    cold_case "scan ms, $1, one stands out, cold" oom_score
    if [ "$1" -ge 5000 ]; then
        scan_case "scan ms, $1, one stands out, --sort-by-rss" statm --sort-by-rss
        scan_case "scan ms, $1, one stands out, prefer, avoid" oom_score --prefer "$PREFERRED" --avoid "$AVOIDED"
    fi
}

# inside_arm GUARD FLOOR
inside_arm() {
    BENCH_GUARD=$1 BENCH_FLOOR=$2 BENCH_BEFORE='' BENCH_EARLYOOM=''
    start_hog --name sleeper --sleepers 1000 --apart
    start_hog --name outlier --size 1G --adj 400
    scan_case "scan ms, 1000, one stands out, aarch64" oom_score
}

# emulated NAME PROGRAM: a command of that name that runs it in qemu-user.
emulated() {
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$arm_qemu" "$2" >"$BENCH_DIR/$1"
    chmod +x "$BENCH_DIR/$1"
}

arm_in_qemu() {
    arm_qemu=$(path_of qemu-aarch64-static) || arm_qemu=$(path_of qemu-aarch64) || {
        skip "the scan of an aarch64" "no qemu-aarch64"
        return
    }
    if ! "$top/scripts/build-static.sh" aarch64 >&2 || ! "$top/scripts/build-static.sh" --tools aarch64 >&2; then
        skip "the scan of an aarch64" "it could not be built"
        return
    fi
    emulated arm-guard "$CARGO_TARGET_DIR/dist/oom_guard-linux-aarch64"
    emulated arm-floor "$CARGO_TARGET_DIR/tools/aarch64/floor"
    in_namespace arm "$BENCH_DIR/arm-guard" "$BENCH_DIR/arm-floor"
}

# start_idle NAME COMMAND: starts it, and notes it for those below.
start_idle() {
    "$2" --dryrun -r 0 >/dev/null 2>&1 &
    idle_names="$idle_names $1:$!"
}

# each_idle COMMAND...: calls that with the name, the process and its family, of each that was started.
each_idle() {
    for idle_entry in $idle_names; do
        idle_pid=${idle_entry#*:}
        # shellcheck disable=SC2046 # one word a process
        "$@" "${idle_entry%:*}" $(family "$idle_pid")
    done
}

# count_idle FILE NAME PID...
count_idle() {
    idle_file=$1
    idle_name=$2
    shift 2
    echo "$idle_name $(context_switches "$@")" >>"$BENCH_DIR/$idle_file"
}

# inside_idle SECONDS MACHINE
inside_idle() {
    idle_names=
    start_idle guard "$BENCH_GUARD"
    [ -z "$BENCH_BEFORE" ] || start_idle before "$BENCH_BEFORE"
    [ -z "$BENCH_EARLYOOM" ] || start_idle earlyoom "$BENCH_EARLYOOM"
    # What a program does once, at its start, is not what is asked here.
    sleep 5
    each_idle count_idle idle.start
    sleep "$1"
    each_idle count_idle idle.end
    while read -r idle_name idle_end; do
        idle_start=$(awk -v name="$idle_name" '$1 == name { print $2 }' "$BENCH_DIR/idle.start")
        result "wake-ups in $1 idle s, $2" "$idle_name" $((idle_end - idle_start))
    done <"$BENCH_DIR/idle.end"
    rm -f "$BENCH_DIR"/idle.*
    for idle_entry in $idle_names; do
        stop "${idle_entry#*:}"
    done
}

# size_of NAME COMMAND
size_of() {
    "$2" --dryrun -r 0 >/dev/null 2>&1 &
    size_pid=$!
    sleep 3
    size_family=$(family "$size_pid")
    # shellcheck disable=SC2086 # one word a process
    result "resident KiB (Rss)" "$1" "$(rollup_kib Rss $size_family)"
    # shellcheck disable=SC2086
    result "resident KiB (Pss)" "$1" "$(rollup_kib Pss $size_family)"
    stop "$size_pid"
    result "binary KiB" "$1" "$(kib_of "$2")"
}

kib_of() {
    wc -c <"$1" | awk '{ printf "%.1f\n", $1 / 1024 }'
}

time_matching() {
    "$BENCH_TOOLS/matcher" 101 >"$BENCH_DIR/matcher" || die "the matcher's benchmark failed"
    while IFS="$(printf '\t')" read -r match_what match_ours match_theirs; do
        result "matching 5,000 names, us, $match_what" guard "$match_ours"
        result "matching 5,000 names, us, $match_what" regex "$match_theirs"
    done <"$BENCH_DIR/matcher"
}

inside_size() {
    size_of guard "$BENCH_RELEASE"
    [ "$BENCH_RELEASE" = "$BENCH_GUARD" ] || size_of plain "$BENCH_GUARD"
    [ -z "$BENCH_BEFORE" ] || size_of before "$BENCH_BEFORE"
    [ -z "$BENCH_EARLYOOM" ] || size_of earlyoom "$BENCH_EARLYOOM"
}

# Waits until the last hog's memory is back, half a minute at most: some machines take it back a little later.
settle() {
    settle_left=30
    settle_now=$(meminfo_kib MemAvailable)
    while [ "$settle_left" -gt 0 ]; do
        sleep 1
        settle_before=$settle_now
        settle_now=$(meminfo_kib MemAvailable)
        [ $((settle_now - settle_before)) -ge 4096 ] || return
        settle_left=$((settle_left - 1))
    done
}

# react_once NAME COMMAND BASE: BASE is what the program takes its share of, total (the level counts as it is), user
# (earlyoom from 1.8 on makes a share of MemTotal of it, and applies that to MemAvailable + AnonPages) or said (the guard
# says what the level counts as, and does not count slabs as available, up to 8 MiB of them).
react_once() {
    settle
    react_available=$(meminfo_kib MemAvailable)
    react_level=$((react_available - 1048576))
    react_crossing=$react_level
    if [ "$3" = user ]; then
        react_crossing=$(awk -v level="$react_level" -v user=$((react_available + $(meminfo_kib AnonPages))) \
            -v total="$(meminfo_kib MemTotal)" 'BEGIN { printf "%.0f\n", level * user / total }')
    fi
    "$2" -M "$react_level,1024" -s 100 -r 0 >"$BENCH_DIR/react.log" 2>&1 &
    react_pid=$!
    sleep 1
    if [ "$3" = said ]; then
        react_slabs=$(meminfo_kib SReclaimable)
        react_crossing=$(awk -v slabs=$((react_slabs < 8192 ? react_slabs : 8192)) \
            '$1 == "sending" && $2 == "SIGTERM" && $3 == "when" { print $7 * 1024 + slabs; exit }' "$BENCH_DIR/react.log")
    fi
    react_us=$("$BENCH_TOOLS/observer" --crossing "$react_crossing" -- "$BENCH_TOOLS/hog" --size 3G --rate 1G |
        awk '$1 == "reaction_us" { print $2 }')
    stop "$react_pid"
    case $react_us in
    '' | none) say "react: $1 gave no figure; it said: $(tail -n 1 "$BENCH_DIR/react.log")" ;;
    *) result "reaction ms, hog at 1 GiB/s" "$1" "$(awk -v us="$react_us" 'BEGIN { printf "%.2f\n", us / 1000 }')" ;;
    esac
}

inside_react() {
    react_base=total
    if [ -n "$BENCH_EARLYOOM" ]; then
        "$BENCH_EARLYOOM" --dryrun -r 0 >"$BENCH_DIR/react.log" 2>&1 &
        react_pid=$!
        sleep 1
        stop "$react_pid"
        if grep -q 'user mem total' "$BENCH_DIR/react.log"; then
            react_base=user
        fi
    fi
    start_hog --name sleeper --sleepers 150 --apart
    react_round=0
    while [ "$react_round" -lt "$BENCH_REACT_ROUNDS" ]; do
        react_round=$((react_round + 1))
        say "reaction: round $react_round of $BENCH_REACT_ROUNDS"
        react_once guard "$BENCH_GUARD" said
        [ -z "$BENCH_BEFORE" ] || react_once before "$BENCH_BEFORE" said
        [ -z "$BENCH_EARLYOOM" ] || react_once earlyoom "$BENCH_EARLYOOM" "$react_base"
    done
}

# ---- the emulated machine ----

vm_find_kernel() {
    for vm_kernel in "$1"/boot/vmlinuz-*; do
        [ -e "$vm_kernel" ] && return
    done
    return 1
}

# Finds or fetches a kernel that boots in an emulated machine; its path is in $vm_kernel.
vm_fetch_kernel() {
    vm_find_kernel "$1" && return
    has apt-get && has dpkg-deb || return 1
    vm_package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-.*-cloud-amd64$/ { print $2; exit }')
    [ -n "$vm_package" ] || return 1
    say "fetching $vm_package"
    mkdir -p "$1" || return 1
    (cd "$1" && apt-get -qq download "$vm_package" >/dev/null 2>&1 && dpkg-deb -x "$vm_package"_*.deb . &&
        rm -f "$vm_package"_*.deb) || return 1
    vm_find_kernel "$1"
}

# vm_add_program PATH ROOT NAME: copies a program and the libraries that it is linked with.
vm_add_program() {
    cp "$1" "$2/bin/$3" || return 1
    # A static program makes ldd fail, and needs none.
    ldd "$1" 2>/dev/null | awk '{ for (i = 1; i <= NF; i++) if ($i ~ /^\//) print $i }' |
        while read -r vm_library; do
            mkdir -p "$2$(dirname "$vm_library")"
            cp -L "$vm_library" "$2$vm_library"
        done
}

# wait_for SECONDS TEXT FILE PID: until the text is there; false if the time is over or the process gone.
wait_for() {
    wait_left=$1
    while ! grep -q "$2" "$3"; do
        [ "$wait_left" -gt 0 ] && kill -0 "$4" 2>/dev/null || return 1
        wait_left=$((wait_left - 1))
        sleep 1
    done
}

idle_in_vm() {
    vm_name="idle in 256 MiB"
    [ "$(uname -m)" = x86_64 ] || {
        skip "$vm_name" "the emulated machine is x86_64"
        return
    }
    has qemu-system-x86_64 || {
        skip "$vm_name" "no qemu-system-x86_64"
        return
    }
    vm_busybox=$(path_of busybox) || {
        skip "$vm_name" "no busybox"
        return
    }
    if ! vm_fetch_kernel "$CARGO_TARGET_DIR/bench-vm"; then
        skip "$vm_name" "no kernel in $CARGO_TARGET_DIR/bench-vm/boot, and none to be had by apt-get"
        return
    fi

    vm_root=$BENCH_DIR/vm
    mkdir -p "$vm_root/bin" "$vm_root/proc" "$vm_root/sys" "$vm_root/dev" "$vm_root/tmp"
    vm_add_program "$vm_busybox" "$vm_root" busybox
    vm_add_program "$BENCH_GUARD" "$vm_root" guard
    [ -z "$BENCH_BEFORE" ] || vm_add_program "$BENCH_BEFORE" "$vm_root" before
    [ -z "$BENCH_EARLYOOM" ] || vm_add_program "$BENCH_EARLYOOM" "$vm_root" earlyoom
    cp "$0" "$vm_root/bench.sh"
    cat >"$vm_root/init" <<EOF
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo "bench: guest runs"
export BENCH_DIR=/tmp BENCH_GUARD=/bin/guard BENCH_BEFORE=${BENCH_BEFORE:+/bin/before}
export BENCH_EARLYOOM=${BENCH_EARLYOOM:+/bin/earlyoom}
sh /bench.sh --inside idle "$IDLE_SECONDS" "256 MiB, emulated"
sed 's/^/bench-result: /' /tmp/results
echo "bench: guest done"
poweroff -f
EOF
    chmod +x "$vm_root/init"
    (cd "$vm_root" && find . | "$vm_busybox" cpio -o -H newc 2>/dev/null | gzip >"$BENCH_DIR/initramfs")

    vm_try=0
    # A boot that hangs before it reaches init says nothing about the guard.
    while [ "$vm_try" -lt 4 ]; do
        vm_try=$((vm_try + 1))
        say "idle in an emulated machine of 256 MiB: boot $vm_try"
        : >"$BENCH_DIR/console"
        # Not a microvm: without a PM timer the kernel measures the TSC against the PIT, and on a busy host that fails
        # and the boot hangs, every second time.
        qemu-system-x86_64 -M q35 -accel tcg -m 256 -nographic -no-reboot -nodefaults \
            -serial stdio -kernel "$vm_kernel" -initrd "$BENCH_DIR/initramfs" \
            -append "console=ttyS0 quiet panic=-1 psi=1" </dev/null >"$BENCH_DIR/console" 2>&1 &
        vm_pid=$!
        if wait_for 40 'bench: guest runs' "$BENCH_DIR/console" "$vm_pid" &&
            wait_for $((IDLE_SECONDS + 60)) 'bench: guest done' "$BENCH_DIR/console" "$vm_pid"; then
            stop "$vm_pid"
            tr -d '\r' <"$BENCH_DIR/console" | sed -n 's/^bench-result: //p' >>"$BENCH_DIR/results"
            return
        fi
        stop "$vm_pid"
    done
    tail -n 5 "$BENCH_DIR/console" >&2
    skip "$vm_name" "the emulated machine did not finish in $vm_try boots"
}

# ---- the table ----

print_table() {
    awk -F '\t' '
    function sorted(list, n,    i, j, held) {
        for (i = 2; i <= n; i++) {
            held = list[i]
            for (j = i - 1; j >= 1 && list[j] > held; j--) list[j + 1] = list[j]
            list[j + 1] = held
        }
    }
    function number(x) {
        return sprintf(x == int(x) ? "%d" : (x < 10 && x > -10 ? "%.2f" : "%.1f"), x)
    }
    function middle(list, n) {
        return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
    }
    !(($1, $2) in count) && !($1 in programs) { measures[++measure_count] = $1 }
    !(($1, $2) in count) { program[$1, ++programs[$1]] = $2 }
    { value[$1, $2, ++count[$1, $2]] = $3 + 0 }
    END {
        printf "%-46s %-10s %8s  %-16s %8s  %s\n", "measure", "program", "median", "min..max", "guard/it", "min..max"
        for (m = 1; m <= measure_count; m++) {
            key = measures[m]
            for (p = 1; p <= programs[key]; p++) {
                name = program[key, p]
                n = count[key, name]
                ratios = 0
                for (i = 1; i <= n; i++) {
                    list[i] = value[key, name, i]
                    if (i <= count[key, "guard"] && list[i] != 0)
                        ratio[++ratios] = value[key, "guard", i] / list[i]
                }
                sorted(list, n)
                range = n > 1 ? number(list[1]) ".." number(list[n]) : ""
                line = sprintf("%-46s %-10s %8s  %-16s", p == 1 ? key : "", name, number(middle(list, n)), range)
                if (name != "guard" && ratios > 0) {
                    sorted(ratio, ratios)
                    line = line sprintf(" %8.2f", middle(ratio, ratios))
                    if (ratios > 1) line = line sprintf("  %.2f..%.2f", ratio[1], ratio[ratios])
                }
                sub(/ +$/, "", line)
                print line
            }
        }
    }' "$BENCH_DIR/results"
}

# ---- the whole ----

# in_namespace PART ARGUMENT...: runs this script again, as PID 1 of a namespace.
in_namespace() {
    # Unquoted on purpose: a command with its options.
    # shellcheck disable=SC2086
    $unshare sh "$0" --inside "$@" || skip "$1" "it ended with an error"
}

if [ "${1-}" = --inside ]; then
    # As PID 1 it would not get the terminal's interrupt otherwise.
    trap 'exit 130' INT TERM
    shift
    part=$1
    shift
    case $part in
    scan) inside_scan "$@" ;;
    arm) inside_arm "$@" ;;
    idle) inside_idle "$@" ;;
    size) inside_size ;;
    react) inside_react ;;
    esac
    exit 0
fi

parts=
for part in "$@"; do
    case $part in
    scan | arm | match | idle | size | react) parts="$parts $part" ;;
    *) usage ;;
    esac
done
[ -n "$parts" ] || parts="scan arm match idle size react"

started_s=$(date +%s)
top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
IDLE_SECONDS=${IDLE_SECONDS:-60}

namespaces="--mount --pid --fork --kill-child --mount-proc"
unshare_program=$(path_of unshare) || die "needs util-linux's unshare"
unshare=
for privilege in "" "--user --map-root-user"; do
    # shellcheck disable=SC2086
    if "$unshare_program" $privilege $namespaces true 2>/dev/null; then
        unshare="$unshare_program $privilege $namespaces"
        break
    fi
done
[ -n "$unshare" ] || die "needs root or user namespaces, and util-linux's unshare"

BENCH_DIR=$(mktemp -d) || exit 1
trap 'rm -rf "$BENCH_DIR"' EXIT
trap 'exit 130' INT TERM
: >"$BENCH_DIR/results"
: >"$BENCH_DIR/skips"

if [ -n "${GUARD_BIN-}" ] && [ -n "${GUARD_TOOLS-}" ]; then
    BENCH_GUARD=$GUARD_BIN
    BENCH_RELEASE=$GUARD_BIN
    BENCH_TOOLS=$GUARD_TOOLS
else
    (cd "$top" && cargo build --quiet --release --bins --examples) || die "the build failed"
    BENCH_GUARD=$CARGO_TARGET_DIR/release/oom_guard
    BENCH_TOOLS=$CARGO_TARGET_DIR/release/examples
    BENCH_PLAIN=$CARGO_TARGET_DIR/without-patterns/release/oom_guard
    BENCH_RELEASE=$CARGO_TARGET_DIR/dist/oom_guard-linux-$(uname -m)
    case $parts in
    *size*)
        if ! "$top/scripts/build-static.sh" "$(uname -m)"; then
            skip "the size of a release" "it could not be built"
            BENCH_RELEASE=$BENCH_GUARD
        fi
        (cd "$top" && cargo build --quiet --release --no-default-features --features dbus-notify --target-dir "$CARGO_TARGET_DIR/without-patterns") ||
            die "the build without patterns failed"
        ;;
    esac
fi

BENCH_EARLYOOM=${EARLYOOM:-$(path_of earlyoom)} || BENCH_EARLYOOM=
BENCH_EARLYOOM_SORTS=
if [ -z "$BENCH_EARLYOOM" ]; then
    skip "everything of earlyoom" "it is not installed"
elif "$BENCH_EARLYOOM" --help 2>&1 | grep -q -e --sort-by-rss; then
    BENCH_EARLYOOM_SORTS=yes
else
    case $parts in
    *scan*) skip "earlyoom with --sort-by-rss" "this version has no such option" ;;
    esac
fi
BENCH_BEFORE=${GUARD_BEFORE-}
[ -z "$BENCH_BEFORE" ] || [ -x "$BENCH_BEFORE" ] || die "GUARD_BEFORE: \"$BENCH_BEFORE\" is no program"
BENCH_ROUNDS=${ROUNDS:-5}
BENCH_REACT_ROUNDS=${REACT_ROUNDS:-10}
BENCH_FLOOR=$BENCH_TOOLS/floor
export BENCH_DIR BENCH_GUARD BENCH_FLOOR BENCH_BEFORE BENCH_RELEASE BENCH_TOOLS BENCH_EARLYOOM BENCH_EARLYOOM_SORTS BENCH_ROUNDS BENCH_REACT_ROUNDS

for part in $parts; do
    case $part in
    scan)
        for count in ${PROCESSES:-1000 5000}; do
            in_namespace scan "$count"
        done
        ;;
    arm) arm_in_qemu ;;
    idle)
        say "idle, this machine: $IDLE_SECONDS s"
        in_namespace idle "$IDLE_SECONDS" "this machine"
        idle_in_vm
        ;;
    match) time_matching ;;
    size)
        in_namespace size
        [ ! -x "${BENCH_PLAIN-}" ] || result "binary KiB" "no patterns" "$(kib_of "$BENCH_PLAIN")"
        ;;
    react)
        # What the hog takes, and as much again for all others. The guard's level lies up to a GiB below what it is told.
        if [ "$(meminfo_kib MemAvailable)" -lt 6291456 ]; then
            skip react "less than 6 GiB available"
        else
            in_namespace react
        fi
        ;;
    esac
done

echo "$(uname -sr), $(getconf _NPROCESSORS_ONLN) processors, $(($(meminfo_kib MemTotal) / 1024)) MiB"
print_table
cat "$BENCH_DIR/skips"
echo "took $(($(date +%s) - started_s)) s"
