#!/bin/sh
# Boots small real machines, one for each init system, installs the guard there from its tarball, and does with it what
# people do: start, status, reload, restart, stop, kill it, misconfigure it, let a hog or a service eat all memory, reboot, uninstall.
#
#   scripts/boot.sh [MACHINE...]      all of the table below unless told otherwise, but not those that stand there as "asked"
#
# The machines are emulated, and need neither root nor KVM; making the Debian ones takes root, once. Each prints
# its checks here, and everything to target/boot/MACHINE.log. A machine that cannot be had (no emulator, no network) is
# skipped by name. The last line is the total, as that of scripts/test.sh:
#
#   240 passed, 0 failed, 1 skipped
#
# Environment: BOOT_CACHE, where downloads and images are kept (${XDG_CACHE_HOME:-~/.cache}/oom_guard-boot); BOOT_JOBS,
# how many machines run at a time (as many as there are processors).
# Exit status: 0 nothing failed, 1 otherwise, 2 wrong usage.
set -u

# machine, architecture, MiB of memory, when it runs (always or asked), what it has beyond the essential packages. A walkthrough
# types what README.md says, on this machine's Debian unless its name says another system.
table() {
    cat <<'EOF'
systemd        x86_64  256 always systemd-sysv
runit          x86_64  256 always runit-init
sysvinit       x86_64  256 always sysvinit-core,busybox-syslogd
alpine         x86_64  256 always -
s6             x86_64  256 always s6,execline,busybox-static
busybox        x86_64  256 always busybox-static
walkthrough    x86_64  512 always systemd-sysv
walkthrough-13 x86_64  512 always systemd-sysv
walkthrough-alpine         x86_64  512 always -
walkthrough-alpine-aarch64 aarch64 512 asked  -
alpine-aarch64 aarch64 256 asked  -
EOF
}

# From the start of the emulator to the guest's own first line. Alpine takes 25 s on an idle machine; beside a compiler on
# each processor it was seen to take 60.
START_S=180
# From there to the end or the reboot: 60 s were seen, likewise.
RUN_S=300

# ---- one machine ----

# boot_once NUMBER: leaves in $boot_end how it ended: end, reboot, dead (it never came to its tests), up (it did not go down
# for the reboot) or stuck.
boot_once() {
    boot=$1
    start_emulator "" ""
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
    stop_emulator
}

# run_machine NAME: everything about one machine; prints lines that count, and what explains them.
run_machine() {
    machine=$1
    read -r _ arch memory _ packages <<EOF
$(row "$machine")
EOF
    tarball=$(tarball_for "$arch")
    [ -n "$tarball" ] || { skip "boot $machine" "no tarball for $arch in $CARGO_TARGET_DIR/dist" && return; }
    case $machine in
    walkthrough-alpine*) image_name=${machine#walkthrough-} ;;
    *) image_name=$machine ;;
    esac
    # Two machines may want the same one.
    until mkdir "$work/image-$image_name" 2>/dev/null; do sleep 1; done
    find_image "boot $machine" "$image_name" "$packages" "$log"
    image_status=$?
    rmdir "$work/image-$image_name"
    [ "$image_status" -eq 0 ] || return
    make_disk || { fail "boot $machine: no disk could be made" && return; }
    mkdir "$dir/tar"
    cp "$top"/tests/boot/*.sh "$dir/tar/"
    cp "$tarball" "$dir/tar/dist.tar.gz"
    echo "$machine" >"$dir/tar/machine"
    tar -cf "$dir/what" -C "$dir/tar" .

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
    dead) fail "boot $machine: boot $number did not come to its tests, $tries times" ;;
    up) fail "boot $machine: it did not go down for a reboot" ;;
    stuck) fail "boot $machine: it did not come to an end; the last check that it printed is above" ;;
    esac
    if [ "$boot_end" != end ] || guest_lines | grep -q '^FAILED'; then
        echo "the last lines of $log:"
        tail -n 30 "$log" | tr -d '\r'
    fi
    rm -f "$dir/disk"
    echo "boot $machine took $(($(date +%s) - began)) s"
}

# ---- all of them ----

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
script=boot
# shellcheck source=scripts/machine.sh
. "$top/scripts/machine.sh"

for name in "$@"; do
    [ -n "$(row "$name")" ] || wrong_usage "no machine $name"
done
# shellcheck disable=SC2046 # one word a machine
[ $# -gt 0 ] || set -- $(table | awk '$4 == "always" { print $1 }')

set_up
make_tarball || { total; exit; }
run_all "${BOOT_JOBS:-$processors}" "$@"
total
