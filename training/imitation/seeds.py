"""Segments along the expert's tracks (`plan.py`), with which `shooting.py` begins: there the motions are followed, so that
derivatives along them hold from the first update on."""

from pathlib import Path

import mujoco
import numpy as np

import environment
import layout
import mirror
import rat
import segments


class Mirror:
    """Left and right swapped in whole segments."""

    def __init__(self, model, motions):
        nv = model.nv
        self.sides = environment.Sides(model)
        places = np.arange(1, 2 * nv + model.na + 1, dtype=float)
        mirrored = self.sides.tangent(places)
        self.index, self.sign = np.abs(mirrored).astype(int) - 1, np.sign(mirrored).astype(np.float32)
        self.action = self.index[2 * nv :] - 2 * nv, self.sign[2 * nv :]
        self.nv, self.model = nv, model
        ends = [rat.APPENDAGES.index(mirror._swap(name)) for name in rat.APPENDAGES]
        self.ends = np.array([3 * e + axis for e in ends for axis in range(3)])
        self.end_sign = np.tile(np.array([1, -1, 1], np.float32), len(ends))
        # From a motion to its mirror image, which is the one before or after it.
        self.shift = np.concatenate(
            [np.full(last - first + 1, (motions.first[k ^ 1] - first)) for k, (first, last) in enumerate(zip(motions.first, motions.last))]
        )

    def __call__(self, segment):
        index, sign, (action, action_sign) = self.index, self.sign, self.action
        dof, dof_sign = index[: self.nv], sign[: self.nv]
        out = dict(segment)
        out["q"] = mirror.qpos(self.model, segment["q"])
        for name in ("v", "force"):
            out[name] = dof_sign * segment[name][..., dof]
        for name in ("previous", "u", "act", "noise"):
            out[name] = action_sign * segment[name][..., action]
        out["touch"] = segment["touch"][..., [1, 0, 3, 2]]
        out["A"] = sign[:, None] * sign * segment["A"][..., index, :][..., index]
        out["B"] = sign[:, None] * action_sign * segment["B"][..., index, :][..., action]
        out["jacobian"] = self.end_sign[:, None] * dof_sign * segment["jacobian"][..., self.ends, :][..., dof]
        out["gap"] = self.end_sign * segment["gap"][..., self.ends]
        out["target"] = segment["target"] + self.shift[segment["target"]]
        out["ahead"] = segment["ahead"] + self.shift[segment["ahead"]]
        return {name: x if x.dtype == int else x.astype(np.float32) for name, x in out.items()}


def along(collector, file, offset):
    """Segments along one of the expert's tracks; `offset` is the motion's first step in the collector's motions."""
    m, d = collector.m, collector.data[0]
    tracked = environment.Tracked(m, file)
    motion = int(np.searchsorted(collector.motions.first, offset, "right")) - 1
    first = 0
    while first + segments.LENGTH < len(tracked.steps):
        rows = np.arange(first, first + segments.LENGTH + 1)
        whole = tracked.steps[rows[-1]] - tracked.steps[rows[0]] == segments.LENGTH
        if not whole or not tracked.usable[rows].all():
            first += 4
            continue
        out = segments.empty(1, m)
        for t in range(segments.LENGTH):
            x, index = tracked.states[rows[t]], offset + int(tracked.steps[rows[t]])
            mujoco.mj_resetData(m, d)
            d.qpos[:], d.qvel[:], d.act[:] = x[: m.nq], x[m.nq : m.nq + m.nv], x[m.nq + m.nv :]
            mujoco.mj_forward(m, d)
            one = {"previous": tracked.before[rows[t]], "index": index, "motion": motion}
            collector.record(0, t, d, one, tracked.actions[rows[t]], out)
            derivatives = collector.linearise(d, tracked.actions[rows[t]]) if t % segments.SHARED == 0 else ()
            if derivatives is None:
                out["valid"][:] = 0.0
                break
            if derivatives:
                out["A"][0, t // segments.SHARED], out["B"][0, t // segments.SHARED] = derivatives
            d.qpos[:], d.qvel[:] = (y := tracked.states[rows[t + 1]])[: m.nq], y[m.nq : m.nq + m.nv]
            collector.reached(0, t, d, index + 1, out)
        first += segments.LENGTH
        if not out["valid"].all():
            continue
        out["mask"][:] = 1.0
        yield {name: x if x.dtype == int else x.astype(np.float32) for name, x in out.items()}


def gather(collector, folder):
    """Segments of all tracks in the folder whose motion is among the collector's."""
    names = collector.motions.names
    found = []
    for file in sorted(Path(folder).glob("*.npz")):
        stem, _, part = file.stem.partition("-")
        name = f"{stem}-x1.0"
        if name not in names or part not in ("", "00"):
            continue
        offset = collector.motions.first[names.index(name)] + 2 * collector.motions.wait
        before = len(found)
        found += list(along(collector, file, offset))
        print(f"{file.stem}: {len(found) - before} segments", flush=True)
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}
