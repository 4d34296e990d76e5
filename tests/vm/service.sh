#!/usr/bin/env bash
# The package and the service under a real service manager: systemd as PID 1 in a container.
#
# usage: service.sh DEB NEWER_DEB [ROOT]
#   DEB, NEWER_DEB: made by `cargo xtask dist` and `cargo xtask dist --version 0.1.1`.
#   ROOT: a Debian root with systemd, dbus, udev, procps, passwd and libstdc++6; made with mmdebstrap when it is not given.
# Needs root, systemd-container and (for ROOT) mmdebstrap. Prints one line a fact; exits 1 when one does not hold.
#
#   install: nothing runs, nothing is enabled · verify, security · start: ready, records from the twin
#   hang (SIGSTOP) → the watchdog kills and restarts → the same recording goes on as a new segment
#   SIGKILL → the same · upgrade while recording: the daemon stays · stop: sealed, adds up · remove · purge
set -euo pipefail
deb=$(realpath "$1") newer=$(realpath "$2") root=${3:-}
if [ -z "$root" ]; then
    root=$(mktemp -d)/root; trap 'rm -rf "$(dirname "$root")"' EXIT
    mmdebstrap --quiet --variant=apt --include=systemd,systemd-sysv,udev,dbus,procps,passwd,libstdc++6 bookworm "$root"
fi
cp "$deb" "$root/first.deb"; cp "$newer" "$root/newer.deb"; rm -f "$root/facts"
cat > "$root/facts.sh" <<'X'
fact() { if eval "$2"; then echo "ok      $1"; else echo "FAILED  $1"; fi; }
waits() { local n=$1; shift; for _ in $(seq "$n"); do "$@" && return 0; sleep 0.5; done; return 1; }
restarts() { [ "$(show NRestarts)" = "$1" ]; }
goes_on() { [ "$(state)" = recording ] && [ "$(recordings)" = "$name" ]; }
ctl() { timeout 30 mimicd ctl "$@" 2>&1; }
state() { ctl status | grep -o '"state": "[a-z]*"' | head -1 | cut -d'"' -f4; }
show() { systemctl show mimicd -p "$1" --value; }
recordings() { ls /var/lib/mimicd/recordings; }
runs() { tr -d ' \n' < "/var/lib/mimicd/recordings/$1/manifest.json" | grep -o '"ended":"[a-z]*"' | cut -d'"' -f4 | tr '\n' ' '; }

echo "== install"
dpkg -i /first.deb 2>&1 | grep '^mimicd:'
fact "nothing runs after the install" '! systemctl -q is-active mimicd'
fact "nothing is enabled after the install" '[ "$(systemctl is-enabled mimicd)" = disabled ]'
fact "user, folders" 'id mimicd > /dev/null && [ "$(stat -c %U:%a /var/lib/mimicd)" = mimicd:750 ]'
fact "the package's files are whole" '[ -z "$(dpkg --verify mimicd)" ]'
fact "the installed rig checks" 'mimicd check /etc/mimicd/rig.toml > /dev/null'
said=$(systemd-analyze verify mimicd.service 2>&1)
fact "systemd-analyze verify is silent ($said)" '[ -z "$said" ]'
systemd-analyze --no-pager security mimicd.service | tail -1

echo "== start"
# No encoder is in this root; a small buffer suits a small machine.
sed -i 's#^folder = .*#&\nvideo = "none"\nlane_kib = 8192#' /etc/mimicd/rig.toml
fact "starts and is ready" 'systemctl start mimicd && systemctl -q is-active mimicd'
fact "runs as mimicd" '[ "$(ps -o user= -p "$(show MainPID)")" = mimicd ]'
fact "records from the twin" 'ctl start --subject rat07 > /tmp/start; grep -q "\"accepted\": true" /tmp/start'
grep -q '"accepted": true' /tmp/start || cat /tmp/start
name=$(recordings); sleep 6
fact "says so to the service manager" 'show StatusText | grep -q "recording $name"'
echo "        status: $(show StatusText)"

