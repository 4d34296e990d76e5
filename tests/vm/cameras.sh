#!/usr/bin/env bash
# Six V4L2 cameras in a virtual machine, followed by the real driver (`mimicd camera watch`): undisturbed, with errors injected, and
# with known pictures.
#
# usage: cameras.sh KERNEL IMAGE INITRD [MIMICD [FEEDER MODULE]]
#   KERNEL, IMAGE, INITRD: a bootable Debian with kmod, v4l-utils and its modules (make_vm.sh makes them), whose PID 1 mounts the
#   9p share `share` at /mnt/share and runs the script that the kernel argument vmscript= names.
#   MIMICD: target/debug/mimicd. FEEDER, MODULE: the example feed_loopback of mimicd-hw and a v4l2loopback.ko of that kernel; without
#   them the byte-for-byte comparison is skipped, and says so.
# Needs qemu-system-x86_64. Prints what the cameras did, then a verdict; exits 1 when a loss was not declared, an undisturbed camera
# lost a frame, a camera did not come back, an image was copied that need not be, or a picture changed on its way.
#
#   vivid (six test cameras: 50 Hz, errors on demand) ── /dev/video0..5 ──► mimicd camera watch: the daemon's V4L2 driver
#
# Time in the guest is virtual (-icount): it stands still while the host is busy, so a lost frame is the driver's loss, not the host's.
set -euo pipefail
kernel=$1 image=$2 initrd=$3 mimicd=${4:-target/debug/mimicd} feeder=${5:-} module=${6:-}
home=$(mktemp -d); trap 'rm -rf "$home"' EXIT
mkdir -p "$home/share/lib"; cp -L .deps/mujoco/lib/libmujoco.so.* "$home/share/lib/"
strip -o "$home/share/mimicd" "$mimicd"
# A build with more features links libraries that the guest does not have.
ldd "$mimicd" | awk '/=> \//{print $3}' | { grep -vE '/(libc|libm|libgcc_s|libpthread|libdl|librt)\.so|mujoco' || true; } | xargs -r cp -L -t "$home/share/lib"
if [ -n "$feeder" ]; then strip -o "$home/share/feeder" "$feeder"; cp "$module" "$home/share/v4l2loopback.ko"; fi
cat > "$home/share/lib.sh" <<'X'
mkdir -p /tmp/run; cp -r /mnt/share/mimicd /mnt/share/lib /tmp/run/; export LD_LIBRARY_PATH=/tmp/run/lib
watch() { /tmp/run/mimicd camera watch "$@"; }
modprobe vivid n_devs=6 node_types=0x1,0x1,0x1,0x1,0x1,0x1 num_inputs=2,2,2,2,2,2 input_types=0xc,0xc,0xc,0xc,0xc,0xc
# Input 1 is a 720p50 signal, scaled to what is asked; input 0 is a webcam with sizes of its own.
hdmi() {
    local i n=""
    n=$(v4l2-ctl -d /dev/video0 -i 1 --list-dv-timings 2>/dev/null | awk '/Index/{i=$2} /Active width: 1280/{w=1} /Active height: 720/{h=1}
        /50.00 frames/{if(w&&h){print i; exit}} /Active width:/{if($3!=1280)w=0;h=0}')
    for i in 0 1 2 3 4 5; do
        v4l2-ctl -d /dev/video$i -i 1 --set-dv-bt-timings index=${n%:} > /dev/null 2>&1
        v4l2-ctl -d /dev/video$i -c osd_text_mode=1 > /dev/null
    done
}
webcam() { for i in 0 1 2 3 4 5; do v4l2-ctl -d /dev/video$i -i 0 -c osd_text_mode=1 > /dev/null; done; }
six() { for i in 0 1 2 3 4 5; do printf -- '--device platform:vivid-00%d ' $i; done; }
X
cat > "$home/share/quiet.sh" <<'X'
. /mnt/share/lib.sh; hdmi
echo "== what is refused, by name"
watch --device platform:vivid-000 --width 1321 --height 9999 --seconds 1 2>&1
watch --device platform:vivid-009 --seconds 1 2>&1
watch --device platform:vivid-000 --control gain=1000 --seconds 1 2>&1
echo "== six cameras, 1320x1048 at 50 Hz, 31 s of virtual time"
echo "uptime $(cat /proc/uptime)"; watch $(six) --width 1320 --height 1048 --rate 50 --seconds 31; echo "quiet exits $?"; echo "uptime $(cat /proc/uptime)"
X
cat > "$home/share/formats.sh" <<'X'
. /mnt/share/lib.sh; hdmi
for f in mono8 mono10 mono12 mono16 bayer_rg8 bayer_gb8 bayer_gr8 bayer_bg8 bayer_rg10 bayer_bg12 bayer_rg16 bayer_gb16 bayer_gr16 bayer_bg16 yuyv; do
    watch --device platform:vivid-000 --width 1320 --height 1048 --rate 50 --format $f --seconds 0.4 > /tmp/f 2>&1; echo "format $f exits $?: $(sed -n 2p /tmp/f); $(grep -o '[0-9]* of its.*' /tmp/f)"
done
X
cat > "$home/share/webcam.sh" <<'X'
. /mnt/share/lib.sh; webcam
echo "== as a webcam, through nokhwa (feature webcam)"
watch --backend uvc --device 0 --width 640 --height 360 --rate 50 --format yuyv --seconds 3 2>&1; echo "webcam yuyv exits $?"
X
cat > "$home/share/faults.sh" <<'X'
. /mnt/share/lib.sh; webcam
say() { echo "-- $*"; }
set() { v4l2-ctl -d /dev/video$1 -c $2; }
echo "== six cameras, 640x360 at 50 Hz; camera 1 loses a fifth, 2 has flagged buffers, 3 a fatal stream error, 4 is unplugged"
watch $(six) --width 640 --height 360 --rate 50 --seconds 14 & watch=$!
sleep 2; say "20 % dropped on camera 1"; set 0 percentage_of_dropped_buffers=20
sleep 1; say "five flagged buffers on camera 2"; for k in 1 2 3 4 5; do set 1 inject_v4l2_buf_flag_error=1; sleep 0.2; done
sleep 1; say "fatal stream error on camera 3"; set 2 inject_fatal_streaming_error=1
sleep 1; say "camera 4 unplugged"; set 3 disconnect=1
sleep 3; say "no more drops"; set 0 percentage_of_dropped_buffers=0
wait $watch; echo "faults exits $?"
X
cat > "$home/share/loopback.sh" <<'X'
. /mnt/share/lib.sh
modprobe videodev; insmod /mnt/share/v4l2loopback.ko video_nr=20 exclusive_caps=0 card_label=Known max_buffers=8
cp /mnt/share/feeder /tmp/run/; head -c $((1320*1048*8)) /dev/urandom > /tmp/known
/tmp/run/feeder /dev/video20 1320 1048 /tmp/known 25 120 & feeder=$!
sleep 1; echo "== v4l2loopback: eight known pictures"
watch --device Known --width 1320 --height 1048 --rate 25 --seconds 2 --save /tmp/saved; echo "loopback exits $?"; kill $feeder
cat > /tmp/compare.sh <<'Y'
size=$((1320*1048)); frames=$(( $(stat -c %s /tmp/saved/cam1.raw) / size )); same=0
split -b $size -d -a 2 /tmp/known /tmp/k.; split -b $size -d -a 4 /tmp/saved/cam1.raw /tmp/s.
known=" $(sha256sum /tmp/k.* | cut -c1-64 | tr '\n' ' ')"
for s in /tmp/s.*; do h=$(sha256sum $s | cut -c1-64); case "$known" in *" $h "*) same=$((same+1));; esac; done
echo "loopback: $same of $frames pictures are byte for byte those that were fed"
Y
bash /tmp/compare.sh
X
boot() { # boot SCRIPT SECONDS ACCELERATION...
    local script=$1 limit=$2; shift 2
    timeout "$limit" qemu-system-x86_64 "$@" -M q35 -nodefaults -m 2048 -display none -no-reboot \
        -serial "file:$home/console.log" -kernel "$kernel" -initrd "$initrd" \
        -drive "file=$image,if=none,id=d0,format=raw,snapshot=on" -device virtio-blk-pci,drive=d0 \
        -virtfs "local,path=$home/share,mount_tag=share,security_model=none" -device virtio-rng-pci \
        -append "console=ttyS0 quiet panic=-1 vminit=/vmrun vmscript=$script" < /dev/null || true
    cat "$home/share/$script.out"
}
virtual=(-accel tcg,thread=single -icount shift=0,sleep=off -cpu max,-erms,-fsrm -smp 1)
scripts=${SCRIPTS:-quiet formats faults webcam plain loopback}
failed=0; need() { grep -q "$2" "$home/share/$1.sh.out" || { echo "FAILED: $1: expected \"$2\""; failed=1; }; }
for script in $scripts; do
    case $script in
    quiet) boot quiet.sh 900 "${virtual[@]}"; need quiet "quiet exits 0"
        [ "$(grep -c ' 0 missing in 0 gaps, 0 damaged, 0 out of order, 0 undeclared, lost 0 times' "$home/share/quiet.sh.out")" = 6 ] \
            || { echo "FAILED: quiet: six cameras without a loss"; failed=1; }
        # vivid takes memory of ours.
        [ "$(grep -c ' 0 of its 1383360 bytes copied' "$home/share/quiet.sh.out")" = 6 ] || { echo "FAILED: quiet: images are copied"; failed=1; }
        need quiet "no such size; offered" ; need quiet 'no camera with bus address'; need quiet 'control "gain" = 1000; expected';;
    formats) boot formats.sh 600 "${virtual[@]}"; need formats "format mono8 exits 0";;
    faults) boot faults.sh 600 "${virtual[@]}"; need faults "faults exits 0"
        whole=' 0 missing in 0 gaps, 0 damaged, 0 out of order, 0 undeclared, lost 0 times, back 0'
        for undisturbed in cam5 cam6; do need faults "^$undisturbed: .*$whole"; done
        need faults '^cam1: .* [1-9][0-9]* missing in [1-9].* 0 damaged, 0 out of order, 0 undeclared, lost 0 times'
        need faults '^cam2: .* 0 missing in 0 gaps, 5 damaged, 0 out of order, 0 undeclared, lost 0 times'
        for back in cam3 cam4; do need faults "^$back: .* 0 undeclared, lost 1 times, back 1"; done;;
    webcam) boot webcam.sh 600 "${virtual[@]}"; grep -q "not in this build" "$home/share/webcam.sh.out" || need webcam "webcam yuyv exits 0";;
    plain) cp "$home/share/quiet.sh" "$home/share/plain.sh"; sed -i 's/--seconds 31/--seconds 10/; s/31 s of virtual/10 s of the host'"'"'s/' "$home/share/plain.sh"
        echo "== plain mode: the host's load decides how many frames come; every loss must be declared"
        boot plain.sh 600 $(cat "$(dirname "$kernel")/accel") -smp 2; need plain "quiet exits 0";;
    loopback) if [ -n "$feeder" ]; then boot loopback.sh 600 "${virtual[@]}"; need loopback "loopback exits 0"
            # It has memory of its own only.
            need loopback ' 1383360 of its 1383360 bytes copied'
            line=$(grep '^loopback: ' "$home/share/loopback.sh.out"); [ "$(cut -d' ' -f2 <<< "$line")" = "$(cut -d' ' -f4 <<< "$line")" ] || { echo "FAILED: $line"; failed=1; }
        else echo "loopback: skipped, no FEEDER and MODULE were given"; fi;;
    esac
done
[ $failed = 0 ] && echo "cameras: all held" || exit 1
