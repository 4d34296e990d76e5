"""Opens a dataset's exports in the tools they are for and compares every sample. usage: read_exports.py DATASET EXPORTS

EXPORTS holds one folder for each format, as `mimicd export` names it. Prints one JSON line for each.
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import polars
import pyarrow.dataset as ds

warnings.filterwarnings("ignore")


class Truth:
    """The dataset itself."""

    def __init__(self, folder):
        self.folder = folder
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.arrays = [array["name"] for array in self.manifest["catalog"]["arrays"]]

    def array(self, name):
        table = ds.dataset(self.folder / "tables" / f"ephys_{name}").to_table()
        channels = [column for column in table.column_names if column.startswith("ch")]
        values = np.stack([table[column].to_numpy() for column in channels], axis=1)
        return table["sample_index"].to_numpy(), table["t_ns"].to_numpy(), values, table["digital"].to_numpy()

    def breaks(self, name):
        index = self.array(name)[0]
        return np.flatnonzero(np.diff(index) != 1) + 1

    def table(self, name):
        return polars.read_parquet(self.folder / "tables" / name / "*.parquet")


def open_ephys(truth, folder):
    from spikeinterface.extractors import read_openephys

    gaps = 0
    for name in truth.arrays:
        index, t_ns, values, digital = truth.array(name)
        recording = read_openephys(folder / name)
        starts = [0, *truth.breaks(name), len(index)]
        runs = [(starts[k], starts[k + 1]) for k in range(len(starts) - 1)]
        assert recording.get_num_segments() == len(runs), (name, recording.get_num_segments(), len(runs))
        gaps += len(runs) - 1
        for segment, (first, end) in enumerate(runs):
            traces = recording.get_traces(segment_index=segment)
            assert np.array_equal(traces, values[first:end]), f"{name}: run {segment} differs"
            node = folder / name / "Record Node 101/experiment1" / f"recording{segment + 1}"
            stream = node / f"continuous/mimicd-100.{name}"
            assert np.array_equal(np.load(stream / "sample_numbers.npy"), index[first:end])
            assert np.allclose(np.load(stream / "timestamps.npy"), t_ns[first:end] * 1e-9, rtol=0, atol=1e-9)
            events = node / f"events/mimicd-100.{name}/TTL"
            word = digital[first:end].astype(int)
            changed = sum(bin(int(word[k] ^ word[k - 1])).count("1") for k in range(1, len(word)))
            assert len(np.load(events / "states.npy")) == changed
        gain = recording.get_channel_gains()
        assert np.allclose(gain, truth.manifest["catalog"]["arrays"][0]["gain_uv_per_bit"])
    return {"arrays": len(truth.arrays), "gaps_seen": gaps}


def spikeglx(truth, folder):
    from spikeinterface.extractors import read_spikeglx

    missing = 0
    for place, name in enumerate(truth.arrays):
        index, _, values, digital = truth.array(name)
        recording = read_spikeglx(folder, stream_id=f"obx{place}")
        channels = [channel for channel in recording.channel_ids if "#XA" in channel]
        traces = recording.get_traces(channel_ids=channels)
        offset = index - index[0]
        assert traces.shape == (offset[-1] + 1, values.shape[1])
        assert np.array_equal(traces[offset], values), f"{name}: samples differ"
        word = recording.get_traces(channel_ids=[c for c in recording.channel_ids if "#XD" in c])[:, 0]
        assert np.array_equal(word[offset].astype(np.uint16), digital)
        sync = read_spikeglx(folder, stream_id=f"obx{place}-SYNC").get_traces()[:, 0]
        absent = np.ones(len(traces), dtype=bool)
        absent[offset] = False
        assert np.array_equal((sync >> 11) & 1 == 1, absent), f"{name}: MISS bits are not the missing samples"
        assert not traces[absent].any()
        inserts = (folder / f"{truth.manifest['info']['recording']}.missed_samples.obx{place}.txt").read_text().split()
        assert sum(int(line.split(",")[1]) for line in inserts) == absent.sum()
        assert abs(recording.get_channel_gains()[0] - truth.manifest["catalog"]["arrays"][place]["gain_uv_per_bit"]) < 1e-6
        missing += int(absent.sum())
    return {"arrays": len(truth.arrays), "missing_seen": missing}


def campy(truth, folder):
    import subprocess

    frames = truth.table("frames")
    total = 0
    for place, camera in enumerate(truth.manifest["catalog"]["cameras"]):
        here = folder / "videos" / f"Camera{place + 1}"
        times = np.load(here / "frametimes.npy")
        rows = frames.filter((polars.col("camera") == place) & (polars.col("video_frame") >= 0)).sort("video_part", "video_frame")
        counted = {v["part"]: v["counted"] for v in truth.manifest["videos"] if v["camera"] == camera["name"]}
        rows = rows.filter([frame < counted[part] for part, frame in rows.select("video_part", "video_frame").iter_rows()])
        t_ns = rows["t_ns"].to_numpy()
        assert times.shape == (2, len(t_ns)), (times.shape, len(t_ns))
        assert np.array_equal(times[0], np.arange(1, len(t_ns) + 1))
        assert np.allclose(times[1], (t_ns - t_ns[0]) * 1e-9, rtol=0, atol=1e-9)
        command = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries",
                   "stream=nb_read_frames", "-of", "csv=p=0", here / "0.mp4"]
        assert int(subprocess.check_output(command).split(b",")[0]) == len(t_ns), camera["name"]
        assert '"startTimeUTC"' in (here / "metadata.csv").read_text()
        total += len(t_ns)
    table = polars.read_csv(folder / "frames.csv")
    assert table["trigger_index"].is_sorted() and table["trigger_index"].is_unique().all()
    return {"cameras": len(truth.manifest["catalog"]["cameras"]), "frames": total}


def csv(truth, folder):
    rows = 0
    for name, entry in truth.manifest["tables"].items():
        table = polars.read_csv(folder / f"{name}.csv", infer_schema_length=None)
        own = truth.table(name)
        assert table.height == own.height == entry["rows"], name
        assert table["t_ns"].equals(own["t_ns"]), name
        width = sum(own.schema[c].size if hasattr(own.schema[c], "size") else 1 for c in own.columns)
        assert table.width == width, (name, table.width, width)
        for column in own.columns:
            if own.schema[column] in (polars.Float32, polars.Float64):
                mine = np.nan_to_num(own[column].to_numpy().astype(float), nan=-1.0)
                theirs = np.nan_to_num(table[column].cast(own.schema[column]).to_numpy().astype(float), nan=-1.0)
                assert np.array_equal(mine, theirs), f"{name}.{column}"
            elif own.schema[column].is_integer():
                assert table[column].cast(polars.Int64).equals(own[column].cast(polars.Int64)), f"{name}.{column}"
        rows += table.height
    return {"rows": rows}


def parquet(truth, folder):
    rows = 0
    for name, entry in truth.manifest["tables"].items():
        table = ds.dataset(folder / name, partitioning="hive").to_table()
        assert table.num_rows == entry["rows"], name
        assert set(table["recording"].to_pylist()) == {truth.manifest["info"]["recording"]}
        rows += table.num_rows
    assert "`t_ns`" in (folder / "SCHEMA.md").read_text()
    return {"rows": rows}


def nwb(truth, folder):
    from nwbinspector import Importance, inspect_nwbfile
    from pynwb import NWBHDF5IO, validate

    path = folder / f"{truth.manifest['info']['recording']}.nwb"
    result = validate(path=str(path))
    errors = result[0] if isinstance(result, tuple) else result
    assert not errors, f"pynwb.validate: {errors}"
    found = {"gaps_seen": 0}
    with NWBHDF5IO(str(path), "r", load_namespaces=True) as io:
        file = io.read()
        row = 0
        for name in truth.arrays:
            index, t_ns, values, _ = truth.array(name)
            series = file.acquisition[f"ephys_{name}"]
            assert series.data.dtype == np.int16 and np.array_equal(series.data[:], values), f"{name}: samples differ"
            times = series.timestamps[:] if series.timestamps is not None else series.starting_time + np.arange(len(values)) / series.rate
            assert np.allclose(times, t_ns * 1e-9, rtol=0, atol=1e-9)
            found["gaps_seen"] += int((np.diff(times) > 1.5 * np.median(np.diff(times))).sum())
            assert list(series.electrodes.data[:]) == list(range(row, row + values.shape[1]))
            row += values.shape[1]
            assert series.electrodes.to_dataframe()["group_name"].str.startswith(f"{name}_tetrode").all()
        assert len(file.electrodes) == row
        gaps = file.intervals["gaps"].to_dataframe() if "gaps" in (file.intervals or {}) else []
        assert len(gaps) == len(truth.manifest["gaps"])
        pose = file.processing["behavior"]["pose"]
        own = truth.table("pose").sort("t_ns")
        points = np.array(own["keypoints_m"].to_list(), dtype=np.float32).reshape(own.height, -1, 3)
        names = list(pose.skeleton.nodes[:])
        assert len(names) == points.shape[1]
        for place, keypoint in enumerate(names):
            assert np.array_equal(pose.pose_estimation_series[keypoint].data[:], points[:, place], equal_nan=True), keypoint
        for keypoint in names:
            times = pose.pose_estimation_series[keypoint].timestamps
            assert times is None or np.allclose(times[:], own["t_ns"].to_numpy() * 1e-9, rtol=0, atol=1e-9), keypoint
        body = file.processing["body"]["qpos"]
        assert body.data.shape == (truth.table("body").height, 74)
        if file.units is not None:
            spikes = truth.table("spikes")
            assert sum(len(file.units["spike_times"][k]) for k in range(len(file.units))) == spikes.height
            found["units"] = len(file.units)
        for camera in truth.manifest["catalog"]["cameras"]:
            if truth.manifest["videos"]:
                series = file.acquisition[camera["name"]]
                assert (path.parent / series.external_file[0]).exists()
                assert type(series.device).__name__ == "CalibratedCamera"
    messages = list(inspect_nwbfile(nwbfile_path=str(path)))
    bad = [m for m in messages if m.importance in (Importance.ERROR, Importance.PYNWB_VALIDATION, Importance.CRITICAL,
                                                   Importance.BEST_PRACTICE_VIOLATION)]
    assert not bad, "NWB Inspector: " + "; ".join(f"{m.importance.name} {m.check_function_name} {m.location} {m.message}" for m in bad)
    found["suggestions"] = sorted({m.check_function_name for m in messages})
    return found


if __name__ == "__main__":
    dataset, exports = Truth(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2])
    checks = {"parquet": parquet, "csv": csv, "openephys": open_ephys, "spikeglx": spikeglx, "campy": campy, "nwb": nwb}
    for format in sys.argv[3:] or checks:
        print(json.dumps({format: checks[format](dataset, exports / format)}))
