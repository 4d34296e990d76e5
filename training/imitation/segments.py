"""Short stretches of the policy's own rollouts together with the simulator's derivatives along them.

A segment holds, for `LENGTH` control steps, the states, what was played, and how each state depends on the one before and
on the action: `shooting.py` differentiates through these instead of through the simulator.
"""

import time

import mujoco
import numpy as np
import torch

import balance
import layout
import rat
import transition

LENGTH = 24
# Control steps that share one linearisation, taken at the first of them.
SHARED = 2
# A step of differences that crosses a contact's edge gives nonsense; then the next one is tried.
FD_STEPS, LARGEST = (1e-6, 1e-7, 1e-5), 80.0
# Sizes of typical deviations of a state: m, rad, rad, m/s, rad/s, rad/s, activation. In these units a control period's
# transition has a norm of 20 (measured: 95 % below 24).
DEVIATION = np.repeat([0.002, 0.03, 0.02, 0.04, 0.5, 0.5, 0.02], [3, 3, 67, 3, 3, 67, 38]).astype(np.float32)
# Correlated noise on the action, up to so much, and now and then a push.
NOISE, NOISE_CORRELATION = 0.05, 0.8
PUSH_RATE, PUSH_M_PER_S, PUSH_RAD_PER_S = 0.01, 0.05, 0.6
EPISODE_STEPS = 250
# Falls are counted for each quarter of a second of every motion (it and its mirror image together), newest first. A rat starts
# up to so many steps before a place, drawn by how often rats fall there; `EVENLY` is what a place without falls has.
BIN, BEFORE, EVENLY, NEWEST, AT_FIRST = 24, 48, 0.1, 0.15, 0.5
# A stretch ends where the rat is farther than this from the motion: nothing is learned from lying there.
LOST_ROOT_M, LOST_RAD = 0.06, np.radians(50)


class Motions:
    """All reference motions at the control rate, one after the other."""

    def __init__(self, model, motions, wait=0):
        """`wait` is how many frames each motion holds its first posture."""
        qpos, qvel, self.first, self.last, self.names = [], [], [], [], []
        start = 0
        for name, frames in motions:
            clip = balance.Clip(model, frames)
            qpos.append(clip.qpos)
            qvel.append(np.concatenate([clip.qvel, clip.qvel[-1:]]))
            self.names.append(name)
            self.first.append(start)
            self.last.append(start + clip.last)
            start += clip.last + 1
        self.stride = clip.stride
        self.wait = wait
        self.qpos, self.qvel = np.concatenate(qpos), np.concatenate(qvel)
        self.steps = np.array(self.last) - np.array(self.first)

    def ahead(self, index, motion):
        """Indices of the frames that the policy sees from control step `index`."""
        return np.minimum(index + self.stride * np.arange(1, layout.FRAMES + 1), self.last[motion])


