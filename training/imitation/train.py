"""Trains the encoder-decoder policy: first by imitating the expert on the states that the policy itself visits
(DAgger), then by PPO. Checkpointed and resumable; `state.pt` holds everything.

    python train.py clone --out runs/policy --gains ../../models/policy-balance/gains.npz --minutes 30
    python train.py ppo   --out runs/policy --minutes 600 --workers 16
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import environment
import layout
import network

GAMMA, LAMBDA, CLIP_RATIO, LEARNING_RATE = 0.95, 0.95, 0.2, 1e-4
VALUE_RATE, VALUE_FIRST_UPDATES, KL_MAX = 3e-4, 10, 0.03
PRIOR_WEIGHT, PRIOR_RAMP_UPDATES = 0.1, 200
CLONE_PRIOR_WEIGHT = 1e-4
BUFFER = 200_000
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


class Trainer:
    def __init__(self, args):
        self.args = args
        torch.manual_seed(args.seed)
        torch.set_num_threads(1)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.policy, self.value = network.Policy(args.latent).to(self.device), Value().to(self.device)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), LEARNING_RATE)
        self.value_optimizer = torch.optim.Adam(self.value.parameters(), VALUE_RATE)
        self.updates, self.seen = {"clone": 0, "ppo": 0}, 0
        args.out.mkdir(parents=True, exist_ok=True)
        self.file = args.out / "state.pt"
        if self.file.exists():
            saved = torch.load(self.file, map_location=self.device, weights_only=True)
            self.policy.load_state_dict(saved["policy"])
            self.value.load_state_dict(saved["value"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.value_optimizer.load_state_dict(saved["value_optimizer"])
            self.updates, self.seen = saved["updates"], saved["seen"]
        gains = None if args.gains is None else np.load(args.gains)["theta"]
        seed = args.seed + 7_919 * (1 + sum(self.updates.values()))
        self.rats = environment.make(args.environments, seed, gains, args.workers)
        self.log = (args.out / f"{args.stage}.csv").open("a")

    def save(self):
        state = {
            "policy": self.policy.state_dict(),
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

    # Cloning ------------------------------------------------------------------------------------------------------

    def clone(self):
        buffer, expert, before = (np.zeros((BUFFER, n), np.float32) for n in (layout.LENGTH, layout.ACTUATORS, layout.LENGTH))
        filled, next_row = 0, 0
        last = None
        until = time.time() + 60 * self.args.minutes
        for group in self.optimizer.param_groups:
            group["lr"] = self.args.clone_rate
        while time.time() < until:
            # The share of steps that the policy itself drives rises as it learns.
            own = min(0.9, self.updates["clone"] / 40)
            falls = episodes = 0
            rewards = []
            for _ in range(self.args.horizon):
                seen, wanted = self.rats.look()
                n = len(seen)
                rows = (next_row + np.arange(n)) % BUFFER
                buffer[rows], expert[rows], before[rows] = seen, wanted, seen if last is None else last
                next_row, filled = (next_row + n) % BUFFER, min(BUFFER, filled + n)
                with torch.no_grad():
                    mean = self.policy(self.tensor(seen), torch.zeros(n, self.policy.latent, device=self.device))["mean"]
                drive = np.where(np.random.random((n, 1)) < own, mean.cpu().numpy(), wanted)
                value, fell, over = self.rats.step(drive + 0.02 * np.random.standard_normal(drive.shape).astype(np.float32))
                rewards.append(value.mean())
                falls, episodes = falls + fell.sum(), episodes + over.sum()
                last = np.where(over[:, None], np.nan, seen)
                self.seen += n
            if self.updates["clone"] == 0:
                self.policy.freeze_statistics(self.tensor(buffer[:filled]))
            loss = prior = 0.0
            for _ in range(self.args.epochs_clone):
                rows = np.random.randint(0, filled, self.args.batch)
                step_loss, step_prior = self.clone_step(buffer[rows], expert[rows], before[rows])
                loss, prior = loss + step_loss / self.args.epochs_clone, prior + step_prior / self.args.epochs_clone
            self.updates["clone"] += 1
            self.note(
                update=self.updates["clone"],
                steps=self.seen,
                loss=loss,
                prior=prior,
                reward=float(np.mean(rewards)),
                falls_per_s=falls * layout.CONTROL_HZ / (self.args.horizon * self.rats.count),
            )
            if self.updates["clone"] % 5 == 0:
                self.save()
        self.save()

    def clone_step(self, seen, wanted, before):
        seen, wanted = self.tensor(seen), self.tensor(wanted)
        known = ~torch.isnan(self.tensor(before)).any(-1)
        seen[:, MASK] = torch.randint(0, 2, (len(seen), layout.FRAMES), device=self.device).float()
        out = self.policy(seen, torch.randn(len(seen), self.policy.latent, device=self.device))
        with torch.no_grad():
            past = self.policy.normalise(torch.nan_to_num(self.tensor(before)))
            _, loc_before, _ = self.policy.encode(past[:, : network.REFERENCE])
            loc_before = torch.where(known[:, None], loc_before, torch.zeros_like(loc_before))
        loss = ((out["mean"] - wanted) ** 2).mean()
        prior = network.prior_divergence(out["loc"], out["scale"], loc_before).mean()
        total = loss + CLONE_PRIOR_WEIGHT * prior / self.policy.latent
        descend(self.optimizer, total)
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
    parser.add_argument("--gains", type=Path, help="gains of the expert (balance.py); without them the plain servo teaches")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--environments", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1, help="processes that simulate")
    parser.add_argument("--horizon", type=int, default=128, help="control steps of each rat between updates")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=4, help="PPO passes over each collection")
    parser.add_argument("--epochs-clone", type=int, default=24, help="batches of cloning after each collection")
    parser.add_argument("--clone-rate", type=float, default=1e-3)
    parser.add_argument("--latent", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    trainer = Trainer(args)
    trainer.clone() if args.stage == "clone" else trainer.ppo()


if __name__ == "__main__":
    main()
