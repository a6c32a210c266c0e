#!/bin/sh
# Builds the packages for Alpine from this checkout. Call it from anywhere, on Alpine, as whoever builds packages there (in
# the group abuild, with a key of abuild-keygen):
#
#   scripts/package/alpine.sh [OPTION...]
#
# OPTION is for abuild; without any that is -r, which installs what the build needs and removes it again. The packages go to
# where abuild puts them (REPODEST, ~/packages). On another system it makes what abuild needs and stops there:
# target/package/alpine, to be taken to an Alpine.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(CDPATH='' cd -- "$here/../.." && pwd)
# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
dir=$CARGO_TARGET_DIR/package/alpine

rm -rf "$dir"
tarball=$("$here/source.sh" "$dir")
cp "$here/alpine/APKBUILD" "$dir/"
cd "$dir"
# What "abuild checksum" would do.
printf '\nsha512sums="\n%s\n"\n' "$(sha512sum "${tarball##*/}")" >>APKBUILD

if ! command -v abuild >/dev/null; then
    echo "there is no abuild here: take $dir to an Alpine, and call \"abuild -r\" in it"
    exit
fi
[ $# -gt 0 ] || set -- -r
abuild "$@"
