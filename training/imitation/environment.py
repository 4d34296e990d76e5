"""Simulated rats that imitate motions the expert has tracked (`plan.py`): episodes, rewards, and at every state what the
expert would do there (its control plus its feedback gains on the distance from its own state)."""

import multiprocessing
from pathlib import Path

import mujoco
import numpy as np

import balance
import layout
import mirror
import observe
import rat

# Joint noise of registration as measured (0.2 to 0.3 degrees), radians.
REGISTRATION_RAD = 0.005
ROOT_OFFSET_M = 0.004
EPISODE_STEPS = 200
# Root, joints, their rates and activations: deviations that the size of gains is judged on (m, rad, s).
DEVIATIONS = np.repeat([0.005, 0.05, 0.1, 1.0, 2.0, 0.1], [3, 70, 3, 3, 67, 38])
# Gains that would answer those with more than this are of a plan that was about to fall.
GAIN_MAX = 8.0
# The plan's controls are smoothed a little over time: jitter is what a network cannot learn. The feedback must stay at
# full strength: measured, at 0.4 of it four of seven motions are lost without any push, at 1 none.
SMOOTHING = np.array([1, 2, 1]) / 4
FEEDBACK_MAX = 1.0
# Where the expert itself is farther than this from the motion it is no example.
EXPERT_ROOT_M, EXPERT_RAD = 0.025, np.radians(25)
# Farther than this from the expert's own track its gains say nothing.
TRUST_ROOT_M, TRUST_RAD, TRUST_JOINTS_RAD = 0.03, np.radians(30), 2.5
# Exploration: correlated noise on the action, and now and then a push.
NOISE, NOISE_CORRELATION = 0.04, 0.8
PUSH_RATE, PUSH_M_PER_S, PUSH_RAD_PER_S = 0.01, 0.04, 0.5
# Share of episodes that start as the runtime starts: on the reference itself.
START_ON_REFERENCE = 0.3


def reward(root_m, angle_rad, joints_rad, ends_m, rates_rad_per_s, bodies_m, action, change, power_w):
    """Gaussian kernels on each error, small costs on effort and on change."""
    kernel = lambda error, width: float(np.exp(-0.5 * (error / width) ** 2))
    return (
        0.25 * kernel(root_m, 0.02)
        + 0.25 * kernel(angle_rad, np.radians(15))
        + 0.2 * kernel(joints_rad, 1.0)
        + 0.15 * kernel(ends_m, 0.032)
        + 0.05 * kernel(rates_rad_per_s, 30.0)
        + 0.1 * kernel(bodies_m, 0.1)
        - 0.002 * float(action @ action) / layout.ACTUATORS
        - 0.02 * float(change @ change) / layout.ACTUATORS
        - 0.001 * min(power_w, 50.0)
    )


class Sides:
    """Reflection of states and actions in the plane y = 0."""

    def __init__(self, model):
        index, sign = mirror.signed_permutation(mirror.joint_names(model))
        self.joint_index, self.joint_sign = index, sign
        self.action_index, self.action_sign = mirror.signed_permutation(mirror.actuator_names(model))
        self.nq, self.nv = model.nq, model.nv
        self.model = model

    def action(self, u):
        return self.action_sign * u[..., self.action_index]

    def velocity(self, v):
        out = np.empty_like(v)
        out[..., :6] = v[..., :6] * np.array([1, -1, 1, -1, 1, -1])
        out[..., 6:] = self.joint_sign * v[..., 6:][..., self.joint_index]
        return out

    def tangent(self, x):
        n = self.nv
        return np.concatenate([self.velocity(x[..., :n]), self.velocity(x[..., n : 2 * n]), self.action(x[..., 2 * n :])], -1)

    def state(self, x):
        a, b = self.nq, self.nq + self.nv
        return np.concatenate([mirror.qpos(self.model, x[..., :a]), self.velocity(x[..., a:b]), self.action(x[..., b:])], -1)


