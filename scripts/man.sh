#!/bin/sh
# Writes the man page, init/oom_guard.8, anew from the table of options. Call it from anywhere:
#
#   scripts/man.sh
set -eu

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
cd "$top"
# Whole or not at all.
trap 'rm -f init/oom_guard.8.new' EXIT
cargo run --quiet --example manpage >init/oom_guard.8.new
mv init/oom_guard.8.new init/oom_guard.8
