"""Writes the same keypoints as other people's programs would, with their libraries, for the readers' tests.

    python tests/peers/write_keypoints.py FOLDER

Frame t, keypoint k, axis a is 1000 t + 10 k + a; keypoint 1 of frame 2 is missing.
"""

import sys
from pathlib import Path

import h5py
import numpy as np

FRAMES, NAMES = 40, ["Snout", "EarL", "EarR", "SpineF", "TailBase"]


def main():
    folder = Path(sys.argv[1])
    t, k, a = np.meshgrid(np.arange(FRAMES), np.arange(len(NAMES)), np.arange(3), indexing="ij")
    points = 1000.0 * t + 10.0 * k + a
    points[2, 1] = np.nan
    scores = np.where(np.isnan(points[..., 0]), 0.0, 0.5)
    with h5py.File(folder / "sleap_anipose.h5", "w") as file:
        file.create_dataset("tracks", data=points[:, None], compression="gzip", chunks=True)
    with h5py.File(folder / "sleap_analysis.h5", "w") as file:
        file.create_dataset("tracks", data=points.transpose(2, 1, 0)[None], compression="gzip", shuffle=True)
        file.create_dataset("point_scores", data=scores.T[None], compression="gzip")
        file.create_dataset("node_names", data=NAMES, dtype=h5py.string_dtype())
        file.create_dataset("track_names", data=["one"], dtype=h5py.string_dtype())
    with h5py.File(folder / "stac.h5", "w", libver="latest") as file:
        file.create_dataset("kp_data", data=points.reshape(FRAMES, -1).astype("f4"))
        file.create_dataset("kp_names", data=np.array(NAMES, dtype="S16"))
    with h5py.File(folder / "matlab73.mat", "w", userblock_size=512) as file:
        file.create_dataset("pred", data=points.transpose(1, 2, 0), chunks=True)
        file.create_dataset("p_max", data=0.4 * scores.T, chunks=True)
    header = ",".join(f"{name}_{what}" for name in NAMES for what in ("x", "y", "z", "score"))
    rows = np.concatenate([points, scores[..., None]], axis=2).reshape(FRAMES, -1)
    np.savetxt(folder / "anipose.csv", rows, delimiter=",", header=header, comments="")


if __name__ == "__main__":
    main()
