"""The networks that are measured, chosen once."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NETWORKS", "STEPS", "TARGETS", "Network"]

STEPS = ("inference", "training")
"""What is measured of each."""


@dataclass(frozen=True)
class Network:
    """A network with random weights.

    Attributes
    ----------
    library : str
        ``torchvision``, ``timm``, or ``pooling`` for a module of `pooling.benchmark.networks.modules`.
    model : str
        Its name there.
    shape : tuple of int
        Of one sample, without the batch: the input size that the library states for it.
    """

    library: str
    model: str
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """``library:model``."""
        return f"{self.library}:{self.model}"


def _images(library: str, names: str, size: int = 224) -> tuple[Network, ...]:
    return tuple(Network(library, name, (3, size, size)) for name in names.split())


NETWORKS: tuple[Network, ...] = (
    *_images(
        "torchvision",
        "alexnet vgg11 vgg16 squeezenet1_1 googlenet resnet18 resnet50 resnext50_32x4d densenet121 mobilenet_v3_large "
        "shufflenet_v2_x1_0 mnasnet1_0 efficientnet_b0 regnet_y_400mf convnext_tiny maxvit_t",
    ),
    *_images("torchvision", "inception_v3", 299),
    *_images("torchvision", "deeplabv3_mobilenet_v3_large", 256),
    Network("torchvision", "s3d", (3, 16, 224, 224)),
    *_images(
        "timm",
        "resnet50d res2net50_26w_4s ese_vovnet19b_dw dla34 hrnet_w18_small poolformer_s12 mobilevit_s "
        "vit_tiny_patch16_224 densenetblur121d efficientformer_l1",
    ),
    *_images("timm", "legacy_xception", 299),
    Network("pooling", "UNet3d", (1, 32, 32, 32)),
    Network("pooling", "M5", (1, 32000)),
)
"""Thirty networks of torchvision and timm that are often used, one or two of each way of pooling, and two others."""

TARGETS = ("torchvision:vgg11", "torchvision:densenet121", "pooling:UNet3d", "pooling:M5")
"""Networks in which pooling is expected to be a notable part of a training step."""
