"""Encoder and decoder: the reference becomes a Gaussian latent, latent and proprioception become an action."""

import torch
from torch import nn

import layout

REFERENCE = layout.REFERENCE.stop
PROPRIOCEPTION = layout.LENGTH - REFERENCE
CORRELATION = 0.95
CLIP = 10.0
STD_FLOOR = 1e-2
LOG_STD = (-4.0, -0.7)


def block(width_in, width_out):
    return nn.ModuleDict({"linear": nn.Linear(width_in, width_out), "norm": nn.LayerNorm(width_out)})


def apply(layer, x):
    return nn.functional.silu(layer["norm"](layer["linear"](x)))


class Policy(nn.Module):
    def __init__(self, latent=60, encoder=(512, 512), decoder=(512, 512, 512)):
        super().__init__()
        self.latent = latent
        widths = (REFERENCE, *encoder)
        self.encoder = nn.ModuleList(block(a, b) for a, b in zip(widths, widths[1:]))
        self.to_latent = nn.Linear(widths[-1], 2 * latent)
        widths = (latent + PROPRIOCEPTION, *decoder)
        self.decoder = nn.ModuleList(block(a, b) for a, b in zip(widths, widths[1:]))
        self.to_action = nn.Linear(widths[-1], 2 * layout.ACTUATORS)
        nn.init.zeros_(self.to_action.weight)
        nn.init.zeros_(self.to_action.bias)
        with torch.no_grad():
            self.to_latent.bias[latent:] = -2.0
        self.register_buffer("mean", torch.zeros(layout.LENGTH))
        self.register_buffer("std", torch.ones(layout.LENGTH))

    def freeze_statistics(self, observations):
        """Sets the frozen normaliser; mask bits keep the range that they can have."""
        self.mean.copy_(observations.mean(0))
        self.std.copy_(observations.std(0).clamp(min=STD_FLOOR))
        mask = layout.PLACES["reference_mask"]
        self.mean[mask], self.std[mask] = 0.5, 0.5

    def normalise(self, observation):
        return ((observation - self.mean) / self.std).clamp(-CLIP, CLIP)

    def encode(self, reference):
        hidden = []
        for layer in self.encoder:
            reference = apply(layer, reference)
            hidden.append(reference)
        loc, raw = self.to_latent(reference).chunk(2, -1)
        return hidden, loc, 0.99 * torch.sigmoid(raw) + 0.01

    def decode(self, latent, proprioception):
        x, hidden = torch.cat([latent, proprioception], -1), []
        for layer in self.decoder:
            x = apply(layer, x)
            hidden.append(x)
        mean, raw = self.to_action(x).chunk(2, -1)
        low, high = LOG_STD
        return hidden, torch.tanh(mean), (low + (high - low) * torch.sigmoid(raw)).exp()

    def forward(self, observation, noise):
        x = self.normalise(observation)
        encoder, loc, scale = self.encode(x[..., :REFERENCE])
        sample = loc + scale * noise
        decoder, mean, std = self.decode(sample, x[..., REFERENCE:])
        return {"mean": mean, "std": std, "loc": loc, "scale": scale, "sample": sample, "encoder": encoder, "decoder": decoder}


def prior_divergence(loc, scale, before):
    """KL of the latent to the autoregressive prior around the latent of the step before, per sample."""
    variance = 1 - CORRELATION**2
    shift = loc - CORRELATION * before
    ratio = scale**2 / variance
    return 0.5 * (ratio + shift**2 / variance - 1 - ratio.log()).sum(-1)
