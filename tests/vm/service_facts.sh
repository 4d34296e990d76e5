#!/bin/bash
# What must hold of package and service, run by service.sh inside a container or a virtual machine. One line a fact.
#
# SLOW: how many times longer everything may take. SMALL: replaces the installed rig by a small one, for an emulated processor.
# HAS_REAL_TIME: real-time priority must be granted.
fact() { if eval "$2"; then echo "ok      $1"; else echo "FAILED  $1"; fi; }
slow=${SLOW:-1}
waits() { local n=$(($1 * slow)); shift; for _ in $(seq "$n"); do "$@" && return 0; sleep 0.5; done; return 1; }
restarts() { [ "$(show NRestarts)" = "$1" ]; }
goes_on() { [ "$(state)" = recording ] && [ "$(recordings)" = "$name" ]; }
ctl() { timeout $((30 * slow)) mimicd ctl "$@" 2>&1; }
state() { ctl status | grep -o '"state": "[a-z]*"' | head -1 | cut -d'"' -f4; }
show() { systemctl show mimicd -p "$1" --value; }
recordings() { ls /var/lib/mimicd/recordings; }
runs() { tr -d ' \n' < "/var/lib/mimicd/recordings/$1/manifest.json" | grep -o '"ended":"[a-z]*"' | cut -d'"' -f4 | tr '\n' ' '; }

small_rig() {
    local own=/usr/share/mimicd
    printf '[rig]\nname = "twin"\nframe_rate_hz = 5.0\ncalibration = "%s/configs/twin-calibration.toml"\n' $own
    printf '[board]\nbackend = "twin"\nstretch_every = 8\n'
    for camera in cam1 cam2; do printf '[[camera]]\nname = "%s"\nbackend = "twin"\nwidth_px = 640\nheight_px = 400\n' $camera; done
    printf '[[array]]\nname = "A"\nbackend = "twin"\nchannels = 8\nrate_hz = 1000.0\ntrigger_bit = 0\nexposure_bits = [1, 2]\n'
    printf '[pose]\nmodel = "%s/models/pose-twin/pose-twin.toml"\n' $own
    printf '[body]\nmjcf = "%s/rat/rodent.xml"\nsubject = "%s/configs/subjects/twin.toml"\n' $own $own
    printf '[imitation]\npolicy = "%s/models/policy-servo/policy.toml"\nlook_ahead = "forecast"\n' $own
    printf '[record]\nfolder = "/var/lib/mimicd/recordings"\nvideo = "none"\nlane_kib = 1024\njournal_buffer_mib = 8\ndisk_margin_bytes = 100000000\n'
    printf '[twin]\nscene = "pattern"\nblock_samples = 10\nunits = 4\n'
    printf '[panel]\nstate_folder = "/var/lib/mimicd/state"\n'
}

echo "== install"
dpkg -i /first.deb 2>&1 | grep '^mimicd:'
fact "nothing runs after the install" '! systemctl -q is-active mimicd'
fact "nothing is enabled after the install" '[ "$(systemctl is-enabled mimicd)" = disabled ]'
fact "user, folders" 'id mimicd > /dev/null && [ "$(stat -c %U:%a /var/lib/mimicd)" = mimicd:750 ]'
fact "the package's files are whole" '[ -z "$(dpkg --verify mimicd)" ]'
fact "without an encoder the check says what to do" '! mimicd check /etc/mimicd/rig.toml 2> /tmp/check && grep -q "ffmpeg" /tmp/check'
cat /tmp/check
said=$(systemd-analyze verify mimicd.service 2>&1)
fact "systemd-analyze verify is silent ($said)" '[ -z "$said" ]'
fact "systemd-analyze security finds an exposure of 2.0 at most" 'systemd-analyze --no-pager security --threshold=20 mimicd.service > /tmp/security'
tail -1 /tmp/security

echo "== start"
# No encoder is in this root; a small buffer suits a small machine.
sed -i 's#^folder = .*#&\nvideo = "none"\nlane_kib = 8192#' /etc/mimicd/rig.toml
[ -n "${SMALL:-}" ] && small_rig > /etc/mimicd/rig.toml
fact "the rig checks" 'mimicd check /etc/mimicd/rig.toml > /dev/null'
fact "starts and is ready" 'systemctl start mimicd && systemctl -q is-active mimicd'
fact "runs as mimicd" '[ "$(ps -o user= -p "$(show MainPID)")" = mimicd ]'
fact "records from the twin" 'ctl start --subject rat07 > /tmp/start; grep -q "\"accepted\": true" /tmp/start'
grep -q '"accepted": true' /tmp/start || cat /tmp/start
name=$(recordings); sleep $((6 * slow))
[ -n "${HAS_REAL_TIME:-}" ] && fact "real-time priority and locked memory" '[ "$(ps -L -o cls= -p "$(show MainPID)" | grep -c FF)" -ge 5 ] && ! ctl status | grep -q realtime_refused'
fact "says so to the service manager" 'show StatusText | grep -q "recording $name"'
echo "        status: $(show StatusText)"

echo "== hang"
pid=$(show MainPID); kill -STOP "$pid"
fact "the watchdog notices within 30 s" 'waits 60 restarts 1'
fact "and the same recording goes on" 'waits 120 goes_on'
sleep $((4 * slow))

echo "== killed"
kill -KILL "$(show MainPID)"
fact "it is started again" 'waits 60 restarts 2'
fact "and the same recording goes on" 'waits 120 goes_on'
sleep $((4 * slow))

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
cp /etc/mimicd/rig.toml /tmp/rig.toml; sed -i 's/^frame_rate_hz = .*/frame_rate_hz = -1.0/' /etc/mimicd/rig.toml
fact "a bad rig does not start, and the journal says why" '! systemctl start mimicd 2> /dev/null; journalctl -u mimicd --no-pager | grep -q "rig.frame_rate_hz"'
cp /tmp/rig.toml /etc/mimicd/rig.toml; systemctl reset-failed mimicd; systemctl stop mimicd
dpkg -r mimicd > /dev/null 2>&1
fact "removed: program gone, rig and recordings there" '[ ! -e /usr/bin/mimicd ] && [ -e /etc/mimicd/rig.toml ] && [ "$(recordings)" = "$name" ]'
dpkg -P mimicd 2>&1 | grep '^mimicd:'
fact "purged: no rig, no unit; recordings and their owner stay" '[ ! -e /etc/mimicd ] && [ ! -e /usr/lib/systemd/system/mimicd.service ] && [ "$(recordings)" = "$name" ] && id mimicd > /dev/null'
rm -rf /var/lib/mimicd/recordings/*
dpkg -i /newer.deb > /dev/null 2>&1; dpkg -P mimicd > /dev/null 2>&1
fact "purged without recordings: nothing is left" '[ ! -e /var/lib/mimicd ] && [ ! -e /etc/mimicd ] && ! id mimicd > /dev/null 2>&1 && [ -z "$(dpkg -l mimicd 2> /dev/null | grep ^[ir])" ]'
