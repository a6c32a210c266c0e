#!/bin/sh
# Does on a fresh system what the first lines of the README say, with that distribution's own Rust. Call it from anywhere, as root
# on Debian:
#
#   scripts/fresh.sh [--no-tests] [debian-12 | debian-13 | alpine]...      all three unless named
#   --no-tests      without scripts/test.sh
#
# Each system is a minimal root below the target directory, made anew, with nothing in it but what the distribution calls
# essential and what the README's table of Rust packages says. It runs in namespaces of its own. Each command of the README is
# a line; what it printed is in target/fresh. What cannot be had is skipped, by name and with the reason; if that is Rust, the
# static release does what needs none. The last line is the
# total, as of scripts/test.sh. Exit status: 0 nothing failed, 1 otherwise, 2 wrong usage.
set -u

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
cd "$top" || exit 1
# shellcheck source=scripts/count.sh
. scripts/count.sh

# The program has to run for some seconds before it counts as running.
RUN_S=5
# Downloading and building included; five minutes are promised for the tests alone, on an idle machine.
MOST_S=1200

wrong_usage() {
    echo "usage: scripts/fresh.sh [--no-tests] [debian-12 | debian-13 | alpine]..." >&2
    exit 2
}

# ---- what the README says ----

# What its commands start the program with.
README_PROGRAM="cargo run --release --"

# The commands of its first blocks, one a line, without comments.
commands() {
    awk '/^## /{ exit } /^```/{ inside = !inside; next } inside { sub(/ +#.*/, ""); print }' README.md
}

# rust_for "Debian 12": the command that its table has for that system.
rust_for() {
    awk -F '|' -v name="$1" '/^## /{ exit } index($2, name) { gsub(/^ *`|` *$/, "", $3); print $3; exit }' README.md
}

# ---- a root ----

# inside COMMAND: by the shell of the root, in its own namespaces, in the checkout. What it has started ends with it.
inside() {
    # /proc only now: it has to be that of the new PID namespace. Certificates are this machine's: downloads may pass a proxy.
    # shellcheck disable=SC2016
    unshare --mount --pid --fork --kill-child sh -c '
        mount --bind "$1" "$1" && cd "$1" &&
            mount -t proc proc proc && mount --rbind /sys sys && mount --rbind /dev dev &&
            { [ ! -d /etc/ssl ] || { mkdir -p etc/ssl && mount --bind /etc/ssl etc/ssl; }; } &&
            exec env -i HOME=/root TERM=dumb LANG=C PATH=/usr/sbin:/usr/bin:/sbin:/bin \
                DEBIAN_FRONTEND=noninteractive chroot . sh -c "cd /root/oom_guard && $2"' sh "$root" "$1" </dev/null
}

# The mirror that this machine has its packages from.
mirror() {
    # shellcheck disable=SC2016 # apt-get's own variables
    apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' 2>/dev/null |
        awk -v suite="$1" '$2 ~ suite { print $1; exit }'
}

make_debian() {
    command -v mmdebstrap >/dev/null || { why="no mmdebstrap" && return 1; }
    . /etc/os-release
    make_main=$(mirror "^${VERSION_CODENAME-}\$")
    make_security=$(mirror "^${VERSION_CODENAME-}-security\$")
    [ -n "$make_main" ] || { why="apt has no source of this machine's Debian" && return 1; }
    mmdebstrap -q --mode=root --variant=essential --include=apt,ca-certificates \
        --aptopt='APT::Install-Recommends "false"' "$1" "$root" \
        "deb $make_main $1 main" ${make_security:+"deb $make_security $1-security main"} ||
        { why="no root could be made of it" && return 1; }
}

make_alpine() {
    BOOT_CACHE=${BOOT_CACHE:-${XDG_CACHE_HOME:-${HOME-}/.cache}/oom_guard-boot}
    export BOOT_CACHE
    make_image=$(sh tests/boot/image.sh alpine x86_64 - | tail -n 1)
    [ -e "$make_image/disk" ] || { why=$make_image && return 1; }
    mkdir "$root"
    debugfs -R "rdump / $root" "$make_image/disk" >/dev/null 2>&1
    cp /etc/resolv.conf "$root/etc/resolv.conf"
}

