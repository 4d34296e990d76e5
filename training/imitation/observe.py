"""The observation in Python: the same blocks, in the same order, as `src/imitation/observation.rs`."""

import mujoco
import numpy as np

import balance
import layout
import mirror
import rat
import reference

PLACES = layout.PLACES
WARPS = (0.8, 1.0, 1.2)


class Track:
    """A clip at the control rate with the world positions of the observed bodies."""

    def __init__(self, model, qpos, bodies, compared):
        self.clip = balance.Clip(model, qpos)
        data = mujoco.MjData(model)
        self.bodies_m = np.empty((len(self.clip.qpos), len(bodies), 3))
        self.ends_m = np.empty((len(self.clip.qpos), len(compared), 3))
        for i, q in enumerate(self.clip.qpos):
            data.qpos[:] = q
            mujoco.mj_kinematics(model, data)
            self.bodies_m[i], self.ends_m[i] = data.xpos[bodies], data.xpos[compared]
        self.steps = self.clip.steps


def tracks(model, held_out=False, augment=True):
    """Tracks of the training clips (mirrored and time-warped) or of the held-out ones."""
    lift = reference.TailLift(model)
    bodies, ends = rat.body_ids(model, rat.BODIES), rat.body_ids(model, rat.APPENDAGES)
    out = {}
    for name, qpos in reference.read_clips().items():
        if (name in reference.HELD_OUT) != held_out:
            continue
        lifted = np.array([lift(q)[0] for q in qpos])
        for flip in (False, True) if augment else (False,):
            shown = mirror.qpos(model, lifted) if flip else lifted
            for warp in WARPS if augment else (1.0,):
                frames = np.arange(int((len(shown) - 1) / warp) + 1) * warp
                key = f"{name}{'-mirror' if flip else ''}{f'-x{warp}' if warp != 1 else ''}"
                out[key] = Track(model, reference.at(shown, frames), bodies, ends)
    return out


class Observer:
    def __init__(self, model):
        self.model = model
        self.bodies = rat.body_ids(model, rat.BODIES)
        self.torso = model.body("torso").id
        at = lambda name: model.sensor(name).adr[0]
        self.touch = [at(name) for name in balance.PAWS]

    def __call__(self, data, track, i, previous, mask, out):
        """Fills `out` (`layout.LENGTH`) for control step `i`."""
        q, v = data.qpos, data.qvel
        clip = track.clip
        ahead = np.minimum(i + clip.stride * np.arange(1, layout.FRAMES + 1), clip.last)
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, q[3:7])
        rotation = rotation.reshape(3, 3)
        future = clip.qpos[ahead]
        out[PLACES["reference_root_position"]] = ((future[:, :3] - q[:3]) @ rotation).ravel()
        w, x, y, z = q[3:7]
        inverse = np.array([[w, x, y, z], [-x, w, z, -y], [-y, -z, w, x], [-z, y, -x, w]])
        turn = future[:, 3:7] @ inverse.T
        out[PLACES["reference_root_rotation"]] = (turn * np.where(turn[:, :1] < 0, -1, 1)).ravel()
        out[PLACES["reference_joints"]] = (future[:, 7:] - q[7:]).ravel()
        out[PLACES["reference_mask"]] = mask
        out[PLACES["joints"]] = q[7:]
        out[PLACES["joint_velocities"]] = v[6:]
        out[PLACES["actuator_forces"]] = data.qfrc_actuator
        out[PLACES["torso_height"]] = data.xpos[self.torso, 2]
        turned = data.xmat[self.torso].reshape(3, 3)
        out[PLACES["world_up"]] = turned[2]
        out[PLACES["previous_action"]] = previous
        out[PLACES["touch"]] = data.sensordata[self.touch]
        out[PLACES["root_linear_velocity"]] = v[:3] @ rotation
        out[PLACES["root_angular_velocity"]] = v[3:6]
        return out
