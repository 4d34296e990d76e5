"""How long the same steps take in SciPy and SpikeInterface: band-pass, median reference per chip, noise, detection.

    python tests/peers/spikes_speed.py OUT_FOLDER --binary target/release/examples/spikes_of_file

All on one thread, measured as time on a core, so that what else runs on the machine does not count.
"""

import argparse
import os
import subprocess
import time
import warnings
from pathlib import Path

for pool in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ.setdefault(f"{pool}_NUM_THREADS", "1")
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
from scipy import signal  # noqa: E402

RATE_HZ, GAIN_UV, CHIP = 30_000.0, 0.195, 32


def make(path, channels, seconds):
    """Noise of 9 uV with spikes of 120 uV on every tetrode."""
    rng = np.random.default_rng(3)
    samples = rng.normal(0.0, 9.0 / GAIN_UV, (int(seconds * RATE_HZ), channels)).astype(np.float32)
    t = np.arange(40) - 10.0
    wave = -np.exp(-t * t / 12.0) + 0.35 * np.exp(-(t - 11.0) ** 2 / 50.0)
    for tetrode in range(channels // 4):
        gains = rng.uniform(30.0, 150.0, 4) / GAIN_UV
        for at in rng.integers(100, len(samples) - 100, int(20 * seconds)):
            samples[at:at + 40, 4 * tetrode:4 * tetrode + 4] += wave[:, None] * gains
    samples = np.clip(np.round(samples), -32768, 32767).astype("<i2")
    samples.tofile(path)
    return samples


def scipy_steps(samples):
    sos = signal.ellip(2, 0.1, 40, [400, 7500], "band", fs=RATE_HZ, output="sos")
    filtered = signal.sosfilt(sos, samples.astype(np.float32) * np.float32(GAIN_UV), axis=0)
    for chip in range(0, filtered.shape[1], CHIP):
        part = filtered[:, chip:chip + CHIP]
        part -= np.median(part, axis=1, keepdims=True)
    noise = np.median(np.abs(filtered), axis=0) / 0.6745
    level = np.maximum(48.75, 4.0 * noise)
    found = 0
    for tetrode in range(filtered.shape[1] // 4):
        own = np.abs(filtered[:, 4 * tetrode:4 * tetrode + 4])
        over = (own >= level[4 * tetrode:4 * tetrode + 4]).any(axis=1)
        starts = np.flatnonzero(over[1:] & ~over[:-1])
        found += len(starts)
    return found


def spikeinterface_steps(samples):
    import spikeinterface.core as si
    import spikeinterface.preprocessing as spre
    from spikeinterface.sortingcomponents.peak_detection import detect_peaks
    recording = si.NumpyRecording([samples], sampling_frequency=RATE_HZ)
    recording.set_channel_gains(GAIN_UV)
    recording.set_channel_offsets(0.0)
    channels = samples.shape[1]
    positions = np.array([[200.0 * (c // 4) + 12.0 * (c % 2), 12.0 * (c % 4 // 2)] for c in range(channels)])
    recording.set_dummy_probe_from_locations(positions)
    filtered = spre.bandpass_filter(recording, freq_min=400, freq_max=7500, dtype="float32")
    groups = [list(recording.channel_ids[chip:chip + CHIP]) for chip in range(0, channels, CHIP)]
    referenced = spre.common_reference(filtered, reference="global", operator="median", groups=groups)
    peaks = detect_peaks(referenced, method="locally_exclusive", method_kwargs=dict(
        peak_sign="both", detect_threshold=5, radius_um=50.0, exclude_sweep_ms=0.5), job_kwargs=dict(n_jobs=1, chunk_duration="1s", progress_bar=False))
    return len(peaks)


def cpu(steps, samples):
    begin = time.process_time()
    found = steps(samples)
    return time.process_time() - begin, found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--binary", type=Path, default=Path("target/release/examples/spikes_of_file"))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 256, 1024])
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for channels in arguments.channels:
        raw = arguments.out / f"speed_{channels}.raw"
        samples = make(raw, channels, arguments.seconds)
        ours = []
        for _ in range(3):
            text = subprocess.run([arguments.binary, raw, str(channels), str(RATE_HZ), str(GAIN_UV), raw.with_suffix(".csv")],
                                  check=True, capture_output=True, text=True, env={**os.environ, "NO_SORT": "1"}).stdout
            ours.append(float(text.split("s: ")[1].split(" %")[0]))
        line = f"{channels:5d} channels: ours {np.median(ours):5.1f} % of a core"
        for name, steps in (("SciPy", scipy_steps), ("SpikeInterface", spikeinterface_steps)):
            cpu(steps, samples[:int(RATE_HZ)])  # compilation and first touches do not count
            seconds, found = cpu(steps, samples)
            cost = 100.0 * seconds / arguments.seconds
            line += f"; {name} {cost:5.1f} % ({cost / np.median(ours):.1f} x), {found} found"
        print(line, flush=True)
        raw.unlink()


if __name__ == "__main__":
    main()
