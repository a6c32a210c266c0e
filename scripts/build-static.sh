#!/bin/sh
# Builds fully static binaries, and a tarball with services and documents for each. Call it from anywhere:
#
#   scripts/build-static.sh [--size | --plain | --tools] [TARGET...]
#
# TARGET: x86_64, aarch64, armv7 and i686 (these four unless named), armv6 (Pi Zero) and riscv64.
#   --size    releases (the default): the standard library is compiled with the program, without text for panics
#   --plain   the stable toolchain with the standard library as it comes; needs rustup's target
#   --tools   not the program, but hog and pulse of tests/tools, for machines without a C library; in target/tools
#
# Results in target/dist: the binaries, oom_guard-VERSION-TARGET-linux-musl.tar.gz, and SHA256SUMS over all of them.
#
# Besides a Rust toolchain it needs, for --size: the standard library's sources (rustup's component rust-src, or Debian's
# packages rustc-web, rust-web-src and cargo-web), and for the C library rustup's target or Debian's musl-dev, which for other
# architectures is fetched and unpacked below target/. A linker of any architecture comes with rustup; else it is Debian's lld.
# What is missing is told; nothing is installed.
set -eu

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$top"
dist=$top/target/dist
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

die() {
    echo "build-static.sh: $*" >&2
    exit 1
}

wrong_usage() {
    echo "build-static.sh: $*" >&2
    echo "usage: scripts/build-static.sh [--size | --plain | --tools] [x86_64 | aarch64 | armv7 | i686 | armv6 | riscv64]..." >&2
    exit 2
}

# Sets what a name stands for: Rust's triple, and whose musl-dev has its C library. Debian's armhf is for ARMv7, so its library
# must not go into a binary for an ARMv6.
describe() {
    features=
    case $1 in
    x86_64) triple=x86_64-unknown-linux-musl debian=amd64 ;;
    aarch64) triple=aarch64-unknown-linux-musl debian=arm64 ;;
    # Every ARMv7 with Linux has Thumb-2, which takes a fifth less than ARM's own instructions.
    armv7) triple=armv7-unknown-linux-musleabihf debian=armhf features='-C target-feature=+thumb-mode' ;;
    i686) triple=i686-unknown-linux-musl debian=i386 ;;
    armv6) triple=arm-unknown-linux-musleabihf debian='' ;;
    riscv64) triple=riscv64gc-unknown-linux-musl debian=riscv64 ;;
    *) wrong_usage "\"$1\" is not a target" ;;
    esac
}

# ---- toolchain ----

# The toolchain of PATH first, then Debian's, which rustup may hide. Sets `cargo` and `RUSTC`.
use_toolchain() {
    case $1 in
    path) cargo=cargo RUSTC=rustc ;;
    debian) cargo=/usr/bin/cargo RUSTC=/usr/bin/rustc ;;
    esac
    export RUSTC
    command -v "$cargo" >/dev/null && command -v "$RUSTC" >/dev/null
}

sysroot() {
    "$RUSTC" --print sysroot
}

# Unstable options in a stable compiler: Rust's own way to build a standard library (as its bootstrap does).
knows_immediate_abort() {
    RUSTC_BOOTSTRAP=1 "$RUSTC" -Zunstable-options -Cpanic=immediate-abort --print sysroot >/dev/null 2>&1
}

