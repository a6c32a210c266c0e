#!/bin/sh
# Installs oom_guard: the program, its settings, its man pages, completions for shells, and a service for the init system
# that runs here, which is enabled and started. Called again, it brings all of that up to date. See --help.
#
# It runs from an unpacked release and from a checkout, needs nothing but plain sh with the usual tools (BusyBox's will
# do), and fetches nothing from anywhere.
#
# What it has put where is kept in PREFIX/share/oom_guard/installed, so that it removes that, and nothing else. Beside it
# are copies of all settings as they came, which tell whether somebody has changed them since.
set -u

me=${0##*/}
newline='
'

usage() {
    cat <<END
Usage: $me [OPTION]...
Installs oom_guard, enables its service and starts it.

  --prefix DIR      below which the program goes, as bin/oom_guard (default: /usr/local; /usr on OpenWrt)
  --destdir DIR     put everything below DIR, as for an image or a package; nothing is started
  --init NAME       the init system, where it is not the one found here: systemd, openrc, runit,
                    sysvinit, s6, inittab (BusyBox), procd (OpenWrt), or none
  --no-start        do not start the service now
  --no-enable       do not have it started at boot either
  --memory-monitor  the program under the name of memory-monitor, too, with a service of its own
                    (systemd and OpenRC); an installation that has it keeps it
  --uninstall       remove all of it but settings that were changed
  --dry-run         say each step and do nothing
  -h, --help        this help

Settings that were changed are never overwritten: new ones come beside them, as FILE.new.
Exit status: 0 fine, 1 it did not work, 2 wrong usage.
END
}

die() {
    echo "$me: $1" >&2
    exit 1
}

wrong() {
    echo "$me: $1 (try $me --help)" >&2
    exit 2
}

# ---- options ----

prefix=
root=
init=
start=yes
enable=yes
monitor=
task=install
dry=

while [ $# -gt 0 ]; do
    option=$1
    case $option in
    --prefix=* | --destdir=* | --init=*)
        value=${option#*=}
        option=${option%%=*}
        ;;
    --prefix | --destdir | --init)
        [ $# -ge 2 ] || wrong "$option: nothing behind it"
        value=$2
        shift
        ;;
    esac
    case $option in
    --prefix) prefix=$value ;;
    --destdir)
        [ -n "$value" ] || wrong "--destdir: no directory"
        root=$value
        ;;
    --init) init=$value ;;
    --no-start) start= ;;
    --no-enable)
        enable=
        start=
        ;;
    --memory-monitor) monitor=yes ;;
    --uninstall) task=uninstall ;;
    --dry-run) dry=yes ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) wrong "$option: no such option" ;;
    esac
    shift
done

case $init in
'' | systemd | openrc | runit | sysvinit | s6 | inittab | procd | none) ;;
busybox) init=inittab ;;
*) wrong "--init: no such init system: $init" ;;
esac
prefix_given=$prefix
case $prefix in
'' | /*) ;;
*) wrong "--prefix: not an absolute path: $prefix" ;;
esac
case $prefix in
# It becomes part of scripts, units and expressions.
*[!A-Za-z0-9_./+-]*) wrong "--prefix: only letters, digits and _./+- are possible: $prefix" ;;
esac
# Paths below it begin with a slash.
while [ "$root" != "${root%/}" ]; do
    root=${root%/}
    # The root itself is no other place than this machine.
    [ -n "$root" ] || wrong "--destdir: that is this system; leave it out"
done
# Whether this is about the machine that runs here.
live=yes
[ -z "$root" ] || live=

if [ -n "$live" ] && [ -z "$dry" ] && [ "$(id -u)" -ne 0 ]; then
    die "this needs root (or --destdir, or --dry-run)"
fi

# ---- where this is ----

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
if [ -d "$here/init" ]; then
    top=$here
elif [ -d "$here/../init" ]; then
    top=$(CDPATH='' cd -- "$here/.." && pwd) || exit 1
else
    die "there is no directory init beside this script: call it where it was unpacked"
fi

work=
clean() {
    # What went wrong half-way can be removed as well.
    [ -z "$unsaved" ] || save_notes "$before$noted"
    [ -z "$work" ] || rm -rf "$work"
}
unsaved=
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
work=$(mktemp -d) || die "no temporary directory"

# ---- steps ----

has() {
    command -v "$1" >/dev/null 2>&1
}

# step TEXT COMMAND...: says it, and does it unless this is a dry run.
step() {
    echo "$1"
    shift
    [ -z "$dry" ] || return 0
    "$@" || die "that did not work"
}

# The same for what may fail without harm.
attempt() {
    echo "$1"
    shift
    [ -z "$dry" ] || return 0
    "$@"
}

# What is there now: lines KIND PATH. Kinds: init (its name), monitor, dir (made by this), file, link, config, and what
# services make while they run: tree, and log with all that logrotate has made of it.
noted=
note() {
    is_noted "$1" "$2" "$noted" || noted="$noted$1 $2$newline"
}

is_noted() {
    case $newline$3 in
    *"$newline$1 $2$newline"*) return 0 ;;
    esac
    return 1
}

make_dir() {
    if [ -d "$root$1" ] || is_noted dir "$1" "$noted"; then
        return
    fi
    case $1 in
    # Where there is a directory for all, as a whole.
    '') step "making $root/" mkdir -p "$root/" && return ;;
    esac
    make_dir "${1%/*}"
    step "making $root$1" mkdir -m 755 "$root$1"
    note dir "$1"
}

# place MODE FILE PATH: whole or not at all, and never into a file that somebody has open: a program that runs cannot be
# written to.
place() {
    make_dir "${3%/*}"
    step "writing $root$3" place_now "$1" "$2" "$root$3"
}

place_now() {
    place_new=${3%/*}/.${3##*/}.$$
    cp "$2" "$place_new" && chmod "$1" "$place_new" && mv -f "$place_new" "$3" && return
    rm -f "$place_new"
    return 1
}

