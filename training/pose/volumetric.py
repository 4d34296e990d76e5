"""The volumetric network of the twin: maps of every view gathered in a volume around the animal, inside one graph.

    python volumetric.py --maps models/pose-twin/keypoints.onnx --check DIR --out models/pose-twin/volume.onnx

The trunk is the 2D keypoint network, so it needs no training of its own; what is chosen here on a folder of views is how
far one view's word counts (`--beta`). The graph takes

| input | shape | what |
|---|---|---|
| `images` | views, 1, height, width | crops, 0 to 1 |
| `cameras` | views, 22 | rotation (9, row by row), translation (3, m), k1 k2 p1 p2 k3, then a b c d e: with distorted normalised coordinates x, y the sampling grid is (a x + b y + c, d y + e), -1 to 1 over the crop |
| `centre` | 3 | middle of the volume, world, m |
| `present` | views | 1 or 0 |

and gives `keypoints` (maps, 3; offsets from the centre, m), `confidence` (maps), `spread` (maps; m) and `seen` (views,
maps, 3): what each view says by itself, x and y in pixels of the crop's image and confidence, as the runtime reads it from
the maps of the multi-view model (`refine = "whole"` with `spread`). Voxels are
projected and sampled inside the graph, so that a GPU provider keeps everything but the images on the GPU.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

import start
import views
from train import CROP_WIDTH_M, SIZES, TARGET_SD_CELLS, make_net

# Probability mixed into every cell: what an outlier view can at most say against a place.
FLOOR = 1e-5
# Confidence of a single view, as in the multi-view model's manifest: 1 / (1 + (variance - SURE_PX^2) / HALF_PX^2).
SURE_PX, HALF_PX = 3.2, 2.0


def cube(cells, voxel_m):
    """(cells^3, 3) offsets of voxel centres from the middle."""
    axis = (torch.arange(cells, dtype=torch.float32) - (cells - 1) / 2) * voxel_m
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)


def project(cameras, points):
    """(views, 22), (points, 3) -> (views, points, 2): places in each view's crop, -1 to 1."""
    rotation, shift = cameras[:, :9].reshape(-1, 3, 3), cameras[:, 9:12]
    p = torch.matmul(points[None], rotation.transpose(1, 2)) + shift[:, None]
    xy = p[..., :2] / p[..., 2:].clamp_min(1e-3)
    x, y = xy[..., 0], xy[..., 1]
    k1, k2, p1, p2, k3, a, b, c, d, e = (cameras[:, 12 + i : 13 + i] for i in range(10))
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return torch.stack([a * xd + b * yd + c, d * yd + e], -1)


def seen_alone(odds, image_width_px):
    """(views, maps, rows, columns) that sum to one -> (views, maps, 3): mean place, pixels of the image, and confidence."""
    rows, columns = odds.shape[2:]
    stride = image_width_px / columns
    means, variances = [], []
    for odds_along, cells in ((odds.sum(dim=2), columns), (odds.sum(dim=3), rows)):
        axis = torch.arange(cells, dtype=torch.float32)
        mean = (odds_along * axis).sum(dim=2)
        variances.append((odds_along * axis * axis).sum(dim=2) - mean * mean)
        means.append((mean + 0.5) * stride - 0.5)
    excess = (0.5 * stride * stride * (variances[0] + variances[1]) - SURE_PX**2).clamp_min(0)
    return torch.stack([*means, 1 / (1 + excess / HALF_PX**2)], -1)


class Volumetric(nn.Module):
    """A coarse volume for all keypoints, then finer ones around each keypoint's mean place."""

    def __init__(self, net, beta, coarse=(16, 0.016), fine=((7, 0.006), (7, 0.003))):
        super().__init__()
        self.net, self.beta = net, beta
        self.register_buffer("coarse", cube(*coarse))
        for index, size in enumerate(fine):
            self.register_buffer(f"fine{index}", cube(*size))
        self.rounds = len(fine)
        self.sure = 1 / (2 * np.pi * TARGET_SD_CELLS**2)

    def forward(self, images, cameras, centre, present):
        logits = self.net(images)
        views_count, maps, rows, columns = logits.shape
        odds = torch.softmax(logits.flatten(2), dim=2).reshape(logits.shape)
        # Nothing outside a crop or in a missing view: no evidence, 0.
        evidence = torch.log(odds + FLOOR) - float(np.log(FLOOR))
        sample = lambda source, grid: nn.functional.grid_sample(source, grid, "bilinear", "zeros", align_corners=False)
        grid = project(cameras, centre + self.coarse)
        seen = sample(evidence, grid[:, :, None])[..., 0] * present[:, None, None]
        weight = torch.softmax(self.beta * seen.sum(dim=0), dim=1)
        place = torch.matmul(weight, self.coarse)
        single = evidence.reshape(views_count * maps, 1, rows, columns)
        for index in range(self.rounds):
            offsets = getattr(self, f"fine{index}")
            points = place[:, None] + offsets[None]
            grid = project(cameras, centre + points.reshape(-1, 3)).reshape(views_count * maps, -1, 1, 2)
            seen = sample(single, grid).reshape(views_count, maps, -1) * present[:, None, None]
            weight = torch.softmax(self.beta * seen.sum(dim=0), dim=1)
            move = torch.matmul(weight, offsets)
            square = ((offsets[None] - move[:, None]) ** 2).sum(dim=2)
            spread = ((weight * square).sum(dim=1) / 3).sqrt()
            place = place + move
        best = seen.amax(dim=2).sum(dim=0) / present.sum().clamp_min(1)
        confidence = (torch.exp(best) * (FLOOR / self.sure)).clamp(0, 1)
        return place, confidence, spread, seen_alone(odds, images.shape[3])


