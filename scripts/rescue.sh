#!/bin/sh
# Boots small real machines, lets something go wrong in each, and measures whether it stays usable: with this checkout's guard,
# with another one, or with none.
#
#   scripts/rescue.sh [SCENARIO...] [--guard ours|earlyoom|none]...   all of the table below, ours and earlyoom, unless told otherwise
#   scripts/rescue.sh healthy      hard work that nobody should be ended for
#   scripts/rescue.sh --fills N    fills memory N times in one boot: from crossing the threshold to memory being back
#   scripts/rescue.sh --short      three scenarios, ours only
#
# A program is started from disk ten times a second all the while (tests/tools/pulse.rs), and the longest time until one of
# them has ended tells whether the machine can be used. Prints what was measured as tables, and for ours whether that is good
# enough; what was said goes to target/rescue. A machine that cannot be had, or that was disturbed too much by what else runs
# here, is skipped. The last line is the total, as that of
# scripts/test.sh:
#
#   24 passed, 0 failed, 1 skipped
#
# Environment: BOOT_CACHE, where images are kept (${XDG_CACHE_HOME:-~/.cache}/oom_guard-boot); RESCUE_JOBS, how many machines
# run at a time (one less than there are processors, since they disturb each other's heartbeat).
# Exit status: 0 nothing failed, 1 otherwise, 2 wrong usage.
set -u

# scenario, MiB of memory, processors, card, ms that a heartbeat may take, seconds that it may last, what is asked of ours, more for
# the kernel's command line. 2 s instead of 1 where memory goes to and comes from the card, and 8 where only a stall tells that
# something goes wrong, because healthy work makes everything wait, too, for some seconds; 12 where thrashing
# on the slow card goes on for as long as a program that starts may take: 10.3 s were seen. A fork bomb takes the processor before it takes
# memory, and until that is low no guard may act: 2 to 3.5 s on an emulated processor. It may last three times what a guard should
# take, and where it is slow as long as is needed to see that nobody ends it.
# What is asked: gone, it is ended in that time; rest, it ends by itself; once, at most one is killed; each, it starts anew and
# is ended each time; work, it comes to a good end and nobody is killed; down, the machine reboots by itself, soon after it was said.
table() {
    cat <<'EOT'
fast-fill           256 1 a1   1000  30 gone -
stubborn            256 1 a1   1000  30 gone -
zram-leak           256 1 a1   8000  60 gone -
slow-swap           256 1 a1   8000  60 gone -
cache-thrash        256 1 a1   8000  60 gone -
thrash-random       256 1 slow 12000  60 gone -
fork-bomb           256 1 a1   5000  10 gone -
fork-bomb-script    256 1 a1   5000  10 gone -
memfd               256 1 a1   1000  30 gone -
respawn             256 1 a1    500  40 each -
tmpfs-live          256 1 a1   1000  50 once -
tmpfs-dead          256 1 a1   1000  50 once -
tmpfs-writer        256 1 a1   1000  30 gone -
small-400           256 1 a1   1000  30 gone -
zombie-leader       256 1 a1   1000  30 gone -
twenty              256 1 a1   1000  40 rest -
group               256 1 a1   1000  30 gone -
group-ignored       256 1 a1   1000  30 gone -
oom-group           256 1 a1   1000  30 gone -
starved             256 1 a1   1000  40 gone -
late-swap           256 1 a1   8000  60 gone -
zram-disk           256 1 a1   8000  90 gone -
mlocked             256 1 a1   1000  30 gone -
stuck               256 1 a1   1000  30 once nvme_core.io_timeout=600
smallest             96 1 a1   1000  30 gone -
psi-off             256 1 a1   1000  30 gone psi=0
container           256 1 a1   1000  30 gone -
reboot              256 1 a1   1000  60 down -
reboot-stuck        256 1 a1   1000 120 down nvme_core.io_timeout=600
reboot-respawn      256 1 a1    500  40 each -
healthy-compile     256 1 a1   2000 180 work -
healthy-database    256 1 a1   2000 180 work -
healthy-copy        256 1 a1   2000 180 work -
healthy-sort        256 1 a1   2000 180 work -
healthy-xz          256 1 a1   2000 180 work -
healthy-wake        256 1 a1   2000 180 work -
healthy-zram        256 1 a1   1000 180 work -
healthy-limit       256 1 a1   2000 180 work -
healthy-turns-zram  256 1 slow 1000 180 work -
healthy-turns-card  256 1 slow 2000 240 work -
healthy-turns-pi   1024 2 slow 1000 180 work -
healthy-start       256 1 slow 2000 180 work -
healthy-boot        256 1 slow 2000 180 work -
healthy-server      256 1 slow 2000 180 work -
healthy-nightly     256 1 slow 2000 240 work -
healthy-build       256 1 a1   2000 240 work -
healthy-restore     256 1 slow 2000 240 work -
healthy-browser     256 1 a1   2000 180 work -
healthy-browser-pi 1024 2 a1   2000 180 work -
healthy-tmpfs-copy  256 1 a1   2000 180 work -
healthy-tmpfs-browser 256 1 a1 2000 180 work -
healthy-tmpfs-build 256 1 a1   2000 180 work -
EOT
}
# Those in which another guard fails, or nothing is as fast as it must be, in least time.
short="fast-fill slow-swap respawn"

