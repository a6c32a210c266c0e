# shellcheck shell=sh
# What scripts that boot machines share. They read this file; it does nothing by itself. Such a script has `script`, its name, with
# which its lines begin; `top`, the checkout; `table`, which prints what it can run, one a line that begins with a name; and
# run_machine NAME, which runs one of them.
#
# Of the machine that run_machine runs, `dir` is a directory of its own, `log` is for what is said, and `emulator` its process. It
# has a processor of `arch` and `memory` MiB, and is made of `image`.
# shellcheck disable=SC2034,SC2154 # what one side sets for the other

# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
# shellcheck source=scripts/count.sh
. "$top/scripts/count.sh"

# An emulated machine now and then hangs before it has come to its init. That says nothing about any guard.
TRIES=3

has() {
    command -v "$1" >/dev/null 2>&1
}

# row NAME: its line of the table, or nothing.
row() {
    table | awk -v name="$1" '$1 == name'
}

wrong_usage() {
    echo "$script: $*; there are: $(table | awk '{ printf "%s ", $1 }')" >&2
    exit 2
}

# ---- all machines ----

# Sets `logs`, a directory for what is told, `work`, one that goes with the script, and `processors`, how many there are.
set_up() {
    logs=$CARGO_TARGET_DIR/$script
    mkdir -p "$logs" || exit 1
    BOOT_CACHE=${BOOT_CACHE:-${XDG_CACHE_HOME:-${HOME-}/.cache}/oom_guard-boot}
    export BOOT_CACHE
    processors=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
    work=$(mktemp -d) || exit 1
    workers=
    trap end_all EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# A worker that waits for its emulator ends with it, and starts no other without this directory.
end_all() {
    # shellcheck disable=SC2086 # one word a process
    kill $workers 2>/dev/null
    for emulator in "$work"/*/emulator; do
        [ ! -e "$emulator" ] || kill "$(cat "$emulator")" 2>/dev/null
    done
    rm -rf "$work"
}

# run_all WORKERS NAME...: so many machines at a time, and counts what they tell.
run_all() {
    run_left=$1
    shift
    while [ "$run_left" -gt 0 ]; do
        worker "$@" &
        workers="$workers $!"
        run_left=$((run_left - 1))
    done
    wait
    workers=
    # What a worker has counted ended with it.
    for run_result in "$work"/*/result; do
        passed=$((passed + $(grep -c "^ok: $script " "$run_result")))
        failed=$((failed + $(grep -c "^FAILED: $script " "$run_result")))
        skipped=$((skipped + $(grep -c "^skipped: $script " "$run_result")))
    done
}

# worker NAME...: takes one after the other that no other worker has taken.
worker() {
    for worker_name in "$@"; do
        dir=$work/$worker_name
        log=$logs/$worker_name.log
        mkdir "$dir" 2>/dev/null || continue
        run_machine "$worker_name" >"$dir/result" 2>&1
        cat "$dir/result"
    done
}

# ---- what a machine is made of ----

# tarball_for ARCH: the newest, or nothing.
tarball_for() {
    # shellcheck disable=SC2012 # names of our own making
    ls -t "$CARGO_TARGET_DIR/dist/oom_guard-"*"-$1-linux-musl.tar.gz" 2>/dev/null | head -n 1
}

# build WHAT ARGUMENT...: what scripts/build-static.sh makes of the arguments. False if not, which counts.
build() {
    build_what=$1
    shift
    "$top/scripts/build-static.sh" "$@" >"$logs/build.log" 2>&1
    case $? in
    0) return ;;
    3) skip "$script" "nothing here can build a $build_what" ;;
    *) tail -n 5 "$logs/build.log" && fail "$script: no $build_what could be made" ;;
    esac
    return 1
}

