"""Networks that pool much and that neither torchvision nor timm has."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["M5", "UNet3d"]


def _convolutions(channels: int, middle: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels, middle, 3, padding=1), nn.BatchNorm3d(middle), nn.ReLU(inplace=True),
        nn.Conv3d(middle, out, 3, padding=1), nn.BatchNorm3d(out), nn.ReLU(inplace=True),
    )  # fmt: skip


class UNet3d(nn.Module):
    """The 3-D U-Net of Çiçek et al. 2016 (https://arxiv.org/abs/1606.06650), with half of its channels.

    Parameters
    ----------
    channels : int
        Of the input.
    width : int
        Channels of the first convolution.
    classes : int
        Channels of the result.
    """

    def __init__(self, channels: int = 1, width: int = 16, classes: int = 3) -> None:
        super().__init__()
        w = width
        self.down = nn.ModuleList(
            _convolutions(*each) for each in ((channels, w, 2 * w), (2 * w, 2 * w, 4 * w), (4 * w, 4 * w, 8 * w))
        )
        self.pool = nn.MaxPool3d(2)
        self.bottom = _convolutions(8 * w, 8 * w, 16 * w)
        self.widen = nn.ModuleList(nn.ConvTranspose3d(n * w, n * w, 2, 2) for n in (16, 8, 4))
        self.up = nn.ModuleList(_convolutions(3 * n * w, n * w, n * w) for n in (8, 4, 2))
        self.head = nn.Conv3d(2 * w, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map for each class."""
        kept = []
        for stage in self.down:
            x = stage(x)
            kept.append(x)
            x = self.pool(x)
        x = self.bottom(x)
        for widen, stage, skip in zip(self.widen, self.up, reversed(kept), strict=True):
            x = stage(torch.cat([skip, widen(x)], 1))
        found: Tensor = self.head(x)
        return found


class M5(nn.Module):
    """The M5 of Dai et al. 2016 for four seconds of sound at 8 kHz (https://arxiv.org/abs/1610.00087).

    Parameters
    ----------
    classes : int
        Of sounds.
    """

    def __init__(self, classes: int = 35) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for out, kernel, stride in ((128, 80, 4), (128, 3, 1), (256, 3, 1), (512, 3, 1)):
            layers += [nn.Conv1d(channels, out, kernel, stride), nn.BatchNorm1d(out), nn.ReLU(), nn.MaxPool1d(4)]
            channels = out
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return a number for each class."""
        found: Tensor = self.head(self.pool(self.features(x)).flatten(1))
        return found