# A drive like an SD card of application class A1, which promises 1500 random reads, 500 random writes and 10 MB a second (SD
# Physical Layer Specification 5.1). Root file system and swap share it.
a1=throttling.iops-read=1500,throttling.iops-write=500,throttling.bps-total=10000000
# A slow one.
slow=throttling.iops-total=400,throttling.bps-total=8388608
# As large as memory, as installers make it.
swap=256M
# What the machine needs: another guard, work to do, namespaces.
packages=busybox-static,earlyoom,sqlite3,gcc,libc6-dev,xz-utils,util-linux

# From the start of the emulator to the guest's own first line: 6 s were seen on an idle machine.
START_S=90
# What a scenario takes beside its own time: files are written, the guard starts, idling, what is left is ended.
BESIDE_S=120
# So many percent of a processor may others here have taken from the machine before a late heartbeat says nothing about it.
MOST_WAITED=10
# As long as a sync may take before a reboot.
SYNC_S=5
# Until the kernel has stopped all devices.
DOWN_S=30

# ---- one machine ----

# waits: how long the machine has waited for a processor of this one, in ms (schedstat of its threads, sched-stats.rst of the
# kernel), and this one, if it is a machine in another, for one of that (the steal time in /proc/stat, proc(5), in hundredths of
# a second); 0 where that is not counted.
waits() {
    {
        cat "/proc/$emulator/task/"*/schedstat 2>/dev/null | awk '{ print $2 / 1e6 }'
        awk '$1 == "cpu" { print $9 * 10 }' /proc/stat
    } | awk '{ sum += $1 } END { printf "%d\n", sum }'
}

boot_once() {
    rm -f "$dir"/disk "$dir"/swap "$dir"/monitor.*
    make_disk
    qemu-img create -q -f raw "$dir/swap" "$swap"
    mkfifo "$dir/monitor.in" "$dir/monitor.out"
    : >"$log"
    : >"$logs/$1.guard"
    # The second serial line is for the guard's messages.
    case $card in
    a1) limits=$a1 ;;
    slow) limits=$slow ;;
    esac
    limits=$limits,throttling.group=card
    start_emulator "${append#-}" ",$limits" -smp "$cpus" -serial "file:$logs/$1.guard" \
        -chardev "pipe,id=monitor,path=$dir/monitor" -mon chardev=monitor,mode=readline \
        -drive "if=none,id=swap,file=$dir/swap,format=raw,cache=unsafe,$limits" -device nvme-ns,drive=swap,nsid=3
    if ! wait_for "$START_S" '^start$'; then
        ended=dead
    elif ! wait_for "$BESIDE_S" '^\(stall\|measuring\)$'; then
        ended=stuck
    else
        if guest_lines | grep -q '^stall$'; then
            # One byte a second, for all drives of the group.
            echo 'block_set_io_throttle root 1 0 0 0 0 0' >"$dir/monitor.in"
        fi
        waited=$(waits)
        measured_from=$(date +%s)
        ended=end
        wait_for $(((seconds + 15) * fills + seconds + BESIDE_S)) '^\(end\|up .* reboots\)$' || ended=stuck
        if guest_lines | grep -q '^up .* reboots$'; then
            # The kernel stops all devices before it reboots, and a driver waits for its disk.
            ! guest_lines | grep -q '^stall$' || echo 'block_set_io_throttle root 0 0 0 0 0 0' >"$dir/monitor.in"
            wait_for "$DOWN_S" '^end$'
            ended=stuck
        fi
        # With -no-reboot it ends where it would begin again.
        [ "$ended" != stuck ] || kill -0 "$emulator" 2>/dev/null || ended=down
        waited=$((($(waits) - waited) / 10 / ($(date +%s) - measured_from + 1)))
    fi
    stop_emulator
}

