#!/usr/bin/env bash
# Six GigE Vision cameras in network namespaces of this machine (no virtual machine), followed by the real driver: sustained, and with
# lost packets, a camera that dies, a link that is cut; then cameras with and without a clock shared by PTP, and one whose clock is latched. The fake cameras' block ids begin near 65,300 and wrap after seconds; the clock
# of the sixth runs 100 ppm fast.
#
# usage: gige.sh [MIMICD]
#   MIMICD: built with `--features aravis`.
# Needs root, iproute2, aravis-tools-cli and aravis-tools (arv-fake-gv-camera-0.8), faketime. Exits 1 when a loss was not declared.
#
#   netns cam1..cam6: arv-fake-gv-camera at 10.77.0.11..16 ── veth ── bridge in netns acq, 10.77.0.1 ──► mimicd camera watch
set -euo pipefail
mimicd=$(realpath "${1:-target/debug/mimicd}")
export LD_LIBRARY_PATH=$PWD/.deps/mujoco/lib
home=$(mktemp -d)
declare -A fake
clean() { for pid in "${fake[@]}"; do pkill -P "$pid" 2> /dev/null || true; kill "$pid" 2> /dev/null || true; done; for n in acq cam1 cam2 cam3 cam4 cam5 cam6 cam7; do ip netns del $n 2> /dev/null || true; done; rm -rf "$home"; }
trap clean EXIT
ip netns add acq; ip -n acq link set lo up; ip -n acq link add br0 mtu 9000 type bridge
ip -n acq addr add 10.77.0.1/24 brd + dev br0; ip -n acq link set br0 up
for i in 1 2 3 4 5 6 7; do
    ip netns add cam$i; ip -n cam$i link set lo up
    ip link add v$i netns acq mtu 9000 type veth peer name eth0 netns cam$i mtu 9000
    ip -n acq link set v$i master br0; ip -n acq link set v$i up
    ip -n cam$i addr add 10.77.0.$((10 + i))/24 brd + dev eth0; ip -n cam$i link set eth0 up
done
camera() { # camera NUMBER [OPTIONS...] : starts the fake camera with that number
    local i=$1; shift
    ip netns exec cam$i nice -n -15 ${CLOCK:-} arv-fake-gv-camera-0.8 -i eth0 -s CAM0$i "$@" > "$home/fake$i" 2>&1 & fake[$i]=$!
}
kill_camera() { pkill -9 -P "${fake[$1]}" 2> /dev/null || true; kill -9 "${fake[$1]}"; wait "${fake[$1]}" 2> /dev/null || true; }
watch() { ip netns exec acq nice -n -15 "$mimicd" camera watch --backend genicam "$@"; }
devices() { for i in "$@"; do printf -- '--device Aravis-Fake-CAM0%d ' "$i"; done; }
failed=0; need() { grep -Eq "$2" "$home/$1" || { echo "FAILED: $1: expected \"$2\""; failed=1; }; }
whole=' 0 missing in 0 gaps, 0 damaged, 0 out of order, 0 undeclared, lost 0 times, back 0'

for i in 1 2 3 4 5; do camera $i; done
CLOCK="faketime -f +0x1.0001" camera 6
sleep 2
echo "== what answers"; ip netns exec acq "$mimicd" devices | grep -A12 -i genicam
echo "== what is refused, by name"
watch $(devices 1) --format mono12 --seconds 1 2>&1 || true
watch $(devices 1) --width 4096 --seconds 1 2>&1 || true
watch $(devices 1) --control ExposureTimeAbs=no --seconds 1 2>&1 || true
watch --device Aravis-Fake-CAM09 --seconds 1 2>&1 || true
echo "== six cameras, 640x480 at 50 Hz, 30 s; block ids wrap, the clock of the sixth runs 100 ppm fast"
watch $(devices 1 2 3 4 5 6) --width 640 --height 480 --rate 50 --seconds 30 | tee "$home/sustained" || failed=1
# The fake cameras skip beats when the machine is busy, without counting: how many frames there are is not asserted.
for i in 1 2 3 4 5 6; do need sustained "^cam$i: 1[0-9]{3} frames .*$whole"; done
[ "$(grep -Ec 'counter 65[0-9]{3} to 66[0-9]{3} ' "$home/sustained")" = 6 ] || { echo "FAILED: sustained: the 16-bit block id wraps in every camera"; failed=1; }