class Tracked:
    """A motion and the expert's track of it; `sides` where both are mirrored."""

    def __init__(self, model, file, sides=None):
        saved = np.load(file)
        bodies, ends = rat.body_ids(model, rat.BODIES), rat.body_ids(model, rat.APPENDAGES)
        qpos, self.states = saved["qpos"], saved["states"]
        half = len(SMOOTHING) // 2
        padded = np.pad(saved["actions"], ((half, half), (0, 0)), "edge")
        self.actions = sum(w * padded[k : k + len(saved["actions"])] for k, w in enumerate(SMOOTHING))
        self.before, self.gains, self.sides = saved["previous"], saved["gains"], sides
        if sides:
            qpos, self.states = mirror.qpos(model, qpos), sides.state(self.states)
            self.actions, self.before = sides.action(self.actions), sides.action(self.before)
        self.track = observe.Track(model, qpos, bodies, ends)
        self.steps = saved["steps"]
        self.row = np.full(self.track.clip.last + 1, -1)
        self.row[self.steps] = np.arange(len(self.steps))
        size = np.linalg.norm(np.nan_to_num(self.gains, nan=1e9).astype(np.float64) * DEVIATIONS, axis=(1, 2))
        errors = [balance.errors(x[: model.nq], self.track.clip.qpos[i])[:2] for i, x in zip(self.steps, self.states)]
        close = np.array([root < EXPERT_ROOT_M and angle < EXPERT_RAD for root, angle in errors])
        self.usable = close & (size < GAIN_MAX)
        self.good = np.flatnonzero(self.usable)

    def label(self, row, dx):
        """The expert's action at `dx` from its own state; not a number where it is no example."""
        if not self.usable[row]:
            return np.full(layout.ACTUATORS, np.nan)
        if self.sides:
            correction = self.sides.action(self.gains[row].astype(np.float32) @ self.sides.tangent(dx).astype(np.float32))
        else:
            correction = self.gains[row].astype(np.float32) @ dx.astype(np.float32)
        return np.clip(self.actions[row] + np.clip(correction, -FEEDBACK_MAX, FEEDBACK_MAX), -1, 1)


def load(model, folder, seen=()):
    """Motions in the folder that are not in `seen`, each with its mirror image."""
    sides = Sides(model)
    out = {}
    for file in sorted(Path(folder).glob("*.npz")):
        if file.stem not in seen and not file.stem.endswith(".part"):
            out[file.stem] = [Tracked(model, file), Tracked(model, file, sides)]
    return out


class Environment:
    """One rat."""

    def __init__(self, seed, plant, motions, explore=True):
        self.random = np.random.default_rng(seed)
        self.plant, self.model = plant, plant.model
        self.data = mujoco.MjData(self.model)
        self.observer = observe.Observer(self.model)
        self.motions, self.explore = motions, explore
        self.ends = rat.body_ids(self.model, rat.APPENDAGES)
        self.bodies = rat.body_ids(self.model, rat.BODIES)
        self.observation = np.zeros(layout.LENGTH)
        self.reset()

    def reset(self):
        r = self.random
        motion = self.motion = self.motions[r.integers(len(self.motions))]
        row = int(motion.good[r.integers(len(motion.good)) if r.random() < 0.9 else 0])
        self.i = int(motion.steps[row])
        self.until = self.i + EPISODE_STEPS
        m, d = self.model, self.data
        mujoco.mj_resetData(m, d)
        if r.random() < START_ON_REFERENCE:
            plant_data, self.plant.data = self.plant.data, d
            self.plant.reset(motion.track.clip, self.i)
            self.plant.data = plant_data
            self.previous = np.zeros(layout.ACTUATORS)
        else:
            x = motion.states[row]
            d.qpos[:], d.qvel[:], d.act[:] = x[: m.nq], x[m.nq : m.nq + m.nv], x[m.nq + m.nv :]
            self.previous = motion.before[row].copy()
            d.qpos[:2] += r.normal(0, ROOT_OFFSET_M, 2)
            d.qpos[7:] += r.normal(0, REGISTRATION_RAD, layout.JOINTS)
            mujoco.mj_forward(m, d)
        self.noise = np.zeros(layout.ACTUATORS)
        self.noise_scale = NOISE * r.random()
        # Mask bits are drawn at random, so that the policy learns to live with either.
        self.mask = np.ones(layout.FRAMES) if r.random() < 0.5 else np.zeros(layout.FRAMES)
        self.expert_drives = r.random()

    def distance(self):
        """From the expert's own state at this step: tangent vector."""
        m, d = self.model, self.data
        x = self.motion.states[self.motion.row[self.i]]
        out = np.empty(2 * m.nv + m.na)
        mujoco.mj_differentiatePos(m, out[: m.nv], 1.0, x[: m.nq], d.qpos)
        out[m.nv : 2 * m.nv] = d.qvel - x[m.nq : m.nq + m.nv]
        out[2 * m.nv :] = d.act - x[m.nq + m.nv :]
        return out

    def look(self):
        self.observer(self.data, self.motion.track, self.i, self.previous, self.mask, self.observation)
        label = self.motion.label(self.motion.row[self.i], self.distance())
        return self.observation.astype(np.float32), label.astype(np.float32), self.expert_drives

    def step(self, action):
        """Reward, whether the rat fell, whether the episode is over; resets itself."""
        r, m, d = self.random, self.model, self.data
        action = np.clip(action, -1, 1)
        played = action
        if self.explore:
            self.noise = NOISE_CORRELATION * self.noise + np.sqrt(1 - NOISE_CORRELATION**2) * r.normal(0, 1, len(action))
            played = np.clip(action + self.noise_scale * self.noise, -1, 1)
            if r.random() < PUSH_RATE:
                d.qvel[:3] += r.normal(0, PUSH_M_PER_S, 3)
                d.qvel[3:6] += r.normal(0, PUSH_RAD_PER_S, 3)
        d.ctrl[:] = played
        mujoco.mj_step(m, d, balance.SUBSTEPS)
        self.i += 1
        clip = self.motion.track.clip
        root, angle, _, joints = balance.errors(d.qpos, clip.qpos[self.i])
        fell = bool(balance.off_rails(root, angle, joints))
        value = 0.0
        if not fell:
            rates = np.linalg.norm(d.qvel[6:] - clip.qvel[min(self.i, len(clip.qvel) - 1)][6:])
            ends = np.linalg.norm(d.xpos[self.ends] - self.motion.track.ends_m[self.i])
            bodies = np.linalg.norm(d.xpos[self.bodies] - self.motion.track.bodies_m[self.i])
            power = float(np.abs(d.qfrc_actuator * d.qvel).sum())
            value = reward(root, angle, joints, ends, rates, bodies, action, action - self.previous, power)
        self.previous = played
        over = fell or self.i >= self.until or self.i >= clip.last - 1 or self.motion.row[self.i] < 0
        if not over and self.explore:
            x = self.motion.states[self.motion.row[self.i]]
            root, angle, _, joints = balance.errors(d.qpos, x[: m.nq])
            fell = over = bool(root > TRUST_ROOT_M or angle > TRUST_RAD or joints > TRUST_JOINTS_RAD)
        if over:
            self.reset()
        return value, fell, over


