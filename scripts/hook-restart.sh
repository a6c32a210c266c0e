#!/bin/sh
# An example of a hook: restarts the service of a victim if it is in a list, at most once in ten minutes.
#
#   oom_guard --post-kill /usr/local/lib/oom_guard/hook-restart --hook-timeout 60
#
# OOM_GUARD_SERVICE names a unit of systemd, a service of OpenRC or one of runit. The guard leaves it out for what a user
# or a container has started and named. Most supervisors start a service again whose main process has ended (Restart= of
# systemd, supervise-daemon, runsv): this is for those that do not, and for services of several processes.
#
# Under OpenRC and runit, the timeout must be longer than the service takes to stop and start, and what the service starts
# later gets no more rights than a hook has (no_new_privs of the guard's service under OpenRC).
set -eu

# Services that are restarted, by the names that OOM_GUARD_SERVICE has, with blanks between them: "web.service mail". Leave out
# those in which users start processes (cron, sshd, the display manager): a restart ends what all of them do.
RESTART=${RESTART:-}
# How many seconds from one restart to the next, and where it is kept until the machine is started again.
EVERY=${EVERY:-600}
STATE=${STATE:-/run/oom_guard-restarts}

# A process was ended: not only in a dry run, nor only warned of.
[ "${OOM_GUARD_ACTION:-}" = kill ] || exit 0
service=${OOM_GUARD_SERVICE:-}

# Only what names of services are made of: no blank, no slash, nothing that a shell or an option parser would read otherwise.
case $service in
'' | [-.]* | *[!A-Za-z0-9@:._\\-]*) exit 0 ;;
esac

case " $RESTART " in
*" $service "*) ;;
*) exit 0 ;;
esac

tell() {
    echo "$1"
    if command -v logger >/dev/null 2>&1; then
        logger -t oom_guard-hook -- "$1" || true
    fi
}

# What manages it. Only units of systemd end like this; OpenRC makes cgroups, and runit makes none.
case $service:${OOM_GUARD_CGROUP:-} in
# Told what to do, it goes on whatever becomes of this hook.
*.service:*) set -- systemctl --no-block restart -- "$service" ;;
*:/openrc."$service" | *:/openrc."$service"/* | *:/openrc_"$service" | *:/"$service") set -- rc-service -- "$service" restart ;;
*) set -- sv restart "$service" ;;
esac

# Seconds since the start of the machine: a clock that is set does not matter.
read -r now _ </proc/uptime
now=${now%%.*}

# A link that points to a moment: made at once and by one alone, if two victims belong to one service.
umask 022
mkdir -p "$STATE"
if last=$(readlink "$STATE/$service"); then
    if [ $((now - last)) -lt "$EVERY" ]; then
        tell "service $service is not restarted: it was $((now - last)) seconds ago"
        exit 0
    fi
    # By one alone, too.
    mv "$STATE/$service" "$STATE/$service.$$" 2>/dev/null || exit 0
    rm -f "$STATE/$service.$$"
fi
ln -s "$now" "$STATE/$service" 2>/dev/null || exit 0

tell "service $service is restarted, because process ${OOM_GUARD_PID:-} was ended"
"$@"
