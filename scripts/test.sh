#!/bin/sh
# The tests of this checkout. Call it from anywhere:
#
#   scripts/test.sh          unit and integration tests; formatting, lints and shellcheck if these tools are there
#   scripts/test.sh --all    everything: also as an ordinary user with a static release, with the oldest Rust, for other
#                            processors, on machines with each init system, rescue scenarios, and some seconds of fuzzing
#
# The first needs Rust 1.85 and cc, and installs nothing. The second installs what is missing if it is root on Debian or
# Alpine; it says what before it does so. What cannot be done is skipped, by name and with the reason. Each step is a line with
# the time that it took; its whole output is in target/test. The last line is the total:
#
#   12 passed, 0 failed, 1 skipped
#
# Each test function counts as one, and so does each of the other checks. Exit status: 0 nothing failed, 1 otherwise, 2 wrong
# usage.
set -u

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
cd "$top" || exit 1
# shellcheck source=scripts/count.sh
. scripts/count.sh

all=
if [ "${1-}" = --all ]; then
    all=1
    shift
fi
[ $# -eq 0 ] || {
    echo "usage: scripts/test.sh [--all]" >&2
    exit 2
}

work=$(mktemp -d) || exit 1
logs=$CARGO_TARGET_DIR/test
rm -rf "$logs"
mkdir -p "$logs" || exit 1
background=
clean() {
    for clean_step in $background; do
        kill "$clean_step" 2>/dev/null
    done
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
began=$(date +%s)

has() {
    command -v "$1" >/dev/null 2>&1
}

is_root() {
    [ "$(id -u)" -eq 0 ]
}

# ---- steps ----

# log_of NAME: the file with what a step printed.
log_of() {
    echo "$logs/$(echo "$1" | tr ' /' '--').log"
}

# run NAME COMMAND...: its output goes to the log, its exit status and its seconds to a file beside it.
run() {
    run_log=$(log_of "$1")
    run_began=$(date +%s)
    shift
    "$@" >"$run_log" 2>&1 </dev/null
    echo "$? $(($(date +%s) - run_began))" >"$run_log.end"
}

# start NAME COMMAND...: the same in the background, beside what comes next; `finish` waits for it.
start() {
    echo "beside what follows: $1"
    run "$@" &
    background="$background $!"
}

finish() {
    for finish_step in $background; do
        wait "$finish_step"
    done
    background=
}

# tell KIND NAME: the line of a step that is over, and what it counts. KIND: a `check` passes or fails as a whole, `tests` are
# test programs, a `script` ends with a total of its own.
tell() {
    tell_log=$(log_of "$2")
    read -r tell_status tell_seconds <"$tell_log.end"
    tell_passed=$passed tell_failed=$failed tell_skipped=$skipped
    case $1 in
    check) [ "$tell_status" -eq 0 ] && passed=$((passed + 1)) || failed=$((failed + 1)) ;;
    tests) count_tests "$tell_log" "$2" "$tell_status" >/dev/null ;;
    script) count_script "$tell_log" "$2" >/dev/null ;;
    esac
    tell_failed=$((failed - tell_failed))
    printf '%-34s %5d passed %3d failed %3d skipped %5d s\n' "$2" \
        $((passed - tell_passed)) "$tell_failed" $((skipped - tell_skipped)) "$tell_seconds"
    # Behind the dots of other tests, a line of one that is skipped may begin anywhere. A reason that holds for many is told once.
    sed -n 's/^.*skip: //p; s/^skipped: //p' "$tell_log" | sort -u |
        awk -F ': ' '
            { why = substr($0, length($1) + 3); which[why] = $1; if (!times[why]++) reasons[++count] = why }
            END {
                for (i = 1; i <= count; i++) {
                    why = reasons[i]
                    print "    skipped: " (times[why] > 1 ? times[why] " tests" : which[why]) ": " why
                }
            }'
    [ "$tell_failed" -eq 0 ] || tail -n 300 "$tell_log" | sed 's/^/    /'
}

# step KIND NAME COMMAND...
step() {
    step_kind=$1
    shift
    # On a terminal the line of a step that runs is overwritten when it is over.
    [ ! -t 1 ] || printf '%s ...\r' "$1"
    run "$@"
    tell "$step_kind" "$1"
}

# ---- Rust ----

if [ -n "$all" ]; then
    scripts/tools.sh
