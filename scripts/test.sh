#!/bin/sh
# All checks of this checkout: formatting, lints, all tests as whoever calls it, as root the integration tests once more
# as an ordinary user and with a static release, some of them with releases for other processors, and shellcheck on every
# script. Call it from anywhere:
#
#   scripts/test.sh
#
# Where it is root on Debian or Alpine, it installs the tools that are missing; with all tools there it needs no network.
# What it cannot do it skips, by name and with the reason. The last line is the total:
#
#   12 passed, 0 failed, 1 skipped
#
# Each test function counts as one, and so does each of the other checks. Exit status: 0 nothing failed, 1 otherwise.
set -u

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
cd "$top" || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source=scripts/count.sh
. scripts/count.sh

has() {
    command -v "$1" >/dev/null 2>&1
}

# The path of a program. Not `command -v`: a BusyBox shell may answer with its own applet, which can do less.
path_of() {
    path_left=$PATH:
    while [ -n "$path_left" ]; do
        if [ -x "${path_left%%:*}/$1" ]; then
            echo "${path_left%%:*}/$1"
            return
        fi
        path_left=${path_left#*:}
    done
    return 1
}

# A tool that can do what is needed here.
is_there() {
    case $1 in
    # BusyBox has these two as well, without the options.
    unshare | setpriv) "$(path_of "$1")" --version 2>/dev/null | grep -q util-linux ;;
    busybox) busybox --list 2>/dev/null | grep -qx syslogd ;;
    # A module; another Python may come first in PATH, without the distribution's packages.
    prometheus_client)
        { /usr/bin/python3 -c "import $1.parser" || python3 -c "import $1.parser"; } 2>/dev/null
        ;;
    # Of several Pythons, one that has it.
    pip) { python3 -m pip --version || /usr/bin/python3 -m pip --version; } >/dev/null 2>&1 ;;
    # The sources of the standard library, of which releases are built.
    std-sources)
        for is_there_rustc in rustc /usr/bin/rustc; do
            [ -e "$($is_there_rustc --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/std" ] && return
        done
        return 1
        ;;
    *) has "$1" ;;
    esac
}

is_root() {
    [ "$(id -u)" -eq 0 ]
}

# check NAME COMMAND...: one check that passes or fails as a whole.
check() {
    check_name=$1
    shift
    heading "$check_name"
    if "$@"; then
        passed=$((passed + 1))
    else
        fail "$check_name"
    fi
}

# ---- tools ----

# install_for TOOL DEBIAN_PACKAGES ALPINE_PACKAGES: does nothing where the tool is there or nobody may install it.
install_for() {
    is_there "$1" && return
    is_root || return 0
    if has apt-get; then
        set -- "$1" "$2" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-remove --no-install-recommends
        install_packages=$2
        install_update="apt-get -qq update"
    elif has apk; then
        set -- "$1" "$3" apk add -q
        install_packages=$2
        install_update=true
    else
        return 0
    fi
    install_tool=$1
    shift 2
    echo "installing $install_packages for $install_tool"
    # Without lists of packages, or with old ones, the first try fails. Unquoted on purpose: each may be several words.
    # shellcheck disable=SC2086
    "$@" $install_packages >"$work/install" 2>&1 ||
        { $install_update && "$@" $install_packages; } >"$work/install" 2>&1 ||
        { echo "could not install $install_packages:" && tail -n 3 "$work/install"; }
}

heading tools
install_for shellcheck shellcheck shellcheck
install_for unshare util-linux util-linux-misc
install_for setpriv util-linux setpriv
install_for mandoc mandoc mandoc
install_for cc "gcc libc6-dev" "gcc musl-dev"
install_for busybox busybox busybox
install_for logrotate logrotate logrotate
install_for prometheus_client python3-prometheus-client py3-prometheus-client
install_for dbus-monitor dbus dbus
install_for dunst dunst dunst
install_for Xvfb xvfb xvfb
install_for dash dash dash
install_for runsv runit runit
install_for s6-supervise s6 s6
if ! has cargo; then
    # rustup puts it where a shell without the user's profile does not look.
    PATH=$PATH:${CARGO_HOME:-${HOME-}/.cargo}/bin
    export PATH
