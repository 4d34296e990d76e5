"""Writes a trained checkpoint as ONNX (opset 12, dynamic batch) and checks it against PyTorch.

    python export.py keypoints --work DIR --out models/pose-twin/keypoints.onnx
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from net import Probability
from train import SIZES, make_net


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=SIZES)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    state = torch.load(options.work / "checkpoint.pt", weights_only=True)
    net = make_net(options.task)
    net.load_state_dict(state["averaged"])
    graph = Probability(net).eval()
    width, height = SIZES[options.task]
    example = torch.rand(6, 1, height, width)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        graph,
        example,
        str(options.out),
        opset_version=12,
        input_names=["image"],
        output_names=["heatmaps"],
        dynamic_axes={"image": {0: "views"}, "heatmaps": {0: "views"}},
        dynamo=False,
    )
    onnx.checker.check_model(onnx.load(options.out))
    session = onnxruntime.InferenceSession(str(options.out))
    with torch.no_grad():
        expected = graph(example).numpy()
    (found,) = session.run(None, {"image": example.numpy()})
    print(f"step {state['step']}: {options.out}, {options.out.stat().st_size} bytes, differs by {np.abs(found - expected).max():.1e}")


if __name__ == "__main__":
    main()
