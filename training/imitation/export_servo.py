"""Writes the reference-tracking servo as an ONNX policy, with or without root feedback.

    python export_servo.py                                          # models/policy-servo
    python export_servo.py --gains runs/balance/state.npz           # models/policy-balance
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import balance
import layout
import rat

ROOT = Path(__file__).resolve().parents[2]
SERVO_TEXT = "Stock position servos fed the reference joint angles; no learned part."
BALANCE_TEXT = "Position servos fed the reference, corrected by linear feedback of the root's errors and paw touch."


class Graph:
    """A tiny builder: constants become initializers, nodes are named by their output."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def model(self, outputs):
        graph = helper.make_graph(
            self.nodes,
            "policy",
            [helper.make_tensor_value_info("observation", TensorProto.FLOAT, [1, layout.LENGTH])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in outputs],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        return model


def servo_map(plant, lead):
    """Set points as matrix @ observation + offset, from joints and the first two future frames."""
    gain = (plant.stiffness / plant.gain)[:, None] * plant.transmission
    matrix = np.zeros((layout.ACTUATORS, layout.LENGTH))
    joints, future = layout.PLACES["joints"], layout.PLACES["reference_joints"].start
    matrix[:, joints] = gain
    matrix[:, future : future + layout.JOINTS] = gain * (1 - lead)
    matrix[:, future + layout.JOINTS : future + 2 * layout.JOINTS] = gain * lead
    return matrix, -plant.offset / plant.gain


def feature_map():
    """The 19 features of `balance.Plant.features` as matrix @ observation + offset."""
    p, r = layout.PLACES["reference_root_position"].start, layout.PLACES["reference_root_rotation"].start
    v, w = layout.PLACES["root_linear_velocity"].start, layout.PLACES["root_angular_velocity"].start
    matrix, offset = np.zeros((19, layout.LENGTH)), np.zeros(19)
    position = lambda k, axis: p + 3 * (k - 1) + axis
    rotation = lambda k, axis: r + 4 * (k - 1) + 1 + axis
    for axis in range(3):
        matrix[axis, position(1, axis)] = 1
        matrix[3 + axis, rotation(1, axis)] = 2
        matrix[6 + axis, [position(2, axis), position(1, axis)]] = layout.FRAME_HZ, -layout.FRAME_HZ
        matrix[6 + axis, v + axis] = -1
        matrix[9 + axis, [rotation(2, axis), rotation(1, axis)]] = 2 * layout.FRAME_HZ, -2 * layout.FRAME_HZ
        matrix[9 + axis, w + axis] = -1
        matrix[12 + axis, [position(5, axis), position(1, axis)]] = 1, -1
        matrix[15 + axis, [rotation(5, axis), rotation(1, axis)]] = 2, -2
    offset[18] = 1
    return matrix / balance.SCALES[:, None], offset / balance.SCALES


def linear(graph, name, source, matrix, offset):
    weights = graph.constant(f"{name}_weights", matrix.T)
    product = graph.node("MatMul", [source, weights], f"{name}_product")
    return graph.node("Add", [product, graph.constant(f"{name}_offset", offset)], name)


def clip(graph, source, low, high, output):
    bounds = [graph.constant(f"{output}_low", low), graph.constant(f"{output}_high", high)]
    return graph.node("Clip", [source, *bounds], output)


def build(plant, gains):
    graph = Graph()
    lead = 1.5 if gains is None else gains[2]
    linear(graph, "set_point", "observation", *servo_map(plant, lead))
    outputs = [("action", layout.ACTUATORS), ("set_point", layout.ACTUATORS)]
    total = "set_point"
    if gains is not None:
        always, gated, _ = gains
        linear(graph, "raw_features", "observation", *feature_map())
        clip(graph, "raw_features", -3, 3, "features")
        touch = np.zeros((4, layout.LENGTH))
        touch[:, layout.PLACES["touch"]] = np.eye(4) / balance.TOUCH_SCALE_N
        linear(graph, "raw_touch", "observation", touch, np.zeros(4))
        clip(graph, "raw_touch", 0, 1, "touch")
        always_out = graph.node("MatMul", ["features", graph.constant("always", always.T)], "always_out")
        padded = np.zeros_like(always)
        padded[plant.legs, : balance.GATED] = gated[plant.legs]
        gated_out = graph.node("MatMul", ["features", graph.constant("gated", padded.T)], "gated_out")
        paw = np.zeros((layout.ACTUATORS, 4))
        paw[plant.legs, plant.paw_of[plant.legs]] = 1
        gate = graph.node("MatMul", ["touch", graph.constant("paw", paw.T)], "gate")
        graph.node("Mul", [gated_out, gate], "gated_part")
        graph.node("Add", [always_out, "gated_part"], "wish")
        graph.node("Div", ["wish", graph.constant("reach", balance.REACH)], "wish_scaled")
        graph.node("Tanh", ["wish_scaled"], "wish_tanh")
        graph.node("Mul", ["wish_tanh", "reach"], "feedback")
        total = graph.node("Add", ["set_point", "feedback"], "corrected")
        outputs += [("features", 19), ("touch", 4), ("feedback", layout.ACTUATORS)]
    clip(graph, total, -1, 1, "action")
    return graph.model(outputs), outputs


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gains", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    plant = balance.Plant()
    gains = None
    if args.gains:
        gains = balance.Feedback(plant).unpack(np.load(args.gains)["theta"])
    name = "policy-servo" if gains is None else "policy-balance"
    out = args.out or ROOT / "models" / name
    out.mkdir(parents=True, exist_ok=True)
    model, outputs = build(plant, gains)
    onnx.save(model, out / "policy.onnx")
    text = SERVO_TEXT if gains is None else BALANCE_TEXT
    signals = [(output, output, size) for output, size in outputs]
    (out / "policy.toml").write_text(layout.manifest(name, text, "servo", signals))
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