fi
has cargo || install_for cargo cargo cargo
install_for std-sources "rustc-web rust-web-src cargo-web lld" rust-src
install_for qemu-aarch64-static qemu-user-static "qemu-aarch64 qemu-arm"
install_for qemu-system-x86_64 qemu-system-x86 qemu-system-x86_64
install_for qemu-img qemu-utils qemu-img
install_for debugfs e2fsprogs e2fsprogs-extra
install_for pip python3-pip py3-pip
# Machines with Debian's kernel are made on a Debian only.
! has apt-get || install_for mmdebstrap mmdebstrap ""
if ! has cargo; then
    fail "no cargo: install Rust 1.70 or later"
    total
    exit 1
fi
cargo --version

# ---- formatting and lints ----

if cargo fmt --version >/dev/null 2>&1; then
    check "cargo fmt" cargo fmt --check
else
    skip "cargo fmt" "this Rust has no rustfmt"
fi
if cargo clippy --version >/dev/null 2>&1; then
    check "cargo clippy" cargo clippy --quiet --all-targets -- -D warnings
    check "cargo clippy without patterns" cargo clippy --quiet --no-default-features -- -D warnings
else
    skip "cargo clippy" "this Rust has no clippy"
fi

# ---- the release ----

# For this processor. Tests of its size find it in target/dist, those as an ordinary user use it.
release=$top/target/dist/oom_guard-linux-$(uname -m)
# What lies there may be of other sources.
rm -rf "$top/target/dist"
heading "static release"
if scripts/build-static.sh "$(uname -m)"; then
    passed=$((passed + 1))
elif is_there std-sources && has ld.lld; then
    fail "static release"
    release=
else
    skip "static release" "there is nothing to build it with"
    release=
fi

# ---- tests ----

heading "tests as $(id -un 2>/dev/null || id -u)"
{
    # One failing program must not hide the others.
    cargo test --quiet --no-fail-fast 2>&1
    echo $? >"$work/status"
} | tee "$work/tests"
count_tests "$work/tests" "cargo test" "$(cat "$work/status")"

# The integration tests, the guard (as a release, where there is one) and the tools, copied to where anybody may go: the checkout may lie below a directory
# that nobody else can enter.
copy_for_user() {
    mkdir -p "$1/tests" "$1/tools" "$1/tmp"
    cargo test --no-run --message-format=json 2>/dev/null |
        # One object a line; those of a test program name its kind and its path.
        sed -n '/"kind":\["test"\]/s/.*"executable":"\([^"]*\)".*/\1/p' >"$1/list"
    [ -s "$1/list" ] || return 1
    while read -r copy_program; do
        cp "$copy_program" "$1/tests/" || return 1
    done <"$1/list"
    # target/debug/deps/NAME lies two steps below the programs themselves.
    copy_debug=$(dirname "$(dirname "$(head -n 1 "$1/list")")")
    cp "${release:-$copy_debug/oom_guard}" "$1/oom_guard" || return 1
    for copy_tool in "$copy_debug"/examples/*; do
        case ${copy_tool##*/} in
        # What cargo keeps for itself carries a hash or an ending.
        *[-.]*) ;;
        *) cp "$copy_tool" "$1/tools/" || return 1 ;;
        esac
    done
    chmod -R a+rX "$work"
    chmod 1777 "$1/tmp"
}

as_user() {
    "$(path_of setpriv)" --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs "$@"
}

tests_as_user() {
    user_status=0
    for user_test in "$1"/tests/*; do
        echo "running ${user_test##*/}"
        as_user env TMPDIR="$1/tmp" HOME="$1/tmp" GUARD_BIN="$1/oom_guard" GUARD_TOOLS="$1/tools" \
            "$user_test" --quiet 2>&1 || user_status=1
    done
    return "$user_status"
}

