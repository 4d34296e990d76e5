"""The keypoint networks: a small encoder-decoder from a grey crop to one probability map for each keypoint."""

import torch
from torch import nn


class Separable(nn.Module):
    """Residual block: depthwise, then two pointwise layers with a wider middle."""

    def __init__(self, channels, widen=2, kernel=5):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, channels * widen, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels * widen, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x):
        return x + self.body(x)


class Dense(nn.Module):
    """Residual block of two 3x3 layers."""

    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x):
        return torch.relu(x + self.body(x))


def down(inputs, outputs, kernel=3, stride=2):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=(kernel - stride + 1) // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def light_down(inputs, outputs):
    """Half the size by a depthwise and a pointwise layer: together one dense layer whose slices have rank one."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride=2, padding=1, groups=inputs, bias=False),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class KeypointNet(nn.Module):
    """(batch, 1, H, W) in [0, 1] -> (batch, maps, H/4, W/4) logits.

    Widths are for 1/4, 1/8, 1/16 and 1/32 of the input. A light network is separable throughout, has no block at 1/4 on
    the way down, and looks 3x3 far where the other looks 5x5 far at 1/4 and 1/8.
    """

    def __init__(self, maps, widths=(32, 48, 96, 128), light=False):
        super().__init__()
        a, b, c, d = widths
        block, half = (Separable, light_down) if light else (Dense, down)
        fine = 3 if light else 5
        self.stem = down(1, a, kernel=8, stride=4)
        self.at4 = nn.Identity() if light else Separable(a, widen=1)
        self.to8 = nn.Sequential(half(a, b), Separable(b, kernel=fine))
        self.to16 = nn.Sequential(half(b, c), block(c))
        self.to32 = nn.Sequential(half(c, d), block(d))
        self.up16 = nn.Conv2d(d, c, 1)
        self.mix16 = Separable(c)
        self.up8 = nn.Conv2d(c, b, 1)
        self.mix8 = Separable(b, kernel=fine)
        self.up4 = nn.Conv2d(b, a, 1)
        self.mix4 = Separable(a, kernel=fine)
        self.head = nn.Conv2d(a, maps, 1)

    def forward(self, image):
        twice = lambda x: nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
        x4 = self.at4(self.stem(image))
        x8 = self.to8(x4)
        x16 = self.to16(x8)
        x32 = self.to32(x16)
        x16 = self.mix16(torch.relu(x16 + twice(self.up16(x32))))
        x8 = self.mix8(torch.relu(x8 + twice(self.up8(x16))))
        x4 = self.mix4(torch.relu(x4 + twice(self.up4(x8))))
        return self.head(x4)


class MapSoftmax(torch.autograd.Function):
    """Softmax over all cells of a map. ONNX's up to opset 12 runs over every axis from the given one on, so that the
    exported graph need not lay its maps out anew (2 % of its time)."""

    @staticmethod
    def forward(_, logits):
        return torch.softmax(logits.flatten(2), dim=2).reshape(logits.shape)

    @staticmethod
    def symbolic(graph, logits):
        return graph.op("Softmax", logits, axis_i=2)


class Probability(nn.Module):
    """A network whose maps each sum to one: what is exported, with opset 12."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, image):
        return MapSoftmax.apply(self.net(image))
