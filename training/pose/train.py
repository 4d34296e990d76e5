"""Trains the twin's keypoint network or its centre network. Seeded, resumable, made for one CPU thread.

    nice -n 19 python train.py keypoints --views DIR [DIR ...] --check DIR --work DIR --steps 6000
    nice -n 19 python train.py centre    --views DIR [DIR ...] --check DIR --work DIR --steps 1500

Run it again with the same --work to go on after an interruption. `export.py` writes the ONNX file.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch

import checkpoint
import start
import views
from net import KeypointNet

SIZES = {"keypoints": (96, 96), "centre": (128, 96)}
MAPS = {"keypoints": 23, "centre": 1}
WIDTHS = {"keypoints": (24, 48, 80, 112), "centre": (16, 24, 32, 48)}
CROP_WIDTH_M = 0.28
# Width of the target maps, cells; and what one cell of distance weighs against one nat of cross entropy.
TARGET_SD_CELLS = 0.8
PLACE_WEIGHT = 0.5


def make_net(task, maps=None):
    """The task's network; with other keypoints when `maps` is given."""
    return KeypointNet(maps or MAPS[task], WIDTHS[task], light=task == "keypoints").to(memory_format=torch.channels_last)


def make_batch(task, sources, picks, random=None):
    if task == "keypoints":
        return views.keypoint_batch(sources, picks, SIZES[task][0], CROP_WIDTH_M, random)
    return views.centre_batch(sources, picks, SIZES[task], random)


def loss_of(logits, points, valid, size):
    """Cross entropy against the target maps plus the distance of each map's mean place, in cells, over valid points.

    The cross entropy makes a map the odds of where its point is; the distance makes the map's mean, which is what the
    runtime reads, the best single guess.
    """
    log = torch.log_softmax(logits.flatten(2), dim=2)
    target = views.target_maps(points, size, sd_cells=TARGET_SD_CELLS).flatten(2)
    entropy = -(target * log).sum(dim=2)
    mean, _ = views.moments(log.exp().reshape(logits.shape))
    off = ((mean - points) / views.STRIDE).norm(dim=-1)
    weight = valid.float()
    return ((entropy + PLACE_WEIGHT * off) * weight).sum() / weight.sum().clamp_min(1)


def check(task, net, source, limit=360):
    """Error in input pixels over an unseen folder: median, mean, 95th percentile; and the maps' median spread."""
    net.eval()
    step = max(1, len(source) // limit)
    errors, spreads = [], []
    with torch.no_grad():
        indices = list(range(0, len(source), step))
        for start in range(0, len(indices), 64):
            picks = [(0, i) for i in indices[start : start + 64]]
            image, points, valid, _ = make_batch(task, [source], picks)
            logits = net(image)
            maps = torch.softmax(logits.flatten(2), dim=2).reshape(logits.shape)
            found, spread = views.moments(maps)
            errors.append((found - points).norm(dim=-1)[valid])
            spreads.append(spread[valid])
    net.train()
    errors, spreads = torch.cat(errors).numpy(), torch.cat(spreads).numpy()
    return np.median(errors), errors.mean(), np.quantile(errors, 0.95), np.median(spreads)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=SIZES)
    parser.add_argument("--views", nargs="+", required=True)
    parser.add_argument("--check", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, help="exported graph whose weights to begin with")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    sources = [views.Views(folder) for folder in options.views]
    unseen = views.Views(options.check)
    net = make_net(options.task)
    averaged = make_net(options.task)
    if options.start:
        chooser, random = np.random.default_rng(options.seed), torch.Generator().manual_seed(options.seed)
        picks = [(s, chooser.integers(len(sources[s]))) for s in chooser.integers(len(sources), size=128)]
        start.load(net, options.start, make_batch(options.task, sources, picks, random)[0])
    averaged.load_state_dict(net.state_dict())
    optimiser = torch.optim.AdamW(net.parameters(), lr=options.rate, weight_decay=1e-4)
    kept = options.work / "checkpoint.pt"
    step = checkpoint.resume(kept, net, averaged, optimiser)
    sizes = np.array([len(source) for source in sources])
    started, losses = time.time(), []
    while step < options.steps:
        chooser = np.random.default_rng([options.seed, step])
        random = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
        which = chooser.choice(len(sources), size=options.batch, p=sizes / sizes.sum())
        picks = [(s, chooser.integers(sizes[s])) for s in which]
        image, points, valid, _ = make_batch(options.task, sources, picks, random)
        warm = min(1.0, (step + 1) / 200)
        rate = options.rate * warm * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        for group in optimiser.param_groups:
            group["lr"] = max(rate, 1e-6)
        loss = loss_of(net(image.contiguous(memory_format=torch.channels_last)), points, valid, SIZES[options.task])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()
        step += 1
        keep = min(0.998, 1 - 1 / (step + 1))
        with torch.no_grad():
            for a, b in zip(averaged.state_dict().values(), net.state_dict().values()):
                a.lerp_(b, 1 - keep) if a.is_floating_point() else a.copy_(b)
        losses.append(loss.item())
        if step % 250 == 0 or step == options.steps:
            median, mean, p95, spread = check(options.task, averaged, unseen)
            print(
                f"step {step} loss {np.mean(losses):.4f} unseen px median {median:.2f} mean {mean:.2f} p95 {p95:.2f}"
                f" spread {spread:.2f} ({time.time() - started:.0f} s)",
                flush=True,
            )
            losses = []
            checkpoint.keep(kept, net, averaged, optimiser, step)


if __name__ == "__main__":
    main()
