"""The servo with root feedback: set points from the reference, corrected by a small mirror-symmetric linear map of the
root's errors and the touch of the four paws. The map is fitted by evolution strategies on the training clips only.

    python balance.py --out runs/balance --minutes 60        # resumes from runs/balance/state.npz
"""

import argparse
import time
from pathlib import Path

import mujoco
import numpy as np

import mirror
import rat
import reference

CONTROL_HZ, SUBSTEPS = 100, 5
# Scales that bring each feature to about one: metres, radians, metres per second, radians per second.
SCALES = np.repeat([0.02, 0.2, 0.2, 3.0, 0.02, 0.3, 1.0], [3, 3, 3, 3, 3, 3, 1])
# Reflection in y = 0 of each feature.
FEATURE_SIGN = np.array([1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1.0])
GATED = 12
PAWS = ("palm_L", "palm_R", "sole_L", "sole_R")
TOUCH_SCALE_N = 0.3
# Most that feedback may move a set point, as a fraction of the control range.
REACH = 0.6


def rotation_vector(q):
    """Twice the vector part of a quaternion, on the hemisphere w >= 0: the small-angle rotation vector."""
    return 2.0 * q[1:] * (1.0 if q[0] >= 0 else -1.0)


def conjugate(q):
    return np.array([q[0], -q[1], -q[2], -q[3]])


def multiply(a, b):
    out = np.empty(4)
    mujoco.mju_mulQuat(out, a, b)
    return out


class Clip:
    """A clip resampled to the control rate, with its velocities; `future(i, k)` is k mocap frames after control step i."""

    def __init__(self, model, qpos):
        per_frame = CONTROL_HZ / reference.FRAME_HZ
        self.stride = int(per_frame)
        self.qpos = reference.at(qpos, np.arange(int((len(qpos) - 1) * per_frame) + 1) / per_frame)
        self.qvel = np.array(
            [reference.velocity(model, a, b, 1 / CONTROL_HZ) for a, b in zip(self.qpos, self.qpos[1:])]
        )
        self.last = len(self.qpos) - 1
        self.steps = self.last - 5 * self.stride - 1

    def future(self, i, k):
        return self.qpos[min(i + k * self.stride, self.last)]


class Plant:
    """One simulated rat and the servo that follows a clip."""

    def __init__(self):
        self.model = rat.load()
        self.data = mujoco.MjData(self.model)
        m = self.model
        self.transmission = rat.transmission(m)
        self.stiffness, self.offset, self.gain = -m.actuator_biasprm[:, 1], m.actuator_biasprm[:, 0], m.actuator_gainprm[:, 0]
        self.touch = [m.sensor(name).adr[0] for name in PAWS]
        self.paw_of = np.full(m.nu, -1)
        for i, name in enumerate(mirror.actuator_names(m)):
            side = "L" if "_L" in name else "R" if "_R" in name else None
            if side:
                hind = name.startswith(("hip", "knee", "ankle", "toe"))
                self.paw_of[i] = PAWS.index(("sole_" if hind else "palm_") + side)
        self.legs = np.flatnonzero(self.paw_of >= 0)

    def set_point(self, joints):
        return (self.stiffness * (self.transmission @ joints) - self.offset) / self.gain

    def reset(self, clip, i):
        d = self.data
        mujoco.mj_resetData(self.model, d)
        d.qpos[:] = clip.qpos[i]
        d.qvel[:] = clip.qvel[min(i, len(clip.qvel) - 1)]
        mujoco.mj_forward(self.model, d)
        floor = (c for c in d.contact if self.model.geom_bodyid[c.geom1] == 0)
        deepest = min([c.dist for c in floor], default=0.0)
        d.qpos[2] += max(0.0, -deepest)
        d.act[:] = np.clip(self.set_point(d.qpos[7:]), -1, 1)
        mujoco.mj_forward(self.model, d)

    def features(self, clip, i):
        d = self.data
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, d.qpos[3:7])
        rotation = rotation.reshape(3, 3)
        inverse = conjugate(d.qpos[3:7])
        one, two, five = (clip.future(i, k) for k in (1, 2, 5))
        p1, p2, p5 = ((r[:3] - d.qpos[:3]) @ rotation for r in (one, two, five))
        r1, r2, r5 = (rotation_vector(multiply(inverse, r[3:7])) for r in (one, two, five))
        v = (p2 - p1) * reference.FRAME_HZ - d.qvel[:3] @ rotation
        w = (r2 - r1) * reference.FRAME_HZ - d.qvel[3:6]
        x = np.concatenate([p1, r1, v, w, p5 - p1, r5 - r1, [1.0]]) / SCALES
        return np.clip(x, -3, 3), np.clip(d.sensordata[self.touch] / TOUCH_SCALE_N, 0, 1)

    def servo(self, clip, i, lead):
        one, two = clip.future(i, 1)[7:], clip.future(i, 2)[7:]
        return self.set_point(one + lead * (two - one))


