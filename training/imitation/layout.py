"""The observation's blocks, sizes and places: what `policy.toml` lists and `src/imitation/observation.rs` writes."""

import rat

FRAMES, FRAME_HZ, CONTROL_HZ = 5, 50.0, 100.0
JOINTS, ACTUATORS, DOFS = 67, 38, 73
SIZES = {
    "reference_root_position": 3 * FRAMES,
    "reference_root_rotation": 4 * FRAMES,
    "reference_joints": JOINTS * FRAMES,
    "reference_mask": FRAMES,
    "joints": JOINTS,
    "joint_velocities": JOINTS,
    "actuator_forces": DOFS,
    "torso_height": 1,
    "world_up": 3,
    "previous_action": ACTUATORS,
    "touch": 4,
    "root_linear_velocity": 3,
    "root_angular_velocity": 3,
}


def places(fields=None):
    """Name -> slice, in order."""
    out, start = {}, 0
    for name in fields or SIZES:
        out[name] = slice(start, start + SIZES[name])
        start += SIZES[name]
    return out


PLACES = places()
LENGTH = sum(SIZES.values())
REFERENCE = slice(0, PLACES["reference_mask"].stop)


def toml_list(names):
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def manifest(name, description, actuators, signals, latent="", scale=0.9):
    """Text of a policy.toml; `signals` is (name, output, length)."""
    lines = [
        "schema = 1",
        f'name = "{name}"',
        f'description = "{description}"',
        "",
        "[network]",
        'file = "policy.onnx"',
        'input = "observation"',
        'action = "action"',
        "",
        "[control]",
        f"rate_hz = {CONTROL_HZ}",
        "timestep_s = 0.002",
        "",
        "[body]",
        f"scale = {scale}",
        f'actuators = "{actuators}"',
        "",
        "[observation]",
        "fields = [",
        *[f'    "{field}",' for field in SIZES],
        "]",
        f"future_frames = {FRAMES}",
        f"frame_rate_hz = {FRAME_HZ}",
        'egocentric = "inverse"',
        f"bodies = {toml_list(rat.BODIES)}",
        f"appendages = {toml_list(rat.APPENDAGES)}",
        "",
        *([latent.strip(), ""] if latent else []),
    ]
    for signal, output, length in signals:
        lines += ["[[signal]]", f'name = "{signal}"', f'output = "{output}"', f"length = {length}", ""]
    return "\n".join(lines).rstrip() + "\n"
