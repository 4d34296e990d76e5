"""Trains the keypoint network on labelled real images (a DeepLabCut or Lightning Pose folder) and exports it.

    nice -n 19 python real.py DATA --start models/pose-twin/keypoints.onnx --work DIR --out FILE.onnx --steps 800

DATA holds `CollectedData.csv` and the images it names. Every fifth image is held out. Seeded; resumable with the same --work.
"""

import argparse
import csv
import math
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import checkpoint
import start
import views
from net import Probability
from train import PLACE_WEIGHT, TARGET_SD_CELLS, make_net

SIDE = 192
HELD_OUT_EVERY = 5


def read(folder):
    """Grey images (n, h, w), points (n, k, 2; NaN where not labelled), names of the keypoints."""
    rows = list(csv.reader((folder / "CollectedData.csv").open()))
    names = rows[1][1::2]
    rows = sorted(rows[3:])
    images = np.stack([np.asarray(Image.open(folder / row[0]).convert("L")) for row in rows])
    value = lambda text: float(text) if text else math.nan
    points = np.array([[value(v) for v in row[1:]] for row in rows], dtype=np.float32).reshape(len(rows), -1, 2)
    return torch.from_numpy(images), torch.from_numpy(points), names


def batch(images, points, picks, random=None):
    """Whole images stretched to a square of SIDE and their points in its pixels; varied when `random` is given."""
    height, width = images.shape[1:]
    count = len(picks)
    middle = torch.tensor([(width - 1) / 2, (height - 1) / 2]).expand(count, 2)
    matrix = torch.diag(torch.tensor([width / SIDE, height / SIDE])).expand(count, 2, 2)
    if random is not None:
        draw = lambda low, high, *shape: low + (high - low) * torch.rand(count, *shape, generator=random)
        angle, scale = draw(-0.2, 0.2), draw(0.85, 1.2)
        cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
        turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
        matrix = matrix @ turn
        middle = middle + draw(-0.08, 0.08, 2) * width
    image, moved = views.crop(images[picks], points[picks], matrix, middle, SIDE)
    if random is not None:
        image = views.photometric(image, random)
    valid = ((moved > -0.5) & (moved < SIDE - 0.5)).all(dim=-1)
    return image, moved.nan_to_num(-100), valid


def loss_of(logits, points, valid):
    log = torch.log_softmax(logits.flatten(2), dim=2)
    target = views.target_maps(points, (SIDE, SIDE), sd_cells=TARGET_SD_CELLS).flatten(2)
    mean, _ = views.moments(log.exp().reshape(logits.shape))
    off = ((mean - points) / views.STRIDE).norm(dim=-1)
    weight = valid.float()
    return ((-(target * log).sum(dim=2) + PLACE_WEIGHT * off) * weight).sum() / weight.sum().clamp_min(1)


def check(net, images, points, held_out):
    """Median and 95th percentile of the error on held-out images, px of the original."""
    net.eval()
    image, moved, valid = batch(images, points, held_out)
    with torch.no_grad():
        logits = net(image)
        found, _ = views.moments(torch.softmax(logits.flatten(2), 2).reshape(logits.shape))
    net.train()
    scale = torch.tensor([images.shape[2] / SIDE, images.shape[1] / SIDE])
    error = ((found - moved) * scale).norm(dim=-1)[valid].numpy()
    return np.median(error), np.quantile(error, 0.95)


def export(net, path, example):
    graph = Probability(net).eval()
    torch.onnx.export(
        graph,
        example,
        str(path),
        opset_version=12,
        input_names=["image"],
        output_names=["heatmaps"],
        dynamic_axes={"image": {0: "views"}, "heatmaps": {0: "views"}},
        dynamo=False,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--start", type=Path, required=True, help="exported graph whose trunk to begin with")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    images, points, names = read(options.data)
    held_out = list(range(0, len(images), HELD_OUT_EVERY))
    trained = [i for i in range(len(images)) if i % HELD_OUT_EVERY]
    net, averaged = (make_net("keypoints", len(names)) for _ in range(2))
    start.load(net, options.start, batch(images, points, trained[:32])[0], head=False)
    averaged.load_state_dict(net.state_dict())
    optimiser = torch.optim.AdamW(net.parameters(), lr=options.rate, weight_decay=1e-4)
    kept = options.work / "checkpoint.pt"
    step = checkpoint.resume(kept, net, averaged, optimiser)
    started = time.time()
    while step < options.steps:
        chooser = np.random.default_rng([options.seed, step])
        random = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
        image, moved, valid = batch(images, points, chooser.choice(trained, options.batch), random)
        for group in optimiser.param_groups:
            group["lr"] = options.rate * min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        loss = loss_of(net(image.contiguous(memory_format=torch.channels_last)), moved, valid)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()
        step += 1
        with torch.no_grad():
            for a, b in zip(averaged.state_dict().values(), net.state_dict().values()):
                a.lerp_(b, 1 - min(0.99, 1 - 1 / (step + 1))) if a.is_floating_point() else a.copy_(b)
        if step % 100 == 0 or step == options.steps:
            median, p95 = check(averaged, images, points, held_out)
            print(f"step {step} loss {loss.item():.3f} held-out px median {median:.2f} p95 {p95:.1f} ({time.time() - started:.0f} s)", flush=True)
            checkpoint.keep(kept, net, averaged, optimiser, step)
            export(averaged, options.out, torch.rand(1, 1, SIDE, SIDE))
            averaged.train()


if __name__ == "__main__":
    main()
