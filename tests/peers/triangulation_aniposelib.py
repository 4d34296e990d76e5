"""Triangulation of 6 views x 23 keypoints by aniposelib, on the numbers of `cargo bench --bench pose`, and the ratio.

    cargo xtask bench pose      # makes an environment of triangulation_requirements.txt, measures ours, then runs this

Both undistort, solve the linear system and give 23 points; ours also refines, checks every view against an outlier limit and
gives a covariance. One thread each.
"""

import json
import math
import os
import statistics
import sys
import time
import tomllib
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np

try:
    import cv2
    from aniposelib.cameras import Camera, CameraGroup
except ImportError as reason:
    sys.exit(f"skipped: {reason}")

ROOT = Path(__file__).resolve().parents[2]
KEYPOINTS, ROUNDS = 23, 200


def cameras():
    rig = tomllib.loads((ROOT / "configs/twin-calibration.toml").read_text())
    for camera in rig["camera"]:
        rotation = cv2.Rodrigues(np.array(camera["rotation"]))[0].ravel()
        yield Camera(
            matrix=np.array(camera["k"]),
            dist=np.array(camera["distortion"]),
            size=(camera["width_px"], camera["height_px"]),
            rvec=rotation,
            tvec=np.array(camera["translation_m"]),
            name=camera["name"],
        )


def main():
    cv2.setNumThreads(1)
    group = CameraGroup(list(cameras()))
    k = np.arange(KEYPOINTS)
    truth = np.stack([0.05 * np.sin(k), 0.05 * np.cos(k * 1.7), 0.03 + 0.002 * k], axis=1)
    noise = lambda k, view, axis: math.sin((k * 7 + view * 13 + axis * 5) * 12.9898)
    seen = group.project(truth).reshape(6, KEYPOINTS, 2)
    seen += [[[noise(k, view, axis) for axis in (0, 1)] for k in range(KEYPOINTS)] for view in range(6)]
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        found = group.triangulate(seen, undistort=True, progress=False)
        times.append(time.perf_counter() - started)
    theirs_us = statistics.median(times) * 1e6
    off_mm = np.linalg.norm(found - truth, axis=1).mean() * 1e3
    print(f"aniposelib: {theirs_us:.0f} us a frame (median of {ROUNDS}), {off_mm:.2f} mm off")
    done = sorted(ROOT.glob("target/criterion/*triangulation*0 outlier*/new/estimates.json"))
    if not done:
        sys.exit("no criterion result: run `cargo bench --bench pose -- triangulation` first")
    ours_us = json.loads(done[-1].read_text())["median"]["point_estimate"] / 1e3
    print(f"mimicd: {ours_us:.1f} us a frame (criterion's median); aniposelib takes {theirs_us / ours_us:.0f} times as long")


if __name__ == "__main__":
    main()
