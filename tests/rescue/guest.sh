# shellcheck shell=sh
# Runs one scenario inside a machine that scripts/rescue.sh has booted: what stands in the files scenario, guard, seconds, fills
# and idle beside it. It tells the host, on the console:
#
#   == start                it has come to the scenario
#   == stall                the host is to stop the disk now
#   == measuring            now
#   == result KEY VALUE...  what was measured (tests/tools/pulse.rs), == series ...
#   == FAILED WHY           it could not be
#   == end
#
# What the guard says goes to a second serial line. Plain sh, run by BusyBox from memory.
set -u
cd /rig || exit 1
scenario=$(cat scenario)
guard=$(cat guard)
seconds=$(cat seconds)
fills=$(cat fills)
idle=$(cat idle)

# One option of pulse a process that must live, the guard, and a program to beat with.
innocents=
guard_pid=
beats=
# How long it is watched after the end of what goes wrong, and the cgroup of that.
tail=$idle
hogs=/sys/fs/cgroup/hog
hog=/usr/local/bin/hog

tell() {
    printf '\n== %s\n' "$*"
}

must() {
    "$@" || tell "FAILED $* (status $?)"
}

# ---- who is there ----

# Becomes a program that may be chosen as any other; this shell may not, nor does pulse let itself be.
ordinary() {
    exec /rig/busybox sh -c 'echo 0 >/proc/self/oom_score_adj; exec "$@"' sh "$@"
}
echo -1000 >/proc/self/oom_score_adj

# innocent COMMAND...: it must live.
innocent() {
    ordinary "$@" &
    last_innocent=$!
    innocents="$innocents --innocent $last_innocent"
}

# What runs on a small machine beside what goes wrong: a database that is at work (10 MiB, 100 of its pages a second), an editor
# with a text (5 MiB), and the shell of a user who waits for something.
ordinary_processes() {
    innocent "$hog" --name database --size 10M --noise --touch 100
    innocent "$hog" --name editor --size 5M --noise
    # It waits for a line from a pipe into which nobody writes.
    innocent /bin/sh -c 'read -r line <>/run/nothing; exit'
}

# start_guard OPTION...
start_guard() {
    case $guard in
    ours) ordinary /usr/local/bin/oom_guard -p "$@" >/dev/ttyS1 2>&1 & ;;
    earlyoom) ordinary /usr/bin/earlyoom -p "$@" >/dev/ttyS1 2>&1 & ;;
    *) return ;;
    esac
    guard_pid="--guard $!"
    # Until it has measured the machine, and has locked what it needs.
    sleep 3
}

# As most scenarios begin.
begin() {
    ordinary_processes
    start_guard
}

# ---- swap; what comes first is filled first ----

# disk_swap [KIB]: on the card; all of the drive unless told otherwise.
disk_swap() {
    must mkswap /dev/nvme0n3 "$@" >/dev/null
    must swapon /dev/nvme0n3
}

# zram_swap MIB: what it holds, not what that takes.
zram_swap() {
    for module in zsmalloc lzo lzo-rle zram; do
        # Some of them are built into some kernels.
        [ ! -e "/modules/$module.ko" ] || must insmod "/modules/$module.ko"
    done
    echo "${1}M" >/sys/block/zram0/disksize
    must mkswap /dev/zram0 >/dev/null
    must swapon /dev/zram0
}

# ---- what goes wrong ----

# All that was written lies on the disk, and nothing that only the start needed is in memory.
tidy() {
    sync
    echo 3 >/proc/sys/vm/drop_caches
}

measure() {
    mkdir -p "$hogs"
    tell measuring
    # shellcheck disable=SC2086 # one word an option
    must /rig/pulse $beats --idle "$idle" --for "$seconds" --tail "$tail" --fills "$fills" --cgroup "$hogs" $innocents $guard_pid -- "$@"
}

# limit_hogs SIZE: what is run stays in a box of that size.
limit_hogs() {
    box=/sys/fs/cgroup/box
    hogs=$box/hog
    echo +memory >/sys/fs/cgroup/cgroup.subtree_control
    mkdir -p "$box"
    echo "$1" >"$box/memory.max"
}

