"""The keypoint networks: a small encoder-decoder from a grey crop to one probability map for each keypoint."""

import torch
from torch import nn


class Separable(nn.Module):
    """Residual block: depthwise 5x5, then two pointwise layers with a wider middle."""

    def __init__(self, channels, widen=2):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False),
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


class KeypointNet(nn.Module):
    """(batch, 1, H, W) in [0, 1] -> (batch, maps, H/4, W/4) logits.

    Widths are for 1/4, 1/8, 1/16 and 1/32 of the input. A light network has separable blocks where the other has dense
    ones, and none at 1/4 on the way down: a third less time.
    """

    def __init__(self, maps, widths=(32, 48, 96, 128), light=False):
        super().__init__()
        a, b, c, d = widths
        block = Separable if light else Dense
        self.stem = down(1, a, kernel=8, stride=4)
        self.at4 = nn.Identity() if light else Separable(a, widen=1)
        self.to8 = nn.Sequential(down(a, b), Separable(b))
        self.to16 = nn.Sequential(down(b, c), block(c))
        self.to32 = nn.Sequential(down(c, d), block(d))
        self.up16 = nn.Conv2d(d, c, 1)
        self.mix16 = Separable(c)
        self.up8 = nn.Conv2d(c, b, 1)
        self.mix8 = Separable(b)
        self.up4 = nn.Conv2d(b, a, 1)
        self.mix4 = Separable(a)
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


class Probability(nn.Module):
    """A network whose maps each sum to one: what is exported."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, image):
        logits = self.net(image)
        return torch.softmax(logits.flatten(2), dim=2).reshape(logits.shape)
