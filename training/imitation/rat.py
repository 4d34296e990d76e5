"""The rat in Python, edited exactly as `drivers/rat` edits it, so that a policy trained here meets the same body there."""

import re
from pathlib import Path

import mujoco
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MJCF = ROOT / ".deps" / "rat" / "rodent.xml"
# The 18 bodies of the observation and the 5 appendages of the proprioception, in the order of the notes on the policy family.
BODIES = (
    "torso pelvis upper_leg_L lower_leg_L foot_L upper_leg_R lower_leg_R foot_R skull jaw "
    "scapula_L upper_arm_L lower_arm_L finger_L scapula_R upper_arm_R lower_arm_R finger_R"
).split()
APPENDAGES = "lower_arm_R lower_arm_L foot_R foot_L skull".split()


def load(scale=0.9, torque=False, timestep_s=0.002, mjcf=MJCF):
    """The scaled rat on a free joint over an infinite floor; `torque` swaps servos for torque actuators."""
    text = Path(mjcf).read_text()
    text = re.sub(r"<asset>.*?</asset>", "", text, flags=re.S)
    text = text.replace("<worldbody>", '<worldbody><body name="walker"><freejoint name="root"/>', 1)
    text = text.replace("</worldbody>", "</body></worldbody>", 1)
    from_class = {
        re.search(r'name="([^"]*)"', element)[1]
        for element in re.findall(r"<joint ([^>]*)>", text)
        if 'name="' in element and ' pos="' not in element
    }
    spec = mujoco.MjSpec.from_string(text)
    for body in spec.bodies:
        if body.name != "world":
            body.pos = body.pos * scale
    for item in list(spec.geoms) + list(spec.sites):
        item.pos = item.pos * scale
        item.size = item.size * scale
    for joint in spec.joints:
        if joint.type != mujoco.mjtJoint.mjJNT_FREE and joint.name not in from_class:
            joint.pos = joint.pos * scale
    if torque:
        for actuator in spec.actuators:
            gain = np.zeros_like(actuator.gainprm)
            gain[0] = actuator.forcerange[1]
            actuator.gainprm = gain
            actuator.biasprm = np.zeros_like(actuator.biasprm)
            actuator.biastype = mujoco.mjtBias.mjBIAS_NONE
    spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1.0, 1.0, 0.1])
    spec.option.timestep = timestep_s
    return spec.compile()


def transmission(model):
    """Actuator lengths as a matrix: length = matrix @ joints (67)."""
    matrix = np.zeros((model.nu, model.nv - 6))
    for i in range(model.nu):
        target = model.actuator_trnid[i, 0]
        if model.actuator_trntype[i] == mujoco.mjtTrn.mjTRN_TENDON:
            start, count = model.tendon_adr[target], model.tendon_num[target]
            for w in range(start, start + count):
                matrix[i, model.jnt_dofadr[model.wrap_objid[w]] - 6] = model.wrap_prm[w]
        else:
            matrix[i, model.jnt_dofadr[target] - 6] = 1.0
    return matrix


def body_ids(model, names):
    return np.array([model.body(name).id for name in names])