# run COMMAND...
run() {
    tidy
    measure "$@"
}

# as_user COMMAND...: with the limits that the kernel has chosen.
as_user() {
    run /usr/bin/setpriv --reuid 1000 --clear-groups "$@"
}

# ---- scenarios ----

# As fast as the machine can, four times what there is.
scenario_fast_fill() {
    begin
    run "$hog" --size 1G
}

scenario_psi_off() {
    scenario_fast_fill
}

scenario_smallest() {
    scenario_fast_fill
}

scenario_stubborn() {
    begin
    run "$hog" --size 1G --ignore-term
}

# As large as memory, as many systems set it up. Pages compress by a third, so memory ends before this swap does.
scenario_zram_leak() {
    zram_swap 256
    begin
    run "$hog" --size 1G --noise --rate 20M
}

# Larger than memory, smaller than memory and swap, and all of it in use by several threads.
scenario_slow_swap() {
    disk_swap
    begin
    run "$hog" --size 300M --noise --rate 30M --touch 0 --jobs 32
}

# Once it has grown, an eighth of memory is left to the file, of which more is wanted. A tenth would be low.
scenario_cache_thrash() {
    must dd if=/dev/zero of=/data bs=1M count=300 2>/dev/null
    begin
    run "$hog" --size 1G --rate 20M --until 13 --read /data --jobs 32
}

# Two thirds of what a process costs at least are the kernel's: 256 KiB are a small one. The user has a shell and a program
# besides, and the bomb a session of its own, as a login gives one.
scenario_fork_bomb() {
    innocent /usr/bin/setpriv --reuid 1000 --clear-groups /bin/sh -c 'read -r line <>/run/nothing; exit'
    innocent /usr/bin/setpriv --reuid 1000 --clear-groups /bin/sleep 1000
    begin
    as_user /usr/bin/setsid "$hog" --bomb --size 128K
}

# As a script without job control starts it: in the group of the script, in which there is another program.
scenario_fork_bomb_script() {
    innocent "$hog" --name script --size 2M --new-group
    leader=$last_innocent
    sleep 1
    innocent "$hog" --name older --size 2M --group "$leader"
    begin
    as_user "$hog" --bomb --size 128K --group "$leader"
}

scenario_memfd() {
    begin
    run "$hog" --size 1G --memfd
}

scenario_respawn() {
    begin
    run /bin/sh -c "while :; do $hog --size 1G; done"
}

# A server of 40 MiB, too: the level, a share of what processes hold and could have, is to be above what the kernel keeps for
# itself.
large_tmpfs() {
    must mount -o "remount,size=$1" /tmp
    innocent "$hog" --name server --size 40M --noise
    begin
}

full_tmpfs() {
    large_tmpfs 100%
    run "$hog" --size 1G --rate 50M --map /tmp/file --until 8 "$@"
}

scenario_tmpfs_live() {
    full_tmpfs
}

scenario_tmpfs_dead() {
    tail=$seconds
    full_tmpfs --exit 0
}

# As some distributions mount it, and one that holds next to nothing itself fills it.
scenario_tmpfs_writer() {
    large_tmpfs 85%
    run /rig/busybox dd if=/dev/zero of=/tmp/file bs=64k
}

scenario_small_400() {
    innocent "$hog" --name small --size 4M --adj 400
    begin
    run "$hog" --size 1G
}

scenario_zombie_leader() {
    begin
    run "$hog" --size 1G --zombie-leader
}

# 240 MiB together. Some must go; the others live for a while.
scenario_twenty() {
    begin
    # shellcheck disable=SC2016 # for that shell
    run /bin/sh -c 'for number in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        "$0" --size 12M --exit 10 &
    done; wait' "$hog"
}

# group OPTION...: a process group of two innocents, which the hog joins.
group() {
    innocent "$hog" --name leader --size 2M --new-group
    leader=$last_innocent
    sleep 1
    innocent "$hog" --name member --size 2M --group "$leader"
    ordinary_processes
    start_guard "$@"
    run "$hog" --size 1G --group "$leader"
}

