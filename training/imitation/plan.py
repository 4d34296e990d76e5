"""Expert tracks of every training motion, one file each; skips those that exist, so it resumes.

    python plan.py --out runs/expert --workers 2
"""

import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np

import balance
import expert
import observe
import rat
import reference

WARPS = (0.85, 1.15)
CHUNK_FRAMES, OVERLAP_FRAMES = 250, 20


def chunks(name, qpos):
    """Long motions in parts, so that workers share them and little is lost when one is stopped."""
    if len(qpos) <= 1.5 * CHUNK_FRAMES:
        yield name, qpos
        return
    for part, first in enumerate(range(0, len(qpos) - CHUNK_FRAMES // 2, CHUNK_FRAMES)):
        yield f"{name}-{part:02}", qpos[first : first + CHUNK_FRAMES + OVERLAP_FRAMES]


def motions(model, extra=None):
    """Name -> coordinates (frames at 50 Hz, 74), tails lifted: the real clips, the further motions, then the real clips
    warped in time; never a held-out clip."""
    lift = reference.TailLift(model)
    clips = {name: qpos for name, qpos in reference.read_clips().items() if name not in reference.HELD_OUT}
    lifted = lambda qpos: np.array([lift(q)[0] for q in qpos])
    for name, qpos in clips.items():
        yield name, lifted(qpos)
    for file in extra or []:
        for name, qpos in reference.read_clips(file).items():
            for part, frames in chunks(name, qpos):
                yield part, lifted(frames)
    for warp in WARPS:
        for name, qpos in clips.items():
            frames = np.arange(int((len(qpos) - 1) / warp) + 1) * warp
            yield f"{name}-x{warp}", reference.at(lifted(qpos), frames)


def plan(job):
    name, qpos, file, iterations = job
    plant = balance.Plant()
    bodies, ends = rat.body_ids(plant.model, rat.BODIES), rat.body_ids(plant.model, rat.APPENDAGES)
    one = expert.Expert(plant)
    one.follow(observe.Track(plant.model, qpos, bodies, ends))
    started = time.time()
    rows, falls = one.track_motion(iterations=iterations)
    steps, states, previous, actions, gains = (np.array(column) for column in zip(*rows))
    errors = np.array([balance.errors(x[: plant.model.nq], one.clip.qpos[i]) for i, x in zip(steps, states)])
    temporary = file.with_suffix(".part.npz")
    np.savez(temporary, qpos=qpos, steps=steps, states=states, previous=previous, actions=actions, gains=gains)
    temporary.replace(file)
    root, angle, joints = errors[:, 0].mean() * 1e3, np.degrees(errors[:, 1].mean()), np.degrees(errors[:, 2].mean())
    return f"{name}: {len(rows)} steps, {falls} falls, root {root:.1f} mm, turn {angle:.1f} deg, joints {joints:.2f} deg, {time.time() - started:.0f} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/expert"))
    parser.add_argument("--extra", type=Path, nargs="*", help="more files of motions (mimicd imitate motions)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    jobs = []
    for name, qpos in motions(rat.load(), args.extra):
        file = args.out / f"{name}.npz"
        if not file.exists():
            jobs.append((name, qpos, file, args.iterations))
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        for line in pool.imap_unordered(plan, jobs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
