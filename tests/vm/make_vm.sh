#!/usr/bin/env bash
# Makes what the benches in this folder boot: a kernel, an initial RAM disk and a Debian root, from packages; about three minutes.
#
# usage: make_vm.sh FOLDER [--loopback]
#   Leaves FOLDER/vmlinux, FOLDER/root.img, FOLDER/root.img.initrd; with --loopback also FOLDER/v4l2loopback.ko, built for that kernel;
#   and FOLDER/accel: how benches outside virtual time are to run it, with KVM where a machine boots under it, else emulated.
#   A second run finds them and does nothing.
# Needs root on Debian 12, and: qemu-system-x86 (bookworm-backports), mmdebstrap, busybox-static, cpio, kmod, e2fsprogs, xz-utils, zstd,
# python3; for --loopback gcc-12 and make. What is missing is installed.
set -euo pipefail
home=$(realpath -m "$1"); loopback=${2:-}; mkdir -p "$home"; cd "$home"
export DEBIAN_FRONTEND=noninteractive
mirror=$(awk '/^URIs:/{print $2; exit}' /etc/apt/sources.list.d/debian.sources)
backports=/etc/apt/sources.list.d/bookworm-backports.sources
[ -f $backports ] || { printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$mirror" > $backports; apt-get update -qq; }
need() { command -v "$1" > /dev/null || apt-get install -y -qq --no-install-recommends "${@:2}"; }
need qemu-system-x86_64 -t bookworm-backports qemu-system-x86
need mmdebstrap mmdebstrap; need busybox busybox-static; need cpio cpio; need mke2fs e2fsprogs; need xz xz-utils; need zstd zstd; need depmod kmod

if [ ! -f vmlinux ]; then
    package=$(apt-cache depends linux-image-6.12-amd64 | awk '/Depends: linux-image-/{print $2}')
    apt-get download "$package"; dpkg-deb -x "$package"_*.deb kernel; rm "$package"_*.deb
    echo "${package#linux-image-}" > version; version=$(cat version)
    # The kernel without its self-extractor, which costs seconds under emulation.
    python3 - "kernel/boot/vmlinuz-$version" vmlinux <<'X'
import lzma, struct, subprocess, sys
image = open(sys.argv[1], "rb").read()
start = (image[0x1F1] + 1) * 512
offset, length = struct.unpack_from("<II", image, 0x248)
payload = image[start + offset : start + offset + length]
if payload[:4] == b"\x28\xb5\x2f\xfd":
    whole = subprocess.run(["zstd", "-q", "-d"], input=payload[:-4], stdout=subprocess.PIPE, check=True).stdout
elif payload[:6] == b"\xfd7zXZ\0":
    whole = lzma.LZMADecompressor().decompress(payload)
else:
    sys.exit(f"unknown compression {payload[:6].hex()}")
open(sys.argv[2], "wb").write(whole)
X
fi
version=$(cat version); modules=kernel/lib/modules/$version
[ -f "$modules/modules.dep" ] || depmod -b kernel "$version"

if [ ! -f root.img.initrd ]; then
    disk=$(mktemp -d); mkdir -p "$disk"/{bin,m,proc,sys,dev,root}; cp "$(command -v busybox)" "$disk/bin/"; order=""
    load() { # load MODULE: it and what it depends on, in order
        local line file dependency name
        line=$(grep -m1 -E "/$1\.ko(\.xz)?:" "$modules/modules.dep") || return 0
        file=${line%%:*}; name=$(basename "${file%.xz}")
        for dependency in ${line#*:}; do dependency=$(basename "${dependency%.xz}"); load "${dependency%.ko}"; done
        [ -f "$disk/m/$name" ] && return 0
        case $file in *.xz) xz -dc "$modules/$file" > "$disk/m/$name";; *) cp "$modules/$file" "$disk/m/$name";; esac
        order="$order $name"
    }
    for module in virtio_pci virtio_mmio virtio_blk crc32c_generic ext4 9pnet_virtio 9p virtio_console virtio_rng; do load $module; done
    cat > "$disk/init" <<X
