"""Speed and closeness of registration beside SciPy's bounded least squares (the method of the original STAC) and mink.

One run, one machine, one thread, the same body, offsets and keypoints for all: the real 1,000 frames, of which the peers get
the first --frames. Each peer starts every frame from the one before, within the joint limits. Peers are timed by the CPU
time of their thread, we by the clock on the wall, so that a busy machine can only flatter them.

    python tests/peers/registration_peers.py [--frames 150] [--binary target/release/examples/registration_speed]

Needs tests/peers/registration_requirements.txt, the body model in .deps/rat and ../shared/data; skips with a reason where
they are absent.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

for pool in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{pool}_NUM_THREADS", "1")

import numpy as np  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
MJCF = ROOT / ".deps/rat/rodent.xml"
RECORDING = ROOT / "../shared/data/rat_keypoints/rat23_grooming_1000_frames.mat"
SUBJECT = ROOT / "configs/subjects/grooming.toml"
MINK_STEPS = 3
# As loose as the original STAC has it; SciPy's own 1e-8 takes several times as long.
FTOL = 1e-3


def body(subject):
    """The stock rat on a free joint, scaled, with the subject's keypoints as sites: what drivers/rat makes."""
    import mujoco

    text = MJCF.read_text()
    start, end = text.index("<worldbody>"), text.index("</worldbody>")
    tree = text[start + len("<worldbody>"):end]
    head = text[:text.index("<asset>")] + text[text.index("</asset>") + len("</asset>"):start]
    text = f'{head}<worldbody><body name="walker"><freejoint name="root"/>{tree}</body>{text[end:]}'
    own_anchor = {}
    for element in text.split("<joint ")[1:]:
        element = element[:element.index(">")]
        if 'name="' in element:
            own_anchor[element.split('name="')[1].split('"')[0]] = ' pos="' in element
    spec = mujoco.MjSpec.from_string(text)
    scale = subject.get("scale", 0.9)
    for part in [b for b in spec.bodies if b.name != "world"] + list(spec.geoms) + list(spec.sites):
        part.pos = np.asarray(part.pos) * scale
        if hasattr(part, "size"):
            part.size = np.asarray(part.size) * scale
    for joint in spec.joints:
        if own_anchor.get(joint.name, False):
            joint.pos = np.asarray(joint.pos) * scale
    for keypoint in subject["keypoint"]:
        offset = keypoint["offset_m"] if np.abs(keypoint["offset_m"]).max() > 2e-6 else [2e-6, 0, 0]
        spec.body(keypoint["body"]).add_site(name=keypoint["name"], pos=offset)
    return spec.compile()


def rigid_start(mujoco, model, data, sites, target):
    """Root pose that brings the body at rest onto the keypoints."""
    mujoco.mj_resetData(model, data)
    mujoco.mj_kinematics(model, data)
    here = data.site_xpos[sites].copy()
    a, b = here - here.mean(0), target - target.mean(0)
    u, _, vt = np.linalg.svd(b.T @ a)
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    qpos = data.qpos.copy()
    qpos[:3] = target.mean(0) - turn @ here.mean(0)
    mujoco.mju_mat2Quat(qpos[3:7], turn.ravel())
    return qpos


def scipy_peer(model, targets, sites, analytic):
    """Bounded least squares over all coordinates, each frame from the last."""
    import mujoco
    from scipy.optimize import least_squares

    data = mujoco.MjData(model)
    low, high = np.full(model.nq, -np.inf), np.full(model.nq, np.inf)
    for joint in range(model.njnt):
        if model.jnt_limited[joint]:
            low[model.jnt_qposadr[joint]], high[model.jnt_qposadr[joint]] = model.jnt_range[joint]

    def residual(q, target):
        data.qpos[:] = q
        mujoco.mj_normalizeQuat(model, data.qpos)
        mujoco.mj_kinematics(model, data)
        return (data.site_xpos[sites] - target).ravel()

    rows = np.zeros((3, model.nv))

    def jacobian(q, target):
        residual(q, target)
        mujoco.mj_comPos(model, data)
        out = np.zeros((3 * len(sites), model.nq))
        unit = q[3:7] / np.linalg.norm(q[3:7])
        w, x, y, z = unit
        # Angular velocity about the root's axes by the quaternion's rate.
        by_rate = 2 * np.array([[-x, w, z, -y], [-y, -z, w, x], [-z, y, -x, w]]) / np.linalg.norm(q[3:7])
        for index, site in enumerate(sites):
            mujoco.mj_jacSite(model, data, rows, None, site)
            block = out[3 * index:3 * index + 3]
            block[:, :3], block[:, 3:7], block[:, 7:] = rows[:, :3], rows[:, 3:6] @ by_rate, rows[:, 6:]
        return out

    q = np.clip(rigid_start(mujoco, model, data, sites, targets[0]), low + 1e-9, high - 1e-9)
    millis, distances, steps = [], [], []
    for target in targets:
        start = time.thread_time()
        fit = least_squares(residual, q, jac=jacobian if analytic else "2-point", bounds=(low, high), args=(target,),
                            ftol=FTOL, max_nfev=50)
        millis.append(1e3 * (time.thread_time() - start))
        steps.append(fit.x[7:] - q[7:])
        q = np.clip(fit.x, low + 1e-9, high - 1e-9)
        q[3:7] /= np.linalg.norm(q[3:7])
        distances.append(np.linalg.norm(residual(q, target).reshape(-1, 3), axis=1).mean())
    return millis, distances, steps


