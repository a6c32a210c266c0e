# shellcheck shell=sh
# What scripts that boot machines share. They read this file; it does nothing by itself. `top` is the checkout, `logs` a directory
# for what is told, and for the machine that is up, `log` is what it has said and `emulator` its process.
# shellcheck disable=SC2154 # those

has() {
    command -v "$1" >/dev/null 2>&1
}

# tarball_for ARCH: the newest, or nothing.
tarball_for() {
    # shellcheck disable=SC2012 # names of our own making
    ls -t "$top/target/dist/oom_guard-"*"-$1-linux-musl.tar.gz" 2>/dev/null | head -n 1
}

# Makes the tarball for x86_64, unless it is that of this checkout.
make_tarball() {
    make_tarball_old=$(tarball_for x86_64)
    if [ -z "$make_tarball_old" ] || [ -n "$(find "$top/src" "$top/init" "$top/scripts/install.sh" "$top/README.md" \
        "$top/Cargo.toml" "$top/Cargo.lock" -type f -newer "$make_tarball_old" | head -n 1)" ]; then
        "$top/scripts/build-static.sh" x86_64 >"$logs/build.log" 2>&1 || {
            tail -n 5 "$logs/build.log"
            return 1
        }
    fi
}

# What the guest has told, on lines of its own. Its console ends lines with \r\n.
guest_lines() {
    tr -d '\r' <"$log" | sed -n 's/^== //p'
}

# wait_for SECONDS PATTERN: until the guest has said so. False if it does not in time, or if the machine has ended.
wait_for() {
    wait_left=$1
    while ! guest_lines | grep -q "$2"; do
        [ "$wait_left" -gt 0 ] || return 1
        # What it wrote last may have come after the look above.
        kill -0 "$emulator" 2>/dev/null || { guest_lines | grep -q "$2" && return || return 1; }
        wait_left=$((wait_left - 1))
        sleep 1
    done
}