fi
if ! has cargo; then
    # rustup puts it where a shell without the user's profile does not look.
    PATH=$PATH:${CARGO_HOME:-${HOME-}/.cargo}/bin
    export PATH
fi
cargo --version 2>/dev/null | awk '{ split($2, part, "."); new = part[1] > 1 || part[2] >= 85 } END { exit !new }' || {
    echo "test.sh: the tests need Rust 1.85 or later, but cargo says: $(cargo --version 2>&1 | head -n 1)" >&2
    exit 1
}
has cc || {
    echo "test.sh: there is no cc, which Rust links with: install gcc and the C library's development files" >&2
    exit 1
}
cargo --version

# ---- the tests themselves ----

# The paths of all test programs, one a line: unit tests first, since they are the quickest to tell of a mistake.
list_programs() {
    cargo test --no-run --quiet --message-format=json-render-diagnostics >"$work/build" || return 1
    # One object a line; those of a test program name its kind and its path.
    for list_kind in bin test; do
        sed -n '/"profile":{[^}]*"test":true/!d; /"kind":\["'$list_kind'"\]/s/.*"executable":"\([^"]*\)".*/\1/p' "$work/build"
    done >"$work/programs"
    [ -s "$work/programs" ]
}

# target/debug/deps/NAME-HASH: the name.
name_of() {
    name_file=${1##*/}
    echo "${name_file%-*}"
}

# test_program COMMAND...: runs a test program, the last word. Most tests wait for processes: four for each processor take a
# third of the time. Those that fill processors or memory would only disturb each other: one at a time.
test_program() {
    for test_path in "$@"; do :; done
    case $(name_of "$test_path") in
    forkbomb | real_memory | real_kills | innocents) test_threads=1 ;;
    *) test_threads=$((4 * $(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1))) ;;
    esac
    "$@" --quiet --test-threads="$test_threads"
}

lint() {
    cargo clippy --quiet --all-targets -- -D warnings && cargo clippy --quiet --no-default-features -- -D warnings
}

step check "build the tests" list_programs
[ "$failed" -eq 0 ] || { total && exit; exit 1; }

if cargo fmt --version >/dev/null 2>&1; then
    step check "cargo fmt" cargo fmt --check
else
    skip "cargo fmt" "this Rust has no rustfmt"
fi

# ---- scripts ----

# Every file of the checkout that a shell runs: by its ending, its name, or its first line.
list_scripts() {
    find . \( -name target -o -name .git \) -prune -o -type f -print | while read -r list_file; do
        case $list_file in
        *.sh | *.bash | */APKBUILD) echo "$list_file" ;;
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
    list_scripts >"$work/scripts"
    while read -r shellcheck_file; do
        case $shellcheck_file:$(head -n 1 "$shellcheck_file") in
        */APKBUILD:*) shellcheck -s sh -e SC2034,SC2154 "$shellcheck_file" </dev/null || shellcheck_failed=1 ;;
        *openrc-run | *rc.common) shellcheck -s sh -e SC2034 "$shellcheck_file" </dev/null || shellcheck_failed=1 ;;
        *) shellcheck -x "$shellcheck_file" </dev/null || shellcheck_failed=1 ;;
        esac
    done <"$work/scripts"
    [ "$shellcheck_failed" -eq 0 ] && echo "$(wc -l <"$work/scripts") scripts are clean"
}

if has shellcheck; then
    step check shellcheck shellcheck_scripts
else
    skip shellcheck "it is not installed"
fi

# ---- the static release ----

# For this processor. Tests of its size find it in target/dist; those as an ordinary user use it, and so do machines.
release=$CARGO_TARGET_DIR/dist/oom_guard-linux-$(uname -m)
released=

build_release() {
    # What lies there may be of other sources.
    rm -rf "$CARGO_TARGET_DIR/dist"
    scripts/build-static.sh "$(uname -m)"
    build_status=$?
    # No toolchain here can do it, which only trying shows.
    if [ "$build_status" -eq 3 ]; then
        scripts/tools.sh --release
        scripts/build-static.sh "$(uname -m)"
        build_status=$?
    fi
    return "$build_status"
}

# What needs a release and cannot have it; $1 is what.
without_release() {
    skip "$1" "there is no toolchain to build releases with"
}

