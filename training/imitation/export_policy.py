"""Writes a trained policy as ONNX with every inner signal as an output, its resampling graph and its manifest.

    python export_policy.py --state runs/policy/state.pt --name policy-clone
"""

import argparse
from pathlib import Path

import torch

import layout
import network
import train

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 50


class Whole(torch.nn.Module):
    def __init__(self, policy):
        super().__init__()
        self.policy = policy

    def forward(self, observation, noise):
        out = self.policy(observation, noise)
        mean = out["mean"].clamp(-1, 1)
        return (mean, out["std"], out["loc"], out["scale"], out["sample"], *out["encoder"], *out["decoder"])


class Resample(torch.nn.Module):
    """Actions of many latents: the proprioceptive half of the first decoder layer is computed once."""

    def __init__(self, policy):
        super().__init__()
        self.policy = policy
        first = policy.decoder[0]["linear"]
        self.register_buffer("by_latent", first.weight[:, : policy.latent].T.contiguous())
        self.register_buffer("by_body", first.weight[:, policy.latent :].T.contiguous())
        self.register_buffer("bias", first.bias.clone())
        straight = policy.straight_action.weight
        self.register_buffer("straight_by_latent", straight[:, : policy.latent].T.contiguous())
        self.register_buffer("straight_by_body", straight[:, policy.latent :].T.contiguous())

    def forward(self, observation, loc, scale, noise):
        policy, latent = self.policy, loc + scale * noise
        body = policy.normalise(observation)[:, network.REFERENCE :]
        x = body @ self.by_body + self.bias + latent @ self.by_latent
        x = torch.nn.functional.silu(policy.decoder[0]["norm"](x))
        for layer in policy.decoder[1:]:
            x = network.apply(layer, x)
        mean, _ = policy.to_action(x).chunk(2, -1)
        straight = body @ self.straight_by_body + latent @ self.straight_by_latent
        return (mean + straight + policy.servo(latent, observation)).clamp(-1, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--which", default="average", choices=["average", "policy"], help="averaged weights or the newest")
    parser.add_argument("--name", required=True)
    parser.add_argument("--description", default="Encoder-decoder policy with a latent of 60 over servos, trained by the gradient of the tracking cost through the simulator's derivatives.")
    parser.add_argument("--actuators", default="servo", choices=["servo", "torque"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    saved = torch.load(args.state, map_location="cpu", weights_only=True)
    policy = train.load_policy(saved, args.which)
    size = policy.latent
    out = args.out or ROOT / "models" / args.name
    out.mkdir(parents=True, exist_ok=True)
    torch.save({"average": saved[args.which], "seen": saved["seen"]}, out / "weights.pt")
    names = ["action", "action_std", "latent_loc", "latent_scale", "latent_sample"]
    names += [f"encoder_{i + 1}" for i in range(len(policy.encoder))] + [f"decoder_{i + 1}" for i in range(len(policy.decoder))]
    observation, noise = torch.zeros(1, layout.LENGTH), torch.zeros(1, size)
    common = {"dynamo": False, "opset_version": 17}
    torch.onnx.export(
        Whole(policy), (observation, noise), out / "policy.onnx", input_names=["observation", "noise"], output_names=names, **common
    )
    torch.onnx.export(
        Resample(policy),
        (observation, noise, noise, torch.zeros(SAMPLES, size)),
        out / "resample.onnx",
        input_names=["observation", "loc", "scale", "noise"],
        output_names=["action"],
        **common,
    )
    sizes = [value.shape[-1] for value in Whole(policy)(observation, noise)]
    latent = f'[latent]\nsize = {size}\nnoise = "noise"\ncorrelation = {network.CORRELATION}\n\n'
    latent += f'[resample]\nfile = "resample.onnx"\nsamples = {SAMPLES}\nloc = "latent_loc"\nscale = "latent_scale"'
    signals = [(name, name, length) for name, length in zip(names, sizes)]
    (out / "policy.toml").write_text(layout.manifest(args.name, args.description, args.actuators, signals, latent))
    print(f"wrote {out}: {sum(p.numel() for p in policy.parameters())} weights, {saved['seen']} steps seen")


if __name__ == "__main__":
    main()
