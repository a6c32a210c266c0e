#!/bin/sh
# Builds the package for Debian and what comes of it. Call it from anywhere:
#
#   scripts/package/debian.sh [--static] [OPTION...]
#
#   --static    with the program of releases (scripts/build-static.sh): a tenth of the memory, no C library of the
#               machine is needed, and "-a arm64" builds for another architecture with no other compiler
#   OPTION      for dpkg-buildpackage
#
# The package comes to target/package/debian. debian/ has to lie at the top of the sources that are built, so they are
# copied there with it; the checkout stays as it is.
#
# It needs dpkg-dev, debhelper, and Rust 1.78 or later (with --static 1.85): rustup's, or Debian's packages (bookworm: cargo-web
# and rustc-web).
# cargo fetches two crates unless it has them.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(CDPATH='' cd -- "$here/../.." && pwd)
# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
dir=$CARGO_TARGET_DIR/package/debian

profiles=nocheck
if [ "${1-}" = --static ]; then
    shift
    profiles=$profiles,pkg.oom-guard.static
fi
for tool in dpkg-buildpackage dh; do
    if ! command -v "$tool" >/dev/null; then
        echo "debian.sh: there is no $tool: install dpkg-dev and debhelper" >&2
        exit 1
    fi
done

rm -rf "$dir"
tarball=$("$here/source.sh" "$dir")
tar -xzf "$tarball" -C "$dir"
rm "$tarball"
sources=${tarball%.tar.gz}
cp -R "$here/debian" "$sources/debian"

cd "$sources"
set -- -b -us -uc "$@"
# A toolchain of rustup's is none of Debian's packages.
if ! missing=$(dpkg-checkbuilddeps -P "$profiles" 2>&1); then
    echo "debian.sh: going on all the same: $missing" >&2
    set -- -d "$@"
fi
# A checkout has scripts/test.sh for tests; a build without this variable runs those that need nothing but a processor.
DEB_BUILD_OPTIONS="nocheck ${DEB_BUILD_OPTIONS-}" dpkg-buildpackage -P"$profiles" "$@"
rm -rf "$sources"
ls "$dir"
