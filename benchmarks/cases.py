"""Poolings of real networks, by name."""

from __future__ import annotations

from dataclasses import dataclass

from pooling import output_shape

__all__ = ["CASES", "Case"]


@dataclass(frozen=True)
class Case:
    """One pooling of a real network: shape in channels_first, and the arguments that all libraries share."""

    name: str
    operator: str
    shape: tuple[int, ...]
    kernel_size: int
    stride: int
    padding: int = 0
    dtype: str = "float32"

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return output_shape(self.shape, self.kernel_size, self.stride, self.padding)


CASES = (
    Case("ResNet stem, batch 1", "max", (1, 64, 112, 112), 3, 2, 1),
    Case("ResNet stem, batch 32", "max", (32, 64, 112, 112), 3, 2, 1),
    Case("VGG block 1, batch 1", "max", (1, 64, 224, 224), 2, 2),
    Case("VGG block 5, batch 16", "max", (16, 512, 14, 14), 2, 2),
    Case("YOLO SPPF 5x5", "max", (1, 256, 20, 20), 5, 1, 2),
    Case("YOLO SPP 13x13", "max", (1, 512, 20, 20), 13, 1, 6),
    Case("Inception 3x3 s1", "max", (1, 192, 28, 28), 3, 1, 1),
    Case("Inception 7x7 map", "max", (1, 832, 7, 7), 3, 1, 1),
    Case("AlexNet 3x3 s2", "max", (1, 96, 54, 54), 3, 2),
    Case("PoolFormer average 3x3", "avg", (1, 64, 56, 56), 3, 1, 1),
    Case("DenseNet transition", "avg", (1, 128, 56, 56), 2, 2),
    Case("ShuffleNet average 3x3 s2", "avg", (1, 136, 28, 28), 3, 2, 1),
    Case("global average 7x7x2048", "avg", (1, 2048, 7, 7), 7, 7),
    Case("31x31 maximum, HD", "max", (1, 1, 1080, 1920), 31, 1, 15),
    Case("31x31 average, HD", "avg", (1, 1, 1080, 1920), 31, 1, 15),
    Case("audio 1-D", "max", (8, 64, 16000), 3, 2),
    Case("I3D 3-D 2x2x2", "max", (1, 64, 16, 56, 56), 2, 2),
    Case("VGG block 5, float64", "max", (16, 512, 14, 14), 2, 2, dtype="float64"),
    Case("ResNet stem, uint8", "max", (1, 64, 112, 112), 3, 2, 1, dtype="uint8"),
    Case("ResNet stem, float16", "max", (1, 64, 112, 112), 3, 2, 1, dtype="float16"),
    Case("tiny, call overhead", "max", (1, 16, 8, 8), 2, 2),
)
