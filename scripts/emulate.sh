#!/bin/sh
# Runs the integration tests against release binaries for other processors, on this x86_64 machine. Call it from anywhere:
#
#   scripts/emulate.sh [TARGET[:TEST...]]...
#
# TARGET: aarch64, armv7 and i686 (these three unless named), armv6. scripts/build-static.sh builds what is not in target/dist
# yet. The tests themselves and the processes that they end are those of this machine; only the guard is of the other one.
# TEST: names of files in tests, without .rs; all that start the guard unless named.
#
# i686 runs as it is. For the others the kernel is told to start them in qemu-user (package qemu-user-static), which needs root,
# and told to forget it afterwards. What emulation cannot do is skipped by name. The last line is the total, as of
# scripts/test.sh. Exit status: 0 nothing failed, 1 otherwise.
set -u

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
cd "$top" || exit 1
# shellcheck source=scripts/count.sh
. scripts/count.sh
work=$(mktemp -d) || exit 1
registered=
clean() {
    for handler in $registered; do
        echo -1 >"$binfmt/$handler"
    done
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

binfmt=/proc/sys/fs/binfmt_misc

# Bytes 0 to 19 of an ELF file tell class, byte order and machine (elf(5)); the type and the system do not matter.
magic_32='\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00'
magic_64='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'

# Has the kernel start such binaries in qemu-user. F: the emulator is opened now, so that it is found from any root.
emulate() {
    case $1 in
    aarch64) qemu=qemu-aarch64-static magic=$magic_64'\xb7\x00' ;;
    armv*) qemu=qemu-arm-static magic=$magic_32'\x28\x00' ;;
    *) return 1 ;;
    esac
    qemu=$(command -v $qemu) && [ "$(id -u)" -eq 0 ] || return 1
    [ -e $binfmt/register ] || mount -t binfmt_misc none $binfmt || return 1
    # The backslashes are for the kernel.
    printf '%s\n' ":oom_guard-$1:M::$magic:$mask:$qemu:F" >$binfmt/register || return 1
    registered="$registered oom_guard-$1"
}

runs() {
    "$guard" --version >/dev/null 2>&1
}

# All files of tests that start the guard.
all_tests() {
    for test_file in tests/*.rs; do
        ! grep -q 'mod common\|GUARD_BIN' "$test_file" || basename "$test_file" .rs
    done
}

test_target() {
    target=${1%%:*}
    tests=$(echo "${1#"$target"}" | tr : ' ')
    guard=$CARGO_TARGET_DIR/dist/oom_guard-linux-$target
    if ! [ -e "$guard" ]; then
        scripts/build-static.sh "$target"
        case $? in
        0) ;;
        3) skip "tests of $target" "nothing here can build for it" && return ;;
        *) fail "tests of $target: it could not be built" && return ;;
        esac
    fi
    case $target in
    i686 | "$(uname -m)") emulated= ;;
    *) emulated=$target ;;
    esac
    # This machine may know how to start them already.
    if ! runs && ! { emulate "$target" && runs; }; then
        skip "tests of $target" "$guard does not run here (qemu-user-static, root and binfmt_misc are needed)"
        return
    fi
    heading "tests of $target${emulated:+, emulated}"
    set --
    for test in ${tests:-$(all_tests)}; do
        set -- "$@" --test "$test"
    done
    {
        GUARD_BIN=$guard GUARD_EMULATED=$emulated cargo test --quiet --no-fail-fast "$@" 2>&1
        echo $? >"$work/status"
    } | tee "$work/tests"
    count_tests "$work/tests" "tests of $target" "$(cat "$work/status")"
}

if [ $# -eq 0 ]; then
    set -- aarch64 armv7 i686
fi
for argument in "$@"; do
    test_target "$argument"
done
total
