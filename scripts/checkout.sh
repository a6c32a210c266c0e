# shellcheck shell=sh
# What scripts of this checkout share. They set `top`, the checkout, and read this file before they change directory.

# All that is made goes below one directory: cargo's, which is target/ unless CARGO_TARGET_DIR names another.
case ${CARGO_TARGET_DIR:=$top/target} in
/*) ;;
*) CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR ;;
esac
export CARGO_TARGET_DIR

# The path of a program. Not `command -v`: a BusyBox shell may answer with its own applet, which can do less.
path_of() {
    path_left=$PATH:
    while [ -n "$path_left" ]; do
        if [ -x "${path_left%%:*}/$1" ]; then
            echo "${path_left%%:*}/$1"
            return
        fi
        path_left=${path_left#*:}
    done
    return 1
}

# own_apt DIR ARCHITECTURE ARGUMENT...: apt-get with lists, cache and status in DIR, so that it needs no root and changes nothing
# else on this machine. Without a DIR/status, nothing counts as installed.
own_apt() {
    own_apt_dir=$1
    own_apt_arch=$2
    shift 2
    mkdir -p "$own_apt_dir/lists/partial" "$own_apt_dir/archives/partial"
    [ -e "$own_apt_dir/status" ] || : >"$own_apt_dir/status"
    apt-get -qq -o "APT::Architecture=$own_apt_arch" -o "APT::Architectures=$own_apt_arch" -o APT::Sandbox::User=root \
        -o "Dir::State::Lists=$own_apt_dir/lists" -o "Dir::State::Status=$own_apt_dir/status" -o "Dir::Cache=$own_apt_dir" \
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}
