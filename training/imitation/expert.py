"""A slow, strong expert: iterative LQR over a receding horizon, through the simulator itself.

At each step the physics is linearised along a rollout (`mjd_transitionFD`), a Riccati recursion gives better controls
and feedback gains, and the first few controls are kept. What is kept for learning is not only the track of states and
controls but the gains too: they say what the expert would have done in states nearby.
"""

import mujoco
import numpy as np

import balance
import rat

HORIZON, COMMIT = 40, 5
# Control steps that share one linearisation, taken in their middle.
SHARED = 2
FD_STEP = 1e-6
STEPS_ALPHA = (1.0, 0.5, 0.25, 0.1)
# Levenberg-Marquardt damping on the controls: least, most.
DAMPING = (1e-3, 3e3)
# Widths of the cost: an error this large costs one half.
WIDTHS = {
    "root_m": 0.005,
    "root_rad": 0.08,
    "root_m_per_s": 0.25,
    "root_rad_per_s": 3.0,
    "joint_rad": 0.15,
    "tail_rad": 1.0,
    "joint_rad_per_s": 12.0,
    "end_m": 0.007,
    "control": 0.35,
    "slew": 0.6,
}
TERMINAL = 4.0
# After a fall: plans to go back, and iterations of each plan from there on.
BACK, CAREFUL = 12, 3
# Farther than this from the motion the expert has failed.
FALLEN_ROOT_M, FALLEN_RAD = 0.04, np.radians(35)