scenario_group() {
    group
}

# What is ignored keeps its group from being ended. Old versions of earlyoom know no --ignore.
scenario_group_ignored() {
    case $guard in
    ours) group -g --ignore '^member$' ;;
    *) group -g ;;
    esac
}

# A service that is to end as a whole: the hog and two helpers, and beside them an exempt process, which stays.
scenario_oom_group() {
    service=/sys/fs/cgroup/service
    hogs=$service/hog
    echo +memory >/sys/fs/cgroup/cgroup.subtree_control
    mkdir -p "$service/exempt"
    echo 1 >"$service/memory.oom.group" || tell "FAILED memory.oom.group"
    innocent "$hog" --name exempt --size 2M --adj -1000
    echo "$last_innocent" >"$service/exempt/cgroup.procs" || tell "FAILED the exempt process"
    begin
    # shellcheck disable=SC2016
    run /bin/sh -c '"$0" --name helper --size 2M & "$0" --name helper --size 2M & exec "$0" --size 1G' "$hog"
}

# Busy loops, so many that each has a tenth of the processor.
scenario_starved() {
    begin
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        innocent "$hog" --name busy --spin
    done
    run "$hog" --size 1G
}

# Less than memory, so that it runs out.
scenario_late_swap() {
    begin
    disk_swap 65536
    run "$hog" --size 1G --noise
}

scenario_zram_disk() {
    zram_swap 96
    disk_swap
    begin
    run "$hog" --size 1G --noise --rate 20M
}

scenario_mlocked() {
    begin
    run "$hog" --size 1G --lock
}

# A thread of it waits for the disk and cannot be ended. What is needed from here on is in memory.
scenario_stuck() {
    begin
    beats="--beat /rig/busybox"
    tidy
    tell stall
    sleep 3
    measure /rig/hog --size 1G --stick /dev/nvme0n1
}

# A container with less than half of the memory, with an init, a guard and a hog. What stands beside it is no business of the
# guard's.
scenario_container() {
    limit_hogs 100M
    ordinary_processes
    # shellcheck disable=SC2016 # for that shell
    innocent /bin/sh -c 'echo 0 >"$0/cgroup.procs"; exec /usr/bin/unshare --cgroup --mount --pid --fork --kill-child \
        --mount-proc /bin/sh -c "busybox umount /sys/fs/cgroup; busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup; read -r line <>/run/nothing"' "$box"
    sleep 1
    read -r init _ <"/proc/$last_innocent/task/$last_innocent/children"
    # Whoever enters a container becomes a member of its cgroup.
    # shellcheck disable=SC2016
    enter='echo 0 >"$0/cgroup.procs"; init=$1; shift; exec /usr/bin/nsenter -t "$init" --cgroup --mount --pid "$@"'
    innocent /bin/sh -c "$enter" "$box" "$init" "$hog" --name inside --size 10M --noise
    case $guard in
    ours) ordinary /bin/sh -c "$enter" "$box" "$init" /usr/local/bin/oom_guard -p >/dev/ttyS1 2>&1 & ;;
    earlyoom) ordinary /bin/sh -c "$enter" "$box" "$init" /usr/bin/earlyoom -p >/dev/ttyS1 2>&1 & ;;
    esac
    [ "$guard" = none ] || guard_pid="--guard $!"
    sleep 3
    run /usr/bin/nsenter -t "$init" --cgroup --mount --pid "$hog" --size 1G
}

# tick: tells five times a second how late it is, and whether the guard is in reboot(2). Starts nothing, since there is no memory for it.
tick() {
    while :; do
        read -r up _ </proc/uptime
        read -r call _ <"/proc/${guard_pid#--guard }/syscall"
        case $call in
        "$reboot_call") tell "up $up reboots" ;;
        *) tell "up $up" ;;
        esac
        # shellcheck disable=SC3045 # BusyBox knows -t, and fractions
        read -r -t 0.2 _ <>/run/nothing
    done
}
# Its number on x86_64 (arch/x86/entry/syscalls/syscall_64.tbl).
reboot_call=169

