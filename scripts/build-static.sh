#!/bin/sh
# Builds fully static binaries, and a tarball with services and documents for each. Call it from anywhere:
#
#   scripts/build-static.sh [--size | --plain | --tools] [TARGET...]
#
# TARGET: x86_64, aarch64, armv7 and i686 (these four unless named), armv6 (Pi Zero) and riscv64.
#   --size    releases (the default): the standard library is compiled with the program, without text for panics
#   --plain   the stable toolchain with the standard library as it comes; needs rustup's target
#   --tools   not the program, but hog, pulse and floor of tests/tools, for machines without a C library; in target/tools
#
# Results in target/dist: the binaries, oom_guard-VERSION-TARGET-linux-musl.tar.gz, and SHA256SUMS over all of them.
# CARGO_TARGET_DIR is used instead of target/ if it is set.
#
# For --size it needs Rust 1.85 or later with the standard library's sources: rustup's component rust-src, Debian's packages
# rustc-web, rust-web-src and cargo-web (in Debian 13 rustc, rust-src and cargo), or Alpine's rust, rust-src and cargo. The C
# library is that of rustup's target, of Alpine's musl-dev, or of Debian's, which is fetched and unpacked below target/ if it is
# not installed. The linker comes with rustup; else it is the package lld. What is missing is told; nothing is installed.
#
# Exit status: 0 all is built, 1 a build failed, 2 wrong usage, 3 no toolchain here can build for a target.
set -eu

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
cd "$top"
dist=$CARGO_TARGET_DIR/dist
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

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
    command -v "$cargo" >/dev/null && command -v "$RUSTC" >/dev/null && return
    echo "error: there is none" >&2
    return 1
}

# Prints the linker that links for every architecture.
find_linker() {
    for linker_found in "$sysroot"/lib/rustlib/*/bin/rust-lld "$(command -v rust-lld)" "$(command -v ld.lld)"; do
        [ -x "$linker_found" ] && echo "$linker_found" && return
    done
    echo "error: no linker for other architectures: install lld" >&2
    return 1
}

# ---- the C library ----

# Prints the directory of musl's libc.a and crt1.o for $target: of rustup's target, of this machine if it is an Alpine, or of
# Debian's musl-dev.
find_musl() {
    musl_found=$sysroot/lib/rustlib/$triple/lib/self-contained
    case $(cc -dumpmachine 2>/dev/null | sed 's/^i[345]86/i686/') in
    "$target"-*-musl*) musl_found=$(dirname "$(cc -print-file-name=libc.a)") ;;
    esac
    if ! [ -e "$musl_found/libc.a" ] && ! { [ -n "$debian" ] && debian_musl "$debian"; }; then
        echo "error: no C library: rustup target add $triple, or musl-dev of Debian's ${debian:-(which has none)}" >&2
        return 1
    fi
    echo "$musl_found"
}

# Sets `musl_found` for Debian's architecture $1. What is not there is fetched, unpacked and kept.
debian_musl() {
    case $1 in
    amd64) musl_name=x86_64-linux-musl ;;
    arm64) musl_name=aarch64-linux-musl ;;
    armhf) musl_name=arm-linux-musleabihf ;;
    i386) musl_name=i386-linux-musl ;;
    *) musl_name=$1-linux-musl ;;
    esac
    musl_found=/usr/lib/$musl_name
    [ -e "$musl_found/libc.a" ] && return
    musl_apt=$CARGO_TARGET_DIR/musl-dev/$1
    musl_found=$musl_apt/root/usr/lib/$musl_name
    [ -e "$musl_found/libc.a" ] && return
    command -v apt-get >/dev/null || return 1
    echo "fetching musl-dev for $1" >&2
    # A source that does not know the architecture is no reason to stop.
    own_apt "$musl_apt" "$1" update >/dev/null 2>&1 || true
    (cd "$musl_apt" && own_apt "$musl_apt" "$1" download musl-dev >/dev/null 2>&1) || return 1
    mkdir -p "$musl_apt/root"
    # BusyBox's dpkg cannot unpack, its dpkg-deb can.
    dpkg-deb -x "$musl_apt"/musl-dev_*.deb "$musl_apt/root"
    rm -rf "$musl_apt/lists" "$musl_apt"/*.deb
    [ -e "$musl_found/libc.a" ]
}

# Prints a directory with what a program is linked with. The unwinder and gcc's crtbegin are for exceptions and destructors, of
# which there are none; a linker takes an empty script in their place. A real unwinder would leave parts of the C library behind.
link_musl() {
    link_from=$(find_musl) || return
    link_dir=$CARGO_TARGET_DIR/musl-dev/link-$triple
    mkdir -p "$link_dir"
    for link_file in crtbegin.o crtend.o libunwind.a; do
        echo '/* nothing is needed of it */' >"$link_dir/$link_file"
    done
    for link_file in crt1.o crti.o crtn.o libc.a; do
        ln -sf "$link_from/$link_file" "$link_dir/$link_file"
    done
    echo "$link_dir"
}

# ---- build ----

# Prints its arguments as cargo takes flags that may hold blanks.
joined() {
    IFS=$(printf '\037')
    echo "$*"
}