class Expert:
    def __init__(self, plant, widths=None, horizon=HORIZON):
        self.plant, self.m, self.d = plant, plant.model, plant.data
        m = self.m
        self.horizon, self.damping = horizon, DAMPING[0]
        self.nx, self.nu = 2 * m.nv + m.na, m.nu
        self.w = {name: 1.0 / width**2 for name, width in (WIDTHS | (widths or {})).items()}
        self.ends = rat.body_ids(m, rat.APPENDAGES)
        names = [m.joint(i).name for i in range(1, m.njnt)]
        tail = np.array([name.startswith("vertebra_C") and not name.startswith("vertebra_cerv") for name in names])
        q = np.concatenate(
            [
                np.full(3, self.w["root_m"]),
                np.full(3, self.w["root_rad"]),
                np.where(tail, self.w["tail_rad"], self.w["joint_rad"]),
                np.full(3, self.w["root_m_per_s"]),
                np.full(3, self.w["root_rad_per_s"]),
                np.full(m.nv - 6, self.w["joint_rad_per_s"]),
                np.zeros(m.na),
            ]
        )
        self.q = q
        self.A, self.B = np.zeros((self.nx, self.nx)), np.zeros((self.nx, self.nu))

    # State ------------------------------------------------------------------------------------------------------------

    def state(self):
        d = self.d
        return np.concatenate([d.qpos, d.qvel, d.act, d.qacc_warmstart])

    def restore(self, x):
        m, d = self.m, self.d
        d.qpos[:], d.qvel[:] = x[: m.nq], x[m.nq : m.nq + m.nv]
        d.act[:] = x[m.nq + m.nv : m.nq + m.nv + m.na]
        d.qacc_warmstart[:] = x[m.nq + m.nv + m.na :]

    def difference(self, x, y):
        """Tangent vector from y to x (without the solver's warm start)."""
        m = self.m
        out = np.empty(self.nx)
        mujoco.mj_differentiatePos(m, out[: m.nv], 1.0, y[: m.nq], x[: m.nq])
        out[m.nv :] = (x - y)[m.nq : m.nq + m.nv + m.na]
        return out

    # Reference --------------------------------------------------------------------------------------------------------

    def follow(self, track):
        """Sets the motion to follow: an `observe.Track`."""
        self.track, self.clip = track, track.clip
        n = len(self.clip.qpos)
        at = lambda i: min(i, n - 1)
        self.feed = np.array([np.clip(self.plant.set_point(0.5 * (self.clip.qpos[at(i + 2)] + self.clip.qpos[at(i + 4)])[7:]), -1, 1) for i in range(n)])

    def gradient(self, i, scale=1.0):
        """Gradient and Gauss-Newton Hessian of the state's cost, at the state now in `d` (kinematics done)."""
        m, d = self.m, self.d
        i = min(i, self.clip.last)
        error = np.zeros(self.nx)
        mujoco.mj_differentiatePos(m, error[: m.nv], 1.0, self.clip.qpos[i], d.qpos)
        error[m.nv : 2 * m.nv] = d.qvel - self.clip.qvel[min(i, len(self.clip.qvel) - 1)]
        gradient, hessian = self.q * error, np.diag(self.q)
        cost = 0.5 * error @ gradient
        jacobian = np.zeros((3, m.nv))
        for k, body in enumerate(self.ends):
            mujoco.mj_jacBody(m, d, jacobian, None, body)
            gap = d.xpos[body] - self.track.ends_m[i, k]
            gradient[: m.nv] += self.w["end_m"] * (jacobian.T @ gap)
            hessian[: m.nv, : m.nv] += self.w["end_m"] * (jacobian.T @ jacobian)
            cost += 0.5 * self.w["end_m"] * gap @ gap
        return scale * cost, scale * gradient, scale * hessian

    def cost(self, i, scale=1.0):
        m, d = self.m, self.d
        i = min(i, self.clip.last)
        error = np.zeros(self.nx)
        mujoco.mj_differentiatePos(m, error[: m.nv], 1.0, self.clip.qpos[i], d.qpos)
        error[m.nv : 2 * m.nv] = d.qvel - self.clip.qvel[min(i, len(self.clip.qvel) - 1)]
        gap = d.xpos[self.ends] - self.track.ends_m[i]
        return scale * 0.5 * (self.q @ error**2 + self.w["end_m"] * (gap**2).sum())

    def control_cost(self, i, u, act):
        a, b = u - self.feed[min(i, self.clip.last)], u - act
        return 0.5 * (self.w["control"] * a @ a + self.w["slew"] * b @ b)

    # Rollouts ---------------------------------------------------------------------------------------------------------

    def rollout(self, start, i, controls, nominal=None, gains=None, k=None, alpha=0.0):
        """States before each control and after the last, controls as played, cost."""
        m, d = self.m, self.d
        self.restore(start)
        states, played, total = [], [], 0.0
        for t, u in enumerate(controls):
            x = self.state()
            states.append(x)
            if nominal is not None:
                u = u + alpha * k[t] + gains[t] @ self.difference(x, nominal[t])
            u = np.clip(u, -1, 1)
            played.append(u)
            total += self.control_cost(i + t, u, d.act)
            d.ctrl[:] = u
            mujoco.mj_step(m, d, balance.SUBSTEPS)
            total += self.cost(i + t + 1, TERMINAL if t == len(controls) - 1 else 1.0)
            if not np.isfinite(total) or total > 1e7:
                total = 1e9
        states.append(self.state())
        return states, played, total

    def linearise(self, states, played, t):
        """Transition over a control period at and around step t, from the linearisation in the middle of those that
        share it."""
        middle = min(t + SHARED // 2, len(played) - 1)
        self.restore(states[middle])
        self.d.ctrl[:] = played[middle]
        mujoco.mjd_transitionFD(self.m, self.d, FD_STEP, 0, self.A, self.B, None, None)
        a2 = self.A @ self.A
        a4 = a2 @ a2
        b = self.B + self.A @ self.B
        b = b + a2 @ b
        return self.A @ a4, b + a4 @ self.B

    def improve(self, i, states, played, total):
        """One iteration: linearise, sweep back, try step lengths."""
        n = len(played)
        # The state's cost is needed where kinematics are current.
        def expand(t, scale=1.0):
            self.restore(states[t])
            mujoco.mj_kinematics(self.m, self.d)
            mujoco.mj_comPos(self.m, self.d)
            return self.gradient(i + t, scale)

        _, vx, vxx = expand(n, TERMINAL)
        ks, gains = [None] * n, [None] * n
        act = slice(2 * self.m.nv, self.nx)
        for t in reversed(range(n)):
            if t % SHARED == SHARED - 1 or t == n - 1:
                A, B = self.linearise(states, played, t - t % SHARED)
            u, a = played[t], states[t][self.m.nq + self.m.nv : self.m.nq + self.m.nv + self.m.na]
            lu = self.w["control"] * (u - self.feed[min(i + t, self.clip.last)]) + self.w["slew"] * (u - a)
            vb = vxx @ B
            quu = B.T @ vb
            quu[np.diag_indices(self.nu)] += self.w["control"] + self.w["slew"] + self.damping
            qux = vb.T @ A
            qux[:, act] -= self.w["slew"] * np.eye(self.nu)
            qu = lu + B.T @ vx
            factor = np.linalg.solve(quu, np.column_stack([qu, qux]))
            k, K = -factor[:, 0], -factor[:, 1:]
            ks[t], gains[t] = k, K
            if t == 0:
                break
            _, lx, lxx = expand(t)
            lx[act] -= self.w["slew"] * (u - a)
            lxx[act, act] += self.w["slew"] * np.eye(self.nu)
            qx = lx + A.T @ vx
            vx = qx + qux.T @ k
            vxx = lxx + A.T @ vxx @ A + qux.T @ K
            vxx = 0.5 * (vxx + vxx.T)
        best = (states, played, total)
        self.alpha = 0.0
        for alpha in STEPS_ALPHA:
            trial = self.rollout(states[0], i, played, states, gains, ks, alpha)
            if trial[2] < best[2]:
                best, self.alpha = trial, alpha
                break
        self.damping = min(DAMPING[1], self.damping * 8) if self.alpha == 0 else max(DAMPING[0], self.damping / 4)
        return best, gains

    # Receding horizon -------------------------------------------------------------------------------------------------

    def track_motion(self, start=0, stop=None, first_iterations=4, iterations=1, note=None):
        """Follows the motion set by `follow`; gives rows of (step, state, previous action, action, gains), and falls.

        After a fall it goes back and tries again with more iterations; after a second one it starts anew on the
        reference.
        """
        stop = self.clip.last - 1 if stop is None else stop
        rows, falls, careful_until = [], 0, -1
        i, x, previous, plan = self._begin(start)
        checkpoints, count = [], first_iterations
        while i < stop:
            if len(checkpoints) * COMMIT < i - start + 1:
                checkpoints.append((i, x, previous, plan, len(rows)))
            for _ in range(max(count, CAREFUL if i < careful_until else iterations)):
                plan, gains = self.improve(i, *plan)
            count = 0
            states, played, _ = plan
            for t in range(min(COMMIT, stop - i)):
                rows.append((i + t, states[t][: -self.m.nv], previous, played[t], gains[t].astype(np.float32)))
                previous = played[t]
            i, x = i + COMMIT, states[COMMIT]
            root, angle, _, _ = balance.errors(x[: self.m.nq], self.clip.qpos[min(i, self.clip.last)])
            if root > FALLEN_ROOT_M or angle > FALLEN_RAD or not np.isfinite(root + angle):
                self.damping = DAMPING[0]
                if i > careful_until and len(checkpoints) > BACK:
                    careful_until = i + COMMIT
                    i, x, previous, plan, kept = checkpoints[-BACK]
                    del checkpoints[-BACK:], rows[kept:]
                    count = CAREFUL
                else:
                    falls += 1
                    del rows[max(0, len(rows) - 4 * COMMIT) :]
                    i, x, previous, plan = self._begin(i)
                    checkpoints, start, count = [], i, first_iterations
                continue
            plan = self._shift(i, x, played)
            if note and (i // COMMIT) % 4 == 0:
                note(i, root, angle, plan[2], self.alpha)
        return rows, falls

    def _begin(self, i):
        self.plant.reset(self.clip, i)
        x, previous = self.state(), self.d.act.copy()
        controls = [self.feed[min(i + t, self.clip.last)].copy() for t in range(self.horizon)]
        return i, x, previous, self.rollout(x, i, controls)

    def _shift(self, i, x, played):
        """The plan moved on: what was not played yet, then the feed-forward with the last correction."""
        offset = played[-1] - self.feed[min(i - COMMIT + self.horizon - 1, self.clip.last)]
        tail = [self.feed[min(i + t, self.clip.last)] + offset for t in range(self.horizon - COMMIT, self.horizon)]
        return self.rollout(x, i, played[COMMIT:] + tail)
