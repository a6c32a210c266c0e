#!/bin/sh
# Boots small real machines, lets something go wrong in each, and measures whether it stays usable: once with this checkout's
# guard, once with another one, or with none.
#
#   scripts/rescue.sh [SCENARIO...] [--guard ours|earlyoom|none]... [--fills N]
#   scripts/rescue.sh --short
#
# All scenarios of the table below, and those two guards first named, unless told otherwise; --short: three, for ours only.
# --fills N: fills memory N times in one boot, and tells the medians.
set -u

# A drive like an SD card of application class A1: that promises 1500 random reads and 500 random writes a second and 10 MB/s
# (SD Physical Layer Specification 5.1). Many cards in small machines do no better than what the class promises.
card=throttling.iops-read=1500,throttling.iops-write=500,throttling.bps-total=10000000,throttling.group=card

# scenario, MiB of memory, ms that a heartbeat may take, seconds that it may last, more for the kernel's command line
scenarios() {
    cat <<'EOT'
fast-fill     256 1000  30 -
stubborn      256 1000  30 -
zram-leak     256 1000  60 -
slow-swap     256 2000  60 -
cache-thrash  256 2000  60 -
fork-bomb     256 1000  30 -
EOT
}

# From the start of the emulator to the guest's own first line: 5 s were seen on an idle machine.
START_S=60
# What a scenario takes beside its own time: to prepare it, 5 s of idling, the end of what goes wrong, 5 s more.
BESIDE_S=60
# An emulated machine now and then hangs before it has come to its init. That says nothing about any guard.
TRIES=3

has() {
    command -v "$1" >/dev/null 2>&1
}

# ---- one machine ----

# What the guest has told. Its console ends lines with \r\n.
told() {
    tr -d '\r' <"$log" | sed -n 's/^== //p'
}

# wait_for SECONDS WORD: until the guest has said so. False if it does not in time, or if the machine has ended.
wait_for() {
    wait_left=$1
    while ! told | grep -q "^$2"; do
        [ "$wait_left" -gt 0 ] || return 1
        kill -0 "$emulator" 2>/dev/null || return 1
        wait_left=$((wait_left - 1))
        sleep 1
    done
}

boot_once() {
    rm -f "$dir/disk" "$dir/swap"
    # What the guest changes stays in these files; the image is as it was made.
    qemu-img create -q -f qcow2 -b "$image/disk" -F raw "$dir/disk"
    qemu-img create -q -f raw "$dir/swap" 256M
    : >"$log"
    : >"$said"
    qemu-system-x86_64 -M q35 -accel tcg -cpu qemu64,+rdrand -smp 1 -m "$memory" -nodefaults -display none \
        -serial "file:$log" -serial "file:$said" -no-reboot -kernel "$image/kernel" \
        -drive "if=none,id=root,file=$dir/disk,format=qcow2,cache=unsafe,$card" \
        -drive "if=none,id=what,file=$dir/what,format=raw,readonly=on" \
        -drive "if=none,id=swap,file=$dir/swap,format=raw,cache=unsafe,$card" \
        -device nvme,id=nvme,serial=rescue -device nvme-ns,drive=root,nsid=1 -device nvme-ns,drive=what,nsid=2 \
        -device nvme-ns,drive=swap,nsid=3 \
        -append "console=ttyS0 rw psi=1 quiet panic=-1 devtmpfs.mount=1 root=/dev/nvme0n1 $append" \
        </dev/null >"$dir/emulator.log" 2>&1 &
    emulator=$!
    echo "$emulator" >"$dir/emulator"
    if ! wait_for "$START_S" start; then
        ended=dead
    elif wait_for $(((seconds + 15) * fills + BESIDE_S)) end; then
        ended=end
    else
        ended=stuck
    fi
    kill "$emulator" 2>/dev/null
    wait "$emulator" 2>/dev/null
    rm -f "$dir/emulator"
}

