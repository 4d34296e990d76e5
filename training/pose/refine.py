"""Trains the refiner of a multi-view model: a small network that knows what the 2D network and triangulation get wrong.

    python refine.py --pairs DIR [DIR ...] --check DIR --work DIR --out models/pose-twin/refiner.onnx

The folders are written by the example `pose_pairs`; `--check` must hold seeds that no other folder holds. Run it again with
the same --work to go on after an interruption.

The network takes a pose in the animal's frame with the directions and disagreements of the views, each view on its own
(order and number of views do not matter), and gives a correction for each keypoint, mm, never longer than MAX_MM.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import checkpoint

KEYPOINTS = [
    "Snout", "EarL", "EarR", "SpineF", "SpineM", "SpineL", "TailBase",
    "ShoulderL", "ElbowL", "WristL", "HandL", "ShoulderR", "ElbowR", "WristR", "HandR",
    "HipL", "KneeL", "AnkleL", "FootL", "HipR", "KneeR", "AnkleR", "FootR",
]  # fmt: skip
COUNT, VIEWS = len(KEYPOINTS), 6
POINT_ROW, VIEW_ROW = 4, 7
ROW = COUNT * POINT_ROW + VIEWS * COUNT * VIEW_ROW + COUNT * 3 + 2
# A correction is never longer.
MAX_MM = 15.0
# The other side's keypoint.
OTHER = {"L": "R", "R": "L"}
MIRROR = [KEYPOINTS.index(n[:-1] + OTHER.get(n[-1], n[-1])) if n[:-1] + OTHER.get(n[-1], "") in KEYPOINTS else k for k, n in enumerate(KEYPOINTS)]


class Pairs:
    """Rows of folders of pairs."""

    def __init__(self, folders):
        files = [path for folder in folders for path in sorted(Path(folder).glob("*.f32"))]
        self.seeds = {int(path.stem) for path in files}
        rows = torch.from_numpy(np.concatenate([np.fromfile(path, "<f4").reshape(-1, ROW) for path in files]))
        points, views, truth, rest = rows.split([COUNT * POINT_ROW, VIEWS * COUNT * VIEW_ROW, COUNT * 3, 2], dim=1)
        self.points = points.reshape(-1, COUNT, POINT_ROW)
        self.views = views.reshape(-1, VIEWS, COUNT, VIEW_ROW)
        self.truth = truth.reshape(-1, COUNT, 3)
        self.lost, self.followed = rest[:, 0], rest[:, 1]

    def __len__(self):
        return len(self.points)


class Refiner(nn.Module):
    """points (n, K, 4) and views (n, V, K, 7), as `mimicd::pose::Egocentric` has them, to offsets (n, K, 3), mm."""

    def __init__(self, width=256):
        super().__init__()
        self.pose = nn.Linear(COUNT * (POINT_ROW + 1), width)
        self.view = nn.Linear(3 + COUNT * 5, width)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.head = nn.Sequential(
            nn.Linear(2 * width + 1, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, COUNT * 3)
        )
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, points, views):
        known = (points[..., 3:] > 0).float()
        pose = torch.cat([points[..., :3] / 50, points[..., 3:], known], dim=-1).flatten(1)
        pose = self.pose(pose)
        weight = views[..., 6:]
        seen = (weight > 0).float()
        # Rays of one view hardly differ: their mean stands for them.
        ray = (views[..., :3] * seen).sum(dim=2) / seen.sum(dim=2).clamp_min(1)
        each = torch.cat([views[..., 3:6] / 10, weight, seen], dim=-1).flatten(2)
        there = seen.amax(dim=2)
        each = self.mix(self.view(torch.cat([ray, each], dim=-1)) + pose.unsqueeze(1))
        views_there = there.sum(dim=1)
        pooled = (each * there).sum(dim=1) / views_there.clamp_min(1)
        out = self.head(torch.cat([torch.nn.functional.silu(pose), pooled, views_there / 6], dim=-1)).unflatten(1, (COUNT, 3))
        length = (out.square().sum(dim=-1, keepdim=True) + 1e-6).sqrt()
        return out * (MAX_MM * torch.tanh(length / MAX_MM) / length) * known


def mirrored(points, views, truth):
    """The same animal in a mirror: left is right."""
    flip = lambda x, axis: torch.cat([x[..., :axis], -x[..., axis : axis + 1], x[..., axis + 1 :]], dim=-1)
    return flip(points[:, MIRROR], 1), flip(flip(views[:, :, MIRROR], 1), 4), flip(truth[:, MIRROR], 1)


def turned(points, views, truth, random, yaw_rad=0.15, shift_mm=4.0):
    """The same animal in a frame a little beside: where its axis points is itself an estimate."""
    angle = yaw_rad * torch.randn(len(points), generator=random)
    cos, sin, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    shift = shift_mm * torch.randn(len(points), 1, 3, generator=random) * torch.tensor([1.0, 1.0, 0.0])
    spin = lambda x: torch.einsum("nij,n...j->n...i", turn, x)
    known = (points[..., 3:] > 0).float()
    new_points = torch.cat([(spin(points[..., :3]) + shift) * known, points[..., 3:]], -1)
    new_views = torch.cat([spin(views[..., :3]), spin(views[..., 3:6]), views[..., 6:]], -1)
    return new_points, new_views, spin(truth) + shift


def batch_of(pairs, picks, random):
    points, views, truth = pairs.points[picks], pairs.views[picks], pairs.truth[picks]
    if random is None:
        return points, views, truth
    if torch.rand(1, generator=random) < 0.5:
        points, views, truth = mirrored(points, views, truth)
    return turned(points, views, truth, random)


def errors(net, pairs):
    """Distance to the truth, mm, before and after; NaN for what is missing: two arrays (rows, keypoints)."""
    net.eval()
    before, after = [], []
    with torch.no_grad():
        for start in range(0, len(pairs), 4096):
            points, views, truth = batch_of(pairs, slice(start, start + 4096), None)
            gone = points[..., 3] <= 0
            for into, place in ((before, points[..., :3]), (after, points[..., :3] + net(points, views))):
                distance = (place - truth).norm(dim=-1)
                into.append(distance.masked_fill(gone, float("nan")))
    net.train()
    return torch.cat(before).numpy(), torch.cat(after).numpy()


def report(before, after, pairs):
    say = lambda e: f"mean {np.nanmean(e):.2f} p95 {np.nanquantile(e, 0.95):.2f}"
    print(f"seeds {min(pairs.seeds)} to {max(pairs.seeds)}: {say(before)} -> {say(after)}")
    for followed in (0, 1):
        for lost in (0, 1, 2):
            pick = ((pairs.lost == lost) & (pairs.followed == followed)).numpy()
            if pick.any():
                how = "followed" if followed else "found anew"
                print(f"  {how}, {lost} cameras lost: {say(before[pick])} -> {say(after[pick])}")
    for index, name in enumerate(KEYPOINTS):
        print(f"  {name:10} {say(before[:, index])} -> {say(after[:, index])}")


def export(net, path):
    net.eval()
    example = (torch.rand(1, COUNT, POINT_ROW), torch.rand(1, VIEWS, COUNT, VIEW_ROW))
    torch.onnx.export(
        net, example, str(path), opset_version=17, input_names=["points", "views"], output_names=["offsets"],
        dynamic_axes={"views": {1: "views"}}, dynamo=False,
    )  # fmt: skip
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    (found,) = session.run(None, {"points": example[0].numpy(), "views": example[1].numpy()})
    with torch.no_grad():
        differs = np.abs(found - net(*example).numpy()).max()
    print(f"{path}: {path.stat().st_size} bytes, differs by {differs:.1e} mm")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", nargs="+", required=True)
    parser.add_argument("--check", nargs="+", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=1e-2)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    pairs, unseen = Pairs(options.pairs), Pairs(options.check)
    shared = pairs.seeds & unseen.seeds
    assert not shared, f"seeds {sorted(shared)} are in both: expected other ones in --check"
    net, averaged = Refiner(options.width), Refiner(options.width)
    averaged.load_state_dict(net.state_dict())
    optimiser = torch.optim.AdamW(net.parameters(), lr=options.rate, weight_decay=options.decay)
    kept = options.work / "checkpoint.pt"
    step = checkpoint.resume(kept, net, averaged, optimiser)
    started = time.time()
    while step < options.steps:
        random = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
        picks = torch.randint(len(pairs), (options.batch,), generator=random)
        points, views, truth = batch_of(pairs, picks, random)
        known = (points[..., 3] > 0).float()
        for group in optimiser.param_groups:
            warm = min(1.0, (step + 1) / 200)
            group["lr"] = max(options.rate * warm * 0.5 * (1 + math.cos(math.pi * step / options.steps)), 1e-6)
        # A distance, not its square: a keypoint that was found quite elsewhere teaches nothing about the others.
        off = (points[..., :3] + net(points, views) - truth).square().sum(dim=-1)
        loss = (((off + 0.25).sqrt()) * known).sum() / known.sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        step += 1
        keep = min(0.998, 1 - 1 / (step + 1))
        with torch.no_grad():
            for a, b in zip(averaged.parameters(), net.parameters()):
                a.lerp_(b, 1 - keep)
        if step % 1000 == 0 or step == options.steps:
            before, after = errors(averaged, unseen)
            print(
                f"step {step} loss {loss.item():.3f} unseen mm mean {np.nanmean(before):.3f} -> {np.nanmean(after):.3f}"
                f" p95 {np.nanquantile(before, 0.95):.2f} -> {np.nanquantile(after, 0.95):.2f} ({time.time() - started:.0f} s)",
                flush=True,
            )
            checkpoint.keep(kept, net, averaged, optimiser, step)
    report(*errors(averaged, unseen), unseen)
    if options.out:
        export(averaged, options.out)


if __name__ == "__main__":
    main()
