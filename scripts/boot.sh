#!/bin/sh
# Boots small real machines, one for each init system, installs the guard there from its tarball, and does with it what
# people do: start, status, reload, restart, stop, kill it, misconfigure it, let a hog eat all memory, reboot, uninstall.
#
#   scripts/boot.sh [MACHINE...]      all of the table below unless told otherwise, but not those that stand there as "asked"
#
# The machines are emulated, and need neither root nor KVM; making the Debian ones takes root, once. Each prints
# its checks here, and everything to target/boot/MACHINE.log. A machine that cannot be had (no emulator, no network) is
# skipped by name. The last line is the total, as that of scripts/test.sh:
#
#   80 passed, 0 failed, 1 skipped
#
# Environment: BOOT_CACHE, where downloads and images are kept (${XDG_CACHE_HOME:-~/.cache}/oom_guard-boot); BOOT_JOBS,
# how many machines run at a time (as many as there are processors).
# Exit status: 0 nothing failed, 1 otherwise, 2 wrong usage.
set -u

# machine, architecture, MiB of memory, when it runs (always or asked), what it has beyond the essential packages
machines() {
    cat <<'EOF'
systemd        x86_64  256 always systemd-sysv
runit          x86_64  256 always runit-init
sysvinit       x86_64  256 always sysvinit-core,busybox-syslogd
alpine         x86_64  256 always -
s6             x86_64  256 always s6,execline,busybox-static
busybox        x86_64  256 always busybox-static
walkthrough    x86_64  512 always systemd-sysv,stress-ng
alpine-aarch64 aarch64 256 asked  -
EOF
}

# From the start of the emulator to the guest's own first line. Alpine takes 25 s on an idle machine; beside a compiler on
# each processor it was seen to take 60.
START_S=180
# From there to the end or the reboot: 60 s were seen, likewise.
RUN_S=300
# An emulated machine now and then hangs before it has come to its init. That says nothing about the guard.
TRIES=3

# ---- one machine ----

# report KIND TEXT: a line that counts.
report() {
    echo "$1: boot $machine: $2"
}

# boot_once NUMBER: leaves in $boot_end how it ended: end, reboot, dead (it never came to its tests), up (it did not go down
# for the reboot) or stuck.
boot_once() {
    boot=$1
    case $arch in
    # Not a microvm: without a PM timer the kernel measures the TSC against the PIT; on a busy host that fails, and the
    # boot hangs.
    # +rdrand: the kernel has random numbers from the start.
    x86_64) set -- -M q35 -accel tcg -cpu qemu64,+rdrand ;;
    aarch64) set -- -M virt -cpu cortex-a57 ;;
    esac
    set -- "$@" -m "$memory" -nodefaults -display none -serial stdio -no-reboot -kernel "$image/kernel" \
        -drive "if=none,id=root,file=$work/$machine/disk,format=qcow2,cache=unsafe" \
        -drive "if=none,id=what,file=$work/$machine/what,format=raw,readonly=on"
    append="console=ttyS0 rw psi=1 quiet panic=-1 devtmpfs.mount=1"
    if [ -e "$image/initrd" ]; then
        [ "$arch" = x86_64 ] || append="$append console=ttyAMA0"
        set -- "$@" -initrd "$image/initrd" -device virtio-blk-pci,drive=root -device virtio-blk-pci,drive=what \
            -append "$append root=/dev/vda rootfstype=ext4 modules=virtio_blk,ext4"
    else
        # Two name spaces of one controller: two controllers would be numbered as they happen to answer.
        set -- "$@" -device nvme,id=nvme,serial=boot -device nvme-ns,drive=root,nsid=1 \
            -device nvme-ns,drive=what,nsid=2 -append "$append root=/dev/nvme0n1"
    fi
    "qemu-system-$arch" "$@" </dev/null >>"$log" 2>&1 &
    emulator=$!
    echo "$emulator" >"$work/$machine/emulator"
    # Another architecture's processor takes twice the time.
    times=1
    [ "$arch" = x86_64 ] || times=2
    if ! wait_for $((START_S * times)) "^start $boot\$"; then
        boot_end=dead
    elif wait_for $((RUN_S * times)) "^\(end\|reboot $boot\)\$"; then
        boot_end=$(guest_lines | grep -x "end\|reboot $boot")
        if [ "$boot_end" != end ]; then
            # It goes down by itself, services and all.
            boot_end=reboot
            down_left=60
            while kill -0 "$emulator" 2>/dev/null && [ "$down_left" -gt 0 ]; do
                down_left=$((down_left - 1))
                sleep 1
            done
            [ "$down_left" -gt 0 ] || boot_end=up
        fi
    else
        boot_end=stuck
    fi
    kill "$emulator" 2>/dev/null
    wait "$emulator" 2>/dev/null
}

