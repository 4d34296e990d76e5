"""Rendered views of the twin's rat (written by the `training_views` example) as batches of crops."""

import json
from pathlib import Path

import numpy as np
import torch

# Input pixels of one cell of a map.
STRIDE = 4


class Views:
    """One folder of views, flattened to single images."""

    def __init__(self, folder):
        folder = Path(folder)
        self.meta = json.loads((folder / "meta.json").read_text())
        images = np.load(folder / "images.npy", mmap_mode="r")
        self.frames, self.cameras = images.shape[:2]
        self.images = images.reshape(-1, *images.shape[2:])
        origins = np.load(folder / "origins.npy").reshape(-1, 1, 2).astype(np.float32)
        self.origins = origins[:, 0]
        points = np.load(folder / "keypoints_2d.npy").reshape(-1, 23, 2)
        self.visible = np.load(folder / "visible.npy").reshape(-1, 23)
        self.points = points - origins
        self.world = world = np.load(folder / "keypoints_3d.npy")
        self.centre, self.px_per_m = self._place(world, origins)

    def _place(self, world, origins):
        """Projected centre of the animal (patch pixels) and pixels of a metre there, as the runtime aims its crops."""
        middle = world.mean(axis=1)
        centres, scales = [], []
        for camera in self.meta["camera"]:
            k, r = np.array(camera["k"]), np.array(camera["rotation"])
            p = middle @ r.T + np.array(camera["translation_m"])
            x, y = p[:, 0] / p[:, 2], p[:, 1] / p[:, 2]
            k1, k2, p1, p2, k3 = camera["distortion"]
            r2 = x * x + y * y
            radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
            xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
            yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
            u = k[0, 0] * xd + k[0, 1] * yd + k[0, 2]
            v = k[1, 1] * yd + k[1, 2]
            centres.append(np.stack([u, v], axis=1))
            scales.append(0.5 * (k[0, 0] + k[1, 1]) / p[:, 2])
        centre = np.stack(centres, axis=1).reshape(-1, 2) - origins[:, 0]
        return centre.astype(np.float32), np.stack(scales, axis=1).reshape(-1).astype(np.float32)

    def __len__(self):
        return len(self.images)


def gather(sources, picks):
    """Images (u8, padded to one size), points, visibility, centres and scales of `picks`, a list of (source, index)."""
    images = torch.from_numpy(np.stack([sources[s].images[i] for s, i in picks]))
    stack = lambda name: torch.from_numpy(np.stack([getattr(sources[s], name)[i] for s, i in picks]))
    return images, stack("points"), stack("visible"), stack("centre"), stack("px_per_m")


def crop(images, points, matrix, shift, size):
    """Resamples square crops, bilinear: patch px = matrix @ (crop px - middle) + shift."""
    count, height, width = images.shape
    axis = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    at = torch.einsum("nij,hwj->nhwi", matrix, grid) + shift[:, None, None, :]
    at = (at + 0.5) / torch.tensor([width, height], dtype=torch.float32) * 2 - 1
    source = images[:, None].float().div_(255)
    out = torch.nn.functional.grid_sample(source, at, mode="bilinear", padding_mode="zeros", align_corners=False)
    back = torch.linalg.inv(matrix)
    moved = torch.einsum("nij,nkj->nki", back, points - shift[:, None]) + (size - 1) / 2
    return out, moved