def camera_rows(source, frame):
    """The graph's `cameras` and `centre` for a frame of a folder, as the runtime makes them."""
    rows = []
    for index, camera in enumerate(source.meta["camera"]):
        at = frame * source.cameras + index
        side = source.px_per_m[at] * CROP_WIDTH_M
        left, top = source.centre[at] + source.origins[at] - side / 2
        k = np.array(camera["k"])
        grid = [2 * k[0, 0] / side, 2 * k[0, 1] / side, 2 * (k[0, 2] - left) / side - 1]
        grid += [2 * k[1, 1] / side, 2 * (k[1, 2] - top) / side - 1]
        rows.append([*np.ravel(camera["rotation"]), *camera["translation_m"], *camera["distortion"], *grid])
    return torch.tensor(np.array(rows), dtype=torch.float32)


def check(graph, source, frames):
    """Mean and 95th percentile of the error, mm."""
    errors = []
    for frame in frames:
        picks = [(0, frame * source.cameras + c) for c in range(source.cameras)]
        images, _, _, _ = views.keypoint_batch([source], picks, SIZES["keypoints"][0], CROP_WIDTH_M)
        centre = torch.from_numpy(source.world[frame].mean(axis=0))
        place, *_ = graph(images, camera_rows(source, frame), centre, torch.ones(source.cameras))
        errors.append((place + centre - torch.from_numpy(source.world[frame])).norm(dim=1).numpy() * 1e3)
    errors = np.concatenate(errors)
    return errors.mean(), np.quantile(errors, 0.95)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--maps", type=Path, required=True, help="exported 2D keypoint network")
    parser.add_argument("--check", type=Path, required=True, help="views to choose beta on; not the unseen ones")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--beta", type=float, nargs="+", default=[0.15, 0.3, 0.5])
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = views.Views(options.check)
    net = make_net("keypoints")
    picks = [(0, i) for i in range(60)]
    start.load(net, options.maps, views.keypoint_batch([source], picks, SIZES["keypoints"][0], CROP_WIDTH_M)[0])
    net.eval()
    frames = range(0, source.frames, max(1, source.frames // options.frames))
    best = None
    with torch.no_grad():
        for beta in options.beta:
            mean, p95 = check(Volumetric(net, beta).eval(), source, frames)
            print(f"beta {beta}: mean {mean:.2f} mm, 95th percentile {p95:.2f} mm", flush=True)
            best = min(best or (mean, beta), (mean, beta))
    graph = Volumetric(net, best[1]).eval()
    width, height = SIZES["keypoints"]
    example = (torch.rand(6, 1, height, width), camera_rows(source, 0), torch.from_numpy(source.world[0].mean(0)), torch.ones(6))
    torch.onnx.export(
        graph,
        example,
        str(options.out),
        opset_version=17,
        input_names=["images", "cameras", "centre", "present"],
        output_names=["keypoints", "confidence", "spread", "seen"],
        dynamic_axes={name: {0: "views"} for name in ("images", "cameras", "present", "seen")},
        dynamo=False,
    )
    onnx.checker.check_model(onnx.load(options.out))
    session = onnxruntime.InferenceSession(str(options.out))
    found = session.run(None, {name: value.numpy() for name, value in zip(("images", "cameras", "centre", "present"), example)})
    with torch.no_grad():
        off = max(np.abs(f - e.numpy()).max() for f, e in zip(found, graph(*example)))
    print(f"beta {best[1]}: {options.out}, {options.out.stat().st_size} bytes, differs by {off:.1e}")


if __name__ == "__main__":
    main()