# run_machine NAME: everything about one machine; prints lines that count, and what explains them.
run_machine() {
    machine=$1
    read -r arch memory packages <<EOF
$(machines | awk -v name="$1" '$1 == name { print $2, $3, $5 }')
EOF
    log=$logs/$machine.log
    for tool in "qemu-system-$arch" qemu-img; do
        has "$tool" || { report skipped "no $tool" && return; }
    done
    tarball=$(tarball_for "$arch")
    [ -n "$tarball" ] || { report skipped "no tarball for $arch below target/dist" && return; }

    sh "$top/tests/boot/image.sh" "$machine" "$arch" "$packages" >"$log" 2>&1
    case $? in
    0) image=$(tail -n 1 "$log") ;;
    3) report skipped "$(tail -n 1 "$log")" && return ;;
    *) report FAILED "no image could be made:" && tail -n 5 "$log" && return ;;
    esac
    # What the guest changes stays in this file; the image is as it was made.
    qemu-img create -q -f qcow2 -b "$image/disk" -F raw "$work/$machine/disk" ||
        { report FAILED "no disk could be made" && return; }
    mkdir "$work/$machine/tar"
    cp "$top"/tests/boot/*.sh "$work/$machine/tar/"
    cp "$tarball" "$work/$machine/tar/dist.tar.gz"
    echo "$machine" >"$work/$machine/tar/machine"
    tar -cf "$work/$machine/what" -C "$work/$machine/tar" .

    began=$(date +%s)
    number=1
    tries=0
    while :; do
        boot_once "$number"
        case $boot_end in
        end) break ;;
        reboot)
            number=$((number + 1))
            tries=0
            ;;
        dead)
            tries=$((tries + 1))
            [ "$tries" -lt "$TRIES" ] || break
            ;;
        *) break ;;
        esac
    done
    guest_lines | awk -v machine="$machine" '
        $1 ~ /^(ok|FAILED|skipped)$/ { kind = $1; sub(/^[^ ]* /, ""); print kind ": boot " machine ": " $0 }'
    case $boot_end in
    end) ;;
    dead) report FAILED "boot $number did not come to its tests, $tries times" ;;
    up) report FAILED "it did not go down for a reboot" ;;
    stuck) report FAILED "it did not come to an end; the last check that it printed is above" ;;
    esac
    if [ "$boot_end" != end ] || guest_lines | grep -q '^FAILED'; then
        echo "the last lines of $log:"
        tail -n 30 "$log" | tr -d '\r'
    fi
    rm -rf "$work/$machine/disk" "$work/$machine/emulator"
    echo "boot $machine took $(($(date +%s) - began)) s"
}

# worker MACHINE...: takes one machine after the other that no other worker has taken.
worker() {
    for worker_machine in "$@"; do
        mkdir "$work/$worker_machine" 2>/dev/null || continue
        run_machine "$worker_machine" >"$work/$worker_machine/result" 2>&1
        cat "$work/$worker_machine/result"
    done
}

# ---- all of them ----

for name in "$@"; do
    machines | awk -v name="$name" '$1 == name { found = 1 } END { exit !found }' || {
        echo "boot: no machine $name; there are: $(machines | awk '{ printf "%s ", $1 }')" >&2
        exit 2
    }
done
# shellcheck disable=SC2046 # one word a machine
[ $# -gt 0 ] || set -- $(machines | awk '$4 == "always" { print $1 }')

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
# shellcheck source=scripts/count.sh
. "$top/scripts/count.sh"
# shellcheck source=scripts/machine.sh
. "$top/scripts/machine.sh"
logs=$top/target/boot
mkdir -p "$logs" || exit 1
BOOT_CACHE=${BOOT_CACHE:-${XDG_CACHE_HOME:-${HOME-}/.cache}/oom_guard-boot}
export BOOT_CACHE
work=$(mktemp -d) || exit 1
workers=
# A worker that waits for its emulator ends with it, and starts no other without this directory.
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

make_tarball || {
    fail "boot: no tarball could be made"
    total
    exit
}

left=${BOOT_JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)}
while [ "$left" -gt 0 ]; do
    worker "$@" &
    workers="$workers $!"
    left=$((left - 1))
done
wait

for name in "$work"/*/result; do
    passed=$((passed + $(grep -c '^ok: boot ' "$name")))
    failed=$((failed + $(grep -c '^FAILED: boot ' "$name")))
    skipped=$((skipped + $(grep -c '^skipped: boot ' "$name")))
done
total
