"""Trains the policy by the gradient of the tracking cost itself, through the simulator's derivatives along the policy's own
rollouts (`segments.py`). Checkpointed and resumable; `state.pt` holds everything.

    python shooting.py --expert runs/expert --out runs/policy --extra grooming.json twin_1.json --minutes 60
"""

import argparse
import copy
import multiprocessing
import time
from pathlib import Path

import numpy as np
import torch

import balance
import evaluate
import layout
import mirror
import network
import reference
import seeds
import segments

AVERAGE = 0.99
# Errors that count one, per group.
WIDTHS = {
    "root_m": 0.006,
    "root_rad": 0.10,
    "joint_rad": 0.12,
    "tail_rad": 0.5,
    "root_m_per_s": 0.15,
    "root_rad_per_s": 2.0,
    "joint_rad_per_s": 6.0,
    "end_m": 0.008,
    "change": 0.25,
    "control": 0.8,
    "beyond": 0.1,
}
WEIGHTS = {
    "root_m": 1.0,
    "root_rad": 1.0,
    "joint_rad": 0.7,
    "tail_rad": 0.02,
    "root_m_per_s": 0.15,
    "root_rad_per_s": 0.15,
    "joint_rad_per_s": 0.1,
    "end_m": 0.5,
    "change": 0.15,
    "control": 0.05,
    "beyond": 0.2,
}
# The last steps of a segment stand for what comes after.
TERMINAL_STEPS, TERMINAL = 3, 3.0
# Largest gradient that a state passes back, in units of typical deviations.
STATE_GRADIENT = 2.0
# Farther than this from the segment (m, rad, rad) its derivatives say nothing.
REACH = torch.tensor([0.025] * 3 + [0.4] * 3 + [1.5] * 67)
PRIOR_WEIGHT = 1e-4
# The linear paths learn so much faster than the layers.
STRAIGHT_RATE = 3.0
# Stretches are short at first: what an untrained policy does over a long one is far beyond the derivatives.
FIRST_STEPS, LONGER_UPDATES = 4, 40
WAIT_FRAMES = 6
WARPS = (0.85, 1.15)


def training_motions(model, extra=(), only=None, warps=WARPS):
    """(name, frames at 50 Hz) with the tails lifted, the first posture held for a moment, and the mirror image of each."""
    lift = reference.TailLift(model)
    found = {name: qpos for name, qpos in reference.read_clips().items() if name not in reference.HELD_OUT}
    real = set(found)
    for file in extra:
        found |= reference.read_clips(file)
    found = {name: np.array([lift(q)[0] for q in qpos]) for name, qpos in found.items() if not only or name in only}
    for warp in (1.0, *warps):
        for name, lifted in found.items():
            if warp != 1.0 and name not in real:
                continue
            frames = np.arange(int((len(lifted) - 1) / warp) + 1) * warp
            shown = reference.at(lifted, frames)
            shown = np.concatenate([np.repeat(shown[:1], WAIT_FRAMES, 0), shown])
            yield f"{name}-x{warp}", shown
            yield f"{name}-x{warp}-mirror", mirror.qpos(model, shown)


class Cost:
    def __init__(self, plant, motions):
        m = plant.model
        names = mirror.joint_names(m)
        self.tail = torch.tensor([name.startswith("vertebra_C") for name in names])
        self.observe = segments.Observation(plant)
        as_tensor = lambda x: torch.as_tensor(np.asarray(x), dtype=torch.float32)
        self.qpos, self.qvel = as_tensor(motions.qpos), as_tensor(motions.qvel)
        self.per_joint = as_tensor((plant.stiffness / plant.gain)[:, None] * plant.transmission)
        self.offset = as_tensor(-plant.offset / plant.gain)

    def __call__(self, q, v, target, gap, u, raw, before, feed):
        """Cost of each rat: what is reached (q, v against `target`) and what was done for it."""
        wanted, speed = self.qpos[target], self.qvel[target]
        turn = segments.product(segments.conjugate(q[:, 3:7]), wanted[:, 3:7])
        turn = 2 * turn[:, 1:] * torch.where(turn[:, :1] < 0, -1.0, 1.0)
        joints = q[:, 7:] - wanted[:, 7:]
        mean = lambda x: (x * x).mean(-1)
        square = {
            "root_m": ((q[:, :3] - wanted[:, :3]) ** 2).sum(-1),
            "root_rad": (turn**2).sum(-1),
            "joint_rad": mean(joints[:, ~self.tail]),
            "tail_rad": mean(joints[:, self.tail]),
            "root_m_per_s": ((v[:, :3] - speed[:, :3]) ** 2).sum(-1),
            "root_rad_per_s": ((v[:, 3:6] - speed[:, 3:6]) ** 2).sum(-1),
            "joint_rad_per_s": mean((v[:, 6:] - speed[:, 6:])[:, ~self.tail]),
            "end_m": 3 * mean(gap),
            "change": mean(u - before),
            "control": mean(u - feed),
            "beyond": mean((raw.abs() - 1).clamp(min=0)),
        }
        reached, done = 0.0, 0.0
        for name, value in square.items():
            term = WEIGHTS[name] * torch.log1p(value / WIDTHS[name] ** 2)
            if name in ("change", "control", "beyond"):
                done = done + term
            else:
                reached = reached + term
        return reached, done

    def feed(self, future):
        joints = 0.5 * (future[:, 0, 7:] + future[:, 1, 7:])
        return (joints @ self.per_joint.T + self.offset).clamp(-1, 1)


