#!/bin/sh
# Draws pictures of what scripts/rescue.sh and scripts/bench.sh have measured. Call it from anywhere:
#
#   scripts/plot.sh [--out DIR] [gaps] [scan] [memory [SCENARIO]]      all three unless told otherwise
#
# gaps     the longest time that a program needed, for each scenario, with no guard, with earlyoom and with this guard
# scan     what one scan costs, over the number of processes
# memory   available memory over time, in one scenario (cache-thrash), without and with this guard
#
# The first two show the tables of figures in tests/rescue/README.md, or in the file that FIGURES names. The third needs what
#
#   scripts/rescue.sh SCENARIO --guard none --guard ours
#
# has left in target/rescue, or in the directory that LOGS names. Each picture is a file of DIR (tests/rescue), such as
# gaps.svg, legible on light and on dark. Needs nothing but awk, and draws the same of the same figures.
#
# Exit status: 0 all is drawn, 1 figures are missing, 2 wrong usage.
set -u

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
out=$top/tests/rescue
logs=${LOGS:-$CARGO_TARGET_DIR/rescue}
scenario=cache-thrash
pictures=

wrong_usage() {
    echo "usage: plot.sh [--out DIR] [gaps] [scan] [memory [SCENARIO]]" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --out)
        [ $# -ge 2 ] || wrong_usage
        out=$2
        shift
        ;;
    gaps | scan) pictures="$pictures $1" ;;
    memory)
        pictures="$pictures memory"
        case ${2-} in
        '' | --out | gaps | scan | memory) ;;
        *)
            scenario=$2
            shift
            ;;
        esac
        ;;
    *) wrong_usage ;;
    esac
    shift
done

# What a picture is drawn from.
figures() {
    case $1 in
    gaps | scan)
        cat "${FIGURES:-$top/tests/rescue/README.md}"
        ;;
    memory)
        for guard in none earlyoom ours; do
            [ -e "$logs/$scenario.$guard.log" ] || continue
            echo "guard $guard"
            tr -d '\r' <"$logs/$scenario.$guard.log" | sed -n 's/^== //p'
        done
        ;;
    esac
}

status=0
for picture in ${pictures:-gaps scan memory}; do
    # Whole or not at all.
    if figures "$picture" | LC_ALL=C awk -v picture="$picture" -v scenario="$scenario" -f "$top/scripts/plot.awk" >"$out/.$picture.$$"; then
        mv "$out/.$picture.$$" "$out/$picture.svg"
        echo "$out/$picture.svg"
    else
        rm -f "$out/.$picture.$$"
        status=1
    fi
done
exit "$status"
