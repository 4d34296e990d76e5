"""Fits the short-horizon forecaster: where the animal will be 20 to 100 ms from now, from its last 160 ms.

The displacement of each coordinate at each horizon is a weighted sum of that coordinate's last eight frame-to-frame
displacements. The weights are shared by all coordinates of a group (root position, root rotation, joints), so the
forecaster knows no direction, side or posture, and 120 numbers are fitted on the training clips only.

    python forecaster.py            # models/forecaster, and its error on the held-out clips
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import rat
import reference

PAST, FUTURE, DOFS = 8, 5, 73
GROUPS = {"root": slice(0, 3), "turn": slice(3, 6), "joints": slice(6, DOFS)}
RIDGE = 1e-6
OUT = Path(__file__).resolve().parents[2] / "models" / "forecaster"


def examples(model, clips):
    """Past displacements (examples, 8, 73) and future ones (examples, 5, 73)."""
    past, future = [], []
    for qpos in clips:
        steps = np.array([reference.velocity(model, a, b, 1.0) for a, b in zip(qpos, qpos[1:])])
        for t in range(PAST, len(qpos) - FUTURE):
            past.append(steps[t - PAST : t])
            future.append([reference.velocity(model, qpos[t], qpos[t + k + 1], 1.0) for k in range(FUTURE)])
    return np.array(past), np.array(future)


def fit(past, future):
    """Group -> weights (5, 8)."""
    weights = {}
    for name, columns in GROUPS.items():
        x = np.moveaxis(past[:, :, columns], 1, 2).reshape(-1, PAST)
        y = np.moveaxis(future[:, :, columns], 1, 2).reshape(-1, FUTURE)
        gram = x.T @ x
        weights[name] = np.linalg.solve(gram + RIDGE * np.trace(gram) / PAST * np.eye(PAST), x.T @ y).T
    return weights


def graph(weights):
    nodes = [helper.make_node("Split", ["past", "sizes"], [f"past_{name}" for name in GROUPS], axis=1)]
    sizes = np.array([c.stop - c.start for c in GROUPS.values()], np.int64)
    constants = [numpy_helper.from_array(sizes, "sizes")]
    for name, matrix in weights.items():
        constants.append(numpy_helper.from_array(matrix.astype(np.float32), f"weights_{name}"))
        nodes.append(helper.make_node("MatMul", [f"weights_{name}", f"past_{name}"], [f"future_{name}"]))
    nodes.append(helper.make_node("Concat", [f"future_{name}" for name in GROUPS], ["future"], axis=1))
    value = lambda name, rows: helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, DOFS])
    body = helper.make_graph(nodes, "forecaster", [value("past", PAST)], [value("future", FUTURE)], constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    model = rat.load()
    lift = reference.TailLift(model)
    clips = {name: np.array([lift(q)[0] for q in qpos]) for name, qpos in reference.read_clips().items()}
    weights = fit(*examples(model, [clips[n] for n in clips if n not in reference.HELD_OUT]))
    past, future = examples(model, [clips[n] for n in reference.HELD_OUT])
    OUT.mkdir(parents=True, exist_ok=True)
    onnx.save(graph(weights), OUT / "forecaster.onnx")
    print("root-mean-square error on held-out clips (root mm, others degrees)")
    print("group   horizon   hold   constant velocity   forecaster")
    for name, columns in GROUPS.items():
        unit = 1e3 if name == "root" else np.degrees(1)
        rms = lambda error: np.sqrt((error**2).mean()) * unit
        for k in range(FUTURE):
            y = future[:, k, columns]
            guess = np.einsum("p,epc->ec", weights[name][k], past[:, :, columns])
            constant = (k + 1) * past[:, -2:, columns].mean(1)
            print(f"{name:<7} {20 * (k + 1):4d} ms {rms(y):8.2f} {rms(y - constant):12.2f} {rms(y - guess):15.2f}")


if __name__ == "__main__":
    main()
