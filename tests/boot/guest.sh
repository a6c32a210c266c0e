#!/bin/sh
# Runs inside a machine that scripts/boot.sh has booted, started by tests/boot/start.sh as root. It installs the guard and does
# with it what people do, with the commands of this machine's init. It tells the host, on the console:
#
#   == start 1            the first boot has come to its tests
#   == ok NAME            == FAILED NAME: WHY            == skipped NAME: WHY
#   == reboot 1           the machine is going down, and is to be booted again
#   == end
#
# Plain sh, for dash and BusyBox.
set -u
cd /boot-test || exit 1
machine=$(cat machine)
config=/etc/oom_guard.conf

# ---- telling ----

# On a line of its own, whatever others have just written to the console.
tell() {
    printf '\n== %s\n' "$*"
}

# check NAME COMMAND...
check() {
    check_name=$1
    shift
    # Seconds since the boot.
    read -r check_now _ </proc/uptime
    echo "-- $check_now s: $check_name: $*"
    if "$@"; then
        tell "ok $check_name"
    else
        tell "FAILED $check_name: $* (status $?)"
        messages | tail -n 20
    fi
}

not() {
    ! "$@"
}

# within SECONDS COMMAND...: until it succeeds, in that time.
within() {
    within_left=$1
    shift
    until "$@"; do
        [ "$within_left" -gt 0 ] || return 1
        within_left=$((within_left - 1))
        sleep 1
    done
}

# ---- the init of this machine ----

# service start|stop|restart|reload|status
service() {
    case $machine in
    *alpine*) rc-service oom_guard "$1" ;;
    sysvinit) command service oom_guard "$1" ;;
    systemd | walkthrough*) systemctl --no-pager "$1" oom_guard ;;
    runit) with_sv "$1" ;;
    s6) with_s6 "$1" ;;
    busybox) with_inittab "$1" ;;
    esac
}

with_sv() {
    case $1 in
    start) sv up oom_guard ;;
    stop) sv down oom_guard ;;
    reload) sv hup oom_guard ;;
    restart) sv restart oom_guard ;;
    # Its exit status is that of runsv.
    status) sv status oom_guard | grep '^run:' ;;
    esac
}

with_s6() {
    case $1 in
    start) s6-svc -u "$s6_service" ;;
    stop) s6-svc -d "$s6_service" ;;
    reload) s6-svc -h "$s6_service" ;;
    restart) s6-svc -r "$s6_service" ;;
    status) s6-svstat "$s6_service" | grep '^up' ;;
    esac
}
s6_service=/run/service/oom_guard

# BusyBox's init knows an inittab and nothing else: what runs is what stands there.
with_inittab() {
    case $1 in
    start)
        sed -i '/oom_guard/s/^#//' /etc/inittab
        kill -HUP 1
        ;;
    stop)
        sed -i '/oom_guard/s/^/#/' /etc/inittab
        kill -HUP 1
        # Some builds of BusyBox end what no longer stands there, others leave it alone.
        within 3 not runs || kill "$(guard)"
        ;;
    reload) kill -HUP "$(guard)" ;;
    # The guard, or the script that waits for its settings to be mended.
    restart) kill "$(guard || pidof -x respawn)" ;;
    status) [ -n "$(guard)" ] ;;
    esac
}

# Where people on this machine look for messages.
messages() {
    case $machine in
    systemd | walkthrough | walkthrough-13) journalctl --no-pager -q -o cat -u oom_guard ;;
    runit | s6) cat /var/log/oom_guard/current ;;
    *) cat /var/log/messages ;;
    esac
}

# logged TEXT
logged() {
    messages | grep -q "$1"
}

# ---- the guard ----

# Its process number: of those of that name the one that is no child of another. Read without a fork each, since a machine
# without memory has none to give.
guard() {
    guard_all=" $(pidof oom_guard) "
    for guard_pid in $guard_all; do
        while read -r guard_key guard_value; do
            [ "$guard_key" != PPid: ] || break
        done 2>/dev/null <"/proc/$guard_pid/status"
        case $guard_all in
        *" $guard_value "*) ;;
        *) echo "$guard_pid" && return ;;
        esac
    done
    return 1
}

runs() {
    guard >/dev/null
}

# What it has told the service manager.
is_ready() {
    s6-svstat "$s6_service" | grep ready
}

says_status() {
    systemctl --no-pager status oom_guard | grep "Status: .mem avail"
}

# A running one with another number than $1.
is_another() {
    another=$(guard) && [ "$another" != "$1" ]
}

# adj PID: what -p has set, once it is through with that.
is_prioritized() {
    [ "$(cat /proc/"$(guard)"/oom_score_adj)" = -100 ]
}

# The guard has seen no other one since its last start. Of one that was killed the helper may still live when the next starts.
is_alone() {
    messages | awk '/oom_guard [0-9]+\./ { seen = 0 } /watches memory too/ { seen = 1 } END { exit seen }'
}