has_sources() {
    [ -e "$(sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ] && knows_immediate_abort
}

# rustup's target, compiled as it comes; its C library lies beside it.
has_target() {
    [ -e "$(sysroot)/lib/rustlib/$triple/lib/self-contained/libc.a" ]
}

first_toolchain_that() {
    for toolchain in path debian; do
        use_toolchain "$toolchain" && "$1" && return
    done
    return 1
}

# The linker that links for every architecture.
find_linker() {
    for linker in "$(sysroot)"/lib/rustlib/*/bin/rust-lld "$(command -v rust-lld)" "$(command -v ld.lld)"; do
        [ -x "$linker" ] && return
    done
    die "no linker for other architectures: install lld"
}

# ---- the C library ----

# Directory with musl's libc.a and crt1.o of Debian architecture $1; what is not there is fetched, unpacked and kept. A package
# manager with lists of its own needs no root, and this machine's architectures stay as they are.
debian_musl() {
    case $1 in
    amd64) musl_name=x86_64-linux-musl ;;
    arm64) musl_name=aarch64-linux-musl ;;
    armhf) musl_name=arm-linux-musleabihf ;;
    i386) musl_name=i386-linux-musl ;;
    *) musl_name=$1-linux-musl ;;
    esac
    musl_from=/usr/lib/$musl_name
    [ -e "$musl_from/libc.a" ] && return
    musl_apt=$top/target/musl-dev/$1
    musl_from=$musl_apt/root/usr/lib/$musl_name
    [ -e "$musl_from/libc.a" ] && return
    command -v apt-get >/dev/null || return 1
    echo "fetching musl-dev for $1" >&2
    mkdir -p "$musl_apt/lists/partial" "$musl_apt/archives/partial"
    : >"$musl_apt/status"
    set -- -qq -o "APT::Architecture=$1" -o "APT::Architectures=$1" -o "Dir::State::Lists=$musl_apt/lists" \
        -o "Dir::State::Status=$musl_apt/status" -o "Dir::Cache=$musl_apt" -o APT::Sandbox::User=root
    # A source that does not know the architecture is no reason to stop.
    apt-get "$@" update >/dev/null 2>&1 || true
    (cd "$musl_apt" && apt-get "$@" download musl-dev >/dev/null 2>&1) || return 1
    dpkg -x "$musl_apt"/musl-dev_*.deb "$musl_apt/root"
    rm -rf "$musl_apt/lists" "$musl_apt"/*.deb
    [ -e "$musl_from/libc.a" ]
}

# Sets `musl`, the option that names the C library; without it, it lies beside rustup's target. The unwinder and gcc's crtbegin
# are for exceptions and destructors, of which there are none; a linker takes an empty script in their place. An unwinder that
# is there leaves parts of the C library behind.
find_musl() {
    musl=$top/target/musl-dev/link-$triple
    mkdir -p "$musl"
    for musl_file in crtbegin.o crtend.o libunwind.a; do
        echo '/* nothing is needed of it */' >"$musl/$musl_file"
    done
    if ! has_target; then
        [ -n "$debian" ] && debian_musl "$debian" || return 1
        for musl_file in crt1.o crti.o crtn.o libc.a; do
            ln -sf "$musl_from/$musl_file" "$musl/$musl_file"
        done
    fi
    musl="-L native=$musl"
}

# ---- build ----

# The program with a standard library made for it: a panic ends the process at once, without text or tables for unwinding.
# Each at its own address: a position-independent static binary would have to relocate, and so own, pages that are now shared.
build_with_std() {
    find_linker
    export RUSTC_BOOTSTRAP=1
    # shellcheck disable=SC2086 # one word an option
    RUSTFLAGS="-C linker=$linker -C linker-flavor=ld.lld -C link-self-contained=yes -C relocation-model=static $musl $features \
        -Zunstable-options -Cpanic=immediate-abort -C force-unwind-tables=no -Zlocation-detail=none" \
        "$cargo" build --quiet --profile size --target "$triple" $what \
        -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size
    built=$top/target/$triple/size/$made
}

build_as_it_comes() {
    find_linker
    # shellcheck disable=SC2086 # one word an option
    RUSTFLAGS="-C linker=$linker -C linker-flavor=ld.lld -C relocation-model=static" \
        "$cargo" build --quiet --profile "$1" --target "$triple" $what
    built=$top/target/$triple/$1/$made
}

build() {
    unset RUSTC_BOOTSTRAP
    if [ "$profile" = plain ]; then
        first_toolchain_that has_target || die "$1: no standard library: rustup target add $triple"
        build_as_it_comes release
    elif [ "$profile" = tools ] && first_toolchain_that has_target; then
        # Nobody counts their bytes.
        build_as_it_comes size
    elif first_toolchain_that has_sources; then
        find_musl || die "$1: no C library: rustup target add $triple, or musl-dev of Debian's ${debian:-(which has none)}"
        build_with_std
    elif first_toolchain_that has_target; then
        echo "build-static.sh: $1: without the standard library's sources this binary is larger than a release:" >&2
        echo "    rustup component add rust-src, or Debian's packages rustc-web, rust-web-src and cargo-web" >&2
        build_as_it_comes size
    else
        die "$1: no standard library: rustup component add rust-src and rustup target add $triple," \
            "or install Debian's packages rustc-web, rust-web-src, cargo-web, lld and musl-dev"
    fi
    # What loads another file is no static binary: its program headers would name that file's loader.
    if tr -d '\0' <"$built" | grep -q 'ld-musl-\|ld-linux'; then
        die "$1: $built is not static"
    fi
}

# ---- results ----

# What a tarball holds has the time of the last commit, so that the same sources give the same bytes.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

pack() {
    pack_name=oom_guard-$version-$1-linux-musl
    pack_dir=$dist/$pack_name
    rm -rf "$pack_dir"
    mkdir -p "$pack_dir"
    cp "$built" "$pack_dir/oom_guard"
    cp -R init scripts/install.sh scripts/hook-example.sh README.md LICENSE "$pack_dir/"
    if tar --version 2>/dev/null | grep -q GNU; then
        set -- --sort=name --owner=0 --group=0 --numeric-owner "--mtime=@$epoch"
    else
        set --
    fi
    (cd "$dist" && tar "$@" -cf - "$pack_name" | gzip -9n >"$pack_name.tar.gz")
    rm -rf "$pack_dir"
}

profile=size
what='--bin oom_guard'
made=oom_guard
targets=
for argument in "$@"; do
    case $argument in
    --size) profile=size ;;
    --plain) profile=plain ;;
    --tools)
        profile=tools
        what='--example hog --example pulse'
        made=examples/hog
        ;;
    -*) wrong_usage "unknown option $argument" ;;
    *)
        describe "$argument"
        targets="$targets $argument"
        ;;
    esac
done

mkdir -p "$dist"
for target in ${targets:-x86_64 aarch64 armv7 i686}; do
    describe "$target"
    build "$target"
    if [ "$profile" = tools ]; then
        mkdir -p "$top/target/tools/$target"
        cp "${built%/*}/hog" "${built%/*}/pulse" "$top/target/tools/$target/"
        continue
    fi
    # The names under which releases have always been found, for either C library: a static binary runs with both.
    cp "$built" "$dist/oom_guard-linux-$target"
    cp "$built" "$dist/oom_guard-linux-$target-musl"
    pack "$target"
    echo "$target: $(wc -c <"$built") bytes, target/dist/oom_guard-linux-$target and target/dist/$pack_name.tar.gz"
done
[ "$profile" = tools ] || (cd "$dist" && sha256sum oom_guard-* >SHA256SUMS)