class Bins:
    """How often rats fall at each place of the motions, and where the next one starts. Motions come in mirrored pairs."""

    def __init__(self, motions):
        self.motions = motions
        self.count = [max(1, -(-int(steps) // BIN)) for steps in motions.steps[::2]]
        self.first = np.concatenate([[0], np.cumsum(self.count)])
        self.falls = np.full(self.first[-1], AT_FIRST)

    def draw(self, random):
        """A motion and a step in it."""
        weight = self.falls + EVENLY
        place = int(random.choice(len(weight), p=weight / weight.sum()))
        pair = int(np.searchsorted(self.first, place, "right")) - 1
        motion = 2 * pair + int(random.integers(2))
        i = (place - self.first[pair]) * BIN + int(random.integers(BIN)) - int(random.integers(BEFORE))
        return motion, int(np.clip(i, 0, max(0, self.motions.steps[motion] - LENGTH - 1)))

    def passed(self, motion, index, lost):
        """A rat of `motion` came to control step `index`, or was lost there."""
        i = index - self.motions.first[motion]
        if lost or i % BIN == BIN - 1:
            place = self.first[motion // 2] + min(i // BIN, self.count[motion // 2] - 1)
            self.falls[place] += NEWEST * (float(lost) - self.falls[place])


class Observation:
    """The observation in torch, differentiable in the state; touch is taken as given."""

    def __init__(self, plant):
        m = plant.model
        as_tensor = lambda x: torch.as_tensor(np.asarray(x), dtype=torch.float32)
        self.torso = as_tensor(m.body("torso").pos)
        # Force of an actuator: gain * activation - stiffness * length + offset; both as maps to the 73 forces.
        moment = np.concatenate([np.zeros((m.nu, 6)), plant.transmission], 1)
        self.force_by_activation = as_tensor(moment.T * plant.gain)
        self.force_by_joints = as_tensor(-(moment.T * plant.stiffness) @ plant.transmission)

    def __call__(self, q, v, future, previous, force, touch, mask):
        """Batches of coordinates, velocities, future coordinates (batch, frames, 74), and the rest as it is."""
        turn, turns = q[:, 3:7], future[:, :, 3:7]
        rotation = matrix(turn)
        position = torch.einsum("bkj,bji->bki", future[:, :, :3] - q[:, None, :3], rotation)
        relative = product(conjugate(turn)[:, None], turns)
        relative = relative * torch.where(relative[..., :1] < 0, -1.0, 1.0)
        joints = future[:, :, 7:] - q[:, None, 7:]
        up = rotation[:, 2]
        height = q[:, 2:3] + up @ self.torso[:, None]
        blocks = {
            "reference_root_position": position.flatten(1),
            "reference_root_rotation": relative.flatten(1),
            "reference_joints": joints.flatten(1),
            "reference_mask": mask,
            "joints": q[:, 7:],
            "joint_velocities": v[:, 6:],
            "actuator_forces": force,
            "torso_height": height,
            "world_up": up,
            "previous_action": previous,
            "touch": touch,
            "root_linear_velocity": torch.einsum("bj,bji->bi", v[:, :3], rotation),
            "root_angular_velocity": v[:, 3:6],
        }
        return torch.cat([blocks[name] for name in layout.SIZES], -1)

    def force_change(self, joints, activation):
        return activation @ self.force_by_activation.T + joints @ self.force_by_joints.T


def conjugate(q):
    return q * q.new_tensor([1.0, -1.0, -1.0, -1.0])


def product(a, b):
    w, x, y, z = a.unbind(-1)
    s, i, j, k = b.unbind(-1)
    return torch.stack(
        [w * s - x * i - y * j - z * k, w * i + x * s + y * k - z * j, w * j - x * k + y * s + z * i, w * k + x * j - y * i + z * s],
        -1,
    )


def matrix(q):
    w, x, y, z = q.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


class Collector:
    """A handful of rats that the policy drives."""

    def __init__(self, motions, count, seed, policy):
        self.random = np.random.default_rng(seed)
        self.plant = balance.Plant()
        self.m = self.plant.model
        self.motions, self.policy, self.count = motions, policy, count
        self.observe = Observation(self.plant)
        self.scratch = mujoco.MjData(self.m)
        self.data = [mujoco.MjData(self.m) for _ in range(count)]
        self.transition = transition.Transition(self.plant)
        self.bins = Bins(motions)
        self.ends = rat.body_ids(self.m, rat.APPENDAGES)
        self.rats = [{} for _ in range(count)]
        for k in range(count):
            self.begin(k)

    def begin(self, k):
        r = self.random
        motion, i = self.bins.draw(r)
        index = self.motions.first[motion] + i
        self.plant.data = self.data[k]
        self.plant.reset(self.motions, index)
        self.rats[k] = {
            "motion": motion,
            "index": index,
            "until": min(index + EPISODE_STEPS, self.motions.last[motion] - 2),
            "previous": np.zeros(layout.ACTUATORS),
            "noise": np.zeros(layout.ACTUATORS),
            "doubtful": False,
            "noise_scale": NOISE * r.random() ** 2,
            "mask": np.full(layout.FRAMES, float(r.random() < 0.5)),
        }

    def look(self):
        tensor = lambda rows: torch.as_tensor(np.stack(rows), dtype=torch.float32)
        future = [self.motions.qpos[self.motions.ahead(one["index"], one["motion"])] for one in self.rats]
        return self.observe(
            tensor([d.qpos for d in self.data]),
            tensor([d.qvel for d in self.data]),
            tensor(future),
            tensor([one["previous"] for one in self.rats]),
            tensor([d.qfrc_actuator for d in self.data]),
            tensor([d.sensordata[self.plant.touch] for d in self.data]),
            tensor([one["mask"] for one in self.rats]),
        )

    def linearise(self, d, control):
        """Transition over one control period, or nothing where the simulator has no derivative."""
        s = self.scratch
        s.qpos[:], s.qvel[:], s.act[:], s.qacc_warmstart[:] = d.qpos, d.qvel, d.act, d.qacc_warmstart
        s.ctrl[:] = control
        mujoco.mj_forward(self.m, s)
        for step in FD_STEPS:
            try:
                a, b = self.transition(s, step)
            except np.linalg.LinAlgError:
                continue
            a2 = a @ a
            a4 = a2 @ a2
            b2 = b + a @ b
            whole = a4 @ a
            if np.linalg.norm(whole * DEVIATION / DEVIATION[:, None]) < LARGEST:
                return whole, b2 + a2 @ b2 + a4 @ b
        return None

    def collect(self):
        """One segment of each rat: a dictionary of arrays whose first axis is the rat. Also falls and steps."""
        n = self.count
        out = empty(n, self.m)
        going, falls, steps = np.ones(n, bool), 0, 0
        for k in range(n):
            if self.rats[k]["index"] + LENGTH >= self.rats[k]["until"] + 2 or self.rats[k].get("lost"):
                self.begin(k)
        for t in range(LENGTH):
            with torch.no_grad():
                seen = self.look()
                drawn = torch.zeros(n, self.policy.latent)
                mean = self.policy(seen, drawn)["mean"].clamp(-1, 1).numpy()
            for k in np.flatnonzero(going):
                going[k] = self.advance(k, t, mean[k], out)
                steps += 1
                falls += bool(self.rats[k].get("lost"))
        out["mask"][:] = [one["mask"] for one in self.rats]
        return {name: x if x.dtype == int else x.astype(np.float32) for name, x in out.items()}, falls, steps

    def advance(self, k, t, mean, out):
        one, d, m, r = self.rats[k], self.data[k], self.m, self.random
        one["noise"] = NOISE_CORRELATION * one["noise"] + np.sqrt(1 - NOISE_CORRELATION**2) * r.normal(0, 1, m.nu)
        if t % SHARED == 0 and r.random() < PUSH_RATE:
            d.qvel[:3] += r.normal(0, PUSH_M_PER_S, 3)
            d.qvel[3:6] += r.normal(0, PUSH_RAD_PER_S, 3)
        u = np.clip(mean + one["noise_scale"] * one["noise"], -1, 1)
        self.record(k, t, d, one, u, out)
        out["noise"][k, t] = u - mean
        if t % SHARED == 0:
            derivatives = self.linearise(d, u)
            half = t // SHARED
            if derivatives is None and (half == 0 or one["doubtful"]):
                self.begin(k)
                return False
            one["doubtful"] = derivatives is None
            # Those of a moment ago stand in once.
            derivatives = derivatives or (out["A"][k, half - 1], out["B"][k, half - 1])
            out["A"][k, half], out["B"][k, half] = derivatives
        d.ctrl[:] = u
        mujoco.mj_step(m, d, balance.SUBSTEPS)
        one["previous"], one["index"] = u, one["index"] + 1
        self.reached(k, t, d, one["index"], out)
        root, angle, _, joints = balance.errors(d.qpos, self.motions.qpos[one["index"]])
        one["lost"] = bool(root > LOST_ROOT_M or angle > LOST_RAD or balance.off_rails(root, angle, joints))
        self.bins.passed(one["motion"], one["index"], one["lost"])
        return not one["lost"]

    def record(self, k, t, d, one, u, out):
        """The state before a control step, and what is played."""
        out["q"][k, t], out["v"][k, t], out["act"][k, t] = d.qpos, d.qvel, d.act
        out["force"][k, t], out["touch"][k, t] = d.qfrc_actuator, d.sensordata[self.plant.touch]
        out["previous"][k, t], out["u"][k, t] = one["previous"], u
        out["ahead"][k, t], out["target"][k, t] = self.motions.ahead(one["index"], one["motion"]), one["index"] + 1

    def reached(self, k, t, d, index, out):
        """The state after it."""
        out["q"][k, t + 1], out["v"][k, t + 1] = d.qpos, d.qvel
        self.ends_gap(d, self.motions.qpos[index], k, t, out)
        out["valid"][k, t] = 1.0

    def ends_gap(self, d, target, k, t, out):
        """Where the five appendages are against where they should be, and how that depends on the coordinates."""
        m, s, jacobian = self.m, self.scratch, np.zeros((3, self.m.nv))
        s.qpos[:] = target
        mujoco.mj_kinematics(m, s)
        wanted = s.xpos[self.ends].copy()
        s.qpos[:] = d.qpos
        mujoco.mj_kinematics(m, s)
        mujoco.mj_comPos(m, s)
        for j, body in enumerate(self.ends):
            mujoco.mj_jacBody(m, s, jacobian, None, body)
            out["jacobian"][k, t, 3 * j : 3 * j + 3] = jacobian
        out["gap"][k, t] = (s.xpos[self.ends] - wanted).ravel()


def empty(n, m):
    nx, halves = 2 * m.nv + m.na, LENGTH // SHARED
    return {
        "q": np.zeros((n, LENGTH + 1, m.nq)),
        "v": np.zeros((n, LENGTH + 1, m.nv)),
        "force": np.zeros((n, LENGTH, m.nv)),
        "touch": np.zeros((n, LENGTH, 4)),
        "previous": np.zeros((n, LENGTH, m.nu)),
        "u": np.zeros((n, LENGTH, m.nu)),
        "act": np.zeros((n, LENGTH, m.nu)),
        "noise": np.zeros((n, LENGTH, m.nu)),
        "mask": np.zeros((n, layout.FRAMES)),
        "valid": np.zeros((n, LENGTH)),
        "A": np.zeros((n, halves, nx, nx), np.float32),
        "B": np.zeros((n, halves, nx, m.nu), np.float32),
        "target": np.zeros((n, LENGTH), int),
        "ahead": np.zeros((n, LENGTH, layout.FRAMES), int),
        "jacobian": np.zeros((n, LENGTH, 15, m.nv), np.float32),
        "gap": np.zeros((n, LENGTH, 15), np.float32),
    }


def serve(pipe, motions, count, seed, make_policy):
    """Collects for ever; takes new weights whenever there are any."""
    torch.set_num_threads(1)
    policy = make_policy()
    policy.load_state_dict(pipe.recv())
    collector = Collector(motions, count, seed, policy)
    while True:
        started = time.process_time()
        kept, falls, steps = collector.collect()
        pipe.send((kept, falls, steps, time.process_time() - started))
        newest = None
        while pipe.poll():
            newest = pipe.recv()
        if newest is not None:
            policy.load_state_dict(newest)
