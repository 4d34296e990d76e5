"""A policy's tracking of whole clips in Python, as the runtime runs it: a quick look while training.

    python evaluate.py --state runs/policy/state.pt
"""

import argparse
from pathlib import Path

import mujoco
import numpy as np
import torch

import balance
import layout
import observe
import rat
import reference

# While the first frames of a delayed run arrive, the virtual rat waits on the first posture.
WAIT_FRAMES = 5
_CACHE = {}


def clips(model):
    """Name -> track, with the wait in front."""
    if not _CACHE:
        lift = reference.TailLift(model)
        bodies, ends = rat.body_ids(model, rat.BODIES), rat.body_ids(model, rat.APPENDAGES)
        for name, qpos in reference.read_clips().items():
            lifted = np.array([lift(q)[0] for q in qpos])
            lifted = np.concatenate([np.repeat(lifted[:1], WAIT_FRAMES, 0), lifted])
            _CACHE[name] = observe.Track(model, lifted, bodies, ends)
    return _CACHE


def rollout(plant, observer, policy, track, feet):
    """Errors of each step (root m, turn rad, joints rad, feet m), steps until the first fall, falls."""
    d, m = plant.data, plant.model
    plant.reset(track.clip, 0)
    observation, previous = np.zeros(layout.LENGTH), np.zeros(layout.ACTUATORS)
    noise = torch.zeros(1, policy.latent)
    rows, falls, survived = [], 0, None
    for i in range(track.steps + 9):
        observer(d, track, i, previous, 1.0, observation)
        with torch.no_grad():
            mean = policy(torch.as_tensor(observation, dtype=torch.float32)[None], noise)["mean"][0].numpy()
        previous = np.clip(mean, -1, 1)
        d.ctrl[:] = previous
        mujoco.mj_step(m, d, balance.SUBSTEPS)
        root, angle, joints, norm = balance.errors(d.qpos, track.clip.qpos[i + 1])
        feet_m = np.linalg.norm(d.xpos[feet] - track.ends_m[i + 1][[3, 2]], axis=1).mean()
        rows.append((root, angle, joints, feet_m))
        if balance.off_rails(root, angle, norm):
            survived = i if survived is None else survived
            falls += 1
            plant.reset(track.clip, i + 1)
            previous = np.zeros(layout.ACTUATORS)
    skip = 2 * WAIT_FRAMES
    return np.array(rows)[skip:], (len(rows) if survived is None else max(survived, skip)) - skip, falls


def measure(policy, names=None):
    plant = balance.Plant()
    observer = observe.Observer(plant.model)
    feet = rat.body_ids(plant.model, ["foot_L", "foot_R"])
    out = {}
    for name, track in clips(plant.model).items():
        if names is None or name in names:
            out[name] = rollout(plant, observer, policy, track, feet)
    return out


def brief(policy):
    """Means over the training clips and, apart, over the held-out ones."""
    policy = policy.cpu()
    results = measure(policy)
    scores = {}
    for label, inside in (("", False), ("held_", True)):
        chosen = [r for name, r in results.items() if (name in reference.HELD_OUT) == inside]
        rows = np.concatenate([r[0] for r in chosen])
        scores[label + "survived_s"] = np.mean([r[1] for r in chosen]) / layout.CONTROL_HZ
        scores[label + "falls"] = np.sum([r[2] for r in chosen])
        scores[label + "root_mm"] = rows[:, 0].mean() * 1e3
        scores[label + "joints_deg"] = np.degrees(rows[:, 2].mean())
        scores[label + "feet_mm"] = rows[:, 3].mean() * 1e3
    return scores


def main():
    import train

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--which", default="average", choices=["average", "policy"], help="averaged weights or the newest")
    args = parser.parse_args()
    torch.set_num_threads(1)
    saved = torch.load(args.state, map_location="cpu", weights_only=True)
    policy = train.load_policy(saved, args.which)
    for name, (rows, survived, falls) in measure(policy).items():
        mean = rows.mean(0)
        mark = "held out" if name in reference.HELD_OUT else ""
        print(
            f"{name} root {mean[0] * 1e3:5.1f} mm  turn {np.degrees(mean[1]):5.1f} deg  joints {np.degrees(mean[2]):4.2f} deg"
            f"  feet {mean[3] * 1e3:5.1f} mm  falls {falls:2d}  first after {survived / layout.CONTROL_HZ:4.2f} s {mark}"
        )


if __name__ == "__main__":
    main()
