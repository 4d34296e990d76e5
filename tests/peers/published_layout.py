"""Reads a file in the published layout with h5py, says what it holds, and writes the same recording as others would.

    published_layout.py OURS THEIRS
"""

import json
import sys

import h5py
import numpy as np


def main(ours, theirs):
    with h5py.File(ours, "r") as file:
        data = {name: file[name][:] for name in
                ["pose/keypoints", "pose/qpos", "ephys/spike_counts", "behavior/motion_mapper"]}
    told = {name: {"shape": list(values.shape), "type": str(values.dtype),
                   "sum": float(np.nansum(values.astype(np.float64)))} for name, values in data.items()}
    told["keypoint_17_y_3"] = float(data["pose/keypoints"][17, 1, 3])
    # Other writers: big files in chunks with shuffling, doubles, one-column labels as MATLAB leaves them, contiguous counts.
    with h5py.File(theirs, "w", libver="earliest") as file:
        keypoints = data["pose/keypoints"].astype(np.float64)
        file.create_dataset("pose/keypoints", data=keypoints, chunks=(500, 3, 23), compression="gzip", shuffle=True)
        file.create_dataset("pose/qpos", data=data["pose/qpos"].astype(np.float32), compression="gzip", fletcher32=True)
        file.create_dataset("ephys/spike_counts", data=data["ephys/spike_counts"])
        file.create_dataset("behavior/motion_mapper", data=data["behavior/motion_mapper"][:, None].astype(np.float64))
        file.attrs["animal"] = "test"
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