# A standard library made for the program: a panic ends the process at once, without text or tables for unwinding.
# Each at its own address: a position-independent static binary would have to relocate, and so own, pages that are now shared.
# Without relocation musl's start makes no page read-only: a segment apart for that would only be one page more in each process.
set_up_sources() {
    # Unstable options in a stable compiler: Rust's own way to build a standard library (as its bootstrap does).
    export RUSTC_BOOTSTRAP=1
    abort='-Zunstable-options -Cpanic=immediate-abort'
    std=optimize_for_size
    # shellcheck disable=SC2086 # one word an option
    if ! "$RUSTC" $abort --print sysroot >/dev/null 2>&1; then
        # Older compilers have it as a feature of std.
        abort=
        std=$std,panic_immediate_abort
    fi
    std="-Zbuild-std=std,panic_abort -Zbuild-std-features=$std"
    musl=$(link_musl) || return
    # shellcheck disable=SC2086
    CARGO_ENCODED_RUSTFLAGS=$(joined -C "linker=$linker" -C linker-flavor=ld.lld -C link-self-contained=yes \
        -C relocation-model=static -C relro-level=off -L "native=$musl" $features $abort -C force-unwind-tables=no -Zlocation-detail=none)
    export CARGO_ENCODED_RUSTFLAGS
}

# rustup's target, as it comes; its C library lies beside it.
set_up_target() {
    unset RUSTC_BOOTSTRAP
    std=
    CARGO_ENCODED_RUSTFLAGS=$(joined -C "linker=$linker" -C linker-flavor=ld.lld -C relocation-model=static)
    export CARGO_ENCODED_RUSTFLAGS
}

compile() {
    # shellcheck disable=SC2086 # one word an option
    "$cargo" build --quiet --profile "$cargo_profile" --target "$triple" $std "$@"
}

# can_build TOOLCHAIN WAY: it has built a program that does nothing. The standard library that was compiled for it serves the
# real one, too: profile, flags and directory are the same.
can_build() {
    use_toolchain "$1" || return
    sysroot=$("$RUSTC" --print sysroot) && linker=$(find_linker) && "set_up_$2" || return
    mkdir -p "$trial/src"
    echo 'fn main() {}' >"$trial/src/main.rs"
    {
        printf '[package]\nname = "trial"\nedition = "2021"\n\n[workspace]\n\n'
        sed -n '/^\[profile\.\(release\|size\)\]/,/^$/p' Cargo.toml
    } >"$trial/Cargo.toml"
    compile --manifest-path "$trial/Cargo.toml"
}

# What loads another file is no static binary: its program headers would name that file's loader.
is_static() {
    ! tr -d '\0' <"$1" | grep -q 'ld-musl-\|ld-linux'
}

build() {
    : >"$work/errors"
    for way in $ways; do
        for toolchain in path debian; do
            if can_build "$toolchain" "$way" 2>"$work/trial"; then
                if [ "$profile $way" = 'size target' ]; then
                    echo "build-static.sh: $1: without the standard library's sources this binary is larger than a release:" >&2
                    cat "$work/errors" >&2
                fi
                # shellcheck disable=SC2086 # one word an option
                compile $what || die "$1: it could not be built"
                built=$CARGO_TARGET_DIR/$triple/$cargo_profile/$made
                is_static "$built" || die "$1: $built is not static"
                return
            fi
            grep -m 1 '^error' "$work/trial" | sed "s|^|    $cargo, $way: |" >>"$work/errors"
        done
    done
    echo "build-static.sh: $1: no toolchain here can build it" >&2
    cat "$work/errors" >&2
    echo "    install Rust 1.85 or later with its sources: rustup component add rust-src, or Debian's rustc-web, rust-web-src," \
        "cargo-web and lld; for --plain: rustup target add $triple" >&2
    exit 3
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
    cp -R init scripts/install.sh scripts/hook-example.sh scripts/hook-restart.sh README.md CHANGELOG.md LICENSE "$pack_dir/"
    if tar --version 2>/dev/null | grep -q GNU; then
        set -- --sort=name --owner=0 --group=0 --numeric-owner "--mtime=@$epoch"
    else
        set --
    fi
    (cd "$dist" && tar "$@" -cf - "$pack_name" | gzip -9n >"$pack_name.tar.gz")
    rm -rf "$pack_dir"
}

profile=size
cargo_profile=size
ways='sources target'
what='--bin oom_guard'
made=oom_guard
targets=
for argument in "$@"; do
    case $argument in
    --size) profile=size ;;
    --plain)
        profile=plain
        cargo_profile=release
        ways=target
        ;;
    --tools)
        profile=tools
        # Nobody counts their bytes.
        ways='target sources'
        what='--example hog --example pulse --example floor'
        made=examples/hog
        ;;
    -*) wrong_usage "unknown option $argument" ;;
    *)
        describe "$argument"
        targets="$targets $argument"
        ;;
    esac
done

trial=$CARGO_TARGET_DIR/trial
mkdir -p "$dist"
for target in ${targets:-x86_64 aarch64 armv7 i686}; do
    describe "$target"
    build "$target"
    if [ "$profile" = tools ]; then
        mkdir -p "$CARGO_TARGET_DIR/tools/$target"
        cp "${built%/*}/hog" "${built%/*}/pulse" "${built%/*}/floor" "$CARGO_TARGET_DIR/tools/$target/"
        continue
    fi
    # The names under which releases have always been found, for either C library: a static binary runs with both.
    cp "$built" "$dist/oom_guard-linux-$target"
    cp "$built" "$dist/oom_guard-linux-$target-musl"
    pack "$target"
    echo "$target: $(wc -c <"$built") bytes, $dist/oom_guard-linux-$target and $dist/$pack_name.tar.gz"
done
[ "$profile" = tools ] || (cd "$dist" && sha256sum oom_guard-* >SHA256SUMS)
