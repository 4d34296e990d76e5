#!/usr/bin/env bash
# Cuts the power of a virtual machine while the recorder writes in it, then recovers what its disk has kept.
#
# usage: power_cut.sh KERNEL IMAGE INITRD SECONDS [MIMICD]
#   KERNEL, IMAGE, INITRD: a bootable Debian (ext4 root with `mount`), whose PID 1 mounts the 9p share `share` at /mnt/share and
#   runs the script that the kernel argument vmscript= names. The guest's data disk is made here.
# Needs qemu-system-x86_64, e2fsprogs, the record test binary (`cargo test --test record --no-run`) and MIMICD for the verdict.
set -euo pipefail
kernel=$1 image=$2 initrd=$3 seconds=$4 mimicd=${5:-target/debug/mimicd}
test_binary=$(ls -t "$(dirname "$mimicd")"/deps/record-* | grep -v '\.d$' | head -1)
home=$(mktemp -d); trap 'rm -rf "$home"' EXIT
mkdir -p "$home/share/lib"; cp -L .deps/mujoco/lib/libmujoco.so.* "$home/share/lib/"
strip -o "$home/share/record-test" "$test_binary"; : > "$home/share/progress"
truncate -s 2G "$home/data.img"; mke2fs -q -t ext4 "$home/data.img"
cat > "$home/share/record.sh" <<'X'
mkdir -p /data; mount -t ext4 /dev/vdb /data; mkdir -p /data/home; ln -sfn /mnt/share/progress /data/home/progress
LD_LIBRARY_PATH=/mnt/share/lib MIMICD_CRASH_FOLDER=/data/home /mnt/share/record-test --exact crash::killed_child --nocapture
X
cat > "$home/share/fetch.sh" <<'X'
mkdir -p /data /mnt/share/left; mount -t ext4 /dev/vdb /data; rm -f /data/home/progress; cp -a /data/home/. /mnt/share/left/; sync
X
boot() { # boot SCRIPT
    exec qemu-system-x86_64 $(cat "$(dirname "$kernel")/accel") -M q35 -nodefaults -m 2048 -smp 2 -display none -no-reboot \
        -serial "file:$home/console.log" -kernel "$kernel" -initrd "$initrd" \
        -drive "file=$image,if=none,id=d0,format=raw,snapshot=on" -device virtio-blk-pci,drive=d0 \
        -drive "file=$home/data.img,if=none,id=d1,format=raw,cache=none" -device virtio-blk-pci,drive=d1 \
        -virtfs "local,path=$home/share,mount_tag=share,security_model=none" -device virtio-rng-pci \
        -append "console=ttyS0 quiet panic=-1 vminit=/vmrun vmscript=$1"
}
(boot record.sh) & machine=$!
until [ -s "$home/share/progress" ]; do sleep 1; kill -0 "$machine"; done
sleep "$seconds"
kill -9 "$machine"; wait "$machine" 2>/dev/null || true
made=$(od -An -tu8 "$home/share/progress" | tr -d ' ')
(boot fetch.sh)
recording=$(ls -d "$home"/share/left/*_rat)
"$mimicd" recover "$recording"
"$mimicd" verify "$recording" | tail -1
echo "steps made when the power went: $made; rows saved: $(tr -d ' \n' < "$recording/manifest.json" | grep -o '"pose":{"rows":[0-9]*' | grep -o '[0-9]*$')"
