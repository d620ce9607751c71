"""What is raced: poolings of real networks, and awkward ones, by names that people recognise."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pooling import output_shape

__all__ = ["CASES", "SIZES", "BenchmarkCase"]

Sizes = int | tuple[int, ...]
Padding = int | tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class BenchmarkCase:
    """One pooling."""

    name: str
    group: str
    """The part of the page that it stands in."""
    operator: str
    """As in `pooling.operators.OPERATORS`."""
    shape: tuple[int, ...]
    """``(N, C, *S)``, whatever the layout."""
    kernel_size: Sizes = 0
    """Size of the windows; for adaptive operators the size of the result, and nothing for global ones."""
    stride: Sizes = 0
    padding: Padding = 0
    dilation: int = 1
    count_include_pad: bool = False
    ceil_mode: bool = False
    dtype: str = "float32"
    layout: str = "channels_first"
    direction: str = "forward"
    """``"forward"``; ``"indices"``, result and indices; ``"backward"``; or ``"training"``, result and gradient."""

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> BenchmarkCase:
        """Build a case from what `json` made of `dataclasses.asdict`: tuples have become lists."""

        def restored(value: Any) -> Any:
            return tuple(map(restored, value)) if isinstance(value, list) else value

        return cls(**{name: restored(value) for name, value in fields.items()})

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    @property
    def dimensions(self) -> int:
        """Number of spatial axes."""
        return len(self.shape) - 2

    @property
    def kind(self) -> str:
        """``max`` or ``avg``."""
        return "max" if "max" in self.operator else "avg"

    @property
    def windows(self) -> str:
        """What places the windows: ``sliding``, ``adaptive`` or ``global``."""
        first = self.operator.split("_")[0]
        return first if first in ("adaptive", "global") else "sliding"

    @property
    def function(self) -> str:
        """Name of the function in `pooling`."""
        return self.operator if self.windows == "global" else f"{self.operator}{self.dimensions}d"

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result in channels_first."""
        if self.windows == "sliding":
            return output_shape(
                self.shape, self.kernel_size, self.stride, self.padding, self.dilation, ceil_mode=self.ceil_mode
            )
        return self.shape[:2] + per_axis(self.kernel_size if self.windows == "adaptive" else 1, self.dimensions)

    def laid_out(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Put the channels of a channels_first shape where the layout has them."""
        return shape if self.layout == "channels_first" else (shape[0], *shape[2:], shape[1])

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes that must be read and bytes that must be written, by any implementation.

        A gradient of a maximum has to know the argmax of each window: from indices or from the input, whichever is
        smaller. Between two calls indices are written and read, and the input is read once more.
        """
        itemsize = 1 if self.dtype == "uint8" else {"float64": 8, "float32": 4}.get(self.dtype, 2)
        source, result = (math.prod(shape) * itemsize for shape in (self.shape, self.output_shape))
        indices = math.prod(self.output_shape) * np.dtype(np.int64).itemsize
        if self.direction == "forward":
            return source, result
        if self.direction == "indices":
            return source, result + indices
        selects = self.kind == "max"
        if self.direction == "backward":
            return result + selects * min(source, indices), source
        if selects and 2 * indices < source:
            return source + result + indices, result + source + indices
        return source + result + selects * source, result + source


def per_axis(sizes: Sizes, dimensions: int) -> tuple[int, ...]:
    """Repeat one size for every spatial axis."""
    return (sizes,) * dimensions if isinstance(sizes, int) else sizes


HD = (1, 1, 1080, 1920)
HD_RGB = (1, 3, 1080, 1920)
LAST = "channels_last"

_NETWORKS = (
    BenchmarkCase("ResNet stem, batch 1", "networks", "max_pool", (1, 64, 112, 112), 3, 2, 1),
    BenchmarkCase("ResNet stem, batch 32", "networks", "max_pool", (32, 64, 112, 112), 3, 2, 1),
    BenchmarkCase("VGG block 1, batch 1", "networks", "max_pool", (1, 64, 224, 224), 2, 2),
    BenchmarkCase("VGG block 1, batch 16", "networks", "max_pool", (16, 64, 224, 224), 2, 2),
    BenchmarkCase("VGG block 5, batch 16", "networks", "max_pool", (16, 512, 14, 14), 2, 2),
    BenchmarkCase("YOLO SPPF 5x5", "networks", "max_pool", (1, 256, 20, 20), 5, 1, 2),
    BenchmarkCase("YOLO SPP 13x13", "networks", "max_pool", (1, 512, 20, 20), 13, 1, 6),
    BenchmarkCase("Inception maximum 3x3", "networks", "max_pool", (1, 192, 28, 28), 3, 1, 1),
    BenchmarkCase("Inception average 3x3", "networks", "avg_pool", (1, 192, 35, 35), 3, 1, 1),
    BenchmarkCase("AlexNet 3x3 s2", "networks", "max_pool", (1, 96, 54, 54), 3, 2),
    BenchmarkCase("PoolFormer average 3x3", "networks", "avg_pool", (1, 64, 56, 56), 3, 1, 1),
    BenchmarkCase("DenseNet transition", "networks", "avg_pool", (1, 128, 56, 56), 2, 2),
    BenchmarkCase("ShuffleNet average 3x3 s2", "networks", "avg_pool", (1, 136, 28, 28), 3, 2, 1),
    BenchmarkCase("global average 7x7x2048", "networks", "global_avg_pool", (1, 2048, 7, 7)),
    BenchmarkCase("global average 7x7x2048, batch 32", "networks", "global_avg_pool", (32, 2048, 7, 7)),
    BenchmarkCase("adaptive average 13 to 7", "networks", "adaptive_avg_pool", (1, 256, 13, 13), 7),
    BenchmarkCase("adaptive maximum 13 to 7", "networks", "adaptive_max_pool", (1, 256, 13, 13), 7),
    BenchmarkCase("audio 1-D", "networks", "max_pool", (8, 64, 16000), 3, 2),
    BenchmarkCase("3-D U-Net 2x2x2", "networks", "max_pool", (1, 32, 64, 64, 64), 2, 2),
    BenchmarkCase(
        "I3D 1x3x3", "networks", "max_pool", (1, 64, 32, 112, 112), (1, 3, 3), (1, 2, 2), ((0, 0), (1, 1), (1, 1))
    ),
    BenchmarkCase("I3D 3x3x3 s2", "networks", "max_pool", (1, 480, 16, 28, 28), 3, 2, 1),
    BenchmarkCase("31x31 maximum, HD", "windows", "max_pool", HD, 31, 1, 15),
    BenchmarkCase("31x31 average, HD", "windows", "avg_pool", HD, 31, 1, 15, 1, True),
)

_WINDOWS = (
    BenchmarkCase("3x3 maximum, HD", "windows", "max_pool", HD, 3, 1, 1),
    BenchmarkCase("3x3 average, HD", "windows", "avg_pool", HD, 3, 1, 1, 1, True),
    BenchmarkCase("3x3 maximum, HD RGB", "windows", "max_pool", HD_RGB, 3, 1, 1, layout=LAST),
    BenchmarkCase("31x31 maximum, HD RGB", "windows", "max_pool", HD_RGB, 31, 1, 15, layout=LAST),
    BenchmarkCase("3x3 average, HD RGB", "windows", "avg_pool", HD_RGB, 3, 1, 1, 1, True, layout=LAST),
    BenchmarkCase("31x31 average, HD RGB", "windows", "avg_pool", HD_RGB, 31, 1, 15, 1, True, layout=LAST),
)

_AWKWARD = (
    BenchmarkCase("odd width 227, 3x3 s2", "awkward", "max_pool", (1, 32, 113, 227), 3, 2),
    BenchmarkCase("odd width 57, average 2x2", "awkward", "avg_pool", (1, 64, 57, 57), 2, 2),
    BenchmarkCase("width 7, 1024 channels", "awkward", "max_pool", (1, 1024, 7, 7), 3, 1, 1),
    BenchmarkCase("width 8, 1024 channels", "awkward", "max_pool", (1, 1024, 8, 8), 2, 2),
    BenchmarkCase("width 7, 832 channels, average", "awkward", "avg_pool", (1, 832, 7, 7), 3, 1, 1),
    BenchmarkCase("3 channels, channels_last, 2x2", "awkward", "max_pool", (1, 3, 720, 1280), 2, 2, layout=LAST),
    BenchmarkCase(
        "3 channels, channels_last, average 2x2", "awkward", "avg_pool", (1, 3, 720, 1280), 2, 2, layout=LAST
    ),
    BenchmarkCase("4x4 s4", "awkward", "max_pool", (1, 64, 112, 112), 4, 4),
    BenchmarkCase("4x4 s4, average", "awkward", "avg_pool", (1, 64, 112, 112), 4, 4),
    BenchmarkCase("5x5 s2", "awkward", "max_pool", (1, 64, 112, 112), 5, 2, 2),
    BenchmarkCase("7x7 s3", "awkward", "avg_pool", (1, 64, 112, 112), 7, 3, 3),
    BenchmarkCase("dilation 2", "awkward", "max_pool", (1, 64, 112, 112), 3, 1, 2, 2),
    BenchmarkCase("asymmetric padding", "awkward", "max_pool", (1, 64, 112, 112), 3, 2, ((0, 1), (0, 1))),
    BenchmarkCase("asymmetric padding, average", "awkward", "avg_pool", (1, 64, 112, 112), 3, 2, ((0, 1), (0, 1))),
)

TINY = BenchmarkCase("tiny, call overhead", "tiny", "max_pool", (1, 16, 8, 8), 2, 2)


def _of(names: str) -> list[BenchmarkCase]:
    """Look up networks by the first words of their names."""
    return [
        case for name in names.split("; ") for case in _NETWORKS if f"{case.name} ".startswith((f"{name} ", f"{name},"))
    ]


def _varied(
    cases: list[BenchmarkCase] | tuple[BenchmarkCase, ...], group: str, **changes: str
) -> tuple[BenchmarkCase, ...]:
    """Change fields of cases and say so in their names."""
    return tuple(
        replace(case, name=", ".join([case.name, *changes.values()]), group=group, **changes)  # type: ignore[arg-type]
        for case in cases
    )


_IN_BOTH_LAYOUTS = tuple(case for case in _NETWORKS if case.group == "networks")
_TYPED = _of("ResNet stem, batch 1; VGG block 1, batch 1; DenseNet transition")
_TRAINED = _of("ResNet stem; VGG block 1; YOLO SPPF; PoolFormer; DenseNet; global average; adaptive average; 3-D U-Net")

CASES = (
    *_NETWORKS,
    *_varied(_IN_BOTH_LAYOUTS, LAST, layout=LAST),
    *_WINDOWS,
    *(case for dtype in ("uint8", "float16", "bfloat16", "float64") for case in _varied(_TYPED, "types", dtype=dtype)),
    *_varied(_of("ResNet stem; VGG block 1, batch 1; YOLO SPPF; audio; 3-D U-Net"), "indices", direction="indices"),
    *_AWKWARD,
    *_varied(_NETWORKS, "backward", direction="backward"),
    *_varied(_IN_BOTH_LAYOUTS, "backward", direction="backward", layout=LAST),
    *_varied(_TRAINED, "training", direction="training"),
    *_varied(_TRAINED, "training", direction="training", layout=LAST),
    TINY,
)

SIZES = tuple(
    BenchmarkCase(f"cost with size, {megabytes} MB", "size", "max_pool", (1, 16 * megabytes, 128, 128), 3, 2, 1)
    for megabytes in (1, 4, 16, 64, 256, 1024, 4096)
)
"""The same pooling of 1 MB to 4 GB of input."""
