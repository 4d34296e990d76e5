"""Writes tiny graphs shaped like the exports that labs bring, for the decoder tests.

    python fixtures.py tests/fixtures/pose

None of them is trained. Map 0 is the image averaged over each cell, so its peak is the brightest place; map 1 is the
same of the inverted image, so its peak is the darkest place. Names, element types, layouts, strides and output forms
are those of the real exports.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, BYTE = TensorProto.FLOAT, TensorProto.UINT8


class Graph:
    """Collects nodes and constants."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def save(self, path, inputs, outputs):
        value = lambda item: helper.make_tensor_value_info(*item)
        graph = helper.make_graph(self.nodes, "fixture", [value(i) for i in inputs], [value(o) for o in outputs], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
        print(path, path.stat().st_size)


def two_maps(g, image, stride, scale=1.0):
    """(N, C, H, W) -> (N, 2, H / stride, W / stride): bright map and dark map, 0 to 1 for images of 0 to `scale`."""
    g.constant("channel_axis", np.array([1], dtype=np.int64))
    g.constant("one", np.float32(1))
    g.constant("range", np.float32(1 / scale))
    grey = g.add("ReduceMean", [image], "grey", axes=[1], keepdims=1)
    grey = g.add("Mul", [grey, "range"], "grey_unit")
    bright = g.add("AveragePool", [grey], "bright", kernel_shape=[stride, stride], strides=[stride, stride])
    dark = g.add("Sub", ["one", bright], "dark")
    return g.add("Concat", [bright, dark], "two_maps", axis=1)


def lightning_pose(path):
    """Heat maps that sum to one, stride 4, three channels, ImageNet normalisation outside."""
    g = Graph()
    maps = two_maps(g, "input", 4)
    g.constant("sharp", np.float32(40))
    g.constant("flat", np.array([0, 2, 1024], dtype=np.int64))
    g.constant("square", np.array([0, 2, 32, 32], dtype=np.int64))
    logits = g.add("Reshape", [g.add("Mul", [maps, "sharp"], "logits"), "flat"], "logits_flat")
    soft = g.add("Softmax", [logits], "soft", axis=2)
    g.add("Reshape", [soft, "square"], "heatmaps")
    g.save(path, [("input", FLOAT, ["batch", 3, 128, 128])], [("heatmaps", FLOAT, ["batch", 2, 32, 32])])


def deeplabcut(path):
    """Score maps and location refinement, stride 8, three channels."""
    g = Graph()
    maps = two_maps(g, "input", 8)
    g.add("Identity", [maps], "heatmap")
    zero = g.constant("zero", np.float32(0))
    still = g.add("Mul", [maps, zero], "still")
    both = g.add("Concat", [still, still], "both", axis=1)
    # Two pixels right and one up, for every keypoint, in units of 7.2801 px.
    shift = np.array([2, -1, 2, -1], dtype=np.float32).reshape(1, 4, 1, 1) / np.float32(7.2801)
    g.add("Add", [both, g.constant("shift", shift)], "locref")
    g.save(
        path,
        [("input", FLOAT, ["batch", 3, 128, 128])],
        [("heatmap", FLOAT, ["batch", 2, 16, 16]), ("locref", FLOAT, ["batch", 4, 16, 16])],
    )


def rtmpose(path):
    """SimCC rows with two bins a pixel, input 96 wide and 128 high."""
    g = Graph()
    maps = two_maps(g, "input", 2)
    double = g.constant("double", np.array([1, 1, 4, 4], dtype=np.float32))
    fine = g.add("Resize", [maps, "", double], "fine", mode="nearest")
    g.add("ReduceMax", [fine], "simcc_x", axes=[2], keepdims=0)
    g.add("ReduceMax", [fine], "simcc_y", axes=[3], keepdims=0)
    g.save(
        path,
        [("input", FLOAT, ["batch", 3, 128, 96])],
        [("simcc_x", FLOAT, ["batch", 2, 192]), ("simcc_y", FLOAT, ["batch", 2, 256])],
    )


def sleap(path):
    """Byte images in; peaks and their values out; a peak under 0.2 is NaN."""
    g = Graph()
    image = g.add("Cast", ["images"], "image", to=FLOAT)
    maps = two_maps(g, image, 4, scale=255.0)
    flat = g.add("Reshape", [maps, g.constant("flat", np.array([0, 2, 1024], dtype=np.int64))], "flat_maps")
    g.add("ReduceMax", [flat], "peak_vals", axes=[2], keepdims=0)
    cell = g.add("ArgMax", [flat], "cell", axis=2, keepdims=0)
    columns = g.constant("columns", np.int64(32))
    row = g.add("Div", [cell, columns], "row")
    column = g.add("Mod", [cell, columns], "column")
    last = g.constant("last", np.array([2], dtype=np.int64))
    pair = g.add("Concat", [g.add("Unsqueeze", [column, last], "x"), g.add("Unsqueeze", [row, last], "y")], "pair", axis=2)
    stride = g.constant("stride", np.float32(4))
    found = g.add("Mul", [g.add("Cast", [pair], "pair_f", to=FLOAT), stride], "found")
    low = g.add("Less", ["peak_vals", g.constant("threshold", np.float32(0.2))], "low")
    low = g.add("Unsqueeze", [low, last], "low_pair")
    g.add("Where", [low, g.constant("nan", np.float32(np.nan)), found], "peaks")
    g.save(
        path,
        [("images", BYTE, ["batch", 1, 128, 128])],
        [("peaks", FLOAT, ["batch", 2, 2]), ("peak_vals", FLOAT, ["batch", 2])],
    )


def global_peaks(g, image):
    """sleap-nn's peaks of two maps: column and row of the highest cell times the stride, NaN and 0 where it is under 0.2."""
    maps = two_maps(g, image, 4, scale=255.0)
    flat = g.add("Reshape", [maps, g.constant("flat", np.array([0, 2, -1], dtype=np.int64))], "flat_maps")
    best = g.add("ReduceMax", [flat], "best", axes=[2], keepdims=0)
    cell = g.add("ArgMax", [flat], "cell", axis=2, keepdims=0)
    # Images of any size.
    across = g.add("Gather", [g.add("Shape", [maps], "shape"), g.constant("width_axis", np.int64(3))], "columns")
    last = g.constant("last", np.array([2], dtype=np.int64))
    x = g.add("Unsqueeze", [g.add("Mod", [cell, across], "column"), last], "x")
    y = g.add("Unsqueeze", [g.add("Div", [cell, across], "row"), last], "y")
    pair = g.add("Cast", [g.add("Concat", [x, y], "pair", axis=2)], "pair_f", to=FLOAT)
    found = g.add("Mul", [pair, g.constant("stride", np.float32(4))], "found")
    low = g.add("Less", [best, g.constant("threshold", np.float32(0.2))], "low")
    peaks = g.add("Where", [g.add("Unsqueeze", [low, last], "low_pair"), g.constant("nan", np.float32(np.nan)), found], "sure_peaks")
    values = g.add("Where", [low, g.constant("zero", np.float32(0)), best], "sure_vals")
    return peaks, values


def sleap_centered_instance(path):
    """Byte crops of any size in (here 128); the peaks of one animal in the middle of the crop out."""
    g = Graph()
    peaks, values = global_peaks(g, g.add("Cast", ["image"], "image_f", to=FLOAT))
    g.add("Identity", [peaks], "peaks")
    g.add("Identity", [values], "peak_vals")
    g.save(
        path,
        [("image", BYTE, ["batch", 1, "height", "width"])],
        [("peaks", FLOAT, ["batch", 2, 2]), ("peak_vals", FLOAT, ["batch", 2])],
    )


def sleap_topdown(path):
    """Both stages in one graph: two candidate animals with their centroids and peaks, the second one not there (zeros)."""
    g = Graph()
    peaks, values = global_peaks(g, g.add("Cast", ["image"], "image_f", to=FLOAT))
    one = g.constant("instance_axis", np.array([1], dtype=np.int64))
    for name, of_one in (("peaks", peaks), ("peak_vals", values)):
        there = g.add("Unsqueeze", [of_one, one], f"{name}_there")
        gone = g.add("Mul", [g.add("Where", [g.add("IsNaN", [there], f"{name}_nan"), "zero", there], f"{name}_number"), "zero"], f"{name}_gone")
        g.add("Concat", [there, gone], name, axis=1)
    g.add("ReduceMean", ["peaks"], "centroids", axes=[2], keepdims=0)
    g.add("ReduceMean", ["peak_vals"], "centroid_vals", axes=[2], keepdims=0)
    g.add("Greater", ["centroid_vals", "threshold"], "instance_valid")
    g.save(
        path,
        [("image", BYTE, ["batch", 1, "height", "width"])],
        [
            ("centroids", FLOAT, ["batch", 2, 2]),
            ("centroid_vals", FLOAT, ["batch", 2]),
            ("peaks", FLOAT, ["batch", 2, 2, 2]),
            ("peak_vals", FLOAT, ["batch", 2, 2]),
            ("instance_valid", TensorProto.BOOL, ["batch", 2]),
        ],
    )


def sleap_centroid(path):
    """Byte images in; three candidate centroids out, the brightest cell last."""
    g = Graph()
    image = g.add("Cast", ["images"], "image", to=FLOAT)
    maps = two_maps(g, image, 4, scale=255.0)
    first = g.add("Slice", [maps, g.constant("from", np.array([0], dtype=np.int64)), g.constant("to", np.array([1], dtype=np.int64)), "channel_axis"], "first")
    flat = g.add("Reshape", [first, g.constant("flat", np.array([0, 1024], dtype=np.int64))], "flat_map")
    best = g.add("ReduceMax", [flat], "best", axes=[1], keepdims=1)
    cell = g.add("ArgMax", [flat], "cell", axis=1, keepdims=1)
    columns = g.constant("columns", np.int64(32))
    pair = g.add("Concat", [g.add("Mod", [cell, columns], "column"), g.add("Div", [cell, columns], "row")], "pair", axis=1)
    found = g.add("Mul", [g.add("Cast", [pair], "pair_f", to=FLOAT), g.constant("stride", np.float32(4))], "found")
    found = g.add("Unsqueeze", [found, "channel_axis"], "found_one")
    zero = g.add("Mul", [found, g.constant("zero", np.float32(0))], "corner")
    g.add("Concat", [zero, zero, found], "centroids", axis=1)
    small = g.add("Mul", [best, g.constant("half", np.float32(0.5))], "small")
    g.add("Concat", [small, small, best], "centroid_vals", axis=1)
    g.save(
        path,
        [("images", BYTE, ["batch", 1, 128, 128])],
        [("centroids", FLOAT, ["batch", 3, 2]), ("centroid_vals", FLOAT, ["batch", 3])],
    )


def refiner(path, offsets):
    """The same offsets (mm) for every pose of two keypoints, whatever the views say."""
    g = Graph()
    zero = g.constant("zero", np.float32(0))
    still = g.add("Mul", [g.add("ReduceSum", ["views"], "sum", keepdims=0), zero], "still")
    still = g.add("Add", [g.add("Mul", [g.add("ReduceSum", ["points"], "sum_points", keepdims=0), zero], "still_points"), still], "nothing")
    g.add("Add", [g.constant("fixed", np.array([offsets], dtype=np.float32)), still], "offsets")
    g.save(
        path,
        [("points", FLOAT, [1, 2, 4]), ("views", FLOAT, [1, "cameras", 2, 7])],
        [("offsets", FLOAT, [1, 2, 3])],
    )


def dannce_weights(channels, sharp=60.0):
    """Weights of a DANNCE network, two wide and not trained: what is bright in most channels is keypoint 0, what is dark
    keypoint 1, both one voxel further along the volume's first axis (y) than they are seen, so that an exchange of axes shows."""
    import torch

    state = {}

    def conv(name, taps, size=3):
        state[f"{name}.weight"] = torch.zeros(*taps.shape, size, size, size)
        state[f"{name}.weight"][:, :, size // 2, size // 2, size // 2] = taps
        state[f"{name}.bias"] = torch.zeros(len(taps))

    def norm(name):
        known = {"weight": torch.ones(2), "bias": torch.zeros(2), "running_mean": torch.zeros(2), "running_var": torch.ones(2)}
        state.update({f"{name}.{part}": value for part, value in known.items()})

    def block(name, taps):
        conv(f"encoder_decoder.{name}.block.0", taps)
        conv(f"encoder_decoder.{name}.block.3", torch.eye(2))
        norm(f"encoder_decoder.{name}.block.1")
        norm(f"encoder_decoder.{name}.block.4")

    mean = torch.full((1, channels), 1.0 / channels)
    block("encoder_res1", torch.cat([mean, -mean]))
    for level in (2, 3, 4):
        block(f"encoder_res{level}", torch.zeros(2, 2))
    for level in (3, 2, 1):
        up = f"encoder_decoder.decoder_upsample{level}.block.0"
        state[f"{up}.weight"], state[f"{up}.bias"] = torch.zeros(2, 2, 2, 2, 2), torch.zeros(2)
        # Of what comes from below and of what was seen, the latter.
        block(f"decoder_res{level}", torch.cat([torch.zeros(2, 2), torch.eye(2)], dim=1))
    shifted = state["encoder_decoder.decoder_res1.block.3.weight"]
    shifted[:, :, 0], shifted[:, :, 1] = shifted[:, :, 1].clone(), 0.0
    conv("output_layer", sharp * torch.eye(2), size=1)
    return state


def dannce(path):
    """What `dannce.py` makes of a network for six cameras, with a volume of 24 voxels of 10 mm along each side."""
    import dannce as maker

    graph = maker.Dannce(maker.Unet(dannce_weights(6 * 3)), 24, 0.24).eval()
    maker.export(graph, 6, 3, 128, path)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for make in (lightning_pose, deeplabcut, rtmpose, sleap, sleap_centroid, sleap_centered_instance, sleap_topdown):
        make(folder / f"{make.__name__}.onnx")
    dannce(folder / "dannce.onnx")
    # Three to the left; far too long, 3 : 4 forwards and down.
    refiner(folder / "refiner.onnx", [[0, 3, 0], [300, 0, -400]])
    refiner(folder / "refiner_nan.onnx", [[0, 3, 0], [0, np.nan, 0]])


if __name__ == "__main__":
    main()
