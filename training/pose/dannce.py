"""Makes a volumetric graph for mimicd from a DANNCE network in PyTorch.

    python dannce.py checkpoint.pth --side-mm 240 --voxels 80 --names Snout EarL ... --out models/mine/dannce.onnx

A DANNCE network takes a volume that other code has sampled from the images. Here projection, sampling, network and
expectation are one graph with the inputs and outputs of `volumetric.py`, and a manifest is written beside it; `mimicd
check` and `mimicd run` need nothing else. The network is rebuilt from the checkpoint's weights alone: names and shapes
say how wide and how many keypoints, whether blocks are residual, and which normalisation (the conventions are those of
dannce-pytorch and s-DANNCE, `EncDec3D` with one 1x1x1 layer on top).

- The volume: `--voxels` along a side of `--side-mm` around the animal's centre; axes in the order y, x, z; channels are
  cameras times colours; a colour is taken from the pixel nearest to the voxel's projection (`interp: nearest`).
- The cameras have an order: that of the rig's config must be that of the training.
- Pixels are scaled to -1 to 1 (the manifest says so); a view that is not there is 0, mid grey.
- The confidence is the peak of the softmax; `sure` in the manifest says which peak counts as 1.
- Of an s-DANNCE checkpoint the volumetric network is taken and its graph network over the joints is left out.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torch.nn import functional as F

from volumetric import project

# Added to the standard deviation by the layer normalisation of dannce-pytorch.
LAYER_NORM_EPSILON = 1e-3
# Rows that tell a camera (`volumetric.py`).
CAMERA_ROW = 22


class Unet(nn.Module):
    """(1, channels, n, n, n) to (1, keypoints, n, n, n): the network of a state dict."""

    def __init__(self, state, is_upsampling_normed=False):
        super().__init__()
        self.is_upsampling_normed = is_upsampling_normed
        for name, value in state.items():
            self.register_buffer(name.replace(".", "_"), value.detach().float(), persistent=False)
        self.known = set(state)

    def weight(self, name):
        return getattr(self, name.replace(".", "_"))

    def has(self, name):
        return name in self.known

    def conv(self, name, x):
        weight = self.weight(f"{name}.weight")
        return F.conv3d(x, weight, self.weight(f"{name}.bias"), padding=weight.shape[-1] // 2)

    def norm(self, name, x):
        if self.has(f"{name}.gamma"):
            off = x - x.mean(dim=(1, 2, 3, 4), keepdim=True)
            spread = off.square().mean(dim=(1, 2, 3, 4), keepdim=True).sqrt() + LAYER_NORM_EPSILON
            return off / spread * self.weight(f"{name}.gamma") + self.weight(f"{name}.beta")
        scale = {part: self.weight(f"{name}.{part}") for part in ("weight", "bias") if self.has(f"{name}.{part}")}
        if self.has(f"{name}.running_mean"):
            return F.batch_norm(x, self.weight(f"{name}.running_mean"), self.weight(f"{name}.running_var"), **scale)
        if scale and scale["weight"].dim() > 1:
            return F.layer_norm(x, scale["weight"].shape, **scale)
        return F.instance_norm(x, **scale)

    def block(self, name, x):
        inner = f"{name}.res_branch" if self.has(f"{name}.res_branch.0.weight") else f"{name}.block"
        y = F.relu(self.norm(f"{inner}.1", self.conv(f"{inner}.0", x)))
        y = self.norm(f"{inner}.4", self.conv(f"{inner}.3", y))
        if inner.endswith("res_branch"):
            skip = f"{name}.skip_con"
            y = y + (self.norm(f"{skip}.1", self.conv(f"{skip}.0", x)) if self.has(f"{skip}.0.weight") else x)
        return F.relu(y)

    def up(self, name, x):
        x = F.conv_transpose3d(x, self.weight(f"{name}.block.0.weight"), self.weight(f"{name}.block.0.bias"), stride=2)
        is_normed = self.is_upsampling_normed or any(self.has(f"{name}.block.1.{part}") for part in ("gamma", "running_mean"))
        return F.relu(self.norm(f"{name}.block.1", x)) if is_normed else x

    def forward(self, x):
        skips = []
        for level in (1, 2, 3):
            x = self.block(f"encoder_decoder.encoder_res{level}", x)
            skips.append(x)
            x = F.max_pool3d(x, 2)
        x = self.block("encoder_decoder.encoder_res4", x)
        for level in (3, 2, 1):
            x = self.up(f"encoder_decoder.decoder_upsample{level}", x)
            x = self.block(f"encoder_decoder.decoder_res{level}", torch.cat([x, skips.pop()], dim=1))
        return self.conv("output_layer", x)


class Dannce(nn.Module):
    """Images and cameras to keypoints, around a network over the volume."""

    def __init__(self, net, voxels, side_m):
        super().__init__()
        self.net, self.voxels = net, voxels
        step = side_m / voxels
        self.register_buffer("axis", (torch.arange(voxels, dtype=torch.float32) - (voxels - 1) / 2) * step)

    def points(self, centre):
        """(n^3, 3) voxel centres in the world, in the volume's order: y, x, z. Made anew each time: as a constant it would
        be most of the file."""
        n = self.voxels
        x, y, z = (self.axis + centre[k] for k in range(3))
        spread = lambda v, shape: v.reshape(shape).expand(n, n, n).reshape(-1)
        return torch.stack([spread(x, (1, n, 1)), spread(y, (n, 1, 1)), spread(z, (1, 1, n))], -1)

    def forward(self, images, cameras, centre, present):
        n = self.voxels
        grid = project(cameras, self.points(centre))[:, :, None]
        seen = F.grid_sample(images, grid, "nearest", "border", align_corners=False)
        seen = seen * present[:, None, None, None]
        heat = self.net(seen.reshape(1, -1, n, n, n))
        chance = torch.softmax(heat.reshape(heat.shape[1], -1), dim=1)
        cells = chance.reshape(-1, n, n, n)
        # The marginal along each axis tells mean and variance along it: x is the volume's second axis.
        along = [cells.sum(dim=(1, 3)), cells.sum(dim=(2, 3)), cells.sum(dim=(1, 2))]
        place = torch.stack([(part * self.axis).sum(dim=1) for part in along], -1)
        square = torch.stack([(part * self.axis * self.axis).sum(dim=1) for part in along], -1)
        spread = ((square - place * place).sum(dim=1).clamp_min(0) / 3).sqrt()
        return place, chance.amax(dim=1), spread


def weights_of(path, is_trusted):
    """The state dict of the volumetric network in a checkpoint, and whether there was more."""
    try:
        kept = torch.load(path, map_location="cpu", weights_only=not is_trusted)
    except Exception as error:
        raise SystemExit(f"{path}: {error}\nA checkpoint with more than weights in it runs code: --trust if it is yours.") from None
    state = kept.state_dict() if isinstance(kept, nn.Module) else kept.get("state_dict", kept)
    state = {name.removeprefix("module."): value for name, value in state.items()}
    inner = {n.removeprefix("pose_generator."): v for n, v in state.items() if n.startswith("pose_generator.")}
    net = inner or state
    missing = [n for n in ("encoder_decoder.encoder_res4", "output_layer.weight") if not any(k.startswith(n) for k in net)]
    if missing:
        raise SystemExit(f"{path}: no {missing[0]}; expected the weights of a DANNCE network, found {sorted(net)[:4]} ...")
    return net, len(inner) not in (0, len(state))


def manifest(options, keypoints, colours):
    names = options.names or [f"kp{k}" for k in range(keypoints)]
    listed = ", ".join(json.dumps(name) for name in names)
    return f"""# Made by training/pose/dannce.py from {Path(options.checkpoint).name}.