class Pool:
    """Environments in this process."""

    def __init__(self, count, seed, folder, explore=True):
        self.plant = balance.Plant()
        self.folder, self.named, self.motions = folder, {}, []
        self.refresh()
        self.environments = [Environment(seed + 1000 * k, self.plant, self.motions, explore) for k in range(count)]
        self.count = count

    def refresh(self):
        """Takes up motions that the expert has tracked meanwhile."""
        found = load(self.plant.model, self.folder, self.named)
        self.named |= found
        for both in found.values():
            self.motions += both
        return len(self.motions)

    def look(self):
        seen, expert, drives = zip(*(environment.look() for environment in self.environments))
        return np.stack(seen), np.stack(expert), np.array(drives)

    def step(self, actions):
        value, fell, over = zip(*(e.step(a) for e, a in zip(self.environments, actions)))
        return np.array(value, np.float32), np.array(fell), np.array(over)


def _serve(pipe, count, seed, folder, explore):
    pool = Pool(count, seed, folder, explore)
    while True:
        name, argument = pipe.recv()
        if name == "close":
            return
        pipe.send(getattr(pool, name)() if argument is None else pool.step(argument))


class Processes:
    """The same, spread over processes."""

    def __init__(self, count, seed, folder, explore, workers):
        context = multiprocessing.get_context("spawn")
        self.shares = [len(part) for part in np.array_split(np.arange(count), workers)]
        self.count, self.pipes = count, []
        for k, share in enumerate(self.shares):
            here, there = context.Pipe()
            context.Process(target=_serve, args=(there, share, seed + 100_000 * k, folder, explore), daemon=True).start()
            self.pipes.append(here)

    def refresh(self):
        return [self._all("refresh")][0][0]

    def look(self):
        return tuple(np.concatenate(values) for values in zip(*self._all("look")))

    def _all(self, name):
        for pipe in self.pipes:
            pipe.send((name, None))
        return [pipe.recv() for pipe in self.pipes]

    def step(self, actions):
        for pipe, part in zip(self.pipes, np.split(actions, np.cumsum(self.shares)[:-1])):
            pipe.send(("step", part))
        return tuple(np.concatenate(values) for values in zip(*(pipe.recv() for pipe in self.pipes)))


def make(count, seed, folder, workers, explore=True):
    return Processes(count, seed, folder, explore, workers) if workers > 1 else Pool(count, seed, folder, explore)