echo "== hang"
pid=$(show MainPID); kill -STOP "$pid"
fact "the watchdog notices within 30 s" 'waits 60 restarts 1'
fact "and the same recording goes on" 'waits 120 goes_on'
sleep 4

echo "== killed"
kill -KILL "$(show MainPID)"
fact "it is started again" 'waits 60 restarts 2'
fact "and the same recording goes on" 'waits 120 goes_on'
sleep 4

echo "== upgrade while recording"
pid=$(show MainPID)
dpkg -i /newer.deb 2>&1 | grep '^mimicd:'
fact "the daemon is left alone" '[ "$(show MainPID)" = "$pid" ] && [ "$(state)" = recording ]'
fact "the rig's file is the edited one" 'grep -q "video = \"none\"" /etc/mimicd/rig.toml'

echo "== stop"
begun=$(date +%s%N); systemctl stop mimicd; took=$(( ($(date +%s%N) - begun) / 1000000 ))
fact "SIGTERM seals within TimeoutStopSec ($took ms)" '[ "$(show Result)" = success ]'
fact "three runs in one recording: $(runs "$name")" '[ "$(runs "$name")" = "killed killed stopped " ]'
mimicd verify "/var/lib/mimicd/recordings/$name" > /tmp/verify; verdict=$?
fact "the recording adds up" '[ "$verdict" = 0 ]'
tail -3 /tmp/verify
journalctl -u mimicd -o cat --no-pager > /tmp/journal
fact "the journal has priorities and sources" 'journalctl -u mimicd -p warning -o json --no-pager | grep -q "MIMICD_SOURCE"'
fact "the journal is plain text" '! grep -q "$(printf "\033")" /tmp/journal'
cat /tmp/journal | tail -40 > /journal.txt

echo "== restart as the new version, a bad rig, remove, purge"
fact "the newer one starts" 'systemctl start mimicd && systemctl -q is-active mimicd'
systemctl stop mimicd
cp /etc/mimicd/rig.toml /tmp/rig.toml; sed -i 's/frame_rate_hz = 50.0/frame_rate_hz = -1.0/' /etc/mimicd/rig.toml
fact "a bad rig does not start, and the journal says why" '! systemctl start mimicd 2> /dev/null; journalctl -u mimicd --no-pager | grep -q "rig.frame_rate_hz"'
cp /tmp/rig.toml /etc/mimicd/rig.toml; systemctl reset-failed mimicd; systemctl stop mimicd
dpkg -r mimicd > /dev/null 2>&1
fact "removed: program gone, rig and recordings there" '[ ! -e /usr/bin/mimicd ] && [ -e /etc/mimicd/rig.toml ] && [ "$(recordings)" = "$name" ]'
dpkg -P mimicd 2>&1 | grep '^mimicd:'
fact "purged: no rig, no unit; recordings and their owner stay" '[ ! -e /etc/mimicd ] && [ ! -e /usr/lib/systemd/system/mimicd.service ] && [ "$(recordings)" = "$name" ] && id mimicd > /dev/null'
rm -rf /var/lib/mimicd/recordings/*
dpkg -i /newer.deb > /dev/null 2>&1; dpkg -P mimicd > /dev/null 2>&1
fact "purged without recordings: nothing is left" '[ ! -e /var/lib/mimicd ] && [ ! -e /etc/mimicd ] && ! id mimicd > /dev/null 2>&1 && [ -z "$(dpkg -l mimicd 2> /dev/null | grep ^[ir])" ]'
X
cat > "$root/etc/systemd/system/facts.service" <<'X'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash -c 'bash /facts.sh > /facts 2>&1; systemctl poweroff --no-block'
[Install]
WantedBy=multi-user.target
X
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sf ../facts.service "$root/etc/systemd/system/multi-user.target.wants/facts.service"
timeout 900 systemd-nspawn --quiet -D "$root" --boot --register=no --keep-unit --private-network --console=pipe < /dev/null > "$root/boot.log" 2>&1 || tail -5 "$root/boot.log"
cat "$root/facts"
! grep -q FAILED "$root/facts" && grep -q "nothing is left" "$root/facts"