# run_machine SCENARIO.GUARD
run_machine() {
    scenario=${1%.*}
    guard=${1##*.}
    read -r memory seconds append <<EOT
$(scenarios | awk -v name="$scenario" '$1 == name { $1 = $3 = ""; sub(/-$/, ""); print }')
EOT
    dir=$work/$1
    log=$logs/$1.log
    said=$logs/$1.guard
    mkdir "$dir/tar"
    cp "$top"/tests/rescue/guest.sh "$tools/hog" "$tools/pulse" "$dir/tar/"
    cp "$top/target/dist/oom_guard-linux-x86_64" "$dir/tar/oom_guard"
    echo "$scenario" >"$dir/tar/scenario"
    echo "$guard" >"$dir/tar/guard"
    echo "$seconds" >"$dir/tar/seconds"
    echo "$fills" >"$dir/tar/fills"
    tar -cf "$dir/what" -C "$dir/tar" .
    tries=0
    while :; do
        boot_once
        [ "$ended" = dead ] || break
        tries=$((tries + 1))
        [ "$tries" -lt "$TRIES" ] || break
    done
    {
        echo "ended $ended"
        told
    } >"$dir/told"
    rm -rf "$dir/disk" "$dir/swap" "$dir/what" "$dir/tar"
    row "$scenario" "$guard"
}

# ---- the table ----

row_format='%-14s %-8s %8s %8s %8s %5s %9s %6s %7s %7s  %s\n'

heading_row() {
    # shellcheck disable=SC2059
    printf "$row_format" scenario guard "gone s" "gap ms" "idle ms" oom lost guard victims useless "most stall within 2 s, 5 s (full/some), near; least"
}

# row SCENARIO GUARD: what was measured.
row() {
    row_told=$work/$1.$2/told
    row_victims=$(tr -d '\r' <"$logs/$1.$2.guard" | sed -n 's/^.*sending SIG[A-Z]* to process \([0-9]*\) .*/\1/p' | sort -u | wc -l)
    row_useless=$(grep -c 'useless' "$logs/$1.$2.guard")
    # shellcheck disable=SC2059
    awk -v format="$row_format" -v scenario="$1" -v guard="$2" -v victims="$row_victims" -v useless="$row_useless" '
        $1 == "result" { key = $2; sub(/^result [^ ]* /, ""); value[key] = $0 }
        $1 == "ended" { ended = $2 }
        END {
            split(value["fill"], fill, " ")
            if (fill[1] ~ /^[0-9]+$/) fill[1] = sprintf("%.1f", fill[1] / 1000)
            if (ended != "end") fill[1] = ended
            split(value["innocents"], innocents, " ")
            split(value["stall"], all, " ")
            split(value["stall_near"], near, " ")
            printf format, scenario, guard, fill[1], value["gap_ms"], value["idle_gap_ms"], value["oom_kills"], innocents[2] " of " innocents[1],
                value["guard"], victims, useless,
                all[1] "/" all[3] " " all[2] "/" all[4] ", " near[1] "/" near[3] " " near[2] "/" near[4] "; " value["least"]
        }' "$row_told"
}

# worker JOB...: takes one after the other that no other worker has taken.
worker() {
    for worker_job in "$@"; do
        mkdir "$work/$worker_job" 2>/dev/null || continue
        run_machine "$worker_job" >"$work/$worker_job.row" 2>&1
        cat "$work/$worker_job.row"
    done
}

# ---- all of them ----

names=
guards=
fills=1
while [ $# -gt 0 ]; do
    case $1 in
    --guard)
        guards="$guards $2"
        shift
        ;;
    --fills)
        fills=$2
        names="$names fast-fill"
        shift
        ;;
    --short)
        names="$names fast-fill slow-swap fork-bomb"
        guards="ours"
        ;;
    *) names="$names $1" ;;
    esac
    shift
done
: "${guards:=ours earlyoom}"
: "${names:=$(scenarios | awk '{ print $1 }')}"

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
# shellcheck source=scripts/count.sh
. "$top/scripts/count.sh"
logs=$top/target/rescue
tools=$top/target/x86_64-unknown-linux-musl/size/examples
mkdir -p "$logs" || exit 1
BOOT_CACHE=${BOOT_CACHE:-${XDG_CACHE_HOME:-${HOME-}/.cache}/oom_guard-boot}
export BOOT_CACHE
work=$(mktemp -d) || exit 1
workers=
# shellcheck disable=SC2154,SC2086 # the variable of the loop; one word a process
trap '
    kill $workers 2>/dev/null
    for emulator in "$work"/*/emulator; do
        [ ! -e "$emulator" ] || kill "$(cat "$emulator")" 2>/dev/null
    done
    rm -rf "$work"
' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

sh "$top/tests/boot/image.sh" rescue x86_64 busybox-static,earlyoom,sqlite3,gcc,libc6-dev,xz-utils,util-linux >"$logs/image.log" 2>&1 || { tail -n 3 "$logs/image.log"; exit 1; }
image=$(tail -n 1 "$logs/image.log")

jobs=
for name in $names; do
    for guard in $guards; do
        jobs="$jobs $name.$guard"
    done
done
heading_row
left=${RESCUE_JOBS:-1}
while [ "$left" -gt 0 ]; do
    # shellcheck disable=SC2086 # one word a job
    worker $jobs &
    workers="$workers $!"
    left=$((left - 1))
done
wait
