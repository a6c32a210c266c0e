#!/bin/sh
# Installs what `scripts/test.sh --all` uses and this machine lacks, as root on Debian or Alpine:
#
#   scripts/tools.sh
#
# It says what it installs before it does so, and takes nothing away. A tool counts as there if it does its work, not if a file
# of its name exists. What cannot be had is named; the tests that need it are skipped. The static release's toolchain is not
# among the tools: scripts/test.sh asks for it if no toolchain that is there can build the release.
#
#   scripts/tools.sh --release     the toolchain of static releases instead
set -u

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
# shellcheck source=scripts/checkout.sh
. "$top/scripts/checkout.sh"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- which tools, and their packages for Debian and for Alpine ----

table() {
    cat <<'TOOLS'
cargo             RUST                                 cargo
cc                gcc,libc6-dev                        gcc,musl-dev
c++               g++                                  g++
shellcheck        shellcheck                           shellcheck
unshare           util-linux                           util-linux-misc
setpriv           util-linux                           setpriv
mandoc            mandoc                               mandoc
busybox           busybox                              busybox
logrotate         logrotate                            logrotate
prometheus_client python3-prometheus-client            py3-prometheus-client
prometheus        prometheus                           prometheus
node_exporter     prometheus-node-exporter             prometheus-node-exporter
dbus-daemon       dbus                                 dbus
dunst             dunst                                dunst
Xvfb              xvfb                                 xvfb
dash              dash                                 dash
runsv             runit                                runit
s6-svscan         s6                                   s6
qemu-aarch64      qemu-user-static                     qemu-aarch64,qemu-arm
qemu-system       qemu-system-x86                      qemu-system-x86_64
qemu-img          qemu-utils                           qemu-img
debugfs           e2fsprogs                            e2fsprogs-extra
pip               python3-pip                          py3-pip
mmdebstrap        mmdebstrap                           -
TOOLS
}

# Debian 12 has its own Rust, which is too old for the tests, and one for browsers, which is not.
has_rust_for_browsers() {
    apt-cache show rustc-web >/dev/null 2>&1
}

rust_packages() {
    if has_rust_for_browsers; then
        echo rustc-web cargo-web
    else
        echo rustc cargo
    fi
}

release_packages() {
    if [ "$manager" = apk ]; then
        echo rust rust-src lld
    elif has_rust_for_browsers; then
        echo rustc-web cargo-web rust-web-src lld musl-dev
    else
        echo rustc cargo rust-src lld musl-dev
    fi
}

# ---- whether a tool does its work ----

compiles() {
    echo 'int main(void) { return 0; }' >"$work/try.c"
    cc -o "$work/try" "$work/try.c" && "$work/try"
}

works() {
    case $1 in
    cc) compiles ;;
    # rustup puts it where a shell without the user's profile does not look. The tests need 1.85.
    cargo)
        PATH=$PATH:${CARGO_HOME:-${HOME-}/.cargo}/bin cargo --version |
            awk '{ split($2, part, "."); exit !(part[1] > 1 || part[2] >= 85) }'
        ;;
    # BusyBox has these two as well, without the options.
    unshare | setpriv) "$(path_of "$1")" --version | grep -q util-linux ;;
    # Debian has builds with and without the applets that a small system's services need.
    busybox) busybox --list | grep -qx syslogd ;;
    prometheus_client) /usr/bin/python3 -c "import $1.parser" || python3 -c "import $1.parser" ;;
    pip) python3 -m pip --version || /usr/bin/python3 -m pip --version ;;
    dash) dash -c : ;;
    debugfs) debugfs -V ;;
    Xvfb) Xvfb -help ;;
    # None of them tells a version.
    mandoc | runsv | s6-svscan) path_of "$1" ;;
    qemu-aarch64) qemu-aarch64-static --version || qemu-aarch64 --version ;;
    qemu-system) qemu-system-x86_64 --version ;;
    node_exporter) prometheus-node-exporter --version || node_exporter --version ;;
    *) "$1" --version ;;
    esac >/dev/null 2>&1 </dev/null
}

# ---- installing ----

# What apt would remove for these packages.
in_the_way() {
    apt-get -s install --no-install-recommends "$@" 2>/dev/null | awk '$1 == "Remv" { print $2 }'
}

install() {
    case $manager in
    apk) apk add -q "$@" ;;
    apt)
        # A package from elsewhere (backports, say) may be too new for its sister. It comes down to the distribution's version
        # then; nothing is removed.
        for install_old in $(in_the_way "$@"); do
            echo "$install_old goes back to the version of $suite"
            set -- "$@" "$install_old/$suite"
        done
        DEBIAN_FRONTEND=noninteractive \
            apt-get -qq install -y --no-remove --allow-downgrades --no-install-recommends "$@" >"$work/log" 2>&1 || {
            echo "could not install $*: $(grep -m 1 '^E:' "$work/log")"
            return 1
        }
        ;;
    esac
}

if command -v apt-get >/dev/null 2>&1; then
    manager=apt
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
elif command -v apk >/dev/null 2>&1; then
    manager=apk
else
    manager=
fi

tools=
packages=
if [ "${1-}" = --release ]; then
    tools=" the static release"
else
    for tool in $(table | awk '{ print $1 }'); do
        works "$tool" || tools="$tools $tool"
    done
fi
[ -n "$tools" ] || exit 0
if [ "$(id -u)" -ne 0 ] || [ -z "$manager" ]; then
    echo "missing, and not installed (that takes root, and Debian or Alpine):$tools"
    exit 0
fi

echo "fetching the lists of packages"
# Lists of a machine that was made weeks ago name packages that are no longer there, and old versions of others.
case $manager in
apt) apt-get -qq update >"$work/log" 2>&1 || tail -n 1 "$work/log" ;;
apk) apk update -q >"$work/log" 2>&1 || tail -n 1 "$work/log" ;;
esac

if [ "${1-}" = --release ]; then
    packages=$(release_packages)
else
    for tool in $tools; do
        packages="$packages $(table | awk -v tool="$tool" -v field="$([ $manager = apt ] && echo 2 || echo 3)" \
            '$1 == tool && $field != "-" { gsub(",", " ", $field); print $field }')"
    done
    case $packages in
    *RUST*) packages="${packages%%RUST*} $(rust_packages) ${packages#*RUST}" ;;
    esac
fi
packages=$(echo "$packages" | tr ' ' '\n' | sort -u | tr '\n' ' ')
echo "installing, for$tools: $packages"
# All at once is faster; if one of them cannot be had, the others can one by one.
# shellcheck disable=SC2086 # one word a package
install $packages || for package in $packages; do
    install "$package"
done
# Debian starts these two at once and at each boot, open to the network; tests start their own.
for service in prometheus prometheus-node-exporter; do
    case " $packages" in
    *" $service "*) systemctl --quiet disable --now "$service" >/dev/null 2>&1 ;;
    esac
done
exit 0
