"""Spike detection and sorting against SpikeInterface's ground truth, beside an offline sorter on the same data.

Generates seeded tetrode recordings, runs the spike stage over them (`cargo run --release --example spikes_of_file`), and
compares: detection recall by unit SNR, sorting accuracy per unit, the same for one offline sorter that installs from PyPI,
and what the causal filter costs against the zero-phase one.

    python tests/peers/spikes_ground_truth.py OUT_FOLDER [--binary target/release/examples/spikes_of_file]
"""

import argparse
import csv
import os
import subprocess
import warnings
from pathlib import Path

# One thread each: the parts are small, and several pools at once can wait for each other for ever.
for pool in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ.setdefault(f"{pool}_NUM_THREADS", "1")

import numpy as np  # noqa: E402

warnings.filterwarnings("ignore")
import spikeinterface.core as si  # noqa: E402
from probeinterface import Probe  # noqa: E402
from spikeinterface.comparison import compare_sorter_to_ground_truth  # noqa: E402
from spikeinterface.core import generate_ground_truth_recording  # noqa: E402

RATE_HZ = 30_000.0
GAIN_UV = 0.195
MATCH_MS = 0.4


def tetrode_recording(seed, seconds, units, noise_uv):
    """One tetrode: four wires 25 um apart in a square, cells around it."""
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=np.array([[0, 0], [25, 0], [0, 25], [25, 25]], float), shapes="circle",
                       shape_params={"radius": 6})
    probe.set_device_channel_indices(np.arange(4))
    recording, sorting = generate_ground_truth_recording(
        durations=[seconds], sampling_frequency=RATE_HZ, num_channels=4, num_units=units, probe=probe,
        generate_sorting_kwargs=dict(firing_rates=(2.0, 12.0), refractory_period_ms=4.0),
        generate_unit_locations_kwargs=dict(margin_um=30.0, minimum_z=5.0, maximum_z=40.0, minimum_distance=8.0),
        noise_kwargs=dict(noise_levels=noise_uv, strategy="on_the_fly"), seed=seed)
    return recording, sorting


def fast_filter(traces, zero_phase):
    """FAST's band-pass in SciPy."""
    from scipy import signal
    sos = signal.ellip(2, 0.1, 40, [400, 7500], "band", fs=RATE_HZ, output="sos")
    return (signal.sosfiltfilt if zero_phase else signal.sosfilt)(sos, traces, axis=0)


def unit_snr(filtered, sorting, unit):
    """Peak of the mean filtered waveform over the robust noise of its channel."""
    noise = np.median(np.abs(filtered), axis=0) / 0.6745
    times = sorting.get_unit_spike_train(unit, segment_index=0)
    times = times[(times > 40) & (times < len(filtered) - 40)][:500]
    mean = np.mean([filtered[t - 20:t + 30] for t in times], axis=0)
    return float(np.max(np.abs(mean) / noise))


def scipy_detect(filtered, threshold_uv, noise_factor):
    """FAST's rule, written plainly: threshold, return for 8 samples, largest magnitude."""
    noise = np.median(np.abs(filtered), axis=0) / 0.6745
    level = np.maximum(threshold_uv, noise_factor * noise)
    over = (np.abs(filtered) >= level).any(axis=1)
    back = (np.abs(filtered) < 0.4 * level).all(axis=1)
    magnitude, peaks = np.abs(filtered).max(axis=1), []
    at = 0
    starts = np.flatnonzero(over[1:] & ~over[:-1]) + 1
    for start in starts:
        if start < at:
            continue
        run, best, end = 0, start, start
        while run < 8 and end < len(over) and end - best < 30:
            best = end if magnitude[end] > magnitude[best] else best
            run = run + 1 if back[end] else 0
            end += 1
        peaks.append(best)
        at = end
    return np.array(peaks)


def recall(truth, found, window=12):
    """Part of `truth` that has a spike in `found` within the window."""
    if len(found) == 0:
        return 0.0
    place = np.searchsorted(found, truth)
    near = np.minimum(np.abs(found[np.clip(place, 0, len(found) - 1)] - truth),
                      np.abs(found[np.clip(place - 1, 0, len(found) - 1)] - truth))
    return float(np.mean(near <= window))


def offline(recording, folder, begin):
    """An offline sorter on the same data, its spikes after `begin` as a sorting; None where it is not installed."""
    try:
        import mountainsort5 as ms5
        import spikeinterface.preprocessing as spre
    except ImportError:
        return None
    filtered = spre.bandpass_filter(recording, freq_min=400, freq_max=7500, dtype="float32")
    white = spre.whiten(filtered, dtype="float32", seed=0)
    saved = white.save(folder=folder, overwrite=True, verbose=False, n_jobs=1, progress_bar=False)
    return ms5.sorting_scheme1(saved, sorting_parameters=ms5.Scheme1SortingParameters())


