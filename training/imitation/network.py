"""Encoder and decoder: the reference becomes a Gaussian latent, latent and proprioception become an action.

The first 38 latents also carry the servos' feed-forward (set points of the reference 20 to 40 ms ahead, relative to the
joints now) and the decoder adds the set points of the joints now, both as fixed linear maps: untrained, the network is
the servo baseline, and training has only the rest to learn.
"""

import numpy as np
import torch
from torch import nn

import layout

REFERENCE = layout.REFERENCE.stop
PROPRIOCEPTION = layout.LENGTH - REFERENCE
CORRELATION = 0.95
CLIP = 10.0
STD_FLOOR = 1e-2
LOG_STD = (-4.0, -0.7)
# Action per unit of the latents that carry the feed-forward.
FEED_SCALE = 0.1


def block(width_in, width_out):
    return nn.ModuleDict({"linear": nn.Linear(width_in, width_out), "norm": nn.LayerNorm(width_out)})


def apply(layer, x):
    return nn.functional.silu(layer["norm"](layer["linear"](x)))


def exactly(x, weight):
    """A fixed linear map in full precision, whatever the learned layers use while training."""
    with torch.autocast(x.device.type, enabled=False):
        return x.float() @ weight.T


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
        # Past the layers: what is linear in balance need not be learned through them.
        self.straight_latent = nn.Linear(REFERENCE, latent, bias=False)
        self.straight_action = nn.Linear(latent + PROPRIOCEPTION, layout.ACTUATORS, bias=False)
        nn.init.zeros_(self.straight_latent.weight)
        nn.init.zeros_(self.straight_action.weight)
        nn.init.zeros_(self.to_action.weight)
        nn.init.zeros_(self.to_action.bias)
        with torch.no_grad():
            self.to_latent.weight.mul_(0.1)
            self.to_latent.bias[latent:] = -3.5
        # Feed-forward in physical units: latent += to_feed(reference), action += FEED_SCALE * latent + hold(joints).
        self.register_buffer("to_feed", torch.zeros(latent, REFERENCE))
        self.register_buffer("hold", torch.zeros(layout.ACTUATORS, PROPRIOCEPTION))
        self.register_buffer("offset", torch.zeros(layout.ACTUATORS))
        self.register_buffer("mean", torch.zeros(layout.LENGTH))
        self.register_buffer("std", torch.ones(layout.LENGTH))

    def freeze_statistics(self, observations):
        """Sets the frozen normaliser; mask bits keep the range that they can have."""
        self.mean.copy_(observations.mean(0))
        self.std.copy_(observations.std(0).clamp(min=STD_FLOOR))
        mask = layout.PLACES["reference_mask"]
        self.mean[mask], self.std[mask] = 0.5, 0.5

    def set_servo(self, transmission, stiffness, offset, gain):
        """The servos: set point = (stiffness * transmission @ joints - offset) / gain."""
        per_joint = torch.as_tensor((stiffness / gain)[:, None] * transmission, dtype=torch.float32)
        start = layout.PLACES["reference_joints"].start
        for frame in (0, 1):
            place = slice(start + frame * layout.JOINTS, start + (frame + 1) * layout.JOINTS)
            self.to_feed[: layout.ACTUATORS, place] = 0.5 / FEED_SCALE * per_joint
        joints = layout.PLACES["joints"]
        self.hold[:, joints.start - REFERENCE : joints.stop - REFERENCE] = per_joint
        self.offset.copy_(torch.as_tensor(np.asarray(-offset / gain), dtype=torch.float32))

    def normalise(self, observation):
        return ((observation - self.mean) / self.std).clamp(-CLIP, CLIP)

    def encode(self, observation, x):
        """Hidden layers, loc and scale of the latent; `x` is the observation normalised."""
        hidden, value = [], x[..., :REFERENCE]
        for layer in self.encoder:
            value = apply(layer, value)
            hidden.append(value)
        loc, raw = self.to_latent(value).chunk(2, -1)
        loc = loc.float() + self.straight_latent(x[..., :REFERENCE]) + exactly(observation[..., :REFERENCE], self.to_feed)
        return hidden, loc, 0.99 * torch.sigmoid(raw) + 0.01

    def servo(self, latent, observation):
        """The set points that the latent's feed-forward asks for, before anything learned."""
        hold = exactly(observation[..., REFERENCE:], self.hold)
        return FEED_SCALE * latent[..., : layout.ACTUATORS] + hold + self.offset

    def decode(self, latent, observation, x):
        """Hidden layers, action mean (not clipped) and standard deviation."""
        given, hidden = torch.cat([latent, x[..., REFERENCE:]], -1), []
        value = given
        for layer in self.decoder:
            value = apply(layer, value)
            hidden.append(value)
        mean, raw = self.to_action(value).chunk(2, -1)
        low, high = LOG_STD
        mean = mean.float() + self.straight_action(given) + self.servo(latent, observation)
        return hidden, mean, (low + (high - low) * torch.sigmoid(raw.float())).exp()

    def forward(self, observation, noise):
        x = self.normalise(observation)
        encoder, loc, scale = self.encode(observation, x)
        sample = loc + scale * noise
        decoder, mean, std = self.decode(sample, observation, x)
        return {"mean": mean, "std": std, "loc": loc, "scale": scale, "sample": sample, "encoder": encoder, "decoder": decoder}


def prior_divergence(loc, scale, before):
    """KL of the latent to the autoregressive prior around the latent of the step before, per sample."""
    variance = 1 - CORRELATION**2
    shift = loc - CORRELATION * before
    ratio = scale**2 / variance
    return 0.5 * (ratio + shift**2 / variance - 1 - ratio.log()).sum(-1)
