#!/bin/sh
# Lies in each machine's image as /sbin/boot-test and is the last thing that its init starts. What is tested comes on the
# second disk, which holds nothing but a tar archive: an image need not be made anew when a test changes.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
exec </dev/null >/dev/console 2>&1

# The first is its name on a virtio bus (Alpine), the second on an NVMe controller: Debian's kernel has that built in.
for disk in /dev/vdb /dev/nvme0n2; do
    [ -b "$disk" ] && break
done
mkdir -p /boot-test && cd /boot-test && tar -xf "$disk" && sh ./guest.sh
# The machine is ended from outside. Some inits would start this script again if it ended.
while :; do
    sleep 60
done
