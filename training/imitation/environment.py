"""Simulated rats that imitate clips: episodes, rewards, expert labels; in this process or in several."""

import multiprocessing

import mujoco
import numpy as np

import balance
import layout
import observe
import rat

# Joint noise of registration as measured (0.2 to 0.3 degrees), radians.
REGISTRATION_RAD = 0.005
ROOT_OFFSET_M = 0.004
EPISODE_STEPS = 300


def reward(root_m, angle_rad, joints_rad, ends_m, rates_rad_per_s, bodies_m, action, change, power_w):
    """Gaussian kernels on each error, small costs on effort and on change."""
    kernel = lambda error, width: float(np.exp(-0.5 * (error / width) ** 2))
    return (
        0.25 * kernel(root_m, 0.035)
        + 0.25 * kernel(angle_rad, np.radians(20))
        + 0.2 * kernel(joints_rad, 1.4)
        + 0.15 * kernel(ends_m, 0.032)
        + 0.05 * kernel(rates_rad_per_s, 30.0)
        + 0.1 * kernel(bodies_m, 0.25)
        - 0.002 * float(action @ action) / layout.ACTUATORS
        - 0.02 * float(change @ change) / layout.ACTUATORS
        - 0.001 * min(power_w, 50.0)
    )


class Environment:
    """One rat. The expert is the servo with root feedback: what it would do here labels every state visited."""

    def __init__(self, seed, gains=None, augment=True):
        self.random = np.random.default_rng(seed)
        self.plant = balance.Plant()
        self.model, self.data = self.plant.model, self.plant.data
        feedback = balance.Feedback(self.plant)
        self.gains = feedback.unpack(np.zeros(feedback.size) if gains is None else gains)
        self.observer = observe.Observer(self.model)
        self.tracks = list(observe.tracks(self.model, augment=augment).values())
        self.ends = rat.body_ids(self.model, rat.APPENDAGES)
        self.bodies = rat.body_ids(self.model, rat.BODIES)
        self.observation = np.zeros(layout.LENGTH)
        self.reset()

    def reset(self):
        self.track = self.tracks[self.random.integers(len(self.tracks))]
        self.i = int(self.random.integers(0, self.track.steps - 50))
        self.until = min(self.i + EPISODE_STEPS, self.track.steps)
        self.plant.reset(self.track.clip, self.i)
        self.data.qpos[:2] += self.random.normal(0, ROOT_OFFSET_M, 2)
        self.data.qpos[7:] += self.random.normal(0, REGISTRATION_RAD, layout.JOINTS)
        mujoco.mj_forward(self.model, self.data)
        self.previous = np.zeros(layout.ACTUATORS)
        # Mask bits are drawn at random, so that the policy learns to live with either.
        self.mask = (self.random.random(layout.FRAMES) < 0.5).astype(float)

    def look(self):
        self.observer(self.data, self.track, self.i, self.previous, self.mask, self.observation)
        return self.observation.astype(np.float32), balance.act(self.plant, self.gains, self.track.clip, self.i).astype(np.float32)

    def step(self, action):
        """Reward, whether the rat fell, whether the episode is over; resets itself."""
        action = np.clip(action, -1, 1)
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, balance.SUBSTEPS)
        self.i += 1
        target = self.track.clip.qpos[self.i]
        root, angle, _, joints = balance.errors(self.data.qpos, target)
        fell = bool(balance.off_rails(root, angle, joints))
        value = 0.0
        if not fell:
            rates = np.linalg.norm(self.data.qvel[6:] - self.track.clip.qvel[min(self.i, len(self.track.clip.qvel) - 1)][6:])
            ends = np.linalg.norm(self.data.xpos[self.ends] - self.track.ends_m[self.i])
            bodies = np.linalg.norm(self.data.xpos[self.bodies] - self.track.bodies_m[self.i])
            power = float(np.abs(self.data.qfrc_actuator * self.data.qvel).sum())
            value = reward(root, angle, joints, ends, rates, bodies, action, action - self.previous, power)
        self.previous = action
        over = fell or self.i >= self.until
        if over:
            self.reset()
        return value, fell, over


class Pool:
    """Environments in this process."""

    def __init__(self, count, seed, gains):
        self.environments = [Environment(seed + 1000 * k, gains) for k in range(count)]
        self.count = count

    def look(self):
        seen, expert = zip(*(environment.look() for environment in self.environments))
        return np.stack(seen), np.stack(expert)

    def step(self, actions):
        value, fell, over = zip(*(e.step(a) for e, a in zip(self.environments, actions)))
        return np.array(value, np.float32), np.array(fell), np.array(over)


def _serve(pipe, count, seed, gains):
    pool = Pool(count, seed, gains)
    while True:
        name, argument = pipe.recv()
        if name == "close":
            return
        pipe.send(pool.look() if name == "look" else pool.step(argument))


class Processes:
    """The same, spread over processes."""

    def __init__(self, count, seed, gains, workers):
        context = multiprocessing.get_context("spawn")
        self.shares = [len(part) for part in np.array_split(np.arange(count), workers)]
        self.count, self.pipes = count, []
        for k, share in enumerate(self.shares):
            here, there = context.Pipe()
            context.Process(target=_serve, args=(there, share, seed + 100_000 * k, gains), daemon=True).start()
            self.pipes.append(here)

    def look(self):
        for pipe in self.pipes:
            pipe.send(("look", None))
        seen, expert = zip(*(pipe.recv() for pipe in self.pipes))
        return np.concatenate(seen), np.concatenate(expert)

    def step(self, actions):
        for pipe, part in zip(self.pipes, np.split(actions, np.cumsum(self.shares)[:-1])):
            pipe.send(("step", part))
        return tuple(np.concatenate(values) for values in zip(*(pipe.recv() for pipe in self.pipes)))


def make(count, seed, gains, workers):
    return Processes(count, seed, gains, workers) if workers > 1 else Pool(count, seed, gains)
