#!/bin/sh
# Fuzzes what reads the text of others. Call it from anywhere:
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]    each target so long, 10 seconds unless given; all targets of tests/fuzz unless named
#
# It needs Rust, a C++ compiler, and a network for libFuzzer; no nightly Rust, no cargo-fuzz. What is found lies in
# target/fuzz/found: a file, with which the program that found it, or the plain test of that corpus, fails again. What leads to
# new code is kept in target/fuzz/corpus for the next run; tests/fuzz/corpus stays as it is. The last line is the total:
#
#   7 passed, 0 failed, 0 skipped
#
# Exit status: 0 nothing failed, 1 otherwise, 2 wrong usage.
set -u

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
cd "$top" || exit 1
# shellcheck source=scripts/count.sh
. scripts/count.sh

seconds=${1-10}
[ $# -eq 0 ] || shift
case $seconds in
'' | *[!0-9]* | 0)
    echo "usage: scripts/fuzz.sh [SECONDS [TARGET...]]" >&2
    exit 2
    ;;
esac
[ $# -gt 0 ] || {
    for file in tests/fuzz/fuzz_targets/*.rs; do
        set -- "$@" "$(basename "$file" .rs)"
    done
}
manifest=tests/fuzz/Cargo.toml
work=$CARGO_TARGET_DIR/fuzz
mkdir -p "$work/found" || exit 1

# What libFuzzer needs to be told by the program; as cargo-fuzz has it. With --target, build scripts are built without.
build() {
    RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
        -Cllvm-args=-sanitizer-coverage-trace-compares" \
        cargo build --quiet --release --manifest-path "$manifest" --target "$host" --target-dir "$work/build" "$@"
}

# The corpus that others have found comes after the one that grows.
fuzz() {
    mkdir -p "$work/corpus/$1" || return 1
    "$work/build/$host/release/$1" "$work/corpus/$1" "tests/fuzz/corpus/$1" -max_total_time="$seconds" -timeout=60 \
        -artifact_prefix="$work/found/$1-" -print_final_stats=1 >"$work/$1.log" 2>&1
}

host=$(rustc -vV | sed -n 's/^host: //p')
if ! c++ --version >/dev/null 2>&1; then
    skip fuzzing "there is no C++ compiler"
elif ! cargo fetch --quiet --manifest-path "$manifest"; then
    skip fuzzing "libFuzzer cannot be fetched"
elif ! build --package libfuzzer-sys; then
    skip fuzzing "libFuzzer cannot be built here"
elif ! build; then
    fail "the targets of tests/fuzz cannot be built"
else
    for target in "$@"; do
        if fuzz "$target"; then
            sed -n "s/^#\([0-9]*\)[[:blank:]]*DONE/$target: \1 times,/p" "$work/$target.log"
            passed=$((passed + 1))
        else
            tail -n 100 "$work/$target.log"
            fail "$target"
        fi
    done
fi
total