# The file of the source, with the paths of this installation.
fitted() {
    fitted_to=$work/fitted
    sed "s|/usr/local/|$prefix/|g" "$top/init/$1" >"$fitted_to" || exit 1
}

is_same() {
    cmp -s "$1" "$2"
}

# put MODE SOURCE PATH: a file that comes with the program, and is replaced with it. One that is there and came from
# somewhere else, or was changed, stays as PATH.old.
put() {
    fitted "$2"
    put_file=$root$3
    put_shipped=$root$(shipped "$3")
    note file "$3"
    if [ -e "$put_file" ] && is_same "$put_file" "$fitted_to"; then
        attempt "$put_file is up to date" chmod "$1" "$put_file"
    else
        if [ -e "$put_file" ] && ! is_same "$put_file" "$put_shipped"; then
            step "keeping the former $put_file as ${put_file##*/}.old" mv -f "$put_file" "$put_file.old"
        fi
        place "$1" "$fitted_to" "$3"
    fi
    keep_shipped "$3"
}

# The copy of what came for a path, for comparison with what will be there one day.
shipped() {
    echo "$share/shipped/$(echo "${1#/}" | tr / _)"
}

keep_shipped() {
    keep_file=$(shipped "$1")
    note file "$keep_file"
    if ! is_same "$fitted_to" "$root$keep_file"; then
        make_dir "$share/shipped"
        [ -n "$dry" ] || place_now 644 "$fitted_to" "$root$keep_file" || die "cannot write $root$keep_file"
    fi
}

# put_settings SOURCE PATH: a file that is the administrator's once it was changed.
put_settings() {
    fitted "$1"
    put_file=$root$2
    put_shipped=$root$(shipped "$2")
    note config "$2"
    if [ -L "$put_file" ] || [ -e "$put_file" ]; then
        if is_same "$put_file" "$fitted_to"; then
            echo "$put_file is up to date"
        elif [ ! -L "$put_file" ] && is_same "$put_file" "$put_shipped"; then
            place 644 "$fitted_to" "$2"
        elif is_same "$fitted_to" "$put_shipped"; then
            echo "$put_file was changed and stays as it is"
        else
            echo "$put_file was changed and stays as it is; the new one is ${put_file##*/}.new"
            place 644 "$fitted_to" "$2.new"
        fi
    else
        place 644 "$fitted_to" "$2"
    fi
    keep_shipped "$2"
}

# put_link TARGET PATH: a symbolic link.
put_link() {
    note link "$2"
    if [ "$(readlink "$root$2")" = "$1" ]; then
        return
    fi
    make_dir "${2%/*}"
    if [ -e "$root$2" ] && [ ! -L "$root$2" ]; then
        step "keeping the former $root$2 as ${2##*/}.old" mv -f "$root$2" "$root$2.old"
    fi
    step "linking $root$2 to $1" link_now "$1" "$root$2"
}

link_now() {
    # Not `ln -sf`, which would go into a directory that the old link leads to.
    rm -f "$2"
    ln -s "$1" "$2"
}

# ---- processes ----

# Numbers of the processes of that name.
processes() {
    for processes_file in /proc/[0-9]*/comm; do
        # It may be gone by now.
        processes_name=
        read -r processes_name 2>/dev/null <"$processes_file"
        if [ "$processes_name" = "$1" ]; then
            processes_file=${processes_file%/comm}
            echo "${processes_file##*/}"
        fi
    done
}

# Numbers of the guards that run from the file that is installed now; with $1, also from those that it has replaced.
guards() {
    guards_file=$(readlink -f "$bin")/oom_guard
    for guards_pid in $(processes oom_guard); do
        case $(readlink "/proc/$guards_pid/exe" 2>/dev/null) in
        "$guards_file") echo "$guards_pid" ;;
        "$guards_file (deleted)") [ $# -eq 0 ] || echo "$guards_pid" ;;
        esac
    done
}