# with_reboot: a guard that reboots after ten seconds. Others cannot.
with_reboot() {
    case $guard in
    ours) start_guard --reboot-after 10 ;;
    *) start_guard ;;
    esac
    [ "$guard" = none ] || tick &
}

# All that holds memory is exempt.
scenario_reboot() {
    with_reboot
    run "$hog" --size 1G --adj -1000 --rate 20M --until 7
}

# As `stuck`, but what is killed has its memory in a file, which cannot be freed from outside, either; then something exempt takes the
# rest. A sync hangs at the disk, for which something waits that was written.
scenario_reboot_stuck() {
    with_reboot
    beats="--beat /rig/busybox"
    /rig/hog --delay 25 --size 12M &
    tidy
    echo something >/unsynced
    tell stall
    sleep 3
    measure /rig/hog --size 1G --memfd --stick /dev/nvme0n1
}

# What is ended comes back, and each end gives memory back: no reason for a reboot.
scenario_reboot_respawn() {
    ordinary_processes
    with_reboot
    run /bin/sh -c "while :; do $hog --size 1G; done"
}

# ---- work that is hard, but nothing to be ended for ----

# write_source FUNCTIONS: something to compile.
write_source() {
    awk -v functions="$1" 'BEGIN { for (i = 0; i < functions; i++) printf "int f%d(int *a, int n) { int s = %d; for (int i = 0; i < n; i++) " \
        "{ if (a[i] %% %d) s += a[i] * %d; else s ^= a[i] << %d; } return s; }\n", i, i, i + 2, i + 3, i % 7 }' >/root/a.c
}

# Two compilers at once, and a program that rests in swap.
scenario_healthy_compile() {
    disk_swap
    innocent "$hog" --name browser --size 85M --noise
    write_source 250
    begin
    run /bin/sh -c 'gcc -O1 -c /root/a.c -o /root/a.o & first=$!; gcc -O2 -c /root/a.c -o /root/b.o && wait "$first"'
}

# Fills its cache, then sorts for an index.
scenario_healthy_database() {
    begin
    run /usr/bin/sqlite3 /root/db "PRAGMA cache_size=-100000; PRAGMA journal_mode=WAL; CREATE TABLE t(a, b);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000)
        INSERT INTO t SELECT i, hex(randomblob(100)) FROM n;
        CREATE INDEX i ON t(b); SELECT sum(length(b)) FROM t;"
}

# Reads and writes more than memory holds.
scenario_healthy_copy() {
    must dd if=/dev/zero of=/data bs=1M count=250 2>/dev/null
    begin
    run /bin/sh -c 'cat /data >/dev/null && cp /data /copy && sync'
}

# Its lines take more than memory has left beside the program that rests in swap.
scenario_healthy_sort() {
    disk_swap
    innocent "$hog" --name browser --size 80M --noise
    awk 'BEGIN { srand(1); for (i = 0; i < 700000; i++) printf "%d %d a line with some text in it\n", rand() * 1e9, i }' >/data
    begin
    run /bin/sh -c 'LC_ALL=C /usr/bin/sort -S 110M /data -o /sorted'
}

# A dictionary of 12 MiB takes about 140.
scenario_healthy_xz() {
    must dd if=/usr/lib/gcc/x86_64-linux-gnu/12/cc1 of=/data bs=1M count=16 2>/dev/null
    begin
    run /bin/sh -c '/usr/bin/xz -T1 -c --lzma2=preset=3,dict=12MiB,mf=bt4 /data >/dev/null'
}

# A program that has rested, and has been swapped out by another one that is gone, is used again. The other one grows as fast
# as half of the card can take what must go.
scenario_healthy_wake() {
    disk_swap
    begin
    # shellcheck disable=SC2016
    run /bin/sh -c '"$0" --size 100M --noise --rest 45 --touch 0 --exit 60 & sleep 8; "$0" --size 100M --rate 5M --noise --exit 5; wait "$!"' "$hog"
}

# A container works beyond its limit, while the machine has what it needs.
scenario_healthy_limit() {
    limit_hogs 30M
    disk_swap
    innocent "$hog" --name browser --size 105M --noise
    begin
    run "$hog" --size 40M --noise --touch 0 --jobs 8 --exit 30
}