class Feedback:
    """Parameters -> full gains, mirror-symmetric by construction."""

    def __init__(self, plant):
        self.plant = plant
        self.index, self.sign = mirror.signed_permutation(mirror.actuator_names(plant.model))
        names = mirror.actuator_names(plant.model)
        passive = ("caudal_extend", "caudal_bend", "atlas", "mandible", "finger_L", "finger_R")
        self.rows = [i for i in range(plant.model.nu) if self.index[i] >= i and names[i] not in passive]
        self.leg_rows = [i for i in self.rows if plant.paw_of[i] >= 0]
        self.width = len(FEATURE_SIGN)
        self.size = len(self.rows) * self.width + len(self.leg_rows) * GATED + 1

    def unpack(self, theta):
        """(always-on gains 38 x 19, gated gains 38 x 12, lead in frames)."""
        n = len(self.rows) * self.width
        always = self._spread(theta[:n].reshape(-1, self.width), self.rows, FEATURE_SIGN)
        gated = self._spread(theta[n:-1].reshape(-1, GATED), self.leg_rows, FEATURE_SIGN[:GATED])
        return always, gated, 1.5 + theta[-1]

    def pack(self, always):
        """Parameters of always-on gains alone, averaged over the two sides."""
        mirrored = (self.sign[:, None] * always * FEATURE_SIGN)[self.index]
        theta = np.zeros(self.size)
        theta[: len(self.rows) * self.width] = (0.5 * (always + mirrored))[self.rows].ravel()
        return theta

    def _spread(self, half, rows, feature_sign):
        full = np.zeros((self.plant.model.nu, half.shape[1]))
        for values, row in zip(half, rows):
            mirrored = self.sign[row] * values * feature_sign
            other = self.index[row]
            if other == row:
                full[row] = 0.5 * (values + mirrored)
            else:
                full[row], full[other] = values, mirrored
        return full


def jacobian_gains(feedback, clips, position=0.5, velocity=0.02):
    """A first guess: legs that move the paws against the root's error, as if all four stood firmly on the floor.

    The leg Jacobians are averaged over low postures of the clips, and made mirror-symmetric by `Feedback`.
    """
    plant, m, d = feedback.plant, feedback.plant.model, feedback.plant.data
    names = mirror.actuator_names(m)
    ends = ("wrist", "finger", "toe")
    total, count = np.zeros((m.nu, len(FEATURE_SIGN))), 0
    for clip in clips:
        for i in (50, 200, 350):
            if clip.qpos[i][2] > 0.03:
                continue
            d.qpos[:], d.qvel[:] = clip.qpos[i], 0
            mujoco.mj_forward(m, d)
            rotation = np.empty(9)
            mujoco.mju_quat2Mat(rotation, d.qpos[3:7])
            rotation = rotation.reshape(3, 3)
            count += 1
            for paw, name in enumerate(("hand_L", "hand_R", "foot_L", "foot_R")):
                body = m.body(name).id
                jacobian = np.zeros((3, m.nv))
                mujoco.mj_jac(m, d, jacobian, None, d.xpos[body], body)
                rows = [a for a in plant.legs if plant.paw_of[a] == paw and not names[a].startswith(ends)]
                leg = rotation.T @ jacobian[:, [m.jnt_dofadr[m.actuator_trnid[a, 0]] for a in rows]]
                x, y, z = rotation.T @ (d.xpos[body] - d.qpos[:3])
                lever = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
                inverse = leg.T @ np.linalg.inv(leg @ leg.T + 0.005**2 * np.eye(3))
                turn = -inverse @ np.hstack([np.eye(3), -lever]) * (plant.stiffness[rows] / plant.gain[rows])[:, None]
                total[rows, :6] += position * turn
                total[rows, 6:12] += velocity * turn
    return total / max(count, 1) * SCALES


def act(plant, gains, clip, i):
    always, gated, lead = gains
    x, touch = plant.features(clip, i)
    out = always @ x
    legs = plant.legs
    out[legs] += touch[plant.paw_of[legs]] * (gated[legs] @ x[:GATED])
    return np.clip(plant.servo(clip, i, lead) + REACH * np.tanh(out / REACH), -1, 1)


def errors(qpos, target):
    root = np.linalg.norm(qpos[:3] - target[:3])
    angle = 2 * np.arccos(min(1.0, abs(float(qpos[3:7] @ target[3:7]))))
    joints = qpos[7:] - target[7:]
    return root, angle, np.abs(joints).mean(), np.linalg.norm(joints)


def off_rails(root, angle, joints):
    return not np.isfinite(root + angle + joints) or root > 0.1 or angle > np.radians(60) or joints > 4.5