def photometric(image, random):
    """Brightness, contrast, gamma, blur, noise and occluding blocks."""
    count, _, height, width = image.shape
    draw = lambda low, high: low + (high - low) * torch.rand(count, 1, 1, 1, generator=random)
    image = image.clamp(0, 1) ** draw(0.7, 1.4)
    mean = image.mean(dim=(2, 3), keepdim=True)
    image = (image - mean) * draw(0.6, 1.4) + mean + draw(-0.15, 0.15)
    blurred = torch.nn.functional.avg_pool2d(image, 3, stride=1, padding=1, count_include_pad=False)
    image = torch.lerp(image, blurred, draw(-0.3, 0.8).clamp(0, 1))
    rows = torch.arange(height).view(1, 1, -1, 1)
    columns = torch.arange(width).view(1, 1, 1, -1)
    for _ in range(2):
        top, left = draw(-0.6, 1) * height, draw(-0.6, 1) * width
        tall, wide = draw(0.02, 0.3) * height, draw(0.02, 0.3) * width
        inside = (rows >= top) & (rows < top + tall) & (columns >= left) & (columns < left + wide)
        inside &= draw(0, 1) < 0.4
        image = torch.where(inside, draw(0, 1).expand_as(image), image)
    noise = torch.randn(image.shape, generator=random) * draw(0, 0.05)
    return (image + noise).clamp(0, 1)


def keypoint_batch(sources, picks, size, width_m, random=None):
    """Crops around the animal and its keypoints in crop pixels; varied when `random` is given."""
    images, points, visible, centre, px_per_m = gather(sources, picks)
    scale = px_per_m * width_m / size
    count = len(picks)
    angle = torch.zeros(count)
    if random is not None:
        draw = lambda low, high, *shape: low + (high - low) * torch.rand(count, *shape, generator=random)
        angle = draw(-0.26, 0.26)
        centre = centre + draw(-0.03, 0.03, 2) * px_per_m[:, None]
        scale = scale * draw(0.88, 1.14)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    matrix = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    image, moved = crop(images, points, matrix, centre, size)
    if random is not None:
        image = photometric(image, random)
    inside = ((moved > -0.5) & (moved < size - 0.5)).all(dim=-1)
    return image, moved, (visible > 0) & inside, scale / px_per_m


def centre_batch(sources, picks, size, random=None):
    """Whole views stretched to `size` (width, height) and the animal's centre in their pixels."""
    images, _, _, centre, _ = gather(sources, picks)
    height, width = images.shape[1:]
    image = torch.nn.functional.adaptive_avg_pool2d(images[:, None].float() / 255, (size[1], size[0]))
    ratio = torch.tensor([size[0] / width, size[1] / height])
    moved = (centre + 0.5) * ratio - 0.5
    if random is not None:
        image = photometric(image, random)
    inside = ((moved > -0.5) & (moved < torch.tensor(size) - 0.5)).all(dim=-1)
    return image, moved[:, None], inside[:, None], ratio


def target_maps(points, size, stride=STRIDE, sd_cells=1.0):
    """Gaussians around the points on the output grid (height, width), each summing to one."""
    rows, columns = size[1] // stride, size[0] // stride
    cells = (points - (stride - 1) / 2) / stride
    x = torch.arange(columns, dtype=torch.float32) - cells[..., 0:1]
    y = torch.arange(rows, dtype=torch.float32) - cells[..., 1:2]
    gauss = lambda d: torch.exp(-0.5 * (d / sd_cells) ** 2)
    maps = gauss(y)[..., :, None] * gauss(x)[..., None, :]
    return maps / maps.sum(dim=(-1, -2), keepdim=True).clamp_min(1e-9)


def moments(maps, stride=STRIDE):
    """What the runtime reads from maps that sum to one: mean place (x, y) and its standard deviation along an axis, px."""
    count, points, rows, columns = maps.shape
    x = torch.arange(columns, dtype=torch.float32)
    y = torch.arange(rows, dtype=torch.float32)
    along_x, along_y = maps.sum(dim=2), maps.sum(dim=3)
    mean_x, mean_y = (along_x * x).sum(dim=2), (along_y * y).sum(dim=2)
    square = (along_x * x * x).sum(dim=2) - mean_x**2 + (along_y * y * y).sum(dim=2) - mean_y**2
    spread = (0.5 * square).clamp_min(0).sqrt() * stride
    return torch.stack([mean_x, mean_y], -1) * stride + (stride - 1) / 2, spread