echo "== faults: 1 loses packets, 2 dies and comes back, 3 has its link cut for six seconds; 4, 5 and 6 are left alone"
kill_camera 1; camera 1 -r 3; sleep 1
( sleep 6; kill_camera 2; sleep 4; camera 2; sleep 60 ) & killer=$!
( sleep 8; ip -n acq link set v3 down; sleep 6; ip -n acq link set v3 up ) &
watch $(devices 1 2 3 4 5 6) --width 640 --height 480 --rate 50 --seconds 30 --control packet_resend=false | tee "$home/faults" || failed=1
pkill -P $killer 2> /dev/null || true; kill $killer 2> /dev/null || true
need faults '^cam1: .* [1-9][0-9]* damaged, 0 out of order, 0 undeclared, lost 0 times'
for i in 2 3; do need faults "^cam$i: .* 0 undeclared, lost ([1-9]) times, back \1"; done
for i in 4 5 6; do need faults "^cam$i: .*$whole"; done

echo "== a clock shared by PTP: 1 has none to offer, 4 has settled, 5 waits for a master"
# The fake camera knows nothing of PTP: its description gets the features, on a register that it does not use, which is 1 once PTP is on.
ip netns exec acq arv-tool-0.8 -a 10.77.0.14 genicam > "$home/plain.xml"
ptp_camera() { # ptp_camera NUMBER STATE : the fake camera with that number is in that state once PTP is on
    local entry='<EnumEntry Name="Disabled"><Value>0</Value></EnumEntry><EnumEntry Name="'$2'"><Value>1</Value></EnumEntry>'
    local register='<IntReg Name="PtpRegister"><Address>0xf000</Address><Length>4</Length><AccessMode>RW</AccessMode><pPort>Device</pPort><Sign>Unsigned</Sign><Endianess>BigEndian</Endianess></IntReg>'
    sed "s|</RegisterDescription>|<Boolean Name=\"PtpEnable\"><pValue>PtpRegister</pValue></Boolean><Enumeration Name=\"PtpStatus\">$entry<pValue>PtpRegister</pValue></Enumeration>$register</RegisterDescription>|" "$home/plain.xml" > "$home/ptp$1.xml"
    kill_camera $1; camera $1 -g "$home/ptp$1.xml"
}
ptp_camera 4 Slave; ptp_camera 5 Listening; sleep 2
for i in 1 4 5; do watch $(devices $i) --width 640 --height 480 --seconds 4 --control ptp=true 2>&1 | tee "$home/ptp$i" || true; done
need ptp1 'none of PtpEnable, GevIEEE1588'
need ptp4 "^cam1: [0-9]+ frames .*$whole"
need ptp5 'PtpStatus is Listening, expected Slave or Master'

echo "== a clock that is latched: the seventh stands before the sixth, whose clock is then the machine's"
kill_camera 6; cp "$home/plain.xml" "$home/latch.xml"
sed -i 's|</RegisterDescription>|<Command Name="TimestampLatch"><pValue>LatchRegister</pValue><CommandValue>2</CommandValue></Command><IntReg Name="LatchRegister"><Address>0x0944</Address><Length>4</Length><AccessMode>WO</AccessMode><pPort>Device</pPort><Sign>Unsigned</Sign><Endianess>BigEndian</Endianess></IntReg><IntReg Name="TimestampLatchValue"><Address>0x0948</Address><Length>8</Length><AccessMode>RO</AccessMode><pPort>Device</pPort><Cachable>NoCache</Cachable><Sign>Unsigned</Sign><Endianess>BigEndian</Endianess></IntReg></RegisterDescription>|' "$home/latch.xml"
camera 6 -g "$home/latch.xml"
ip netns exec cam7 nice -n -15 python3 "$(dirname "$0")/latched_camera.py" 10.77.0.17 10.77.0.16 CAM07 & fake[7]=$!
sleep 2
watch $(devices 7) --width 640 --height 480 --seconds 8 2>&1 | tee "$home/latched" || failed=1
need latched "^cam1: [0-9]+ frames .*$whole"
need latched 'from stamp to arrival .* \(its clock was read to [0-9.]+ ms\)'

[ $failed = 0 ] && echo "gige: all held" || exit 1
