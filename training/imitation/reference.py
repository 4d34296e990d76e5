"""Reference motion: the real clips, their tails lifted off the floor, and interpolation between frames."""

import gzip
import json
from pathlib import Path

import mujoco
import numpy as np

import rat

CLIPS = rat.ROOT.parent / "shared" / "data" / "rat_reference_clips" / "clips.json.gz"
# Chosen before any training: one rearing, one walking, one grooming clip. Never trained on.
HELD_OUT = ("clip_0093", "clip_0747", "clip_0841")
FRAME_HZ = 50.0
TAIL_CLEARANCE_M = 0.006
TAIL_STEPS = 16


def read_clips(path=CLIPS):
    """Name -> qpos (frames, 74)."""
    with gzip.open(path) if Path(path).suffix == ".gz" else open(path) as file:
        clips = json.load(file)["clips"]
    return {clip["name"]: np.array(clip["qpos"]) for clip in clips}


class TailLift:
    """Bends the tail's extenders toward their upper limit, just enough that no tail body is near the floor."""

    def __init__(self, model):
        self.model, self.data = model, mujoco.MjData(model)
        names = [model.joint(i).name for i in range(model.njnt)]
        self.extenders = [i + 6 for i, n in enumerate(names) if n.startswith("vertebra_C") and n.endswith("_extend")]
        self.upper = np.array([model.jnt_range[i - 6][1] for i in self.extenders])
        self.bodies = [i for i in range(model.nbody) if model.body(i).name.startswith("vertebra_C")]

    def clearance(self, qpos, lift):
        self.data.qpos[:] = qpos
        self.data.qpos[self.extenders] += lift * (self.upper - qpos[self.extenders])
        mujoco.mj_kinematics(self.model, self.data)
        return self.data.xpos[self.bodies, 2].min()

    def __call__(self, qpos):
        """The lifted coordinates and the lift, 0 to 1."""
        low, high = 0.0, 1.0
        if self.clearance(qpos, 0.0) >= TAIL_CLEARANCE_M:
            high = 0.0
        for _ in range(TAIL_STEPS if high else 0):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if self.clearance(qpos, middle) >= TAIL_CLEARANCE_M else (middle, high)
        lifted = qpos.copy()
        lifted[self.extenders] += high * (self.upper - qpos[self.extenders])
        return lifted, high


def slerp(a, b, t):
    dot = (a * b).sum(-1, keepdims=True)
    b = np.where(dot < 0, -b, b)
    angle = np.arccos(np.clip(np.abs(dot), 0, 1))
    small = angle < 1e-6
    s = np.where(small, 1.0, np.sin(angle))
    out = np.where(small, (1 - t) * a + t * b, (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / s)
    return out / np.linalg.norm(out, axis=-1, keepdims=True)


def at(qpos, frame):
    """Coordinates at fractional frames (clamped to the ends)."""
    frame = np.clip(np.asarray(frame, float), 0, len(qpos) - 1)
    lower = np.minimum(frame.astype(int), len(qpos) - 2)
    t = (frame - lower)[..., None]
    out = (1 - t) * qpos[lower] + t * qpos[lower + 1]
    out[..., 3:7] = slerp(qpos[lower, 3:7], qpos[lower + 1, 3:7], t)
    return out


def velocity(model, qpos_a, qpos_b, dt_s):
    out = np.zeros(model.nv)
    mujoco.mj_differentiatePos(model, out, dt_s, qpos_a, qpos_b)
    return out