#!/bin/busybox sh
b=/bin/busybox
\$b mount -t proc proc /proc; \$b mount -t sysfs sysfs /sys; \$b mount -t devtmpfs dev /dev
for m in $order; do \$b insmod /m/\$m 2>/dev/null; done
n=0; while [ ! -b /dev/vda ] && [ \$n -lt 100 ]; do \$b usleep 50000; n=\$((n+1)); done
\$b mount -t ext4 -o rw,noatime /dev/vda /root || \$b sh
\$b mount --move /dev /root/dev; \$b mount --move /proc /root/proc; \$b mount --move /sys /root/sys
I=/sbin/init; for a in \$(\$b cat /root/proc/cmdline); do case \$a in vminit=*) I=\${a#vminit=};; esac; done
exec \$b switch_root /root \$I
X
    chmod +x "$disk/init"; (cd "$disk" && find . | cpio -o -H newc 2> /dev/null | gzip -1) > root.img.initrd.new; rm -rf "$disk"
    mv root.img.initrd.new root.img.initrd
fi

if [ ! -f root.img ]; then
    [ -d root ] || mmdebstrap --quiet --variant=apt --mode=root --aptopt='APT::Install-Recommends "false"' \
        --include=mount,kmod,v4l-utils,iproute2,procps,usbutils bookworm root "$mirror"
    cat > root/vmrun <<'X'
#!/bin/bash
# PID 1: runs the script of the shared folder that the kernel argument vmscript= names, keeps what it said, and switches off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /tmp; mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t configfs none /sys/kernel/config 2>/dev/null
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share /mnt/share
script=$(sed -n 's/.*vmscript=\([^ ]*\).*/\1/p' /proc/cmdline)
bash /mnt/share/$script > /mnt/share/$script.out 2>&1
sync; echo o > /proc/sysrq-trigger; sleep 5
X
    chmod +x root/vmrun; mkdir -p root/mnt/share root/lib/modules; rm -rf root/lib/modules/*; cp -a "$modules" root/lib/modules/
    mke2fs -q -t ext4 -O ^has_journal -m 0 -d root root.img.new 1200M; mv root.img.new root.img; rm -rf root
fi

if [ -n "$loopback" ] && [ ! -f v4l2loopback.ko ]; then
    need gcc-12 gcc-12; need make make
    mkdir -p build; cd build
    common=$(apt-cache depends "linux-headers-$version" | awk '/Depends: linux-headers-.*-common/{print $2}')
    kbuild=$(apt-cache depends "linux-headers-$version" | awk '/Depends: linux-kbuild-/{print $2}')
    apt-get download "linux-headers-$version" "$common" "$kbuild" v4l2loopback-dkms
    for package in ./*.deb; do dpkg-deb -x "$package" .; done
    headers=$PWD/usr/src/linux-headers-$version; source=$(echo "$PWD"/usr/src/v4l2loopback-*)
    sed -i "s#/usr/src/linux-headers#$PWD/usr/src/linux-headers#" "$headers/Makefile"
    # Type information would need a program that is not installed; the kernel of now has no strlcpy.
    rm -f "$headers/vmlinux"
    make -s -C "$headers" M="$source" KCFLAGS=-Dstrlcpy=strscpy modules
    cp "$source/v4l2loopback.ko" ../v4l2loopback.ko; cd ..; rm -rf build
fi
if [ ! -f accel ]; then
    # /dev/kvm may be there and not able to run this kernel: only a boot tells.
    mkdir -p probe; echo 'echo booted' > probe/probe.sh
    [ -w /dev/kvm ] && timeout 20 qemu-system-x86_64 -accel kvm -cpu host -M q35 -nodefaults -m 1024 -smp 2 -display none -no-reboot \
        -kernel vmlinux -initrd root.img.initrd -drive file=root.img,if=none,id=d0,format=raw,snapshot=on -device virtio-blk-pci,drive=d0 \
        -virtfs local,path=probe,mount_tag=share,security_model=none -append "quiet panic=-1 vminit=/vmrun vmscript=probe.sh" \
        < /dev/null > probe/said 2>&1 || true
    if grep -qs booted probe/probe.sh.out; then echo "-accel kvm -cpu host" > accel; else echo "-accel tcg,thread=multi -cpu max,-erms,-fsrm" > accel; fi
    rm -rf probe
fi
echo "virtual machine: $home, kernel $version, outside virtual time: $(cat accel)"