# More than memory, a part of it used again and again.
scenario_healthy_zram() {
    zram_swap 256
    innocent "$hog" --name browser --size 60M --noise
    begin
    run "$hog" --size 105M --rate 10M --noise --touch 50 --exit 40
}

# For a shell of a scenario: whether a child of it lives.
# shellcheck disable=SC2016
lives='lives() { read -r _ _ state _ <"/proc/$1/stat" && [ "$state" != Z ]; }'

# use_in_turn SIZE SECONDS TIMES OPTION: two programs, of which one is used while the other rests.
use_in_turn() {
    # shellcheck disable=SC2016 # for that shell
    run /bin/sh -c "$lives"'
        "$0" --name first --size "$1" $4 --touch 0 & first=$!
        sleep "$2"
        kill -STOP "$first"
        "$0" --name second --size "$1" $4 --touch 0 & second=$!
        sleep "$2"
        round=1
        while [ "$round" -lt "$3" ]; do
            kill -STOP "$second"
            kill -CONT "$first"
            sleep "$2"
            kill -STOP "$first"
            kill -CONT "$second"
            sleep "$2"
            round=$((round + 1))
        done
        for one in "$first" "$second"; do lives "$one" || exit 1; done
        kill -KILL "$first" "$second"
        exit 0' "$hog" "$@"
}

scenario_healthy_turns_zram() {
    zram_swap 256
    begin
    use_in_turn 115M 6 5 ""
}

scenario_healthy_turns_card() {
    disk_swap
    begin
    use_in_turn 105M 15 3 --noise
}

scenario_healthy_turns_pi() {
    zram_swap 1024
    begin
    use_in_turn 460M 6 5 --noise
}

# A program starts while another one rests.
scenario_healthy_start() {
    disk_swap
    innocent "$hog" --name browser --size 90M --noise
    begin
    run "$hog" --size 110M --noise --exit 15
}

# A machine that boots: what was started first rests already.
scenario_healthy_boot() {
    disk_swap
    innocent "$hog" --name browser --size 120M --noise
    begin
    # shellcheck disable=SC2016
    run /bin/sh -c 'for number in 1 2 3 4 5 6 7 8 9 10 11 12; do
            "$0" --name "service$number" --size 5M --noise --touch 50 --exit 25 & all="$all $!"
        done
        for one in $all; do wait "$one" || exit 1; done' "$hog"
}

# A server has most of the memory, and another program reads a file larger than what is left.
scenario_healthy_server() {
    must dd if=/dev/zero of=/data bs=1M count=100 2>/dev/null
    begin
    # shellcheck disable=SC2016
    run /bin/sh -c '"$0" --name server --size 1G --noise --until 15 --touch 200 --exit 60 & server=$!
        sleep 5
        "$0" --name reader --size 1M --read /data --exit 40 && wait "$server"' "$hog"
}

# Reads every file.
scenario_healthy_nightly() {
    innocent "$hog" --name server --size 110M --noise --touch 100
    begin
    run /bin/sh -c 'find / -xdev -type f -exec cat {} + 2>/dev/null | cksum >/dev/null'
}

scenario_healthy_build() {
    zram_swap 256
    innocent "$hog" --name browser --size 85M --noise
    write_source 180
    begin
    run /bin/sh -c 'for number in 1 2 3 4; do gcc -O1 -c /root/a.c -o "/root/$number.o" & all="$all $!"; done
        for one in $all; do wait "$one" || exit 1; done'
}

# A database is restored from a dump.
scenario_healthy_restore() {
    disk_swap
    innocent "$hog" --name browser --size 105M --noise
    awk 'BEGIN { srand(1); print "PRAGMA cache_size=-60000; BEGIN; CREATE TABLE t(a, b);"
        for (i = 0; i < 200000; i++) printf "INSERT INTO t VALUES(%d, \047%d some text of a record %d that is a little longer than that\047);\n", i, rand() * 1e9, i
        print "CREATE INDEX i ON t(b); COMMIT; SELECT count(*) FROM t;" }' >/root/dump
    begin
    run /bin/sh -c '/usr/bin/sqlite3 /root/db </root/dump'
}