if [ -n "$all" ]; then
    run "static release" build_release
    if read -r build_status _ <"$(log_of "static release").end" && [ "$build_status" -eq 3 ]; then
        sed 's/^/    /' "$(log_of "static release")"
        without_release "static release"
    else
        tell check "static release"
        [ "$build_status" -ne 0 ] || released=1
    fi
fi

# ---- tests ----

# The integration tests, the guard (as a release, if there is one) and the tools, copied to where any user may go: the checkout
# may lie below a directory that other users cannot enter.
copy_for_user() {
    mkdir -p "$1/tests" "$1/tools" "$1/tmp"
    # target/debug/deps/NAME lies two steps below the programs themselves.
    copy_debug=$(dirname "$(dirname "$(head -n 1 "$work/programs")")")
    while read -r copy_program; do
        cp "$copy_program" "$1/tests/" || return 1
    done <"$work/programs"
    # Unit tests start nothing, so they have nothing to do with users.
    rm -f "$1/tests"/oom_guard-*
    if [ -n "$released" ]; then cp "$release" "$1/oom_guard"; else cp "$copy_debug/oom_guard" "$1/oom_guard"; fi || return 1
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
    setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs "$@"
}

test_as_user() (
    cd "$work/user/tmp" &&
        test_program as_user env TMPDIR="$work/user/tmp" HOME="$work/user/tmp" GUARD_BIN="$work/user/oom_guard" \
            GUARD_TOOLS="$work/user/tools" GUARD_DIST="$CARGO_TARGET_DIR/dist" "$1"
)

user_name="as an ordinary user"
as_users=
if [ -z "$all" ]; then
    :
elif ! is_root; then
    skip "$user_name" "not root: the tests below run as one"
elif ! as_user true; then
    skip "$user_name" "no setpriv of util-linux"
elif ! copy_for_user "$work/user"; then
    fail "$user_name: the tests could not be copied"
else
    as_users=1
fi

# test_as_each NAME PROGRAM: as the caller, and as an ordinary user if that is another one.
test_as_each() {
    step tests "$1" test_program "$2"
    user_program=$work/user/tests/${2##*/}
    if [ -z "$as_users" ] || ! [ -e "$user_program" ]; then
        return
    fi
    # The path of the checkout is compiled into what reads its sources.
    if grep -q CARGO_MANIFEST_DIR "tests/$1.rs" && ! as_user test -r "$top/Cargo.toml"; then
        skip "$1 $user_name" "it reads the checkout, which that user cannot"
        return
    fi
    step tests "$1, uid 65534" test_as_user "$user_program"
}

# Hundreds of processes that start at once need the processors for themselves.
is_crowded() {
    case $1 in
    forkbomb | innocents) ;;
    *) return 1 ;;
    esac
}

while read -r program; do
    ! is_crowded "$(name_of "$program")" || test_as_each "$(name_of "$program")" "$program"
done <"$work/programs"

# Machines need a processor now and then, the other tests wait most of the time: both at once take little longer than one.
if [ -n "$released" ]; then
    start machines scripts/boot.sh
fi
if cargo clippy --version >/dev/null 2>&1; then
    start "cargo clippy" lint
else
    skip "cargo clippy" "this Rust has no clippy"
fi

while read -r program; do
    is_crowded "$(name_of "$program")" || test_as_each "$(name_of "$program")" "$program"
done <"$work/programs"

finish
if [ -e "$(log_of "cargo clippy").end" ]; then
    tell check "cargo clippy"
fi

# ---- older, other and emulated ----

if [ -n "$all" ]; then
    step script "the oldest Rust" scripts/oldest.sh
    step script "fuzzing, some seconds each" scripts/fuzz.sh 6
    step script "a fresh Debian 13" scripts/fresh.sh --no-tests debian-13
    if [ -n "$released" ]; then
        tell script machines
        # What differs by processor is system calls, sizes and byte layouts: one program of tests for each, the ones that use
        # most of them in least time. All tests for all: scripts/emulate.sh.
        step script "other processors" scripts/emulate.sh aarch64:decisions armv7:messages i686:settings
        # Alone: a machine that has to wait for a processor shows late heartbeats.
        step script "rescue scenarios" scripts/rescue.sh --short
    else
        without_release machines
        without_release "other processors"
        without_release "rescue scenarios"
    fi
fi

echo "it took $(($(date +%s) - began)) s; what was said in full: $logs"
total