# run_machine SCENARIO.GUARD: leaves what was told in a file, and prints lines that count.
run_machine() {
    scenario=${1%.*}
    guard=${1##*.}
    read -r _ memory cpus card _ seconds _ append <<EOT
$(row "$scenario")
EOT
    mkdir "$dir/tar"
    cp "$top/tests/rescue/guest.sh" "$CARGO_TARGET_DIR/tools/x86_64/"* "$dir/tar/"
    cp "$CARGO_TARGET_DIR/dist/oom_guard-linux-x86_64" "$dir/tar/oom_guard"
    for word in scenario guard seconds fills idle; do
        eval "echo \"\$$word\"" >"$dir/tar/$word"
    done
    tar -cf "$dir/what" -C "$dir/tar" .
    tries=1
    while :; do
        waited=0
        boot_once "$1"
        {
            echo "ended $ended"
            echo "waited $waited"
            guest_lines
            tr -d '\r' <"$logs/$1.guard" | sed -n 's/^.*sending SIG[A-Z]* to process \([0-9]*\) .*/victim \1/p' | sort -u
            tr -d '\r' <"$logs/$1.guard" | sed -n 's/^.*useless.*/useless/p'
        } >"$dir/told"
        faults "$scenario" "$guard" >"$dir/faults"
        # Once more, if what went wrong may be due to what else runs here.
        if [ "$tries" -ge "$TRIES" ] || { [ "$ended" != dead ] && ! { [ "$guard" = ours ] && is_disturbed; }; }; then
            break
        fi
        tries=$((tries + 1))
    done
    rm -rf "$dir"/disk "$dir"/swap "$dir"/what "$dir"/tar "$dir"/monitor.*
    judge "$scenario" "$guard"
}

# Nothing but a heartbeat was late, and the machine had to wait for this one.
is_disturbed() {
    [ "$waited" -gt "$MOST_WAITED" ] && [ "$(wc -l <"$dir/faults")" -eq 1 ] && grep -q heartbeat "$dir/faults"
}

# ---- what was measured ----

# measured SCENARIO GUARD: the figures, one word each: gone s, low s, gap ms, idle ms, OOM kills, innocents lost, guard alive,
# victims, useless kills, exit status, % of the time waited for a processor here, slow s, least available %, % of a processor that
# the guard used, then the stalls.
measured() {
    awk '
        $1 == "ended" { ended = $2 }
        $1 == "waited" { waited = $2 }
        $1 == "victim" { victims++ }
        $1 == "useless" { useless++ }
        $1 == "result" { for (i = 3; i <= NF; i++) value[$2, i - 2] = $i; count[$2] = NF }
        function seconds(ms) { return ms ~ /^[0-9]+$/ ? sprintf("%.1f", ms / 1000) : ms }
        function one(key, i) { return (key, i) in value ? value[key, i] : "-" }
        END {
            slow = "-"
            if (one("slow", 1) ~ /^[0-9]/ && one("fill", 1) ~ /^[0-9]/) {
                slow = one("fill", 1) - one("slow", 1)
                slow = seconds(slow > 0 ? slow : 0)
            }
            printf "%s %s %s %s %s %s %s %d %d %s %s %s %s %s", ended == "end" ? seconds(one("fill", 1)) : ended, seconds(one("fill", 2)),
                one("gap_ms", 1), one("idle_gap_ms", 1), one("oom_kills", 1), one("innocents", 2), one("guard", 1), victims,
                useless, one("fill", 3), waited, slow, one("least", 1),
                one("guard_ran", 1)
            for (i = 1; i <= 4; i++) printf " %s", one("stall", i)
            for (i = 1; i <= 4; i++) printf " %s", one("stall_near", i)
            print ""
        }' "$work/$1.$2/told"
}

# faults SCENARIO GUARD: what is not as it should be, one a line.
faults() {
    row "$1" | {
        read -r _ _ _ _ most_gap seconds asked _
        [ "$asked" != down ] || { faults_of_reboot "$1" "$2" && exit; }
        measured "$1" "$2" | {
            read -r gone _ gap idle oom lost guard victims useless status waited _
            case $gone in
            dead | stuck) echo "the machine is $gone" && exit ;;
            esac
            [ "$gap" != - ] || { echo "nothing was measured" && exit; }
            # Work that keeps the card busy lets others wait for it, which is not for a guard to end.
            [ "$gap" -le "$most_gap" ] || [ "$asked" = work ] ||
                echo "a heartbeat took $gap ms ($idle while idle; it waited $waited% for this machine)"
            [ "$oom" -eq 0 ] || echo "the kernel killed $oom times"
            [ "$guard" != no ] || echo "the guard is dead"
            case $asked in
            gone | rest | each | work) [ "$lost" -eq 0 ] || echo "$lost innocents are gone" ;;
            esac
            case $asked in
            gone) [ "$gone" != never ] || echo "it was not gone after $seconds s" ;;
            once) [ "$victims" -le 1 ] || echo "$victims were killed" ;;
            each) [ "$victims" -gt 3 ] || echo "only $victims were killed" ;;
            work)
                [ "$victims" -eq 0 ] || echo "$victims were killed"
                [ "$status" = 0 ] || echo "the work ended with status $status"
                ;;
            esac
        }
    }
}

