#!/bin/sh
# An example of a hook: notes each victim in a file, and in the system log.
#
#   oom_guard --pre-kill /usr/local/lib/oom_guard/hook --post-kill /usr/local/lib/oom_guard/hook
#
# The guard tells what it does in variables: OOM_GUARD_PID, _NAME, _UID, _RSS and _SWAP (KiB), _SCORE, _ADJ, _CMDLINE,
# _CGROUP and _SERVICE (see hook-restart.sh), _SIGNAL (SIGTERM, SIGKILL), _REASON (memory, stall, limit, warn) and
# _ACTION (kill, dryrun, warn). Name, command line and cgroup were chosen by the process or its user: always in double
# quotes, never through eval, and only as an argument of printf.
set -eu

# A warning may be about no process.
[ "${OOM_GUARD_PID:-}" ] || exit 0

LOG=${LOG:-/var/log/oom_guard-victims.log}

# Nothing of it may begin a line of its own, or steer the terminal of who reads it.
plain() {
    printf '%s' "$1" | tr '\001-\037\177' '?'
}

name=$(plain "${OOM_GUARD_NAME:-}")
line=$(printf '%s %s (%s) %s of uid %s: %s KiB, because of %s' \
    "${OOM_GUARD_SIGNAL:-}" "${OOM_GUARD_PID:-}" "$name" "${OOM_GUARD_ACTION:-}" \
    "${OOM_GUARD_UID:-}" "${OOM_GUARD_RSS:-}" "${OOM_GUARD_REASON:-}")

printf '%s %s\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$line" >>"$LOG" || true

if command -v logger >/dev/null 2>&1; then
    logger -t oom_guard-hook -- "$line" || true
fi
