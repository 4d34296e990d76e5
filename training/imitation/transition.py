"""How the simulator's next state depends on this one and on the action: what `mjd_transitionFD` gives, in a third of its time
(measured: 9 against 28 ms), from differences of the inverse dynamics instead of the forward ones, which solve for the contacts each
time. With f(q, v, a) the force that an acceleration takes beyond the actuators', the acceleration follows as
da = -(df/da)^-1 (df/dq dq + df/dv dv - gain dact) (implicit function; contacts keep their state)."""

import mujoco
import numpy as np


class Transition:
    def __init__(self, plant):
        m = self.model = plant.model
        nv, nu = m.nv, m.nu
        moment = np.concatenate([np.zeros((nu, 6)), plant.transmission], 1)
        self.force_by_activation = moment.T * plant.gain
        self.by_q, self.by_v, self.by_a, self.mass = (np.zeros((nv, nv)) for _ in range(4))
        # The activation's filter (mjDYN_FILTER) over one step, and the only way in which the action comes in.
        self.decay = m.opt.timestep / m.actuator_dynprm[:, 0]
        self.a = np.zeros((2 * nv + nu, 2 * nv + nu), np.float32)
        self.a[2 * nv :, 2 * nv :] = np.diag(1 - self.decay)
        self.b = np.zeros((2 * nv + nu, nu), np.float32)
        self.b[2 * nv :] = np.diag(self.decay)

    def __call__(self, d, step):
        """The matrices over one simulator step at `d`, which has been through `mj_forward`; `step` is that of the differences.
        Tangents of positions, velocities and activations are rows and columns. Both arrays are used again by the next call."""
        m, nv, h = self.model, self.model.nv, self.model.opt.timestep
        mujoco.mjd_inverseFD(m, d, step, 1, self.by_q, self.by_v, self.by_a, None, None, None, None)
        forces = np.concatenate([-self.by_q.T, -self.by_v.T, self.force_by_activation], 1)
        acceleration = np.linalg.solve(self.by_a.T, forces)
        mujoco.mj_fullM(m, d, self.mass)
        # Euler's step takes joint damping implicitly.
        damped = self.mass + h * np.diag(m.dof_damping)
        rate = h * np.linalg.solve(damped, self.mass @ np.concatenate([acceleration, d.qacc[:, None]], 1))
        velocity = d.qvel + rate[:, -1]
        rate = rate[:, :-1]
        rate[:, nv : 2 * nv] += np.eye(nv)
        place = h * rate
        place[:, :nv] += np.eye(nv)
        place[3:6, 3:6] += turned(h * velocity[3:6]) - np.eye(3)
        self.a[:nv], self.a[nv : 2 * nv] = place, rate
        return self.a, self.b


def turned(w):
    """A turn by -w as a matrix, to the second order: how a deviation of the root looks from where the step takes it."""
    cross = np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])
    return np.eye(3) - cross + 0.5 * cross @ cross