def mink_peer(model, targets, names):
    """Differential inverse kinematics: a position task for each keypoint, joint limits, a few steps a frame."""
    import mink
    import mujoco

    configuration = mink.Configuration(model)
    sites = [model.site(name).id for name in names]
    configuration.update(rigid_start(mujoco, model, mujoco.MjData(model), sites, targets[0]))
    tasks = [mink.FrameTask(name, "site", position_cost=1.0, orientation_cost=0.0, lm_damping=1e-3) for name in names]
    limits = [mink.ConfigurationLimit(model)]
    millis, distances, steps = [], [], []
    for index, target in enumerate(targets):
        before = configuration.q[7:].copy()
        start = time.thread_time()
        for task, place in zip(tasks, target):
            task.set_target(mink.SE3.from_translation(place))
        for _ in range(MINK_STEPS if index else 100):
            velocity = mink.solve_ik(configuration, tasks, dt=1.0, solver="daqp", damping=1e-6, limits=limits)
            configuration.integrate_inplace(velocity, 1.0)
        millis.append(1e3 * (time.thread_time() - start))
        steps.append(configuration.q[7:] - before)
        distances.append(np.linalg.norm(configuration.data.site_xpos[sites] - target, axis=1).mean())
    return millis, distances, steps


def line(name, millis, distances, steps):
    """Percentiles of a peer, the cold start left out."""
    warm = np.array(millis[1:])
    step = np.degrees(np.sqrt(np.mean(np.square(np.array(steps[1:])))))
    return {"name": name, "p50_us": 1e3 * np.median(warm), "p99_us": 1e3 * np.percentile(warm, 99),
            "mean_mm": 1e3 * float(np.mean(distances)), "step_deg": float(step)}


def ours(binary, frames):
    """Our own registration, measured by an example of the crate on the same file in the same minute."""
    command = [binary] if binary else ["cargo", "run", "--quiet", "--release", "--example", "registration_speed", "--"]
    command += [str(RECORDING), "--subject", str(SUBJECT), "--frames", str(frames)]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--frames", type=int, default=150)
    arguments.add_argument("--binary", help="built example registration_speed (default: cargo builds it)")
    arguments = arguments.parse_args()
    try:
        import mink  # noqa: F401
        import scipy.io
    except ImportError as error:
        sys.exit(f"skipped: {error}; install tests/peers/registration_requirements.txt")
    for path in (MJCF, RECORDING):
        if not path.is_file():
            print(f"skipped: {path} is not there")
            return
    subject = tomllib.loads(SUBJECT.read_text())
    names = [keypoint["name"] for keypoint in subject["keypoint"]]
    targets = scipy.io.loadmat(RECORDING)["pred"].transpose(0, 2, 1)[:arguments.frames] * 1e-3
    model = body(subject)
    sites = [model.site(name).id for name in names]
    own = ours(arguments.binary, arguments.frames)
    rows = [{"name": "mimicd", **own},
            line("SciPy least_squares, numeric Jacobian", *scipy_peer(model, targets[:max(10, arguments.frames // 5)], sites, False)),
            line("SciPy least_squares, analytic Jacobian", *scipy_peer(model, targets, sites, True)),
            line(f"mink, {MINK_STEPS} steps a frame", *mink_peer(model, targets, names))]
    print(f"{'':40} {'p50 us':>10} {'p99 us':>10} {'mean mm':>9} {'step deg':>9} {'ratio p50':>10}")
    for row in rows:
        print(f"{row['name']:40} {row['p50_us']:10.1f} {row['p99_us']:10.1f} {row['mean_mm']:9.3f} {row['step_deg']:9.3f}"
              f" {row['p50_us'] / own['p50_us']:10.0f}")


if __name__ == "__main__":
    main()