def run(index, arguments):
    seconds, learn = arguments.seconds, arguments.learn
    units, noise_uv = 3 + index % 5, 8.0 + 2.0 * (index % 3)
    recording, truth = tetrode_recording(arguments.seed + index, seconds, units, noise_uv)
    traces = recording.get_traces()
    raw = arguments.out / f"tetrode_{index}.raw"
    np.clip(np.round(traces / GAIN_UV), -32768, 32767).astype("<i2").tofile(raw)
    table = arguments.out / f"tetrode_{index}.csv"
    command = [arguments.binary, raw, "4", str(RATE_HZ), str(GAIN_UV), table, str(arguments.threshold_uv), str(learn),
               str(arguments.factor)]
    text = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    rows = list(csv.DictReader(table.open()))
    samples = np.array([int(row["sample"]) for row in rows])
    labels = np.array([int(row["unit"]) for row in rows])
    causal, zero = fast_filter(traces, False), fast_filter(traces, True)
    scipy_causal = np.sort(scipy_detect(causal, arguments.threshold_uv, arguments.factor))
    scipy_zero = np.sort(scipy_detect(zero, arguments.threshold_uv, arguments.factor))
    # Units are compared from the first sorted spike on: before it the tetrode was learning.
    begin = int(samples[labels > 0].min()) + 1 if (labels > 0).any() else int(seconds * RATE_HZ)

    def after(sorting):
        return sorting.frame_slice(begin, int(seconds * RATE_HZ))

    def ours(mask):
        return si.NumpySorting.from_samples_and_labels([samples[mask]], [labels[mask]], RATE_HZ)

    found = ours(labels > 0)
    score = compare_sorter_to_ground_truth(after(truth), after(found), exhaustive_gt=True, delta_time=MATCH_MS)
    table_ours = score.get_performance()
    reference = None if arguments.no_offline else offline(recording, arguments.out / f"white_{index}", begin)
    table_offline = None
    if reference is not None:
        table_offline = compare_sorter_to_ground_truth(after(truth), after(reference), exhaustive_gt=True,
                                                       delta_time=MATCH_MS).get_performance()
    results = []
    order = np.sort(samples)
    for unit in truth.unit_ids:
        train = truth.get_unit_spike_train(unit, segment_index=0)
        train = train[train > 0.5 * RATE_HZ]
        results.append(dict(
            snr=unit_snr(causal, truth, unit), count=len(train), recall=recall(train, order),
            scipy_causal=recall(train, scipy_causal), scipy_zero=recall(train, scipy_zero),
            accuracy=float(table_ours.loc[unit, "accuracy"]), precision=float(table_ours.loc[unit, "precision"]),
            sort_recall=float(table_ours.loc[unit, "recall"]),
            offline=float(table_offline.loc[unit, "accuracy"]) if table_offline is not None else np.nan))
    sorted_units = len(np.unique(labels[labels > 0]))
    print(f"tetrode {index}: {units} cells, noise {noise_uv} uV, learned until {begin / RATE_HZ:.0f} s, "
          f"{sorted_units} units | {text.splitlines()[0]}")
    for result in results:
        print("   " + " ".join(f"{key} {value:.3f}" for key, value in result.items()))
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--binary", type=Path, default=Path("target/release/examples/spikes_of_file"))
    parser.add_argument("--tetrodes", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--learn", type=float, default=120.0)
    parser.add_argument("--threshold-uv", type=float, default=20.0)
    parser.add_argument("--factor", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--no-offline", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = [result for index in range(arguments.tetrodes) for result in run(index, arguments)]
    snr = np.array([result["snr"] for result in results])
    value = lambda key: np.array([result[key] for result in results])  # noqa: E731
    weight = value("count")
    strong, good = snr >= 5.0, snr >= 8.0
    total = lambda key: float(np.sum(value(key)[strong] * weight[strong]) / np.sum(weight[strong]))  # noqa: E731
    print(f"\ncells {len(snr)}; SNR >= 5: {strong.sum()}; SNR >= 8: {good.sum()}")
    print(f"detection recall at SNR >= 5: ours {total('recall'):.4f}, SciPy causal {total('scipy_causal'):.4f}, "
          f"SciPy zero-phase {total('scipy_zero'):.4f}")
    print(f"sorting accuracy at SNR >= 8, median (quartiles): ours {np.median(value('accuracy')[good]):.3f} "
          f"({np.percentile(value('accuracy')[good], 25):.3f}..{np.percentile(value('accuracy')[good], 75):.3f}), "
          f"offline {np.nanmedian(value('offline')[good]):.3f}")


if __name__ == "__main__":
    main()
