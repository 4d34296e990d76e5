"""Trains the encoder-decoder policy: first by imitating the expert on the states that the policy itself visits
(DAgger; the expert's feedback gains label them), then by PPO. Checkpointed and resumable; `state.pt` holds everything.

    python plan.py --out runs/expert --workers 2
    python train.py clone --expert runs/expert --out runs/policy --minutes 60
    python train.py ppo   --expert runs/expert --out runs/policy --minutes 600 --workers 16
"""

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch

import balance
import environment
import evaluate
import layout
import network

GAMMA, LAMBDA, CLIP_RATIO, LEARNING_RATE = 0.95, 0.95, 0.2, 1e-4
VALUE_RATE, VALUE_FIRST_UPDATES, KL_MAX = 3e-4, 10, 0.03
PRIOR_WEIGHT, PRIOR_RAMP_UPDATES = 0.1, 200
CLONE_PRIOR_WEIGHT = 2e-5
BUFFER = 300_000
# Rounds over which the policy takes over the driving from the expert.
HANDOVER_ROUNDS = 50
AVERAGE = 0.995
MASK = layout.PLACES["reference_mask"]


class Value(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([network.block(layout.LENGTH, 512), network.block(512, 256)])
        self.out = torch.nn.Linear(256, 1)

    def forward(self, x):
        for layer in self.layers:
            x = network.apply(layer, x)
        return self.out(x).squeeze(-1)


def new_policy(latent, width=256):
    policy, plant = network.Policy(latent, (width, width), (width, width, width)), balance.Plant()
    policy.set_servo(plant.transmission, plant.stiffness, plant.offset, plant.gain)
    return policy


def load_policy(saved, which="average"):
    """The averaged policy of a `state.pt`, or the newest."""
    weights = saved[which]
    rows, width = weights["to_latent.weight"].shape
    policy = network.Policy(rows // 2, (width, width), (width, width, width))
    policy.load_state_dict(weights)
    return policy.eval()


class Trainer:
    def __init__(self, args):
        self.args = args
        torch.manual_seed(args.seed)
        torch.set_num_threads(args.threads)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.policy, self.value = new_policy(args.latent, args.width).to(self.device), Value().to(self.device)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), LEARNING_RATE)
        self.value_optimizer = torch.optim.Adam(self.value.parameters(), VALUE_RATE)
        self.updates, self.seen = {"clone": 0, "ppo": 0}, 0
        if args.start:
            weights = torch.load(args.start, map_location=self.device, weights_only=True)["average"]
            self.policy.load_state_dict(weights)
        self.average = copy.deepcopy(self.policy)
        args.out.mkdir(parents=True, exist_ok=True)
        self.file = args.out / "state.pt"
        if self.file.exists():
            saved = torch.load(self.file, map_location=self.device, weights_only=True)
            self.policy.load_state_dict(saved["policy"])
            self.average.load_state_dict(saved["average"])
            self.value.load_state_dict(saved["value"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.value_optimizer.load_state_dict(saved["value_optimizer"])
            self.updates, self.seen = saved["updates"], saved["seen"]
        seed = args.seed + 7_919 * (1 + sum(self.updates.values()))
        np.random.seed(seed)
        self.seed = seed
        self.rats = None if args.stage == "clone" else environment.make(args.environments, seed, args.expert, args.workers, False)
        self.log = (args.out / f"{args.stage}.csv").open("a")

    def save(self):
        state = {
            "policy": self.policy.state_dict(),
            "average": self.average.state_dict(),
            "value": self.value.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "value_optimizer": self.value_optimizer.state_dict(),
            "updates": self.updates,
            "seen": self.seen,
        }
        torch.save(state, self.file.with_suffix(".tmp"))
        self.file.with_suffix(".tmp").replace(self.file)

    def note(self, **values):
        if self.log.tell() == 0:
            self.log.write(",".join(values) + "\n")
        self.log.write(",".join(f"{v:.6g}" for v in values.values()) + "\n")
        self.log.flush()

    def tensor(self, array):
        return torch.as_tensor(array, device=self.device)

    def follow_average(self):
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.policy.parameters()):
                slow.lerp_(fast, 1 - AVERAGE)

    # Cloning ------------------------------------------------------------------------------------------------------

    def clone(self):
        """Learns here while another process collects."""
        buffer = {
            "seen": np.zeros((BUFFER, layout.LENGTH), np.float32),
            "wanted": np.zeros((BUFFER, layout.ACTUATORS), np.float32),
            "before": np.zeros((BUFFER, self.policy.latent), np.float32),
        }
        filled = next_row = 0
        context = torch.multiprocessing.get_context("spawn")
        pipe, there = context.Pipe()
        context.Process(target=_collect, args=(there, self.args, self.seed), daemon=True).start()
        started = time.time()
        until = started + 60 * self.args.minutes
        losses = []
        self.ask(pipe, self.args.first)
        while time.time() < until:
            if filled == 0 or pipe.poll():
                rows, figures = pipe.recv()
                n = len(rows["seen"])
                places = (next_row + np.arange(n)) % BUFFER
                for name, column in buffer.items():
                    column[places] = rows[name]
                next_row, filled = (next_row + n) % BUFFER, min(BUFFER, filled + n)
                self.seen += n
                if self.updates["clone"] == 0 and not self.args.start:
                    statistics = self.tensor(buffer["seen"][:filled])
                    self.policy.freeze_statistics(statistics)
                    self.average.freeze_statistics(statistics)
                self.updates["clone"] += 1
                self.ask(pipe, 1)
                self.clone_note(figures, losses)
                losses = []
            left = max(0.05, (until - time.time()) / (until - started))
            for group in self.optimizer.param_groups:
                group["lr"] = self.args.clone_rate * left
            rows = np.random.randint(0, filled, self.args.batch)
            losses.append(self.clone_step(*(self.tensor(buffer[name][rows]) for name in ("seen", "wanted", "before"))))
        self.save()

    def ask(self, pipe, rounds):
        # The share of rats that the policy itself drives rises as it learns.
        own = min(0.9, self.updates["clone"] / HANDOVER_ROUNDS)
        pipe.send((own, rounds, {name: value.cpu().numpy() for name, value in self.policy.state_dict().items()}))

    def clone_note(self, figures, losses):
        loss, prior = np.mean(losses, 0) if losses else (np.nan, np.nan)
        scores = {}
        if self.updates["clone"] % self.args.evaluate_every == 0:
            scores = evaluate.brief(self.average)
            print(self.updates["clone"], {k: round(float(v), 2) for k, v in scores.items()}, flush=True)
        self.note(
            update=self.updates["clone"],
            steps=self.seen,
            batches=len(losses),
            loss=loss,
            prior=prior,
            **figures,
            survived_s=scores.get("survived_s", float("nan")),
            root_mm=scores.get("root_mm", float("nan")),
        )
        if self.updates["clone"] % 5 == 0:
            self.save()

    def clone_step(self, seen, wanted, before):
        mask = (torch.rand(len(seen), 1, device=self.device) < 0.5).float()
        seen[:, MASK] = mask
        with torch.autocast(self.device, torch.bfloat16):
            out = self.policy(seen, torch.randn(len(seen), self.policy.latent, device=self.device))
        error = torch.nan_to_num(out["mean"] - wanted)
        # Where the expert is at the end of its range, going beyond it is no error: actions are clipped.
        error = torch.where(wanted >= 0.999, error.clamp(max=0), torch.where(wanted <= -0.999, error.clamp(min=0), error))
        loss = torch.nn.functional.smooth_l1_loss(error, torch.zeros_like(error), beta=0.2)
        prior = network.prior_divergence(out["loc"], out["scale"], before).mean()
        descend(self.optimizer, loss + CLONE_PRIOR_WEIGHT * prior / self.policy.latent)
        self.follow_average()
        return loss.item(), prior.item()

    # PPO ----------------------------------------------------------------------------------------------------------

    def ppo(self):
        until = time.time() + 60 * self.args.minutes
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATE
        while time.time() < until:
            batch = self.collect()
            losses = self.ppo_epochs(batch)
            self.updates["ppo"] += 1
            self.note(
                update=self.updates["ppo"],
                steps=self.seen,
                reward=float(batch["reward"].mean()),
                falls_per_s=float(batch["fell"].mean()) * layout.CONTROL_HZ,
                policy_loss=losses[0],
                value_loss=losses[1],
                prior=losses[2],
                kl=losses[3],
            )
            if self.updates["ppo"] % 5 == 0:
                self.save()
        self.save()

    def collect(self):
        horizon, n, z = self.args.horizon, self.rats.count, self.policy.latent
        keep = {
            "seen": torch.zeros(horizon, n, layout.LENGTH),
            "noise": torch.randn(horizon, n, z),
            "before": torch.zeros(horizon, n, z),
            "action": torch.zeros(horizon, n, layout.ACTUATORS),
            "likelihood": torch.zeros(horizon, n),
            "value": torch.zeros(horizon + 1, n),
            "reward": torch.zeros(horizon, n),
            "fell": torch.zeros(horizon, n),
            "over": torch.zeros(horizon, n),
        }
        keep = {name: tensor.to(self.device) for name, tensor in keep.items()}
        before = torch.zeros(n, z, device=self.device)
        with torch.no_grad():
            for t in range(horizon):
                seen = self.tensor(self.rats.look()[0])
                out = self.policy(seen, keep["noise"][t])
                action = out["mean"] + out["std"] * torch.randn_like(out["mean"])
                keep["seen"][t], keep["before"][t], keep["action"][t] = seen, before, action
                keep["likelihood"][t] = likelihood(out, action)
                keep["value"][t] = self.value(self.policy.normalise(seen))
                value, fell, over = self.rats.step(action.cpu().numpy())
                keep["reward"][t], keep["fell"][t] = self.tensor(value), self.tensor(fell.astype(np.float32))
                keep["over"][t] = self.tensor(over.astype(np.float32))
                before = out["sample"] * (1 - keep["over"][t])[:, None]
            keep["value"][horizon] = self.value(self.policy.normalise(self.tensor(self.rats.look()[0])))
            advantage, running = torch.zeros(horizon, n, device=self.device), torch.zeros(n, device=self.device)
            for t in reversed(range(horizon)):
                # A fall ends the return; the end of an episode only cuts it, and is bootstrapped from its last state.
                going = 1 - keep["fell"][t]
                same = 1 - keep["over"][t]
                following = same * keep["value"][t + 1] + (1 - same) * keep["value"][t]
                # Returns are scaled to the size of one reward.
                delta = (1 - GAMMA) * keep["reward"][t] + GAMMA * going * following - keep["value"][t]
                running = delta + GAMMA * LAMBDA * same * running
                advantage[t] = running
        self.seen += horizon * n
        keep["advantage"], keep["return"] = advantage, advantage + keep["value"][:horizon]
        return {name: tensor[:horizon].flatten(0, 1) for name, tensor in keep.items()}

    def ppo_epochs(self, batch):
        """Passes over the batch until it has been seen often enough or the policy has moved far enough."""
        losses = []
        for _ in range(self.args.epochs):
            losses.append(self.ppo_epoch(batch))
            if losses[-1][3] > KL_MAX:
                break
        return np.mean(losses, 0)

    def ppo_epoch(self, batch):
        ramp = min(1.0, self.updates["ppo"] / PRIOR_RAMP_UPDATES)
        totals = []
        for rows in torch.randperm(len(batch["reward"]), device=self.device).split(self.args.batch):
            part = {name: tensor[rows] for name, tensor in batch.items()}
            out = self.policy(part["seen"], part["noise"])
            change = likelihood(out, part["action"]) - part["likelihood"]
            ratio = change.exp()
            advantage = (part["advantage"] - part["advantage"].mean()) / (part["advantage"].std() + 1e-6)
            clipped = ratio.clamp(1 - CLIP_RATIO, 1 + CLIP_RATIO)
            gain = torch.minimum(ratio * advantage, clipped * advantage).mean()
            value_loss = ((self.value(self.policy.normalise(part["seen"])) - part["return"]) ** 2).mean()
            prior = network.prior_divergence(out["loc"], out["scale"], part["before"]).mean() / self.policy.latent
            descend(self.value_optimizer, value_loss)
            if self.updates["ppo"] >= VALUE_FIRST_UPDATES:
                descend(self.optimizer, -gain + PRIOR_WEIGHT * ramp * prior)
            totals.append([-gain.item(), value_loss.item(), prior.item(), (ratio - 1 - change).mean().item()])
        return np.mean(totals, 0)


def _collect(pipe, args, seed):
    """Rounds of experience for cloning: asked for with the share that the policy drives, and its weights."""
    torch.set_num_threads(1)
    rats = environment.make(args.environments, seed, args.expert, args.workers)
    policy = new_policy(args.latent, args.width)
    noise = torch.zeros(rats.count, args.latent)
    before = np.zeros((rats.count, args.latent), np.float32)
    while True:
        own, rounds, weights = pipe.recv()
        policy.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
        rats.refresh()
        kept, falls, rewards = [], 0, []
        for _ in range(args.horizon * rounds):
            seen, wanted, drives = rats.look()
            with torch.no_grad():
                out = policy(torch.as_tensor(seen), noise)
            kept.append((seen, wanted, before))
            drives = drives[:, None] < own
            action = np.where(drives | np.isnan(wanted), out["mean"].numpy(), wanted)
            value, fell, over = rats.step(action)
            before = np.where(over[:, None], 0, out["loc"].numpy()).astype(np.float32)
            rewards.append(value.mean())
            falls += fell.sum()
        rows = {name: np.concatenate(column) for name, column in zip(("seen", "wanted", "before"), zip(*kept))}
        falls_per_s = falls * layout.CONTROL_HZ / len(rows["seen"])
        pipe.send((rows, {"reward": float(np.mean(rewards)), "falls_per_s": float(falls_per_s)}))


def descend(optimizer, loss):
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()


def likelihood(out, action):
    return torch.distributions.Normal(out["mean"], out["std"]).log_prob(action).sum(-1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["clone", "ppo"])
    parser.add_argument("--out", type=Path, default=Path("runs/policy"))
    parser.add_argument("--expert", type=Path, default=Path("runs/expert"), help="tracks made by plan.py")
    parser.add_argument("--start", type=Path, help="weights to begin with where there is no state.pt (models/*/weights.pt)")
    parser.add_argument("--first", type=int, default=6, help="how much longer the first round of cloning is")
    parser.add_argument("--evaluate-every", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1, help="threads of the network")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--environments", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1, help="processes that simulate")
    parser.add_argument("--horizon", type=int, default=128, help="control steps of each rat between updates")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=4, help="PPO passes over each collection")
    parser.add_argument("--clone-rate", type=float, default=1e-3)
    parser.add_argument("--width", type=int, default=256, help="of every hidden layer")
    parser.add_argument("--latent", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    trainer = Trainer(args)
    trainer.clone() if args.stage == "clone" else trainer.ppo()


if __name__ == "__main__":
    main()
