#!/bin/sh
# Process 1 of the machine that scripts/rescue.sh boots; lies in its image as /sbin/init. What is run comes on the second disk,
# which holds nothing but a tar archive: the image need not be made anew when a scenario changes.
PATH=/rig:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
busybox mount -t tmpfs tmpfs /run
busybox mount -t tmpfs tmpfs /tmp
exec </dev/null >/dev/console 2>&1
# Files of this kind are never swapped out: what measures must not wait for the disk that is measured.
mkdir -p /rig && busybox mount -t ramfs ramfs /rig && cd /rig && busybox tar -xf /dev/nvme0n2 || exit
cp /bin/busybox /rig/busybox
# Process 1 only reaps, so that the scenario has a session of its own, as whoever logs in has.
exec /rig/busybox sh -c '/rig/busybox setsid /rig/busybox sh /rig/guest.sh; while :; do /rig/busybox sleep 60; done'
