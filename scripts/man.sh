#!/bin/sh
# Writes anew what is made from the table of options: the man pages, init/oom_guard.8 and init/oom_guard.conf.5, and the
# completions for shells in init/completions. Call it from anywhere:
#
#   scripts/man.sh
set -eu

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
cd "$top"
trap 'rm -f init/made.new' EXIT

# make_file FILE EXAMPLE ARGUMENT...: what the example prints, whole or not at all.
make_file() {
    make_to=$1
    make_example=$2
    shift 2
    cargo run --quiet --example "$make_example" -- "$@" >init/made.new
    mv init/made.new "$make_to"
}

mkdir -p init/completions
make_file init/oom_guard.8 manpage
make_file init/oom_guard.conf.5 manpage --conf
make_file init/completions/oom_guard.bash completions bash
make_file init/completions/_oom_guard completions zsh
make_file init/completions/oom_guard.fish completions fish