# told COLUMN: what the table of README.md has for this init: 3 is what to type so that settings are taken over, 4 where
# messages are.
told() {
    case $machine in
    *alpine*) told_init=OpenRC ;;
    busybox) told_init=BusyBox ;;
    *) told_init=$machine ;;
    esac
    awk -F '|' -v init=" $told_init " -v column="$1" \
        '$2 == init { gsub(/^ *`|` *$/, "", $column); print $column; exit }' oom_guard-*/README.md
}

reads_settings_again() {
    reads_before=$(messages | grep -c 'settings were read again')
    reads_command=$(told 3)
    echo "README.md: $reads_command"
    # Not in this shell, which has a `service` of its own.
    sh -c "$reads_command" || return 1
    within 10 reads_more "$reads_before"
}

reads_more() {
    [ "$(messages | grep -c 'settings were read again')" -gt "$1" ]
}

# From now on a line is written for each start of the program, be it for the service or for a look at the settings.
count_starts() {
    mv /usr/local/bin/oom_guard /usr/local/bin/oom_guard.real
    cat >/usr/local/bin/oom_guard <<'EOF'
#!/bin/sh
echo "$*" >>/boot-test/starts
exec /usr/local/bin/oom_guard.real "$@"
EOF
    chmod 755 /usr/local/bin/oom_guard
    : >starts
}

starts_as_before() {
    mv /usr/local/bin/oom_guard.real /usr/local/bin/oom_guard
}

# Nobody starts it for eight seconds, longer than any of the services pauses between two starts (5 s).
is_quiet() {
    quiet_before=$(wc -l <starts)
    sleep 8
    [ "$(wc -l <starts)" -eq "$quiet_before" ]
}

# ---- the file system ----

# All paths, and what files in /etc hold. Not what each boot and each message changes, the services of these tests, and
# what insserv keeps for itself: it is written anew whenever update-rc.d is called, in another order.
list_files() {
    find / -xdev \( -path /boot-test -o -path /var/log -o -path /tmp -o -path /run -o -path /var/lib/systemd \
        -o -path /var/cache -o -path /etc/adjtime -o -name 'boot-test' \) -prune -o -print | sort
    find /etc -name boot-test -prune -o -name '.depend.*' -o -name adjtime -o -type f -exec cksum {} + | sort -k 3
}

nothing_is_left() {
    list_files >after
    diff before after && return
    # For the log: what differs is above.
    return 1
}

# ---- the tests ----

# shellcheck source=tests/boot/service.sh
. ./service.sh

hog_is_ended() {
    sleep 1000 &
    bystander=$!
    tail /dev/zero &
    hog=$!
    wait "$hog"
    hog_status=$?
    echo "the hog ended with status $hog_status"
    # 143: SIGTERM, 137: SIGKILL.
    case $hog_status in
    143 | 137) ;;
    *) return 1 ;;
    esac
}

others_live() {
    kill -0 "$bystander" && runs
}

kernel_killed_nobody() {
    ! dmesg | grep -i 'out of memory\|oom-kill'
}

# How often watch and helper have waited for the disk since they began (majflt, field 12 of /proc/PID/stat, proc(5)).
waits_of_guard() {
    for waits_pid in $(pidof oom_guard); do
        sed 's/.*) //' "/proc/$waits_pid/stat"
    done | awk '{ sum += $10 } END { print sum + 0 }'
}

waits_of_all() {
    awk '$1 == "pgmajfault" { print $2 }' /proc/vmstat
}

# Kernels hand out what is read from a disk before what a process holds, so files that are read at random beside a process that
# takes nearly all of memory throw out whatever is not locked, the code of all that runs above all.
thrash() {
    # Not so much that the guard would end it: a tenth of memory stays, and some more.
    thrash_mib=$(awk '$1 == "MemAvailable:" { print int($2 / 1024 * 0.8) }' /proc/meminfo)
    # It holds what it has read for as long as nobody takes it.
    # shellcheck disable=SC2216
    dd if=/dev/zero bs="${thrash_mib}M" count=1 2>/dev/null | sleep 1000 &
    for _ in 1 2 3; do
        find /bin /lib /usr -xdev -type f -exec cat {} + >/dev/null 2>&1
    done
    kill $!
}

# What another one has to wait for is no wait for the guard.
never_waits_for_the_disk() {
    never_guard=$(waits_of_guard)
    never_all=$(waits_of_all)
    # A slow machine may have thrown out little by then.
    for _ in 1 2 3; do
        thrash
        [ "$(waits_of_all)" -le $((never_all + 10)) ] || break
    done
    hog_is_ended || return 1
    kill "$bystander"
    echo "waits for the disk: all $(($(waits_of_all) - never_all)), the guard $(($(waits_of_guard) - never_guard))"
    # Else nothing was thrown out, and this says nothing.
    [ "$(waits_of_all)" -gt $((never_all + 10)) ] && [ "$(waits_of_guard)" -eq "$never_guard" ]
}

