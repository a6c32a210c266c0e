# shellcheck shell=sh
# What scripts that run tests share: how they count, and how they say it. They read this file; it does nothing by itself.
# `work` is a directory of the script's own.

passed=0
failed=0
skipped=0

heading() {
    printf '\n== %s ==\n' "$*"
}

skip() {
    echo "skipped: $1: $2"
    skipped=$((skipped + 1))
}

fail() {
    echo "FAILED: $1"
    failed=$((failed + 1))
}

# count_of WORD FILE: the sum of the numbers before that word in all lines of results. A test that runs itself once more in a
# world of its own, as the only one of its program, shows a result of that if it fails.
count_of() {
    awk -v word="$1;" '
        /^test result:.* 0 filtered out/ { for (i = 2; i <= NF; i++) if ($i == word) sum += $(i - 1) }
        END { print sum + 0 }
    ' "$2"
}

# Adds up what a run of test programs printed. $1: the file, $2: what ran, $3: its exit status.
count_tests() {
    count_failed=$(count_of failed "$1")
    # A test that cannot do its work here says so, and counts as passed for the test program. In short output the line
    # may follow the dots of others.
    count_skips=$(grep -c '^[.a-z0-9/ ]*skip: ' "$1")
    passed=$((passed + $(count_of passed "$1") - count_skips))
    failed=$((failed + count_failed))
    skipped=$((skipped + $(count_of ignored "$1") + count_skips))
    # A program that could not be built, or that died, says no result.
    if [ "$3" -ne 0 ] && [ "$count_failed" -eq 0 ]; then
        fail "$2"
    fi
}

# Adds the total of another script, its last line. $1: the file, $2: what ran.
count_script() {
    # Words of the line are the fields.
    # shellcheck disable=SC2046
    set -- "$2" $(sed -n '$s/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$1")
    if [ $# -ne 4 ]; then
        fail "$1: it did not come to its end"
        return
    fi
    passed=$((passed + $2))
    failed=$((failed + $3))
    skipped=$((skipped + $4))
}

# Prints the last line, and is what the script ends with.
total() {
    heading total
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}
