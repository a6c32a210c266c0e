# shellcheck shell=sh
# What README.md tells to type, as it is written there, in its order and in one shell; guest.sh reads this file. The blocks
# before the first section want a compiler: scripts/fresh.sh runs those.
# shellcheck disable=SC2154 # what guest.sh sets

# The lines of its ```sh blocks.
blocks() {
    awk '
        /^## / { begun = 1 }
        /^```/ { inside = begun && $0 == "```sh"; next }
        inside && NF
    ' oom_guard-*/README.md
}

# The same with what its table has for this init, as a reader without systemd would type it.
for_this_init() {
    case $machine in
    *alpine*) sed "s|^journalctl -u oom_guard -n 4|tail -n 4 $(told 4)|; s|^systemctl reload oom_guard|$(told 3)|" ;;
    *) cat ;;
    esac
}

tar -xzf dist.tar.gz
blocks | for_this_init >commands
# Behind each command, what became of it.
awk '{ print; print "echo \"status $? of command " NR "\"" }' commands >typed
hog=$(awk '/^tail \/dev\/zero/ { print NR }' commands)
# As if a release was copied there.
mkdir home
cp dist.tar.gz home/oom_guard-release.tar.gz
(cd home && sh ../typed) >terminal 2>&1
# For the log.
cat typed terminal

check "the hog is ended, and its shell lives" grep -E -x "status (137|143) of command $hog" terminal
check "all other commands succeed" test "$(grep -c '^status 0 of command' terminal)" -eq $(($(wc -l <commands) - 1))
check "the guard says what it ended" within 10 logged 'sending SIG.* to process .* "tail"'
check "the guard says that it is gone" within 10 logged 'process [0-9]* exited after'
check "its settings were read again" within 10 logged 'settings were read again'
check "the guard runs on" runs
check "it was not the kernel" kernel_killed_nobody