# await SECONDS COMMAND...: until it succeeds.
await() {
    await_left=$1
    shift
    while ! "$@"; do
        await_left=$((await_left - 1))
        [ "$await_left" -ge 0 ] || return 1
        sleep 1
    done
}

# ---- init systems ----

name_of_process_1() {
    name_of_1=
    read -r name_of_1 2>/dev/null </proc/1/comm
    echo "$name_of_1"
}

is_busybox_init() {
    case $(readlink -f "$root/sbin/init" 2>/dev/null) in
    */busybox*) return 0 ;;
    esac
    return 1
}

# By what runs.
running_init() {
    case $(name_of_process_1) in
    systemd) echo systemd ;;
    procd) echo procd ;;
    runit*) echo runit ;;
    s6-svscan) echo s6 ;;
    init*)
        if [ -d /run/openrc ] && has rc-update; then
            echo openrc
        elif is_busybox_init; then
            echo inittab
        elif [ -d /run/systemd/system ]; then
            echo systemd
        elif [ -d /etc/init.d ] && [ -n "$(rc_dirs)" ]; then
            echo sysvinit
        fi
        ;;
    *)
        # In a container, say: a supervisor may run below something else.
        if [ -d /run/systemd/system ]; then
            echo systemd
        elif [ -d /run/openrc ] && has rc-update; then
            echo openrc
        elif [ -n "$(processes s6-svscan)" ]; then
            echo s6
        elif [ -n "$(processes runsvdir)" ]; then
            echo runit
        fi
        ;;
    esac
}

# By what is there, below --destdir.
installed_init() {
    if [ -e "$root/sbin/procd" ]; then
        echo procd
    elif [ -e "$root/lib/systemd/systemd" ] || [ -e "$root/usr/lib/systemd/systemd" ]; then
        echo systemd
    elif [ -e "$root/sbin/openrc-run" ] || [ -e "$root/usr/sbin/openrc-run" ] || [ -e "$root/usr/bin/openrc-run" ]; then
        echo openrc
    elif [ -d "$root/etc/runit/runsvdir" ] || [ -d "$root/etc/service" ]; then
        echo runit
    elif [ -d "$root/etc/s6-linux-init" ]; then
        echo s6
    elif is_busybox_init && [ -e "$root/etc/inittab" ]; then
        echo inittab
    elif [ -d "$root/etc/init.d" ] && [ -n "$(rc_dirs)" ]; then
        echo sysvinit
    fi
}

# The directories of runlevels, with a ? for their numbers.
rc_dirs() {
    for rc_dirs_form in '/etc/rc?.d' '/etc/rc.d/rc?.d'; do
        for rc_dirs_one in "$root"$rc_dirs_form; do
            if [ -d "$rc_dirs_one" ]; then
                echo "$rc_dirs_form"
                return
            fi
        done
    done
}

# Whether it runs here now, so that something can be started.
is_up() {
    [ -n "$live" ] || return 1
    case $1 in
    systemd) [ -d /run/systemd/system ] ;;
    openrc) [ -d /run/openrc ] && has rc-service ;;
    runit) [ -n "$(processes runsvdir)" ] ;;
    s6) [ -n "$(processes s6-svscan)" ] ;;
    sysvinit) true ;;
    inittab) [ "$(name_of_process_1)" = init ] && is_busybox_init ;;
    procd) [ "$(name_of_process_1)" = procd ] ;;
    none) false ;;
    esac
}

# first DIRECTORY...: the first that is there.
first() {
    for first_one in "$@"; do
        if [ -d "$root$first_one" ]; then
            echo "$first_one"
            return
        fi
    done
    return 1
}

# Where runsvdir finds services, which outlives a boot where there is a choice.
runit_scandir() {
    first /etc/runit/runsvdir/default /etc/service /var/service /service || echo /etc/service
}

runit_services() {
    first /etc/sv /etc/runit/sv || echo /etc/sv
}