# ---- a system ----

# attempt WHAT COMMAND: a line that says whether the command did it, and how long it took.
attempt() {
    attempt_log=$logs/$system.log
    echo "\$ $2" >>"$attempt_log"
    attempt_began=$(date +%s)
    if inside "$2" >"$work/said" 2>&1; then
        attempt_end="ok"
        passed=$((passed + 1))
    else
        attempt_end="FAILED"
        failed=$((failed + 1))
    fi
    cat "$work/said" >>"$attempt_log"
    echo "$attempt_end: fresh $system: $1 ($(($(date +%s) - attempt_began)) s): $(tail -n 1 "$work/said")"
    [ "$attempt_end" = ok ] || tail -n 40 "$work/said" | sed 's/^/    /'
    [ "$attempt_end" = ok ]
}

# What a command of the README has to do to count as done. $program is what it starts the program with.
try_command() {
    case $1 in
    "$README_PROGRAM --dryrun")
        # It runs until it is ended, and calls that a good end. Not on a terminal, it reports memory but once.
        attempt "$1" "timeout $MOST_S $program --version && timeout -s INT $RUN_S $program --dryrun >/tmp/said 2>&1
            cat /tmp/said && grep -q 'mem avail:' /tmp/said && tail -n 1 /tmp/said | grep -q 'stopped by a signal'"
        ;;
    "$README_PROGRAM --explain")
        attempt "$1" "timeout $MOST_S $program --explain >/tmp/said; grep rank /tmp/said && tail -n 1 /tmp/said"
        ;;
    "scripts/test.sh") [ -z "$tests" ] || attempt "$1" "timeout $MOST_S $1" ;;
    "scripts/test.sh --all") ;;
    *) fail "fresh $system: the README has a command that this script does not know: $1" ;;
    esac
}

# The static release in place of what Rust would build there.
use_release() {
    scripts/build-static.sh x86_64 >>"$logs/$system.log" 2>&1 || return
    tar -xzf "$CARGO_TARGET_DIR"/dist/oom_guard-*-x86_64-linux-musl.tar.gz -C "$root/root" || return
    program=$(cd "$root" && echo /root/oom_guard-*-linux-musl/oom_guard)
}

try_system() {
    system=$1
    case $system in
    debian-12) named="Debian 12" maker="make_debian bookworm" ;;
    debian-13) named="Debian 13" maker="make_debian trixie" ;;
    alpine) named=Alpine maker=make_alpine ;;
    esac
    root=$work/$system
    program=$README_PROGRAM
    $maker >"$logs/$system.log" 2>&1 || {
        skip "fresh $system" "$why"
        return
    }
    mkdir -p "$root/root"
    tar -xzf "$(scripts/package/source.sh "$work")" -C "$root/root"
    mv "$root"/root/oom_guard-* "$root/root/oom_guard"
    rust=$(rust_for "$named")
    [ -n "$rust" ] || {
        fail "fresh $system: the README does not say how to install Rust there"
        return
    }
    commands >"$work/commands"
    if ! inside "$rust" >>"$logs/$system.log" 2>&1; then
        skip "fresh $system: what needs Rust" "\"$rust\" failed: $(tail -n 1 "$logs/$system.log")"
        grep -v '^scripts/' "$work/commands" >"$work/without" && mv "$work/without" "$work/commands"
        use_release || {
            skip "fresh $system" "no static release could be built here"
            return
        }
        echo "with the static release:"
    fi
    while read -r command; do
        try_command "$command"
    done <"$work/commands"
    rm -rf "$root"
}

tests=1
systems=
for argument in "$@"; do
    case $argument in
    --no-tests) tests= ;;
    debian-12 | debian-13 | alpine) systems="$systems $argument" ;;
    *) wrong_usage ;;
    esac
done

logs=$CARGO_TARGET_DIR/fresh
mkdir -p "$logs" || exit 1
work=$(mktemp -d "$logs/root.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [ "$(id -u)" -ne 0 ]; then
    skip fresh "not root"
    total
    exit
fi
for name in ${systems:-debian-12 debian-13 alpine}; do
    try_system "$name"
done
total
