"""A recording made by SpikeInterface, replayed by mimicd, read back by SpikeInterface, probeinterface and neo.

    python tests/peers/ephys_round_trip.py OUT_FOLDER --mimicd target/release/mimicd

1. generates a seeded recording of four tetrodes with known cells, writes it as raw int16 + TOML and with a probe map;
2. `mimicd probe new` is read by probeinterface; probeinterface's own map is read by mimicd;
3. `mimicd replay ephys` detects, sorts and records; SpikeInterface's recording of the dataset equals what went in, sample for
   sample; spikes and units become a sorting that is compared with the truth;
4. the truth, exported by SpikeInterface to a phy folder and as a sorting analyser, is imported as templates: units carry its
   ids and are followed from the first seconds.
"""

import argparse
import json
import os
import subprocess
import warnings
from pathlib import Path

for pool in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ.setdefault(f"{pool}_NUM_THREADS", "1")
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import spikeinterface.core as si  # noqa: E402
from probeinterface import Probe, ProbeGroup, read_probeinterface, write_probeinterface  # noqa: E402
from spikeinterface.comparison import compare_sorter_to_ground_truth  # noqa: E402
from spikeinterface.core import generate_ground_truth_recording  # noqa: E402

si.set_global_job_kwargs(n_jobs=1, progress_bar=False)

RATE_HZ, GAIN_UV, TETRODES, SECONDS = 30_000.0, 0.195, 4, 60.0
# Wires of the tetrodes, as a lab's adapter may scramble them.
WIRING = np.array([[3, 7, 0, 12], [1, 5, 9, 13], [2, 6, 10, 14], [15, 4, 8, 11]])


def tetrode_probe(device_channels):
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=np.array([[0, 0], [25, 0], [0, 25], [25, 25]], float), shapes="circle",
                       shape_params={"radius": 6})
    probe.set_device_channel_indices(device_channels)
    return probe


def make(out):
    """Samples [n, 16] in device order, and the true sorting."""
    samples = np.zeros((int(SECONDS * RATE_HZ), 16), "<i2")
    times, labels, unit = [], [], 0
    for tetrode in range(TETRODES):
        recording, sorting = generate_ground_truth_recording(
            durations=[SECONDS], sampling_frequency=RATE_HZ, num_channels=4, num_units=3, probe=tetrode_probe(np.arange(4)),
            generate_sorting_kwargs=dict(firing_rates=(8.0, 15.0), refractory_period_ms=4.0),
            generate_unit_locations_kwargs=dict(margin_um=20.0, minimum_z=5.0, maximum_z=25.0, minimum_distance=15.0),
            noise_kwargs=dict(noise_levels=7.0, strategy="on_the_fly"), seed=500 + tetrode)
        traces = recording.get_traces() / GAIN_UV
        samples[:, WIRING[tetrode]] = np.clip(np.round(traces), -32768, 32767)
        for own in sorting.unit_ids:
            train = sorting.get_unit_spike_train(own, segment_index=0)
            times.append(train)
            labels.append(np.full(len(train), unit))
            unit += 1
    samples.tofile(out / "made.raw")
    (out / "made.toml").write_text(
        f'file = "made.raw"\ncolumns = 16\nrate_hz = {RATE_HZ}\ngain_uv_per_bit = {GAIN_UV}\n')
    truth = si.NumpySorting.from_samples_and_labels([np.concatenate(times)], [np.concatenate(labels)], RATE_HZ)
    return samples, truth


def probes(out, mimicd):
    written = out / "rows.json"
    subprocess.run([mimicd, "probe", "new", "--channels", "128", "--out", written], check=True, capture_output=True)
    group = read_probeinterface(written)
    assert len(group.probes) == 32 and group.get_contact_count() == 128
    assert list(group.get_global_device_channel_indices()["device_channel_indices"]) == list(range(128))
    own = ProbeGroup()
    for tetrode in range(TETRODES):
        probe = tetrode_probe(WIRING[tetrode])
        probe.move([200.0 * tetrode, 0.0])
        own.add_probe(probe)
    write_probeinterface(out / "probe.json", own)
    text = subprocess.run([mimicd, "probe", "show", out / "probe.json"], check=True, capture_output=True, text=True).stdout
    assert str(list(map(int, WIRING[0]))) in text, text
    print(f"probeinterface reads {len(group.probes)} tetrodes of `mimicd probe new`; mimicd reads its map of {TETRODES}")


def config(out, templates=None):
    """A config is only asked for its spike settings and its recordings folder."""
    root = Path(__file__).resolve().parents[2]
    text = (root / "configs/twin.toml").read_text()
    for name in ("twin-calibration.toml", "subjects/twin.toml"):
        text = text.replace(f'"{name}"', f'"{root}/configs/{name}"')
    text = text.replace('"../', f'"{root}/').replace(f'folder = "{root}/recordings"', f'folder = "{out}/recordings"')
    text += f'\n[spikes]\nprobe = "probe.json"\nthreshold_uv = 20.0\nreturn_uv = 8.0\nreference_group_channels = 0\nlearn_secs = 20.0\n'
    if templates is not None:
        text += f'templates = "{templates}"\n'
    path = out / f"rig{'' if templates is None else '-' + Path(templates).name}.toml"
    path.write_text(text)
    return path