name = "{options.out.stem}"
kind = "volumetric"
keypoints = [{listed}]

[crop]
width_m = {options.crop_m}

[network]
file = "{options.out.name}"
input = "images"
width_px = {options.image_px}
height_px = {options.image_px}
channels = {colours}
# Pixels of 0 to 255 become -1 to 1.
scale = {1 / 127.5}
mean = [1.0]

[network.decode]
kind = "volume"
cameras = "cameras"
centre = "centre"
present = "present"
positions = "keypoints"
confidence = "confidence"
spread = "spread"
sure = {options.sure}
"""


def export(graph, views, colours, image_px, out):
    """Writes the graph and tells how far ONNX Runtime is from PyTorch on noise, m."""
    torch.manual_seed(0)
    cameras = torch.zeros(views, CAMERA_ROW)
    cameras[:, [0, 4, 8]], cameras[:, 11], cameras[:, [17, 20]] = 1.0, 1.0, 4.0
    example = (torch.rand(views, colours, image_px, image_px) * 2 - 1, cameras, torch.tensor([0.01, 0.02, 0.0]), torch.ones(views))
    names = ["images", "cameras", "centre", "present"]
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        graph, example, str(out), opset_version=17, input_names=names, output_names=["keypoints", "confidence", "spread"], dynamo=False
    )
    onnx.checker.check_model(str(out))
    session = onnxruntime.InferenceSession(str(out))
    found = session.run(None, {name: value.numpy() for name, value in zip(names, example)})
    with torch.no_grad():
        off = [np.abs(f - e.numpy()).max() for f, e in zip(found, graph(*example))]
    print(f"{out}: {out.stat().st_size} bytes; ONNX Runtime differs by {off[0] * 1e3:.1e} mm, confidence {off[1]:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--voxels", type=int, default=80, help="nvox of the training")
    parser.add_argument("--side-mm", type=float, default=240.0, help="vmax - vmin of the training")
    parser.add_argument("--colours", type=int, default=3, choices=[1, 3])
    parser.add_argument("--image-px", type=int, default=512, help="side of each view's crop")
    parser.add_argument("--crop-m", type=float, help="how much of the world a crop shows; by default what the volume needs")
    parser.add_argument("--sure", type=float, default=0.05, help="peak that counts as confidence 1")
    parser.add_argument("--names", nargs="+", help="keypoints in the order of the output")
    parser.add_argument(
        "--norm-upsampling", action="store_true", help="norm_upsampling of the training; instance normalisation leaves no trace of it"
    )
    parser.add_argument("--trust", action="store_true", help="load a checkpoint that holds more than weights")
    options = parser.parse_args()
    if options.voxels % 8:
        raise SystemExit(f"--voxels {options.voxels}: expected a multiple of 8, the network halves them three times")
    # A cube seen along its diagonal, and some more for the perspective.
    options.crop_m = options.crop_m or round(options.side_mm * 1e-3 * 3**0.5 * 1.1, 3)
    state, has_more = weights_of(options.checkpoint, options.trust)
    channels, keypoints = state["encoder_decoder.encoder_res1." + inner_name(state) + ".0.weight"].shape[1], len(state["output_layer.weight"])
    if channels % options.colours:
        raise SystemExit(f"--colours {options.colours}: the network takes {channels} channels")
    if options.names and len(options.names) != keypoints:
        raise SystemExit(f"--names: {len(options.names)}, expected {keypoints}")
    trained = voxels_of(state)
    if trained and trained != options.voxels:
        raise SystemExit(f"--voxels {options.voxels}: the network was trained with {trained} along a side")
    if has_more:
        print(f"{options.checkpoint}: the graph network over the joints is left out; keypoints are those of the volumetric network")
    views = channels // options.colours
    print(f"{options.checkpoint}: {views} cameras of {options.colours} colours, {keypoints} keypoints")
    graph = Dannce(Unet(state, options.norm_upsampling), options.voxels, options.side_mm * 1e-3).eval()
    export(graph, views, options.colours, options.image_px, options.out)
    options.out.with_suffix(".toml").write_text(manifest(options, keypoints, options.colours))
    print(f"{options.out.with_suffix('.toml')}: put in the names of the keypoints, and a [coarse] network if there is one")


def voxels_of(state):
    """Voxels along a side, where the normalisation tells (layer normalisation has weights for each)."""
    first = f"encoder_decoder.encoder_res1.{inner_name(state)}.1"
    scale = state.get(f"{first}.gamma", state.get(f"{first}.weight"))
    return scale.shape[-1] if scale is not None and scale.dim() == 4 else None


def inner_name(state):
    return "res_branch" if "encoder_decoder.encoder_res1.res_branch.0.weight" in state else "block"


if __name__ == "__main__":
    main()