# browse SIZE: a browser has thirty processes of that size, one of which is used at a time.
browse() {
    # shellcheck disable=SC2016
    run /bin/sh -c "$lives"'
        for number in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
            "$0" --name "tab$number" --size "$1" --noise --touch 0 & tab=$!
            all="$all $tab"
            sleep 1
            kill -STOP "$tab"
        done
        for tab in $all; do
            kill -CONT "$tab"
            sleep 2
            kill -STOP "$tab"
        done
        sleep 1
        for tab in $all; do lives "$tab" || exit 1; done
        kill -KILL $all
        exit 0' "$hog" "$1"
}

scenario_healthy_browser() {
    zram_swap 256
    begin
    browse 6M
}

scenario_healthy_browser_pi() {
    zram_swap 1024
    begin
    browse 35M
}

# For a shell of a scenario: what is available, of that and of anonymous memory together, %.
# shellcheck disable=SC2016
left='left() { awk "/^MemAvailable/ { a = \$2 } /^AnonPages/ { b = \$2 } END { print int(100 * a / (a + b)) }" /proc/meminfo; }'

# Many small files are copied to a tmpfs until memory is nearly low, and deleted, three times. Nearly, since at the level
# a process would be ended in any case, whatever fills memory.
scenario_healthy_tmpfs_copy() {
    must dd if=/dev/zero of=/root/piece bs=1k count=256 2>/dev/null
    large_tmpfs 100%
    run /bin/sh -c "$left"'
        for round in 1 2 3; do
            mkdir /tmp/copy
            number=0
            while [ "$(left)" -gt 25 ]; do
                for piece in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
                    number=$((number + 1))
                    cp /root/piece "/tmp/copy/$number" || exit 1
                done
            done
            rm -r /tmp/copy
        done'
}

# A browser whose processes share what they show, in files on a tmpfs that all have open, until memory is nearly low.
scenario_healthy_tmpfs_browser() {
    must mkdir -p /dev/shm
    must mount -t tmpfs -o size=100% tmpfs /dev/shm
    begin
    # shellcheck disable=SC2016
    run /bin/sh -c "$left"'
        number=0
        while [ "$(left)" -gt 30 ]; do
            number=$((number + 1))
            "$0" --name "tab$number" --size 4M --map "/dev/shm/tab$number" --touch 20 --exit 40 & all="$all $!"
            "$0" --name "page$number" --size 2M --noise --exit 40 & all="$all $!"
            sleep 1
        done
        for one in $all; do wait "$one" || exit 1; done' "$hog"
}

# A build in a tmpfs that links what it has made to one large file, until memory is nearly low.
scenario_healthy_tmpfs_build() {
    write_source 100
    large_tmpfs 100%
    run /bin/sh -c "$left"'
        cd /tmp || exit 1
        for number in 1 2 3; do TMPDIR=/tmp gcc -O1 -c /root/a.c -o "$number.o" || exit 1; done
        while [ "$(left)" -gt 25 ]; do cat 1.o 2.o 3.o 1.o 2.o 3.o; done >program
        rm program'
}

# Larger than memory, smaller than memory and swap, all of it used at random, on a slow card.
scenario_thrash_random() {
    disk_swap
    begin
    run "$hog" --size 380M --noise --touch 0
}

# ---- the whole ----

# Nothing of the kernel between the lines for the host.
busybox dmesg -n 1
mkdir -p /usr/local/bin
cp hog oom_guard /usr/local/bin/
# What the heart beats with: each is started once a second, as somebody might who works with several programs.
for number in 0 1 2 3 4 5 6 7 8 9; do
    cp /bin/busybox "/usr/local/bin/beat$number"
    beats="$beats --beat /usr/local/bin/beat$number"
done
mkfifo -m 666 /run/nothing
tell start
"scenario_$(echo "$scenario" | tr - _)"
# What the kernel had to say of it.
busybox dmesg | sed -n '/invoked oom-killer/,/Out of memory/p' | head -n 200
tell end
