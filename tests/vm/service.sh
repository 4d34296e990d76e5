#!/usr/bin/env bash
# The package and the service under a real service manager: systemd as PID 1, in a container or in a virtual machine.
#
# usage: service.sh DEB NEWER_DEB [ROOT]
#        service.sh --vm KERNEL INITRD DEB NEWER_DEB [ROOT]
#        service.sh --uml DEB NEWER_DEB [ROOT]
#   DEB, NEWER_DEB: made by `cargo xtask dist` and `cargo xtask dist --version 0.1.1`.
#   KERNEL, INITRD: made by make_vm.sh; the processor is emulated (QEMU).
#   --uml: a kernel of its own as a process (User-Mode Linux, Debian: user-mode-linux): nothing is emulated, one processor.
#   ROOT: a Debian root with systemd, dbus, udev, procps, passwd and libstdc++6; made with mmdebstrap when it is not given. Only a
#   copy of it is used.
# Needs root, and systemd-container, or qemu-system-x86_64 and e2fsprogs, or user-mode-linux and e2fsprogs; mmdebstrap for ROOT. Prints one line a fact
# (service_facts.sh); exits 1 when one does not hold.
#
#   install: nothing runs, nothing is enabled · verify, security · start: ready, records from the twin
#   hang (SIGSTOP) → the watchdog kills and restarts → the same recording goes on as a new segment
#   SIGKILL → the same · upgrade while recording: the daemon stays · stop: sealed, adds up · remove · purge
set -euo pipefail
mode=container
case $1 in
    --vm) mode=qemu kernel=$(realpath "$2") initrd=$(realpath "$3"); shift 3;;
    --uml) mode=uml; shift;;
esac
deb=$(realpath "$1") newer=$(realpath "$2") given=${3:-}
home=$(mktemp -d); root=$home/root; trap 'rm -rf "$home"' EXIT
if [ -n "$given" ]; then
    cp -a "$given" "$root"
else
    mmdebstrap --quiet --variant=apt --include=systemd,systemd-sysv,udev,dbus,procps,passwd,libstdc++6 bookworm "$root"
fi
cp "$deb" "$root/first.deb"; cp "$newer" "$root/newer.deb"; cp "$(dirname "$0")/service_facts.sh" "$root/facts.sh"
settings=""
if [ $mode != container ]; then
    # Slower than the machine beneath by ten to forty times (QEMU), or with one processor and dear system calls (User-Mode Linux).
    settings="SLOW=$([ $mode = qemu ] && echo 4 || echo 2) SMALL=1 HAS_REAL_TIME=1"
    mkdir -p "$root/etc/systemd/system/mimicd.service.d"
    printf '[Service]\nWatchdogSec=40\nTimeoutStartSec=900\n' > "$root/etc/systemd/system/mimicd.service.d/emulated.conf"
fi
cat > "$root/etc/systemd/system/facts.service" <<X
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash -c '$settings bash /facts.sh > /facts 2>&1; systemctl poweroff --no-block'
[Install]
WantedBy=multi-user.target
X
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sf ../facts.service "$root/etc/systemd/system/multi-user.target.wants/facts.service"
if [ $mode != container ]; then
    mke2fs -q -t ext4 -m 0 -d "$root" "$home/root.img" 4G
    if [ $mode = qemu ]; then
        timeout 3000 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -M q35 -nodefaults -m 3072 -smp 2 -display none -no-reboot \
            -serial "file:$home/boot.log" -kernel "$kernel" -initrd "$initrd" -device virtio-rng-pci \
            -drive "file=$home/root.img,if=none,id=d0,format=raw,cache=unsafe" -device virtio-blk-pci,drive=d0 \
            -append "console=ttyS0 quiet panic=-1" < /dev/null || tail -5 "$home/boot.log"
    else
        timeout 3000 linux.uml mem=2048M "ubd0=$home/root.img" root=/dev/ubda rw quiet panic=-1 \
            con=null con0=null,fd:1 ssl=null < /dev/null > "$home/boot.log" 2>&1 || tail -5 "$home/boot.log"
    fi
    debugfs -R "dump /facts $root/facts" "$home/root.img" 2> /dev/null
else
    timeout 900 systemd-nspawn --quiet -D "$root" --boot --register=no --keep-unit --private-network --console=pipe < /dev/null > "$home/boot.log" 2>&1 || tail -5 "$home/boot.log"
fi
cat "$root/facts"
! grep -q FAILED "$root/facts" && grep -q "nothing is left" "$root/facts"
