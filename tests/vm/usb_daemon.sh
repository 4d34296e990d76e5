#!/usr/bin/env bash
# The daemon records while its sync board is pulled out of the USB bus and put back: once with a supply of its own, so that it
# goes on triggering, once fed by the bus, so that it starts anew.
#
# usage: usb_daemon.sh KERNEL IMAGE INITRD MODULE [MIMICD [BOARD]]
#   KERNEL, IMAGE, INITRD: what make_vm.sh makes. MODULE: the v4l2loopback.ko of that kernel. MIMICD: target/debug/mimicd.
#   BOARD: the example board_on_tty of mimicd-hw. KEEP=FOLDER keeps the dataset and the daemon's log there.
# Needs qemu-system-x86_64 and what `cargo xtask setup` fetches. Exits 1 when the dataset does not add up, an unplugging is not
# declared, or a frame that claims a proved match was not taken by the trigger that it names.
#
#   dummy_hcd ── gadget 16c0:05e1 ── ttyGS0 ◄── board_on_tty: the firmware's logic ──trigger──► v4l2loopback x2
#          └── cdc_acm ── ttyACM* ──► mimicd run: serial and V4L2 drivers, matching, loop, recorder ◄──┘
#
# Time in the guest is virtual (-icount): the host's load changes nothing.
set -euo pipefail
kernel=$1 image=$2 initrd=$3 module=$4 mimicd=${5:-target/debug/mimicd} board=${6:-target/debug/examples/board_on_tty}
home=$(mktemp -d); trap 'rm -rf "$home"' EXIT
share=$home/share; mkdir -p "$share/lib" "$share/rig/configs" "$share/rig/.deps" "$share/rig/models"
cp -L .deps/mujoco/lib/libmujoco.so.* .deps/onnxruntime/libonnxruntime.so "$share/lib/"
cp -rL .deps/rat "$share/rig/.deps/"; cp -r models/pose-twin models/policy-servo "$share/rig/models/"; cp -r configs/. "$share/rig/configs/"
strip -o "$share/mimicd" "$mimicd"; strip -o "$share/board_on_tty" "$board"; cp "$module" "$share/v4l2loopback.ko"
cat > "$share/rig/configs/vm.toml" <<'X'
[rig]
name = "vm"
frame_rate_hz = 10.0
calibration = "twin-calibration.toml"
gather_wait_micros = 40000

[board]
backend = "serial"
device = "SN-rig"
stretch_micros = 10000
stretch_every = 12
barcode_secs = 5.0

[[camera]]
name = "cam1"
backend = "v4l2"
device = "CamA"
width_px = 640
height_px = 400

[[camera]]
name = "cam2"
backend = "v4l2"
device = "CamB"
width_px = 640
height_px = 400

[pose]
model = "../models/pose-twin/pose-twin.toml"

[body]
mjcf = "../.deps/rat/rodent.xml"
subject = "subjects/twin.toml"

[imitation]
policy = "../models/policy-servo/policy.toml"

[record]
folder = "/tmp/recordings"
video = "none"
disk_margin_bytes = 0
refuse_below_minutes = 0
X
cat > "$share/daemon.sh" <<'X'
mkdir -p /tmp/run /tmp/recordings; cp -r /mnt/share/mimicd /mnt/share/board_on_tty /mnt/share/lib /mnt/share/rig /tmp/run/
export LD_LIBRARY_PATH=/tmp/run/lib ORT_DYLIB_PATH=/tmp/run/lib/libonnxruntime.so
cd /tmp/run/rig; mimicd() { /tmp/run/mimicd "$@"; }
at() { echo "-- $(cut -d' ' -f1 /proc/uptime) s  $*"; }
ip link set lo up; modprobe dummy_hcd; modprobe libcomposite; modprobe usb_f_acm; modprobe cdc_acm; modprobe videodev
insmod /mnt/share/v4l2loopback.ko devices=2 video_nr=20,21 card_label=CamA,CamB exclusive_caps=0,0 max_buffers=8
mount | grep -q configfs || mount -t configfs none /sys/kernel/config
cd /sys/kernel/config/usb_gadget; mkdir rig; cd rig; echo 0x16c0 > idVendor; echo 0x05e1 > idProduct
mkdir -p strings/0x409 configs/c.1 functions/acm.0
echo SN-rig > strings/0x409/serialnumber; echo "mimicd sync board" > strings/0x409/product; echo mimicd > strings/0x409/manufacturer
ln -s functions/acm.0 configs/c.1/; echo dummy_udc.0 > UDC; cd /tmp/run/rig; sleep 1
# A real board keeps its own time: here it has the processor before the daemon.
nice -n -15 /tmp/run/board_on_tty /dev/ttyGS0 --restart-if /tmp/bus-powered --log /tmp/truth \
    --camera /dev/video20 640 400 --camera /dev/video21 640 400 & sleep 1