# Prints what the guard holds. Mappings that are not locked, but for those of the kernel, are an error.
is_locked() {
    for locked_pid in $(pidof oom_guard); do
        awk -v pid="$locked_pid" '$1 ~ /^[RP]ss:/ { print "memory of " pid ": " $1, $2, "KiB" }' "/proc/$locked_pid/smaps_rollup"
        awk '/^[0-9a-f]+-/ { name = $0 }
            /^VmFlags:/ && !/ lo( |$)/ && name !~ /\[(vdso|vvar|vvar_vclock|vsyscall)\]/ { print name; bad = 1 }
            END { exit bad }' "/proc/$locked_pid/smaps" || return 1
    done
}

first_boot() {
    list_files >before
    tar -xzf dist.tar.gz
    check "install" sh -c 'cd oom_guard-*/ && sh ./install.sh'
    check "installed: runs" within 15 runs
    check "installed: oom_score_adj is -100" within 5 is_prioritized
    check "status" service status
    check "reload" reads_settings_again

    old=$(guard)
    check "restart" service restart
    check "restart: another process" within 15 is_another "$old"
    check "stop" service stop
    check "stop: gone" within 15 not runs
    check "stop: status says so" not service status
    check "start" service start
    check "start: runs" within 15 runs
    case $machine in
    systemd) check "start: says how memory is" within 15 says_status ;;
    s6) check "start: is ready" within 15 is_ready ;;
    esac

    old=$(guard)
    check "killed" kill -KILL "$old"
    check "killed: another one runs" within 15 is_another "$old"
    check "killed: oom_score_adj is -100 again" within 5 is_prioritized
    case $machine in
    systemd)
        # Not three minutes.
        mkdir -p /run/systemd/system/oom_guard.service.d
        printf '[Service]\nWatchdogSec=10\n' >/run/systemd/system/oom_guard.service.d/watchdog.conf
        systemctl daemon-reload
        service restart
        old=$(guard)
        sleep 15
        check "lives: is left alone" test "$(guard)" = "$old"
        check "hangs" kill -STOP "$old"
        check "hangs: another one runs" within 40 is_another "$old"
        rm -r /run/systemd/system/oom_guard.service.d
        systemctl daemon-reload
        service restart
        ;;
    esac

    check "hog: ended" hog_is_ended
    check "hog: others live" others_live
    check "hog: it was not the kernel" kernel_killed_nobody
    check "hog: told" within 10 logged "sending SIG.* to process $hog .*tail"
    kill "$bystander"
    case $machine in
    alpine*) check "memory: all of the guard's is locked" is_locked ;;
    # One machine will do, whose files are more than its memory.
    sysvinit) check "memory: it does not wait for a disk that thrashes" never_waits_for_the_disk ;;
    esac

    case $machine in
    systemd | alpine* | runit) service_comes_back_once ;;
    esac

    cp "$config" saved
    echo 'OOM_GUARD_MEM_THRESHOLD=lots' >>"$config"
    old=$(guard)
    service reload
    sleep 2
    check "faulty settings, reload: runs on" test "$(guard)" = "$old"
    # Now it must take them from the start, and ends with status 2. Some try a few times before they leave it.
    count_starts
    kill -KILL "$old"
    # OpenRC counts ten deaths a minute, and begins anew each minute: twenty, if they fall so.
    check "faulty settings, start: no loop" within 6 is_quiet
    cat starts
    check "faulty settings, start: does not run" not runs
    starts_as_before
    cp saved "$config"
    check "settings mended: start" service "$mended"
    check "settings mended: runs" within 15 runs
}

second_boot() {
    check "reboot: runs" within 30 runs
    check "reboot: oom_score_adj is -100" within 5 is_prioritized
    check "reboot: status" service status
    # Not even in the script that has started it, which is called as it is.
    check "reboot: it sees no other guard" is_alone
    case $machine in
    systemd) check "exposure is at most 3.5" is_hardened ;;
    esac
    # What somebody has written stays.
    echo "# mine" >>"$config"
    check "uninstall" sh -c 'cd oom_guard-*/ && sh ./install.sh --uninstall'
    check "uninstall: gone" not pidof oom_guard
    check "uninstall: changed settings stay" grep '^# mine' "$config"
    rm -f "$config"
    check "uninstall: nothing is left" nothing_is_left
}

is_hardened() {
    systemd-analyze --no-pager security oom_guard.service | tee security | tail -n 1
    awk '/Overall exposure level/ { for (i = 1; i < NF; i++) if ($i == "oom_guard.service:") exit !($(i + 1) <= 3.5) }' \
        security
}

go_down() {
    case $machine in
    systemd | walkthrough | walkthrough-13) systemctl --no-block reboot ;;
    s6) s6-svscanctl -t /run/service ;;
    *) reboot ;;
    esac
}

# ---- the whole ----

# Nothing of the kernel between the lines for the host.
dmesg -n 1
# Faulty settings are waited for by a script that looks again each minute.
mended=start
[ "$machine" != busybox ] || mended=restart

number=$(($(cat number 2>/dev/null || echo 0) + 1))
echo "$number" >number
tell "start $number"
case $machine$number in
walkthrough*)
    # shellcheck source=tests/boot/walkthrough.sh
    . ./walkthrough.sh
    ;;
*1)
    first_boot
    sync
    tell "reboot $number"
    go_down
    exit
    ;;
*2) second_boot ;;
esac
tell end
