#!/bin/sh
# Puts the sources of this checkout, as they are now, where a package is built from them. Call it from anywhere:
#
#   scripts/package/source.sh [DIR]
#
# In DIR (target/package unless named) it makes oom_guard-VERSION.tar.gz, with all files that git knows of in a directory
# oom_guard-VERSION, changes that are not committed included. The path of the tarball is what it prints.
set -eu

top=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
mkdir -p "${1:-$CARGO_TARGET_DIR/package}"
dir=$(CDPATH='' cd -- "${1:-$CARGO_TARGET_DIR/package}" && pwd)
name=oom_guard-$(sed -n 's/^version = "\(.*\)"/\1/p' "$top/Cargo.toml" | head -n 1)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cd "$top"
if [ -e .git ]; then
    git ls-files >"$work/list"
else
    # Unpacked sources: all but what a build has left.
    find . \( -path ./target -o -path ./tests/fuzz/target -o -path ".${CARGO_TARGET_DIR#"$top"}" \) -prune -o \
        \( -type f -o -type l \) -print >"$work/list"
fi
mkdir "$work/$name"
tar -cf - -T "$work/list" | tar -xf - -C "$work/$name"
tar -czf "$dir/$name.tar.gz" -C "$work" "$name"
echo "$dir/$name.tar.gz"