# Makes the tarball for x86_64, unless it is that of this checkout.
make_tarball() {
    make_tarball_old=$(tarball_for x86_64)
    if [ -z "$make_tarball_old" ] || [ -n "$(find "$top/src" "$top/init" "$top/scripts/install.sh" "$top/scripts/hook-restart.sh" "$top/README.md" \
        "$top/Cargo.toml" "$top/Cargo.lock" -type f -newer "$make_tarball_old" | head -n 1)" ]; then
        build tarball x86_64
    fi
}

# find_image WHO NAME PACKAGES LOG: sets `image`. False if it cannot be had, or if nothing here emulates it; that is told of WHO.
find_image() {
    for find_tool in "qemu-system-$arch" qemu-img; do
        has "$find_tool" || { skip "$1" "no $find_tool" && return 1; }
    done
    sh "$top/tests/boot/image.sh" "$2" "$arch" "$3" >"$4" 2>&1
    case $? in
    0) image=$(tail -n 1 "$4") ;;
    3) skip "$1" "$(tail -n 1 "$4")" && return 1 ;;
    *) fail "$1: no image could be made:" && tail -n 5 "$4" && return 1 ;;
    esac
}

# What the guest changes stays in this file; the image is as it was made.
make_disk() {
    qemu-img create -q -f qcow2 -b "$image/disk" -F raw "$dir/disk"
}

# ---- a machine that is up ----

# start_emulator APPEND DRIVE ARGUMENT...: its drives are `disk` and `what` of `dir`. APPEND is added to the kernel's command
# line, DRIVE to what is said of the disk.
start_emulator() {
    start_append="console=ttyS0 rw psi=1 quiet panic=-1 devtmpfs.mount=1${1:+ $1}"
    start_disk=if=none,id=root,file=$dir/disk,format=qcow2,cache=unsafe$2
    shift 2
    if [ -e "$image/initrd" ]; then
        [ "$arch" = x86_64 ] || start_append="$start_append console=ttyAMA0"
        set -- -initrd "$image/initrd" -device virtio-blk-pci,drive=root -device virtio-blk-pci,drive=what \
            -append "$start_append root=/dev/vda rootfstype=ext4 modules=virtio_blk,ext4" "$@"
    else
        # Name spaces of one controller: two controllers would be numbered as they happen to answer.
        set -- -device "nvme,id=nvme,serial=$script" -device nvme-ns,drive=root,nsid=1 \
            -device nvme-ns,drive=what,nsid=2 -append "$start_append root=/dev/nvme0n1" "$@"
    fi
    case $arch in
    # Not a microvm: without a PM timer the kernel measures the TSC against the PIT; on a busy host that fails, and the
    # boot hangs.
    # +rdrand: the kernel has random numbers from the start.
    x86_64) set -- -M q35 -accel tcg -cpu qemu64,+rdrand "$@" ;;
    aarch64) set -- -M virt -cpu cortex-a57 "$@" ;;
    esac
    "qemu-system-$arch" -m "$memory" -nodefaults -display none -serial stdio -no-reboot -kernel "$image/kernel" \
        -drive "$start_disk" -drive "if=none,id=what,file=$dir/what,format=raw,readonly=on" "$@" </dev/null >>"$log" 2>&1 &
    emulator=$!
    echo "$emulator" >"$dir/emulator"
}

stop_emulator() {
    kill "$emulator" 2>/dev/null
    wait "$emulator" 2>/dev/null
    rm -f "$dir/emulator"
}

# What the guest has told, on lines of its own. Its console ends lines with \r\n.
guest_lines() {
    tr -d '\r' <"$log" | sed -n 's/^== //p'
}

# wait_for SECONDS PATTERN: until the guest has said so. False if it does not in time, or if the machine has ended.
wait_for() {
    wait_left=$1
    while ! guest_lines | grep -q "$2"; do
        [ "$wait_left" -gt 0 ] || return 1
        # What it wrote last may have come after the look above.
        kill -0 "$emulator" 2>/dev/null || { guest_lines | grep -q "$2" && return || return 1; }
        wait_left=$((wait_left - 1))
        sleep 1
    done
}
