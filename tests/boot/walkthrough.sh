# shellcheck shell=sh
# The walk-through of README.md, run as it is written there; guest.sh reads this file. Of its section, the first block of
# commands is typed in one terminal, and the second, a little later, in another.

# block NUMBER: the lines of that ```sh block.
block() {
    awk -v wanted="$1" '
        /^## / { section = $0 == "## Walk-through" }
        section && /^```/ { inside = $0 == "```sh"; number += inside; next }
        section && inside && number == wanted
    ' oom_guard-*/README.md
}

# The terminals are shells of their own, which read what is typed. The last line is what somebody may type next.
terminal() {
    {
        block "$1"
        echo 'echo "next command"'
    } >"typed$1"
    sh <"typed$1" >"terminal$1" 2>&1
    # For the log.
    cat "typed$1" "terminal$1"
}

tar -xzf dist.tar.gz
check "install, not started" sh -c 'cd oom_guard-*/ && sh ./install.sh --no-start'

terminal 1 &
check "terminal 1: the guard runs" within 15 runs
began=$(cut -d . -f 1 /proc/uptime)
terminal 2
took=$(($(cut -d . -f 1 /proc/uptime) - began))
check "terminal 1: the guard has ended stress-ng's worker" grep 'sending SIG.* to process .*"stress-ng' terminal1
check "terminal 1: it is gone" grep '^process [0-9]* exited after' terminal1
# Its time, 60 s, is not over: it was the guard.
check "terminal 2: back at the prompt before its time" test "$took" -lt 60
check "terminal 2: its shell lives" grep -x 'next command' terminal2
check "the guard runs on" runs
check "it was not the kernel" kernel_killed_nobody