heading "integration tests as an ordinary user (uid 65534)"
user_name="integration tests as an ordinary user"
if ! is_root; then
    skip "$user_name" "not root: the tests above ran as one"
elif ! is_there setpriv; then
    skip "$user_name" "no setpriv of util-linux"
elif ! copy_for_user "$work/user"; then
    skip "$user_name" "no built integration tests could be copied"
else
    if ! as_user test -r "$top/Cargo.toml"; then
        # The path of the checkout is compiled into what reads its sources.
        for user_source in $(cd tests && grep -l CARGO_MANIFEST_DIR ./*.rs); do
            user_source=$(basename "$user_source" .rs)
            rm -f "$work/user/tests/$user_source"-*
            skip "tests/$user_source.rs as an ordinary user" "it reads the checkout, which that user cannot"
        done
    fi
    {
        (cd "$work/user/tmp" && tests_as_user "$work/user")
        echo $? >"$work/status"
    } | tee "$work/tests"
    count_tests "$work/tests" "$user_name" "$(cat "$work/status")"
fi

# ---- other processors ----

# What differs by processor is system calls, sizes and byte layouts: one program of tests for each, the ones that use most of
# them in least time. All tests for all: scripts/emulate.sh.
if is_there std-sources; then
    scripts/emulate.sh aarch64:decisions armv7:messages i686:settings | tee "$work/emulate"
    count_script "$work/emulate" "other processors"
else
    skip "other processors" "there is nothing to build releases with"
fi

# ---- scripts ----

# Every file of the checkout that a shell runs: by its ending, its name, or its first line.
list_scripts() {
    find . \( -name target -o -name .git \) -prune -o -type f -print | while read -r list_file; do
        case $list_file in
        *.sh | */APKBUILD) echo "$list_file" ;;
        ./.ci/* | ./init/* | ./scripts/* | ./tests/*)
            # Those of OpenRC and of OpenWrt (`#!/bin/sh /etc/rc.common`) are sh, too.
            case $(head -n 1 "$list_file" | tr -d '\0') in
            '#!'*/sh | '#!'*/sh' '* | '#!/usr/bin/env sh' | '#!/sbin/openrc-run') echo "$list_file" ;;
            esac
            ;;
        esac
    done | sort
}

shellcheck_scripts() {
    # The variables of a script for OpenRC or OpenWrt are set for it, and its functions are called by it; a recipe for
    # Alpine is also given some.
    shellcheck_failed=0
    while read -r shellcheck_file; do
        case $shellcheck_file:$(head -n 1 "$shellcheck_file") in
        */APKBUILD:*) shellcheck -s sh -e SC2034,SC2154 "$shellcheck_file" </dev/null || shellcheck_failed=1 ;;
        *openrc-run | *rc.common) shellcheck -s sh -e SC2034 "$shellcheck_file" </dev/null || shellcheck_failed=1 ;;
        *) shellcheck -x "$shellcheck_file" </dev/null || shellcheck_failed=1 ;;
        esac
    done <"$1"
    [ "$shellcheck_failed" -eq 0 ] && echo "$(wc -l <"$1") scripts are clean"
}

if has shellcheck; then
    list_scripts >"$work/scripts"
    check shellcheck shellcheck_scripts "$work/scripts"
else
    skip shellcheck "it is not installed"
fi

# ---- machines ----

# Last, since it takes longest.
heading "machines of each init system"
if is_there std-sources; then
    scripts/boot.sh | tee "$work/boot"
    count_script "$work/boot" machines
else
    skip machines "there is nothing to build releases with"
fi

# Alone: a machine that has to wait for a processor shows late heartbeats.
heading "rescue scenarios"
if is_there std-sources; then
    scripts/rescue.sh --short | tee "$work/rescue"
    count_script "$work/rescue" "rescue scenarios"
else
    skip "rescue scenarios" "there is nothing to build releases with"
fi

total