# Where s6-svscan looks now: it has gone there.
s6_scandir() {
    if [ -n "$live" ]; then
        for s6_pid in $(processes s6-svscan); do
            readlink "/proc/$s6_pid/cwd" && return
        done
    fi
    first /run/service /service /etc/service /var/service || echo /service
}

# What s6-linux-init makes that of at boot, where it does.
s6_image=/etc/s6-linux-init/current/run-image/service

s6_service=/etc/s6/oom_guard

inittab_line() {
    fitted busybox/inittab
    grep -v '^#' "$fitted_to"
}

is_in_inittab() {
    grep -qxF "$(inittab_line)" "$root/etc/inittab" 2>/dev/null
}

services() {
    echo oom_guard
    [ -z "$monitor" ] || echo memory-monitor
}

put_service() {
    case $init in
    systemd)
        for service in $(services); do
            put 644 "systemd/$service.service" "$units/$service.service"
        done
        for file in hooks kernel-oom 10-reboot; do
            put 644 "systemd/$file.conf" "$share/systemd/$file.conf"
        done
        ;;
    openrc)
        for service in $(services); do
            put 755 "openrc/$service" "/etc/init.d/$service"
        done
        put_settings openrc/oom_guard.confd /etc/conf.d/oom_guard
        ;;
    runit)
        service=$(runit_services)/oom_guard
        for file in run finish log/run; do
            put 755 "runit/$file" "$service/$file"
        done
        note tree "$service/supervise"
        note tree "$service/log/supervise"
        note tree /var/log/oom_guard
        ;;
    s6)
        # Before what asks for that descriptor.
        put 644 s6/notification-fd "$s6_service/notification-fd"
        for file in run finish log/run; do
            put 755 "s6/$file" "$s6_service/$file"
        done
        for file in supervise event log/supervise log/event; do
            note tree "$s6_service/$file"
        done
        note tree /var/log/oom_guard
        ;;
    sysvinit) put 755 sysvinit/oom_guard /etc/init.d/oom_guard ;;
    inittab) put 755 busybox/respawn "$prefix/lib/oom_guard/respawn" ;;
    procd) put 755 procd/oom_guard /etc/init.d/oom_guard ;;
    esac
    if [ -n "$monitor" ] && [ "$init" != systemd ] && [ "$init" != openrc ]; then
        echo "note: memory-monitor has a service for systemd and OpenRC only; start $bin/memory-monitor by your own"
    fi
}

