# shellcheck shell=sh
# Runs one scenario inside a machine that scripts/rescue.sh has booted: what stands in the files scenario, guard, seconds and
# fills beside it. It tells the host, on the console:
#
#   == start                it has come to the scenario
#   == stall                the host is to stop the disk now
#   == result KEY VALUE...  what was measured (tests/tools/pulse.rs), == series ...
#   == end
#
# What the guard says goes to a second serial line. Plain sh, run by BusyBox from memory.
set -u
cd /rig || exit 1
scenario=$(cat scenario)
guard=$(cat guard)
seconds=$(cat seconds)
fills=$(cat fills)

# The processes that must live, the guard, and how pulse is to be called.
innocents=
guard_pid=
guard_options=
beats=
# Where programs are.
hog=/usr/local/bin/hog

tell() {
    printf '\n== %s\n' "$*"
}

# Becomes a program that may be chosen as any other; this shell may not, nor does pulse let itself be.
ordinary() {
    exec /rig/busybox sh -c 'echo 0 >/proc/self/oom_score_adj; exec "$@"' sh "$@"
}
echo -1000 >/proc/self/oom_score_adj

# innocent COMMAND...: it must live.
innocent() {
    ordinary "$@" &
    innocents="$innocents --innocent $!"
}

# What runs on a small machine beside what goes wrong: a database that is at work (10 MiB, 100 of its pages a second), an editor
# with a text (5 MiB), and the shell of a user who waits for something.
ordinary_processes() {
    innocent "$hog" --name database --size 10M --noise --touch 100
    innocent "$hog" --name editor --size 5M --noise
    # It waits for a line from a pipe into which nobody writes.
    mkfifo /run/nothing
    innocent /bin/sh -c 'read -r line <>/run/nothing; exit'
}

# What comes first is filled first.
swap_on() {
    swapon "$@" || tell "FAILED no swap"
}

# Swap on the card.
disk_swap() {
    # KiB; none: all of the drive.
    busybox mkswap /dev/nvme0n3 "$@" >/dev/null
    swap_on /dev/nvme0n3
}

# zram_swap MIB
zram_swap() {
    [ -b /dev/zram0 ] || for module in zsmalloc lzo lzo-rle zram; do
        [ ! -e "/modules/$module.ko" ] || insmod "/modules/$module.ko"
    done
    echo "${1}M" >/sys/block/zram0/disksize
    busybox mkswap /dev/zram0 >/dev/null
    swap_on /dev/zram0
}

start_guard() {
    case $guard in
    # shellcheck disable=SC2086 # one word an option
    ours) ordinary /usr/local/bin/oom_guard -p $guard_options >/dev/ttyS1 2>&1 & ;;
    # shellcheck disable=SC2086
    earlyoom) ordinary /usr/bin/earlyoom -p $guard_options >/dev/ttyS1 2>&1 & ;;
    *) return ;;
    esac
    guard_pid="--guard $!"
}

# run COMMAND...: as what goes wrong.
run() {
    # All that was written lies on the disk, and nothing that only the start needed is in memory.
    sync
    echo 3 >/proc/sys/vm/drop_caches
    mkdir -p /sys/fs/cgroup/hog
    # shellcheck disable=SC2086 # one word an option
    /rig/pulse $beats --for "$seconds" --fills "$fills" --cgroup /sys/fs/cgroup/hog $innocents $guard_pid -- "$@"
}

# ---- scenarios ----

# prepare_NAME: before the guard is there; run_NAME: what goes wrong.
prepare() {
    ordinary_processes
    case $scenario in
    zram-leak) zram_swap 128 ;;
    slow-swap | late-swap) [ "$scenario" = late-swap ] || disk_swap ;;
    cache-thrash)
        # Larger than memory.
        dd if=/dev/zero of=/data bs=1M count=300 2>/dev/null
        ;;
    esac
}

wrong() {
    case $scenario in
    # As fast as the machine can.
    fast-fill) run "$hog" --size 1G ;;
    stubborn) run "$hog" --size 1G --ignore-term ;;
    # 3:1 at best: zram fills memory, and the swap is never full.
    zram-leak) run "$hog" --size 1G --noise --rate 20M ;;
    # Larger than memory, smaller than memory and swap, and all of it in use.
    slow-swap) run "$hog" --size 260M --noise --rate 30M --touch 0 --jobs 4 ;;
    # Once it has grown, less than a fifth of memory is left to the file, of which all is wanted; more than a tenth, so that memory is not low.
    cache-thrash) run "$hog" --size 1G --rate 20M --until 13 --read /data --jobs 4 ;;
    fork-bomb) run /bin/sh -c "/usr/bin/setpriv --reuid 1000 --clear-groups $hog --bomb --size 128K & wait" ;;
    *) tell "FAILED no scenario $scenario" ;;
    esac
}

# Nothing of the kernel between the lines for the host.
busybox dmesg -n 1
mkdir -p /usr/local/bin
cp hog oom_guard /usr/local/bin/
# What the heart beats with: each is started once a second, as somebody might who works with several programs.
for number in 0 1 2 3 4 5 6 7 8 9; do
    cp /bin/busybox "/usr/local/bin/beat$number"
    beats="$beats --beat /usr/local/bin/beat$number"
done
tell start
prepare
start_guard
# Until it has measured and locked what it needs.
sleep 3
wrong
busybox dmesg | grep -i 'out of memory\|oom-kill\|blocked for more' | head -n 20
tell end
