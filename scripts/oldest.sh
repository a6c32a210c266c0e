#!/bin/sh
# Builds the program with the oldest Rust that Cargo.toml promises, with its default features and without any. Call it from
# anywhere:
#
#   scripts/oldest.sh
#
# That Rust is the one of Debian 11. Its packages are downloaded once, then unpacked and kept in target/oldest (500 MB); nothing
# is installed, and it needs no root. What it cannot do it skips, by name and with the reason. The last line is the total, as
# that of scripts/test.sh:
#
#   2 passed, 0 failed, 0 skipped
#
# Environment: OLDEST_MIRROR, where Debian 11 is (the mirror of this machine's own Debian).
# Exit status: 0 nothing failed, 1 otherwise.
set -u

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
cd "$top" || exit 1
# shellcheck source=scripts/count.sh
. scripts/count.sh

promised=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
dir=$CARGO_TARGET_DIR/oldest

cannot() {
    skip "Rust $promised" "$1"
    total
    exit
}

# ---- the compiler ----

fetch() {
    for fetch_tool in apt-get apt-config dpkg-deb; do
        command -v "$fetch_tool" >/dev/null || cannot "no $fetch_tool"
    done
    architecture=
    eval "$(apt-config shell architecture APT::Architecture)"
    mirror=${OLDEST_MIRROR:-$(own_mirror)}
    [ -n "$mirror" ] || cannot "no mirror of Debian is known"
    # What comes with any C compiler need not be downloaded.
    cat >"$dir/status" <<EOF
Package: c-compiler-of-this-machine
Status: install ok installed
Version: 99
Architecture: $architecture
Maintainer: none
Description: none
Provides: binutils (= 99), c-compiler, debconf-2.0, gcc (= 99), libc-dev, libc6 (= 99), libgcc-s1 (= 99), libstdc++6 (= 99)
EOF
    for keys in /usr/share/keyrings/debian-archive-keyring.*; do
        [ -e "$keys" ] || cannot "no keys of Debian: install debian-archive-keyring"
    done
    echo "deb [signed-by=$keys] $mirror bullseye main" >"$dir/sources.list"
    set -- "$dir" "$architecture" -o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=-
    { own_apt "$@" update && own_apt "$@" install -y --no-install-recommends --download-only rustc-web cargo-web; } \
        >"$dir/log" 2>&1 || cannot "Debian 11's Rust could not be downloaded: $(tail -n 1 "$dir/log")"
    rm -rf "$dir/unpacked"
    mkdir "$dir/unpacked"
    for package in "$dir"/archives/*.deb; do
        # BusyBox's dpkg cannot unpack, its dpkg-deb can.
        dpkg-deb -x "$package" "$dir/unpacked" || cannot "$package could not be unpacked"
    done
    rm -rf "$dir/archives" "$dir/lists"
    mv "$dir/unpacked" "$dir/root"
}

# Where this machine has its packages from.
own_mirror() {
    own_apt "$dir" "$architecture" update >/dev/null 2>&1
    # shellcheck disable=SC2016 # apt-get's own variables
    own_apt "$dir" "$architecture" indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
        awk -v suite="$(. /etc/os-release && echo "${VERSION_CODENAME-}")" '$2 == suite { print $1; exit }'
}

# ---- builds ----

# with_oldest COMMAND...: with this compiler, its libraries and its cargo, which keeps its crates apart from those of others.
with_oldest() {
    (
        for library in "$dir"/root/usr/lib/*-linux-gnu* "$dir"/root/lib/*-linux-gnu*; do
            LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$library
        done
        PATH=$dir/bin:$dir/root/usr/bin:$PATH
        RUSTC=$dir/root/usr/bin/rustc
        CARGO_HOME=$dir/cargo
        CARGO_TARGET_DIR=$dir/build
        export LD_LIBRARY_PATH PATH RUSTC CARGO_HOME CARGO_TARGET_DIR
        "$@"
    )
}

# builds NAME ARGUMENT...
builds() {
    name=$1
    shift
    if with_oldest cargo build --quiet --locked "$@" >"$dir/log" 2>&1; then
        echo "ok: $name"
        passed=$((passed + 1))
    # The number of an error of curl's.
    elif grep -q '^  \[[0-9]*\] ' "$dir/log"; then
        skip "$name" "crates could not be downloaded"
    else
        cat "$dir/log"
        fail "$name"
    fi
}

c_compiler=$(command -v cc) || cannot "no cc"
mkdir -p "$dir"
[ -d "$dir/root" ] || fetch
# This machine's linker wants this machine's libraries.
mkdir -p "$dir/bin"
printf '#!/bin/sh\nunset LD_LIBRARY_PATH\nexec "%s" "$@"\n' "$c_compiler" >"$dir/bin/cc"
chmod +x "$dir/bin/cc"

version=$(with_oldest rustc --version | cut -d ' ' -f 2)
case $version in
"$promised" | "$promised".*)
    builds "Rust $version"
    builds "Rust $version --no-default-features" --no-default-features
    ;;
*) fail "Cargo.toml promises Rust $promised, but Debian 11 has \"$version\"" ;;
esac
total