# faults_of_reboot SCENARIO GUARD: the console tells what comes, and when: the guest ticks five times a second.
faults_of_reboot() {
    [ "$ended" = down ] || { echo "the machine is $ended, but not down" && return; }
    tr -d '\r' <"$log" | awk -v most="$SYNC_S.5" '
        $1 == "==" && $2 == "up" {
            up = $3
            if (said && !called && $4 == "reboots") called = up
        }
        /^oom_guard: memory is gone and no kill has helped: rebooting$/ { said = up }
        /^oom_guard: memory is back/ { print "it was called off" }
        /Kernel panic|Out of memory/ { print "the kernel: " $0 }
        /reboot: Restarting system/ { down = up }
        END {
            if (!said) print "the console does not say why"
            if (!down) print "the kernel does not say that it reboots"
            if (!called) called = down
            if (said && called - said > most) printf "it was rebooted %.1f s after that was said\n", called - said
        }'
    [ "$1" != reboot ] || ! grep -q '^victim' "$dir/told" || echo "something was killed"
}

# judge SCENARIO GUARD: only ours can fail; of the others, what is not as it should be is told.
judge() {
    judge_faults=$(paste -s -d , - <"$dir/faults" | sed 's/,/, /g')
    sed -n 's/^FAILED/the guest:/p' "$dir/told"
    if [ "$2" != ours ]; then
        echo "shown: rescue $1 $2${judge_faults:+: $judge_faults}"
    elif [ -z "$judge_faults" ]; then
        echo "ok: rescue $1"
    elif is_disturbed; then
        skip "rescue $1" "$judge_faults"
    else
        fail "rescue $1: $judge_faults"
    fi
}