class PassBack(torch.autograd.Function):
    """The identity; shortens long gradients."""

    @staticmethod
    def forward(context, x):
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        gradient = torch.nan_to_num(gradient)
        size = (gradient * DISTURBED).norm(dim=-1, keepdim=True)
        return gradient * (STATE_GRADIENT / size.clamp(min=STATE_GRADIENT))


DISTURBED = torch.as_tensor(segments.DEVIATION)


def moved(q, v, dx):
    """Coordinates and velocities displaced by a tangent vector."""
    turn = dx[:, 3:6]
    half = 0.5 * turn
    quaternion = torch.cat([1 - 0.5 * (half * half).sum(-1, keepdim=True), half], -1)
    quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
    turned = segments.product(q[:, 3:7], quaternion)
    return torch.cat([q[:, :3] + dx[:, :3], turned, q[:, 7:] + dx[:, 6:73]], -1), v + dx[:, 73:146]


def shoot(policy, cost, batch, disturbance=1.0, steps=segments.LENGTH):
    """Mean cost of the policy over `steps` of each segment, rolled through their derivatives; and the prior's divergence."""
    n, length = len(batch["u"]), steps
    if steps < segments.LENGTH:
        first = segments.SHARED * int(torch.randint((segments.LENGTH - steps) // segments.SHARED + 1, ()))
        half = slice(first // segments.SHARED, (first + steps) // segments.SHARED)
        cut = lambda name, x: x if name == "mask" else x[:, half] if name in "AB" else x[:, first : first + steps + 1]
        batch = {name: cut(name, x) for name, x in batch.items()}
    noise = torch.zeros(n, policy.latent)
    dx = disturbance * torch.randn(n, len(DISTURBED)) * DISTURBED
    dx = dx * (torch.rand(n, 1) < 0.7)
    alive = torch.ones(n)
    previous = batch["previous"][:, 0]
    futures = cost.qpos[batch["ahead"]]
    q, v = moved(batch["q"][:, 0], batch["v"][:, 0], dx)
    names = ("q", "v", "dx", "u", "raw", "before", "loc", "scale", "sample", "alive")
    rows = {name: [] for name in names}
    for t in range(length):
        force = batch["force"][:, t] + cost.observe.force_change(dx[:, 6:73], dx[:, 146:])
        seen = cost.observe(q, v, futures[:, t], previous, force, batch["touch"][:, t], batch["mask"])
        noise = network.CORRELATION * noise + (1 - network.CORRELATION**2) ** 0.5 * torch.randn_like(noise)
        out = policy(seen, noise)
        raw = out["mean"] + batch["noise"][:, t]
        u = raw.clamp(-1, 1)
        du = u - batch["u"][:, t]
        half = t // segments.SHARED
        dx = torch.bmm(batch["A"][:, half], dx[..., None])[..., 0] + torch.bmm(batch["B"][:, half], du[..., None])[..., 0]
        alive = alive * (dx.detach().abs()[:, :73] < REACH).all(-1)
        dx = PassBack.apply(torch.where(alive[:, None] > 0, dx, 0.0))
        q, v = moved(batch["q"][:, t + 1], batch["v"][:, t + 1], dx)
        for name, value in zip(names, (q, v, dx, u, raw, previous, out["loc"], out["scale"], out["sample"], alive)):
            rows[name].append(value)
        previous = u
    # The costs of all steps at once: one long batch is cheaper than many short ones.
    all_of = {name: torch.stack(values, 1).flatten(0, 1) for name, values in rows.items()}
    given = {name: batch[name][:, :length].flatten(0, 1) for name in ("gap", "jacobian", "target", "valid")}
    gap = given["gap"] + torch.bmm(given["jacobian"], all_of["dx"][:, :73, None])[..., 0]
    feed = cost.feed(futures[:, :length].flatten(0, 1))
    reached, done = cost(all_of["q"], all_of["v"], given["target"], gap, all_of["u"], all_of["raw"], all_of["before"], feed)
    valid = given["valid"] * all_of["alive"]
    late = torch.arange(length) >= length - TERMINAL_STEPS
    weight = valid * torch.where(late, TERMINAL, 1.0).repeat(n)
    total = (weight * reached + valid * done).sum() / weight.sum().clamp(min=1.0)
    after, before = torch.stack(rows["loc"][1:]), torch.stack(rows["sample"][:-1]).detach()
    prior = network.prior_divergence(after, torch.stack(rows["scale"][1:]), before).mean()
    return total, prior, alive.mean()


class Trainer:
    def __init__(self, args):
        self.args = args
        torch.manual_seed(args.seed)
        torch.set_num_threads(1)
        self.plant = balance.Plant()
        found = list(training_motions(self.plant.model, args.extra or (), args.only, () if args.only else WARPS))
        self.motions = segments.Motions(self.plant.model, found, WAIT_FRAMES)
        print(f"{len(found)} motions, {self.motions.steps.sum() / layout.CONTROL_HZ:.0f} s", flush=True)
        self.cost = Cost(self.plant, self.motions)
        self.policy = make_policy(args.latent, args.width)
        straight = {name: p for name, p in self.policy.named_parameters() if name.startswith("straight")}
        layers = [p for name, p in self.policy.named_parameters() if name not in straight]
        groups = [{"params": layers, "share": 1.0}, {"params": list(straight.values()), "share": STRAIGHT_RATE}]
        self.optimizer = torch.optim.Adam(groups, args.rate, betas=(0.9, 0.99))
        self.average, self.updates, self.seen = copy.deepcopy(self.policy), 0, 0
        args.out.mkdir(parents=True, exist_ok=True)
        self.file = args.out / "state.pt"
        if self.file.exists():
            saved = torch.load(self.file, map_location="cpu", weights_only=True)
            self.policy.load_state_dict(saved["policy"])
            self.average.load_state_dict(saved["average"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.updates, self.seen = saved["updates"], saved["seen"]
        else:
            self.freeze_statistics()
        self.log = (args.out / "shooting.csv").open("a")
        self.bank, self.held, self.next, self.kept = {}, 0, 0, 0
        self.mirror = seeds.Mirror(self.plant.model, self.motions)
        if args.expert:
            self.keep(self.seeds())
            self.kept = self.held

    def freeze_statistics(self):
        collector = segments.Collector(self.motions, 32, self.args.seed, self.policy)
        collector.linearise = lambda d, control: (0, 0)
        rows = []
        for _ in range(4):
            rows.append(collector.look())
            collector.collect()
        self.policy.freeze_statistics(torch.cat(rows))
        self.average.load_state_dict(self.policy.state_dict())

    def seeds(self):
        """Segments along the expert's tracks, made once for a run."""
        file = self.args.out / "seeds.npz"
        if not file.exists():
            collector = segments.Collector(self.motions, 1, self.args.seed, self.policy)
            np.savez(file, **seeds.gather(collector, self.args.expert))
        return dict(np.load(file))

    def weights(self):
        return {name: value.detach().clone() for name, value in self.policy.state_dict().items()}

    def keep(self, segment):
        """Puts new segments and their mirror images over the oldest ones, but never over the expert's."""
        image = self.mirror(segment)
        segment = {name: np.concatenate([x, image[name]]) for name, x in segment.items()}
        if not self.bank:
            self.bank = {name: torch.zeros((self.args.bank, *x.shape[1:]), dtype=torch.from_numpy(x).dtype) for name, x in segment.items()}
        for k in range(len(segment["u"])):
            for name, x in segment.items():
                self.bank[name][self.next] = torch.from_numpy(x[k])
            self.next = self.next + 1 if self.next + 1 < self.args.bank else self.kept
            self.held = min(self.held + 1, self.args.bank)

    def run(self):
        args = self.args
        context = multiprocessing.get_context("fork")
        pipes, children = [], []
        for k in range(args.workers):
            here, there = context.Pipe()
            make = lambda: make_policy(args.latent, args.width)
            job = (there, self.motions, args.rats, args.seed + self.updates + 1000 * k, make)
            children.append(context.Process(target=segments.serve, args=job, daemon=True))
            children[-1].start()
            here.send(self.weights())
            pipes.append(here)
        started, noted, updates, falls, steps, spent, fresh = time.time(), time.time(), [], 0, 0, 0.0, []
        while time.time() - started < args.minutes * 60:
            for pipe in pipes:
                while pipe.poll(5.0 if self.held < args.first else 0):
                    segment, fell, played, seconds = pipe.recv()
                    self.keep(segment)
                    falls, steps, spent, self.seen = falls + fell, steps + played, spent + seconds, self.seen + played
                    pipe.send(self.weights())
                    with torch.no_grad():
                        batch = {name: torch.from_numpy(x) for name, x in segment.items()}
                        fresh.append(shoot(self.policy, self.cost, batch, 0.0)[0].item())
            if self.held < args.first:
                continue
            updates.append(self.update())
            if time.time() - noted > args.every:
                lr = self.optimizer.param_groups[0]["lr"]
                cost, size, alive = np.array(updates).T
                values = {"updates": self.updates, "seen": self.seen, "cost": cost.mean(), "alive": alive.mean(), "fresh": np.mean(fresh) if fresh else np.nan}
                values |= {"segments": self.held, "falls_per_s": falls * layout.CONTROL_HZ / max(1, steps), "gradient": np.median(size), "rate": lr}
                values |= {"collector_s": spent, "minutes": (time.time() - started) / 60}
                self.note(**values)
                self.save()
                noted, updates, falls, steps, spent, fresh = time.time(), [], 0, 0, 0.0, []
        for child in children:
            child.terminate()
        self.save()

    def update(self):
        args = self.args
        rows = torch.randint(self.held, (args.batch,))
        if 0 < self.kept < self.held:
            own = torch.randint(self.kept, self.held, (args.batch,))
            rows = torch.where(torch.rand(args.batch) < args.own, own, torch.randint(self.kept, (args.batch,)))
        batch = {name: x[rows] for name, x in self.bank.items()}
        steps = min(segments.LENGTH, FIRST_STEPS + segments.SHARED * (self.updates // LONGER_UPDATES))
        cost, prior, alive = shoot(self.policy, self.cost, batch, args.disturbance, steps)
        self.optimizer.zero_grad(set_to_none=True)
        (cost + PRIOR_WEIGHT * prior).backward()
        size = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), args.clip)
        if torch.isfinite(size):
            self.optimizer.step()
        self.updates += 1
        for group in self.optimizer.param_groups:
            group["lr"] = group["share"] * args.rate / (1 + self.updates / args.halving)
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.policy.parameters()):
                mean.lerp_(now, 1 - AVERAGE)
        return cost.item(), size.item(), alive.item()

    def note(self, **values):
        if self.log.tell() == 0:
            self.log.write(",".join(values) + "\n")
        self.log.write(",".join(f"{v:.6g}" for v in values.values()) + "\n")
        self.log.flush()
        print(" ".join(f"{name} {v:.4g}" for name, v in values.items()), flush=True)

    def save(self):
        state = {"policy": self.policy.state_dict(), "average": self.average.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(state | {"updates": self.updates, "seen": self.seen}, self.file.with_suffix(".tmp"))
        self.file.with_suffix(".tmp").replace(self.file)


def make_policy(latent, width):
    policy, plant = network.Policy(latent, (width, width), (width, width, width)), balance.Plant()
    policy.set_servo(plant.transmission, plant.stiffness, plant.offset, plant.gain)
    return policy


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/policy"))
    parser.add_argument("--extra", type=Path, nargs="*", help="more files of motions (mimicd imitate motions)")
    parser.add_argument("--only", nargs="*", help="train on these clips only")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--workers", type=int, default=1, help="processes that simulate")
    parser.add_argument("--rats", type=int, default=8, help="rats of each of them")
    parser.add_argument("--bank", type=int, default=480, help="segments kept")
    parser.add_argument("--first", type=int, default=192, help="segments before the first update")
    parser.add_argument("--expert", type=Path, help="tracks made by plan.py, to begin with")
    parser.add_argument("--own", type=float, default=0.5, help="share of the policy's own segments in a batch, beside the expert's")
    parser.add_argument("--disturbance", type=float, default=0.7)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--halving", type=float, default=4000, help="updates after which the rate is halved")
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--every", type=float, default=30, help="seconds between lines of the log")
    parser.add_argument("--width", type=int, default=128, help="of every hidden layer")
    parser.add_argument("--latent", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    Trainer(parser.parse_args()).run()


if __name__ == "__main__":
    main()