def replay(out, mimicd, config_path, subject):
    done = subprocess.run([mimicd, "replay", "ephys", out / "made.toml", "--config", config_path, "--subject", subject, "--json"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(json.loads(done.stdout)["folder"])


def table(folder, name, columns=None):
    files = sorted((folder / "tables" / name).glob("*.parquet"))
    return pq.read_table(files, columns=columns)


def recording_of(folder):
    ephys = table(folder, "ephys_A")
    names = [name for name in ephys.column_names if name.startswith("ch")]
    samples = np.stack([ephys[name].to_numpy() for name in names], axis=1)
    recording = si.NumpyRecording([samples], sampling_frequency=RATE_HZ)
    recording.set_channel_gains(GAIN_UV)
    recording.set_channel_offsets(0.0)
    return recording, ephys


def sorting_of(folder):
    spikes = table(folder, "spikes", ["sample_index", "unit"])
    samples, units = spikes["sample_index"].to_numpy(), spikes["unit"].to_numpy()
    keep = units > 0
    return si.NumpySorting.from_samples_and_labels([samples[keep]], [units[keep]], RATE_HZ)


def accuracy(truth, found, begin):
    end = int(SECONDS * RATE_HZ)
    score = compare_sorter_to_ground_truth(truth.frame_slice(begin, end), found.frame_slice(begin, end), exhaustive_gt=True,
                                           delta_time=0.4)
    return score.get_performance()["accuracy"].to_numpy(float), score


def templates(out, samples, truth):
    """The truth as other programs hand it on: a phy folder and a sorting analyser."""
    from spikeinterface.exporters import export_to_phy
    recording = si.NumpyRecording([samples], sampling_frequency=RATE_HZ)
    group = ProbeGroup()
    for tetrode in range(TETRODES):
        probe = tetrode_probe(WIRING[tetrode])
        probe.move([200.0 * tetrode, 0.0])
        group.add_probe(probe)
    # Channels stay in device order.
    recording.set_channel_gains(GAIN_UV)
    recording.set_channel_offsets(0.0)
    by_channel = np.zeros((16, 2))
    for tetrode in range(TETRODES):
        by_channel[WIRING[tetrode]] = np.array([[0, 0], [25, 0], [0, 25], [25, 25]]) + [200.0 * tetrode, 0.0]
    recording.set_dummy_probe_from_locations(by_channel)
    import spikeinterface.preprocessing as spre
    filtered = spre.bandpass_filter(recording, freq_min=300, freq_max=6000, dtype="float32")
    analyser = si.create_sorting_analyzer(truth, filtered, format="binary_folder", folder=out / "analyser", sparse=False)
    analyser.compute(["random_spikes", "waveforms", "templates", "noise_levels"], verbose=False)
    export_to_phy(analyser, out / "phy", compute_pc_features=False, compute_amplitudes=False, copy_binary=False, verbose=False)
    return out / "analyser", out / "phy"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mimicd", type=Path, required=True)
    arguments = parser.parse_args()
    out, mimicd = arguments.out.resolve(), arguments.mimicd.resolve()
    out.mkdir(parents=True, exist_ok=True)
    samples, truth = make(out)
    probes(out, mimicd)

    folder = replay(out, mimicd, config(out), "learned")
    recording, ephys = recording_of(folder)
    assert np.array_equal(recording.get_traces(), samples), "samples differ"
    # Rig time is exact to the nanosecond it is rounded to.
    t_ns = ephys["t_ns"].to_numpy()
    exact = np.arange(len(samples)) * 1e9 / RATE_HZ
    assert np.abs(t_ns - exact).max() <= 1_000, np.abs(t_ns - exact).max()
    spikes = table(folder, "spikes")
    widths = {name: spikes.schema.field(name).type for name in ("snippet", "channel", "unit", "confidence")}
    assert widths["snippet"].list_size == 256, widths
    own = sorting_of(folder)
    values, _ = accuracy(truth, own, int(30 * RATE_HZ))
    units = table(folder, "units")
    assert len(units) == len(own.unit_ids), (len(units), own.unit_ids)
    print(f"SpikeInterface reads {samples.shape[0]} samples x {samples.shape[1]} exactly, {len(spikes)} spikes, {len(units)} units;"
          f" learned: accuracy median {np.median(values):.3f}, least {values.min():.3f}")
    assert np.median(values) >= 0.9, values

    listed = subprocess.run([mimicd, "units", folder, "--toml", out / "units.toml"], check=True, capture_output=True, text=True)
    assert listed.stdout.count("unit ") >= len(units), listed.stdout
    analyser, phy = templates(out, samples, truth)
    for name, path in (("analyser", analyser), ("phy", phy), ("own", out / "units.toml")):
        folder = replay(out, mimicd, config(out, path), name)
        found = sorting_of(folder)
        values, score = accuracy(truth, found, int(20 * RATE_HZ))
        print(f"templates from {name}: accuracy from second 20 on, median {np.median(values):.3f}, least {values.min():.3f}")
        assert np.median(values) >= 0.9, values
        if name != "own":
            # Ids follow the order of the file. A cell that hardly passes the threshold may be found anew, or not at all.
            matched = score.hungarian_match_12
            kept = sum(int(matched[unit]) == int(unit) + 1 for unit in truth.unit_ids)
            print(f"   {kept} of {len(truth.unit_ids)} cells are followed under their own ids")
            assert kept >= 9, matched


if __name__ == "__main__":
    main()
