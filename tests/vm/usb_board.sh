#!/usr/bin/env bash
# The sync board on a real USB bus: a CDC-ACM gadget in a virtual machine, pulled out and put back while the host follows it.
#
# usage: usb_board.sh KERNEL IMAGE INITRD [MIMICD [BOARD]]
#   KERNEL, IMAGE, INITRD: a bootable Debian (ext4 root with kmod and its modules), whose PID 1 mounts the 9p share `share` at
#   /mnt/share and runs the script that the kernel argument vmscript= names (see power_cut.sh).
#   MIMICD: target/debug/mimicd. BOARD: the example board_on_tty of mimicd-hw.
# Needs qemu-system-x86_64. Prints what the host said, then a verdict; exits 1 when a trigger was misidentified or undeclared.
#
#   dummy_hcd (a USB bus in memory) ── gadget 16c0:05e1 ── ttyGS0 ◄── board_on_tty: the firmware's logic
#          └── cdc_acm ── ttyACM* ──► mimicd board watch: the real driver, found by USB id and serial number
set -euo pipefail
kernel=$1 image=$2 initrd=$3 mimicd=${4:-target/debug/mimicd} board=${5:-target/debug/examples/board_on_tty}
home=$(mktemp -d); trap 'rm -rf "$home"' EXIT
mkdir -p "$home/share/lib"; cp -L .deps/mujoco/lib/libmujoco.so.* "$home/share/lib/"
strip -o "$home/share/mimicd" "$mimicd"; strip -o "$home/share/board_on_tty" "$board"
cat > "$home/share/usb.sh" <<'X'
export LD_LIBRARY_PATH=/mnt/share/lib
modprobe dummy_hcd num=2; modprobe libcomposite; modprobe usb_f_acm; modprobe cdc_acm
mount | grep -q configfs || mount -t configfs none /sys/kernel/config
cd /sys/kernel/config/usb_gadget
gadget() { # gadget NAME BUS: a board with the serial number SN-NAME
    mkdir "$1"; cd "$1"; echo 0x16c0 > idVendor; echo 0x05e1 > idProduct
    mkdir -p strings/0x409 configs/c.1 functions/acm.0
    echo "SN-$1" > strings/0x409/serialnumber; echo "mimicd sync board" > strings/0x409/product; echo mimicd > strings/0x409/manufacturer
    ln -s functions/acm.0 configs/c.1/; echo "$2" > UDC; cd ..
}
gadget rig dummy_udc.0; gadget other dummy_udc.1; sleep 2
/mnt/share/board_on_tty /dev/ttyGS0 & sleep 1
cd /; echo "== ports"; /mnt/share/mimicd board list
echo "== two boards and no name"; /mnt/share/mimicd board watch --seconds 1 2>&1
echo "== the one named, unplugged twice"
/mnt/share/mimicd board watch --device SN-rig --seconds 40 --trigger-hz 50 & watch=$!
sleep 6; echo "== exclusive: a second program"; /mnt/share/mimicd board watch --device SN-rig --seconds 1 2>&1
sleep 6; echo "-- unplug"; echo "" > /sys/kernel/config/usb_gadget/rig/UDC
sleep 3; echo "-- replug"; echo dummy_udc.0 > /sys/kernel/config/usb_gadget/rig/UDC
sleep 8; echo "-- unplug again, and the other board takes its name on the bus"
echo "" > /sys/kernel/config/usb_gadget/rig/UDC; sleep 1; echo "" > /sys/kernel/config/usb_gadget/other/UDC; sleep 1
echo dummy_udc.1 > /sys/kernel/config/usb_gadget/other/UDC; sleep 1; echo dummy_udc.0 > /sys/kernel/config/usb_gadget/rig/UDC
wait $watch; echo "watch exits $?"; ls /dev/ttyACM*
X
timeout 400 qemu-system-x86_64 $(cat "$(dirname "$kernel")/accel") -M q35 -nodefaults -m 2048 -smp 2 -display none -no-reboot \
    -serial "file:$home/console.log" -kernel "$kernel" -initrd "$initrd" \
    -drive "file=$image,if=none,id=d0,format=raw,snapshot=on" -device virtio-blk-pci,drive=d0 \
    -virtfs "local,path=$home/share,mount_tag=share,security_model=none" -device virtio-rng-pci \
    -append "console=ttyS0 quiet panic=-1 vminit=/vmrun vmscript=usb.sh" < /dev/null
cat "$home/share/usb.sh.out"
grep -q "watch exits 0" "$home/share/usb.sh.out"