enable_service() {
    case $init in
    systemd)
        ! is_up systemd || step "systemctl daemon-reload" systemctl daemon-reload
        for service in $(services); do
            if [ -n "$live" ] && has systemctl; then
                step "systemctl enable $service" systemctl --quiet enable "$service"
            else
                put_link "$units/$service.service" "/etc/systemd/system/multi-user.target.wants/$service.service"
            fi
        done
        ;;
    openrc)
        for service in $(services); do
            if [ -n "$live" ]; then
                step "rc-update add $service default" rc-update -q add "$service" default
            else
                put_link "/etc/init.d/$service" "/etc/runlevels/default/$service"
            fi
        done
        ;;
    runit)
        link=$(runit_scandir)/oom_guard
        if [ -z "$start" ] && is_up runit && [ ! -L "$link" ]; then
            echo "note: runit starts what is linked, so that is left to you: ln -s $(runit_services)/oom_guard $link"
        else
            put_link "$(runit_services)/oom_guard" "$link"
        fi
        ;;
    s6)
        scandir=$(s6_scandir)
        put_link "$s6_service" "$scandir/oom_guard"
        case $scandir in
        /run/*)
            if [ -d "$root$s6_image" ]; then
                put_link "$s6_service" "$s6_image/oom_guard"
            else
                echo "note: $scandir is made anew at boot; have whatever makes it link oom_guard to $s6_service"
            fi
            ;;
        esac
        ;;
    sysvinit)
        if [ -n "$live" ] && has update-rc.d; then
            step "update-rc.d oom_guard defaults" update-rc.d oom_guard defaults
        elif [ -n "$live" ] && has chkconfig; then
            step "chkconfig --add oom_guard" chkconfig --add oom_guard
        else
            # After what mounts and logs, as a rule; and early away, since all is ended then.
            for level in 0 1 2 3 4 5 6; do
                case $level in
                0 | 1 | 6) link=K20oom_guard ;;
                *) link=S20oom_guard ;;
                esac
                dirs=$(rc_dirs)
                dirs=${dirs:-/etc/rc?.d}
                put_link /etc/init.d/oom_guard "${dirs%\?*}$level${dirs#*\?}/$link"
            done
        fi
        ;;
    inittab)
        if ! is_in_inittab; then
            [ -e "$root/etc/inittab" ] || die "there is no $root/etc/inittab"
            step "adding a line to $root/etc/inittab" add_to_inittab
        fi
        ;;
    procd)
        if [ -n "$live" ]; then
            step "/etc/init.d/oom_guard enable" /etc/init.d/oom_guard enable
        else
            put_link ../init.d/oom_guard /etc/rc.d/S15oom_guard
        fi
        ;;
    esac
}

# Both write in place: the file keeps its owner and mode, and may be a link.
add_to_inittab() {
    # Its last line may have no end.
    [ -z "$(tail -c 1 "$root/etc/inittab")" ] || echo >>"$root/etc/inittab"
    inittab_line >>"$root/etc/inittab"
}

remove_from_inittab() {
    grep -vxF "$(inittab_line)" "$root/etc/inittab" >"$work/inittab"
    cat "$work/inittab" >"$root/etc/inittab"
}

# Starts it, or has the new program take the place of the old one.
start_service() {
    case $init in
    systemd)
        for service in $(services); do
            step "systemctl restart $service" systemctl restart "$service"
        done
        ;;
    openrc)
        for service in $(services); do
            step "rc-service $service restart" rc-service "$service" restart
        done
        ;;
    runit)
        service=$(runit_services)/oom_guard
        if [ -e "$service/supervise/ok" ] && sv status "$service" >/dev/null 2>&1; then
            step "sv restart oom_guard" sv restart "$service"
        else
            echo "runsvdir starts it within five seconds"
        fi
        ;;
    s6)
        scandir=$(s6_scandir)
        if s6-svok "$s6_service" 2>/dev/null; then
            # Up, should it have been down, and then anew.
            step "s6-svc -r oom_guard" s6-svc -u -r "$s6_service"
        else
            step "s6-svscanctl -a $scandir" s6-svscanctl -a "$scandir"
        fi
        ;;
    sysvinit) step "/etc/init.d/oom_guard restart" /etc/init.d/oom_guard restart ;;
    inittab)
        step "kill -HUP 1, so that init reads its file" kill -HUP 1
        stop_children_of_init "ending the old guard; init starts the new one"
        ;;
    procd) step "/etc/init.d/oom_guard restart" /etc/init.d/oom_guard restart ;;
    esac
}

# Those that wait for right settings.
waiting_respawns() {
    for waiting_pid in $(processes respawn); do
        case $(tr '\0' ' ' 2>/dev/null <"/proc/$waiting_pid/cmdline") in
        *" $prefix/lib/oom_guard/respawn ") echo "$waiting_pid" ;;
        esac
    done
}

# Of what inittab has started, and nothing else.
stop_children_of_init() {
    for stop_pid in $(guards all) $(waiting_respawns); do
        case $(cat "/proc/$stop_pid/stat" 2>/dev/null) in
        *') '[A-Z]' 1 '*) attempt "$1 (process $stop_pid)" kill "$stop_pid" ;;
        esac
    done
}

# disable_service INIT: stops it and has it not started at boot; links are removed with all else that is noted.
disable_service() {
    [ -n "$live" ] || [ "$1" = inittab ] || return 0
    case $1 in
    systemd)
        for service in $(services); do
            if is_up systemd; then
                attempt "systemctl disable --now $service" systemctl --quiet disable --now "$service"
            elif has systemctl; then
                attempt "systemctl disable $service" systemctl --quiet disable "$service"
            fi
        done
        ;;
    openrc)
        for service in $(services); do
            if is_up openrc && rc-service -q "$service" status >/dev/null 2>&1; then
                attempt "rc-service $service stop" rc-service "$service" stop
            fi
            ! has rc-update || attempt "rc-update del $service" rc_update_del "$service"
        done
        ;;
    runit)
        service=$(runit_services)/oom_guard
        # First out of the sight of runsvdir, which would start it anew.
        attempt "removing $(runit_scandir)/oom_guard" rm -f "$(runit_scandir)/oom_guard"
        if has sv && sv status "$service" >/dev/null 2>&1; then
            attempt "sv exit oom_guard" sv exit "$service"
            [ -n "$dry" ] || await 15 is_free_of_runsv "$service" || echo "note: its runsv is still there"
        fi
        ;;
    s6)
        scandir=$(s6_scandir)
        attempt "removing $scandir/oom_guard" rm -f "$scandir/oom_guard"
        if has s6-svok && s6-svok "$s6_service" 2>/dev/null; then
            attempt "s6-svscanctl -an $scandir" s6-svscanctl -an "$scandir"
            [ -n "$dry" ] || await 15 is_free_of_s6 || echo "note: its s6-supervise is still there"
        fi
        ;;
    sysvinit)
        [ ! -x /etc/init.d/oom_guard ] || attempt "/etc/init.d/oom_guard stop" /etc/init.d/oom_guard stop
        ! has chkconfig || attempt "chkconfig --del oom_guard" chkconfig --del oom_guard
        ;;
    inittab)
        if is_in_inittab; then
            step "removing the line from $root/etc/inittab" remove_from_inittab
        fi
        if is_up inittab; then
            attempt "kill -HUP 1, so that init reads its file" kill -HUP 1
            stop_children_of_init "ending the guard"
            # Its last messages may have to wait for a log.
            [ -n "$dry" ] || await 10 is_free_of_guards || echo "note: the guard is still there"
        fi
        ;;
    procd)
        attempt "/etc/init.d/oom_guard stop" /etc/init.d/oom_guard stop
        attempt "/etc/init.d/oom_guard disable" /etc/init.d/oom_guard disable
        ;;
    esac
}

rc_update_del() {
    # Of each runlevel in which it is not, it says so.
    rc-update -q -a del "$1" 2>/dev/null
}

is_free_of_guards() {
    [ -z "$(guards all)" ]
}

is_free_of_runsv() {
    ! sv status "$1" >/dev/null 2>&1
}

is_free_of_s6() {
    ! s6-svok "$s6_service" 2>/dev/null && ! s6-svok "$s6_service/log" 2>/dev/null
}

# What is left to do once the files are gone.
forget_service() {
    [ -n "$live" ] || return 0
    case $1 in
    systemd)
        if is_up systemd; then
            attempt "systemctl daemon-reload" systemctl daemon-reload
            # One that had failed is shown until then.
            [ -n "$dry" ] || systemctl --quiet reset-failed oom_guard.service memory-monitor.service 2>/dev/null
        fi
        ;;
    sysvinit) ! has update-rc.d || attempt "update-rc.d oom_guard remove" update-rc.d oom_guard remove ;;
    esac
    return 0
}

# How people of that system reload it, and where they look.
hints() {
    case $init in
    systemd) echo "reload: systemctl reload oom_guard   messages: journalctl -u oom_guard" ;;
    openrc) echo "reload: rc-service oom_guard reload   messages: /var/log/messages" ;;
    runit)
        if has vlogger; then
            echo "reload: sv hup oom_guard   messages: the system's log"
        else
            echo "reload: sv hup oom_guard   messages: /var/log/oom_guard/current"
        fi
        ;;
    sysvinit) echo "reload: /etc/init.d/oom_guard reload   messages: the system's log" ;;
    s6) echo "reload: s6-svc -h $(s6_scandir)/oom_guard   messages: /var/log/oom_guard/current" ;;
    inittab) echo "reload: kill -HUP \$(pidof oom_guard)   messages: the system's log" ;;
    procd) echo "reload: /etc/init.d/oom_guard reload   messages: logread -e oom_guard" ;;
    none) echo "start it with: oom_guard -p" ;;
    esac
}

# ---- the program ----

# Names of releases: the machine's own, but for 32-bit ones.
machine() {
    case $(uname -m) in
    armv7* | armv8l) echo armv7 ;;
    armv6*) echo armv6 ;;
    i?86) echo i686 ;;
    *) uname -m ;;
    esac
}

runs_here() {
    [ -f "$1" ] && [ -x "$1" ] && "$1" --version >/dev/null 2>&1
}

# Prints the path of the program; builds it where that is left.
find_program() {
    # Where cargo puts what it builds.
    find_built=${CARGO_TARGET_DIR:-$top/target}
    case $find_built in
    /*) ;;
    *) find_built=$PWD/$find_built ;;
    esac
    # Beside this script in a release. For another machine, --destdir may be meant.
    if [ -f "$top/oom_guard" ]; then
        if [ -n "$live" ] && ! runs_here "$top/oom_guard"; then
            die "$top/oom_guard does not run on this machine ($(uname -m)): take the release for it"
        fi
        echo "$top/oom_guard"
        return
    fi
    # The newest of the ways to build one.
    # shellcheck disable=SC2012 # names that cargo and build-static.sh make
    find_newest=$(ls -t "$find_built/dist/oom_guard-linux-$(machine)"* "$find_built/release/oom_guard" 2>/dev/null |
        while read -r find_one; do
            runs_here "$find_one" && echo "$find_one" && break
        done)
    if [ -n "$find_newest" ]; then
        echo "$find_newest"
        return
    fi
    if [ ! -f "$top/Cargo.toml" ]; then
        die "there is no program oom_guard beside this script: unpack a whole release, \
oom_guard-VERSION-$(machine)-linux-musl.tar.gz"
    fi
    if ! has cargo; then
        die "there is neither a built program nor Rust to build it. Take a release for $(machine), or install Rust 1.78 or \
later by your distribution's package (cargo) or from https://rustup.rs, run 'cargo build --release', and call this again"
    fi
    echo "building: cargo build --release" >&2
    if [ -z "$dry" ]; then
        (cd "$top" && cargo build --release --target-dir "$find_built") >&2 || die "it could not be built"
        runs_here "$find_built/release/oom_guard" || die "cargo has left no $find_built/release/oom_guard that runs"
    fi
    echo "$find_built/release/oom_guard"
}

put_program() {
    note file "$bin/oom_guard"
    if is_same "$program" "$root$bin/oom_guard"; then
        attempt "$root$bin/oom_guard is up to date" chmod 755 "$root$bin/oom_guard"
    else
        place 755 "$program" "$bin/oom_guard"
    fi
    [ -n "$monitor" ] || return 0
    put_link oom_guard "$bin/memory-monitor"
    # The script that the link replaces may be named in a drop-in that sets its options, which stay in force so.
    if [ -e "$root$bin/memory-monitor.sh" ] || [ -L "$root$bin/memory-monitor.sh" ]; then
        put_link oom_guard "$bin/memory-monitor.sh"
    fi
}

# Whether the settings will do, as the service will read them. What is wrong, and what deserves a look, is said.
settings_are_right() {
    [ -z "$dry" ] || return 0
    set -- -c -/etc/oom_guard.conf -c -/etc/default/oom_guard
    [ "$init" != openrc ] || set -- "$@" -c -/etc/conf.d/oom_guard
    "$bin/oom_guard" --check "$@" >/dev/null || return 1
    if [ -n "$monitor" ]; then
        "$bin/memory-monitor" --check -c -/etc/memory-monitor.conf -c -/etc/default/memory-monitor >/dev/null || return 1
    fi
}

has_guard() {
    [ -n "$(guards)" ]
}

# ---- tasks ----

# Takes over what an earlier call has noted: sets `before` to it.
read_notes() {
    before=
    [ ! -f "$root$notes" ] || before=$(cat "$root$notes")$newline
}

# noted_value KIND: what was noted then, of kinds that stand there once.
noted_value() {
    printf '%s' "$before" | sed -n "s/^$1 //p"
}

save_notes() {
    unsaved=
    [ -z "$dry" ] || return 0
    printf '%s' "$1" >"$work/notes"
    place_now 644 "$work/notes" "$root$notes" || die "cannot write $root$notes"
}

# remove_noted KEPT: all that was noted before and is not among what is kept.
remove_noted() {
    remove_kept=$1
    # From the end: directories were noted before what is in them.
    printf '%s' "$before" | sed '1!G;h;$!d' | while read -r kind path; do
        if is_noted "$kind" "$path" "$remove_kept"; then
            continue
        fi
        case $kind in
        file) [ ! -e "$root$path" ] || attempt "removing $root$path" rm -f "$root$path" ;;
        link) [ ! -L "$root$path" ] || attempt "removing $root$path" rm -f "$root$path" ;;
        tree) [ ! -e "$root$path" ] || attempt "removing $root$path" rm -rf "$root$path" ;;
        log)
            for path in "$root$path" "$root$path".[0-9]*; do
                [ ! -e "$path" ] || attempt "removing $path" rm -f "$path"
            done
            ;;
        esac
    done
}

# remove_settings KEPT: those that are as they came, and not among what is kept. Before their copies are gone.
remove_settings() {
    remove_kept=$1
    printf '%s' "$before" | while read -r kind path; do
        if [ "$kind" != config ] || is_noted config "$path" "$remove_kept"; then
            continue
        fi
        [ ! -e "$root$path.new" ] || attempt "removing $root$path.new" rm -f "$root$path.new"
        if [ ! -e "$root$path" ]; then
            continue
        elif [ ! -L "$root$path" ] && is_same "$root$path" "$root$(shipped "$path")"; then
            attempt "removing $root$path" rm -f "$root$path"
        else
            echo "$root$path was changed and stays"
        fi
    done
}

remove_dirs() {
    printf '%s' "$before" | sed '1!G;h;$!d' | while read -r kind path; do
        # Not those that hold something else by now.
        if [ "$kind" = dir ] && [ -d "$root$path" ] && [ -z "$dry" ] && rmdir "$root$path" 2>/dev/null; then
            echo "removing $root$path"
        fi
    done
}

install() {
    [ -z "$(noted_value monitor)" ] || monitor=yes
    program=$(find_program) || exit 1
    case $init in
    none) echo "installing $program below $root$prefix, without a service" ;;
    *) echo "installing $program below $root$prefix, with a service for $init" ;;
    esac
    note init "$init"
    [ -z "$monitor" ] || note monitor yes
    # What an earlier call has made is still its own.
    noted=$noted$(printf '%s' "$before" | grep '^dir ')
    [ "$noted" = "${noted%"$newline"}" ] && noted=$noted$newline

    former=$(noted_value init)
    if [ -n "$former" ] && [ "$former" != "$init" ]; then
        disable_service "$former"
    fi
    make_dir "$share"
    note file "$notes"
    unsaved=yes
    put_program
    put 644 oom_guard.8 "$man/man8/oom_guard.8"
    put 644 oom_guard.conf.5 "$man/man5/oom_guard.conf.5"
    put 644 completions/oom_guard.bash "$prefix/share/bash-completion/completions/oom_guard"
    put 644 completions/_oom_guard "$prefix/share/zsh/site-functions/_oom_guard"
    put 644 completions/oom_guard.fish "$prefix/share/fish/vendor_completions.d/oom_guard.fish"
    put_settings oom_guard.conf /etc/oom_guard.conf
    if [ -d "$root/etc/logrotate.d" ]; then
        for service in $(services); do
            put_settings "logrotate/$service" "/etc/logrotate.d/$service"
        done
    fi
    # The only place below a prefix where D-Bus looks.
    if [ -d "$root/usr/share/dbus-1" ]; then
        put 644 dbus/oom_guard.conf /usr/share/dbus-1/system.d/oom_guard.conf
    fi
    [ -z "$monitor" ] || note log /var/log/memory-monitor.log
    put_service
    [ -z "$enable" ] || enable_service
    remove_settings "$noted"
    remove_noted "$noted"
    save_notes "$noted"
    [ -z "$former" ] || [ "$former" = "$init" ] || forget_service "$former"

    [ ! -e "$root/etc/default/oom_guard" ] || echo "$root/etc/default/oom_guard is read after /etc/oom_guard.conf"
    [ -n "$live" ] || return 0
    if ! settings_are_right; then
        die "installed, but not started: mend what is named above, and call this again"
    fi
    if [ -z "$start" ]; then
        echo "installed, and not started"
    elif ! is_up "$init"; then
        [ "$init" = none ] || echo "installed, and not started, since $init does not run here"
    else
        start_service
        # runsvdir looks for new services every five seconds.
        [ -n "$dry" ] || await 15 has_guard || die "it does not run; $(hints)"
        echo "installed, and running"
    fi
    hints
}

uninstall() {
    [ -n "$before" ] || die "nothing was installed below $root$prefix by this script (no $root$notes)"
    init=$(noted_value init)
    monitor=$(noted_value monitor)
    disable_service "$init"
    remove_settings ''
    remove_noted ''
    forget_service "$init"
    remove_dirs
    if [ -n "$live" ] && [ -z "$dry" ] && [ -n "$(guards all)" ]; then
        guards all | while read -r pid; do
            echo "note: a guard that the service did not start still runs: process $pid"
        done
    fi
    echo "uninstalled"
}

# ---- now ----

# All paths follow from the prefix.
set_prefix() {
    prefix=${1%/}
    bin=$prefix/bin
    share=$prefix/share/oom_guard
    man=$prefix/share/man
    notes=$share/installed
    # A package's units have a directory of their own.
    units=/etc/systemd/system
    [ "$prefix" != /usr ] || units=/usr/lib/systemd/system
    read_notes
}

# An installation that is there is the one that is meant.
if [ -n "$prefix" ]; then
    set_prefix "$prefix"
else
    set_prefix /usr
    [ -n "$before" ] || set_prefix /usr/local
fi
if [ "$task" = install ] && [ -z "$init" ]; then
    # What was chosen once stays.
    init=$(noted_value init)
    [ -n "$init" ] || init=$(if [ -n "$live" ]; then running_init; else installed_init; fi)
    [ -n "$init" ] || die "no init system found that is known here: name one, or none, with --init (see $me --help)"
fi
# OpenWrt has no /usr/local.
[ -n "$prefix_given$before" ] || [ "$init" != procd ] || set_prefix /usr
[ -z "$dry" ] || echo "dry run: nothing of this is done"
"$task"