mimicd board list
at daemon; /tmp/run/mimicd run --config configs/vm.toml > /tmp/daemon.log 2>&1 & daemon=$!
for i in $(seq 30); do sleep 3; kill -0 $daemon || break; mimicd ctl status > /dev/null 2>&1 && break; done; kill -0 $daemon || cat /tmp/daemon.log
at arm; mimicd ctl arm | tee /tmp/arm | grep -c '"verdict": "pass"'; grep -B1 -A1 -E '"(fail|warn)"' /tmp/arm
at start; mimicd ctl start --subject vm > /dev/null || { cat /tmp/daemon.log; kill $daemon; exit; }
sleep 8; at "unplug: the board has its own supply and goes on"; echo "" > /sys/kernel/config/usb_gadget/rig/UDC
sleep 4; at replug; echo dummy_udc.0 > /sys/kernel/config/usb_gadget/rig/UDC
sleep 8; at "unplug: the board is fed by the bus and starts anew"; touch /tmp/bus-powered; sleep 0.1; echo "" > /sys/kernel/config/usb_gadget/rig/UDC
sleep 3; at replug; echo dummy_udc.0 > /sys/kernel/config/usb_gadget/rig/UDC
sleep 12; at stop; mimicd ctl stop; kill -TERM $daemon; wait $daemon; echo "daemon exits $?"
sed 's/\x1b\[[0-9;]*m//g' /tmp/daemon.log
recording=$(ls -d /tmp/recordings/*_vm); mimicd verify $recording; echo "verify exits $?"
mimicd export $recording --to csv --out /tmp/csv > /dev/null; cp -r $recording /tmp/csv /tmp/truth /tmp/daemon.log /mnt/share/
X
timeout 3000 qemu-system-x86_64 -accel tcg,thread=single -icount shift=0,sleep=off -smp 1 -cpu max,-erms,-fsrm -M q35 -nodefaults -m 3072 \
    -display none -no-reboot -serial "file:$home/console.log" -kernel "$kernel" -initrd "$initrd" \
    -drive "file=$image,if=none,id=d0,format=raw,snapshot=on" -device virtio-blk-pci,drive=d0 \
    -virtfs "local,path=$share,mount_tag=share,security_model=none" -device virtio-rng-pci \
    -append "console=ttyS0 quiet panic=-1 vminit=/vmrun vmscript=daemon.sh" < /dev/null || tail -5 "$home/console.log"
cat "$share/daemon.sh.out"
[ -z "${KEEP:-}" ] || { mkdir -p "$KEEP"; cp -r "$share"/*_vm "$share/csv" "$share/truth" "$share/daemon.log" "$KEEP/" || true; }

# Which trigger really took each frame: the board's own log has when it wrote each picture, the frames table when the daemon had
# it (v4l2loopback stamps nothing): before the next was written, a period of 100 ms later.
cat > "$home/identity.awk" <<'X'
FNR == NR { key = $3; n[key]++; train[key, n[key]] = $1; trigger[key, n[key]] = $2; before[key, n[key]] = $4; next }
FNR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
{
    frames++; camera = $column["camera"]; time = $column["arrival_ns"]; flags = $column["integrity"]
    if (!(camera in at)) at[camera] = 1
    while (at[camera] < n[camera] && before[camera, at[camera] + 1] <= time) at[camera]++
    k = at[camera]; lag = time - before[camera, k]
    if (lag > most) most = lag
    if (lag < 0 || lag > 100000000 || k == last[camera]) { unknown++; next }
    last[camera] = k
    # Bits of integrity: 5 is an unproved match, 6 a step of a clock.
    if (int(flags / 32) % 4) { flagged++; next }
    base = $column["trigger_index"] - trigger[camera, k]; t = train[camera, k]
    if (!(t in bases)) { bases[t] = base; trains = trains " " t "+" base }
    if (base != bases[t]) wrong++
    else proved++
}
END { printf "identity: %d frames, %d proved and right, %d proved and wrong, %d flagged unproved, %d of no picture (train+base:%s)\n", frames, proved, wrong, flagged, unknown, trains
      printf "from picture to arrival: %d us at most\n", most / 1000
      exit !(proved > 0 && wrong + unknown == 0) }
X
failed=0; need() { grep -Eq -- "$1" "$share/daemon.sh.out" || { echo "FAILED: expected \"$1\""; failed=1; }; }
awk -F'[ ,]' -f "$home/identity.awk" "$share/truth" "$share/csv/frames.csv" || { echo "FAILED: identity"; failed=1; }
need 'daemon exits 0'; need 'verify exits 0'; need 'everything adds up'
[ "$(grep -Ec 'link,.*lost:' "$share/csv/events.csv")" = 2 ] || { echo "FAILED: two unpluggings are two events"; failed=1; }
grep -Eq 'link,.*restarted' "$share/csv/events.csv" || { echo "FAILED: the restart is an event"; failed=1; }
[ $failed = 0 ] && echo "usb_daemon: all held" || exit 1