def score(plant, gains, clip, start, steps):
    """Mean reward over the window; nothing is earned after a fall."""
    plant.reset(clip, start)
    total = 0.0
    for i in range(start, start + steps):
        plant.data.ctrl[:] = act(plant, gains, clip, i)
        mujoco.mj_step(plant.model, plant.data, SUBSTEPS)
        root, angle, _, joints = errors(plant.data.qpos, clip.qpos[i + 1])
        if off_rails(root, angle, joints):
            break
        total += (
            0.25
            + 0.3 * np.exp(-0.5 * (root / 0.02) ** 2)
            + 0.25 * np.exp(-0.5 * (angle / np.radians(15)) ** 2)
            + 0.2 * np.exp(-0.5 * (joints / 0.7) ** 2)
        )
    return total / steps


def rollout(plant, gains, clip):
    """Errors of each control step over the whole clip with resets, and the number of resets."""
    plant.reset(clip, 0)
    rows, resets, survived = [], 0, None
    for i in range(clip.steps):
        plant.data.ctrl[:] = act(plant, gains, clip, i)
        mujoco.mj_step(plant.model, plant.data, SUBSTEPS)
        row = errors(plant.data.qpos, clip.qpos[i + 1])
        rows.append(row)
        if off_rails(row[0], row[1], row[3]):
            survived = i if survived is None else survived
            resets += 1
            plant.reset(clip, i + 1)
    return np.array(rows), resets, (clip.steps if survived is None else survived)


def load_clips(model):
    lift = reference.TailLift(model)
    clips = {name: np.array([lift(q)[0] for q in qpos]) for name, qpos in reference.read_clips().items()}
    return {name: Clip(model, qpos) for name, qpos in clips.items()}, clips


def report(plant, gains, clips):
    for name, clip in clips.items():
        rows, resets, survived = rollout(plant, gains, clip)
        mean = rows.mean(0)
        mark = "held out" if name in reference.HELD_OUT else ""
        print(
            f"  {name} root {mean[0] * 1e3:5.1f} mm  turn {np.degrees(mean[1]):5.1f} deg  joints {np.degrees(mean[2]):4.2f} deg"
            f"  resets {resets:2d}  first fall after {survived / CONTROL_HZ:4.2f} s {mark}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/balance"))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--sigma", type=float, default=0.03)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--decay", type=float, default=0.01, help="shrinks gains that earn nothing")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="only measure the saved gains on all clips")
    args = parser.parse_args()
    plant = Plant()
    feedback = Feedback(plant)
    clips, raw = load_clips(plant.model)
    state = args.out / "state.npz"
    args.out.mkdir(parents=True, exist_ok=True)
    theta, m, v, update = np.zeros(feedback.size), np.zeros(feedback.size), np.zeros(feedback.size), 0
    train_names = [name for name in clips if name not in reference.HELD_OUT]
    theta += feedback.pack(jacobian_gains(feedback, [clips[name] for name in train_names]))
    if state.exists():
        saved = np.load(state)
        theta, m, v, update = saved["theta"], saved["m"], saved["v"], int(saved["update"])
    if args.report:
        report(plant, feedback.unpack(theta), clips)
        return
    train = [clips[name] for name in train_names]
    train += [Clip(plant.model, mirror.qpos(plant.model, raw[name])) for name in train_names]
    until = time.time() + 60 * args.minutes
    log = (args.out / "log.csv").open("a")
    while time.time() < until:
        rng = np.random.default_rng([args.seed, update])
        gradient, scores = np.zeros(feedback.size), []
        steps = int(args.seconds * CONTROL_HZ)
        for _ in range(args.pairs):
            noise = rng.standard_normal(feedback.size)
            clip = train[rng.integers(len(train))]
            start = int(rng.integers(0, clip.steps - steps))
            pair = [score(plant, feedback.unpack(theta + s * args.sigma * noise), clip, start, steps) for s in (1, -1)]
            gradient += (pair[0] - pair[1]) * noise
            scores += pair
        gradient /= 2 * args.pairs * args.sigma
        update += 1
        m = 0.9 * m + 0.1 * gradient
        v = 0.99 * v + 0.01 * gradient**2
        step = (m / (1 - 0.9**update)) / (np.sqrt(v / (1 - 0.99**update)) + 1e-8)
        theta = (1 - args.decay) * theta + args.rate * step
        log.write(f"{update},{np.mean(scores):.5f}\n")
        log.flush()
        if update % 5 == 0:
            np.savez(args.out / "state.tmp.npz", theta=theta, m=m, v=v, update=update)
            (args.out / "state.tmp.npz").replace(state)
        if update % 50 == 0:
            print(f"update {update} score {np.mean(scores):.4f}", flush=True)
            report(plant, feedback.unpack(theta), clips)


if __name__ == "__main__":
    main()
