# shellcheck shell=sh
# A service that fills memory comes back by scripts/hook-restart.sh, and once. guest.sh reads this file, and has the rest.
# shellcheck disable=SC2154 # what guest.sh sets

# What runs in it. Where its supervisor would start it again by itself, it does not end with what it has started.
make_web() {
    cat >web <<'EOF2'
#!/bin/sh
cd /boot-test
echo "$$" >>web.starts
until [ -e web.fill ]; do
    sleep 1
done
rm web.fill
tail /dev/zero
[ "$(cat machine)" != runit ] || exec sleep 1000
EOF2
    chmod 755 web
    : >web.starts
}

# As an administrator would make it.
start_web() {
    case $machine in
    systemd)
        printf '[Service]\nExecStart=/boot-test/web\n' >/etc/systemd/system/web.service
        systemctl daemon-reload && systemctl start web
        ;;
    alpine*)
        cat >/etc/init.d/web <<'EOF2'
#!/sbin/openrc-run
command=/boot-test/web
command_background=true
pidfile=/run/web.pid
EOF2
        chmod 755 /etc/init.d/web
        # Without cgroups nothing tells whose a process is.
        rc-service cgroups start
        rc-service web start
        ;;
    runit)
        mkdir /etc/sv/web
        printf '#!/bin/sh\nexec /boot-test/web\n' >/etc/sv/web/run
        chmod 755 /etc/sv/web/run
        ln -s /etc/sv/web /etc/service/web
        ;;
    esac
}

remove_web() {
    case $machine in
    systemd)
        systemctl stop web
        rm /etc/systemd/system/web.service
        systemctl daemon-reload
        ;;
    alpine*)
        rc-service web stop
        rm /etc/init.d/web
        ;;
    runit)
        rm /etc/service/web
        sv exit web || sv exit /etc/sv/web
        # Its supervisor ends with it, and writes there until then.
        sleep 2
        rm -r /etc/sv/web
        ;;
    esac
    rm -f web web.fill
}

# starts NUMBER
starts() {
    [ "$(wc -l <web.starts)" -eq "$1" ]
}

service_comes_back_once() {
    make_web
    cp "$config" plain
    hook=/boot-test/restart
    sed 's/^RESTART=.*/RESTART="web web.service"/' /boot-test/oom_guard-*/hook-restart.sh >"$hook"
    chmod 755 "$hook"
    printf 'OOM_GUARD_POST_KILL_SCRIPT=%s\nOOM_GUARD_HOOK_TIMEOUT=60\n' "$hook" >>"$config"
    service restart
    check "service: the guard runs with a hook" within 15 runs
    check "service: starts" start_web
    check "service: it runs" within 15 starts 1
    touch web.fill
    check "service: comes back when what filled memory was ended" within 60 starts 2
    # It has to be ready for the second time.
    sleep 3
    touch web.fill
    check "service: does not come back twice" within 60 logged 'service web[^ ]* is not restarted'
    sleep 5
    check "service: nor later" starts 2
    messages | grep 'service web' | tail -n 4
    cat web.starts
    remove_web
    cp plain "$config"
    service restart
    check "service: the guard runs without a hook" within 15 runs
}