tables() {
    heading "what the machine was like"
    tables_format='%-21s %-8s %6s %6s %6s %7s %7s %4s %5s %6s %6s %8s %7s\n'
    # shellcheck disable=SC2059 # one format for all lines
    printf "$tables_format" scenario guard "gone s" "slow s" "low s" "gap ms" "idle ms" oom lost guard killed useless "host %"
    each_measured | while read -r name guard gone low gap idle oom lost lives victims useless _ waited slow _; do
        # shellcheck disable=SC2059
        printf "$tables_format" "$name" "$guard" "$gone" "$slow" "$low" "$gap" "$idle" "$oom" "$lost" "$lives" "$victims" "$useless" "$waited"
    done
    echo "slow: it was gone so long after a program had first needed more than a second to start"
    echo "low: available memory and free swap were below the threshold; idle: the longest heartbeat before; host: it waited for a"
    echo "processor here, which makes everything late"
    heading "the most of a window in which all waited for memory (the lesser of that and of what some waited for a disk), %"
    tables_format='%-21s %-8s %5s %7s %-16s %-16s %-16s %-16s\n'
    # shellcheck disable=SC2059
    printf "$tables_format" scenario guard "ran" "least %" "any 6 s" "any 48 s" "6 s, low" "48 s, low"
    each_measured | while read -r name guard _ _ _ _ _ _ _ _ _ _ _ _ least ran full6 full48 both6 both48 low6 low48 slow6 slow48; do
        # shellcheck disable=SC2059
        printf "$tables_format" "$name" "$guard" "$ran" "$least" "$full6 ($both6)" "$full48 ($both48)" "$low6 ($slow6)" "$low48 ($slow48)"
    done
    echo "least: available memory, of that and anonymous memory together; low: at the end of the window it was at most 20%;"
    echo "ran: the share of a processor that the guard used"
}

each_measured() {
    for each_job in $jobs; do
        [ ! -e "$work/$each_job/told" ] ||
            echo "${each_job%.*} ${each_job##*.} $(measured "${each_job%.*}" "${each_job##*.}")"
    done
}

# medians: of the times below the threshold when memory was filled again and again.
medians() {
    heading "from crossing the threshold to memory being back, ms, median of $fills"
    medians_ours=
    for guard in $guards; do
        # By its own threshold: earlyoom 1.7 reckons with all memory.
        medians_field=4
        [ "$guard" != earlyoom ] || medians_field=6
        median=$(awk -v field="$medians_field" '$1 == "result" && $2 == "fill" { print $field }' "$work/fast-fill.$guard/told" | sort -n |
            awk '{ all[NR] = $1 } END { if (NR) print (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2 }')
        echo "$guard: ${median:--}"
        case $guard in
        ours) medians_ours=$median ;;
        earlyoom)
            if [ -z "$medians_ours" ] || [ -z "$median" ]; then
                continue
            fi
            echo "ratio: $(awk -v a="$medians_ours" -v b="$median" 'BEGIN { printf "%.2f", a / b }')"
            if awk -v a="$medians_ours" -v b="$median" 'BEGIN { exit !(a <= b / 2) }'; then
                passed=$((passed + 1))
            else
                fail "rescue: more than half of earlyoom's time"
            fi
            ;;
        esac
    done
}

# ---- all of them ----

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
script=rescue
# shellcheck source=scripts/machine.sh
. "$top/scripts/machine.sh"

names=
guards=
fills=1
# Seconds of it before and after.
idle=5
while [ $# -gt 0 ]; do
    case $1 in
    --short)
        names="$names $short"
        guards=ours
        idle=2
        ;;
    --guard)
        case ${2-} in
        ours | earlyoom | none) guards="$guards $2" ;;
        *) wrong_usage "no guard \"${2-}\"" ;;
        esac
        shift
        ;;
    --fills)
        case ${2-} in
        '' | *[!0-9]*) wrong_usage "--fills wants a number" ;;
        esac
        names=fast-fill
        fills=$2
        shift
        ;;
    healthy) names="$names $(table | awk '$7 == "work" { print $1 }')" ;;
    *)
        [ -n "$(row "$1")" ] || wrong_usage "no scenario \"$1\""
        names="$names $1"
        ;;
    esac
    shift
done
: "${guards:=ours earlyoom}"
: "${names:=$(table | awk '{ print $1 }')}"

set_up
arch=x86_64
if ! find_image rescue rescue "$packages" "$logs/image.log" || ! make_tarball || ! build "set of tools" --tools x86_64; then
    total
    exit
fi

jobs=
for name in $names; do
    for guard in $guards; do
        jobs="$jobs $name.$guard"
    done
done
# shellcheck disable=SC2086 # one word a job
run_all "${RESCUE_JOBS:-$((processors > 1 ? processors - 1 : 1))}" $jobs
tables
[ "$fills" -eq 1 ] || medians
total
