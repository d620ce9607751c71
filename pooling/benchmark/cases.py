"""What is raced: poolings of real networks, and awkward ones, by names that people recognise."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pooling import output_shape
from pooling.operators import OPERATORS

__all__ = ["CASES", "SIZES", "BenchmarkCase"]

Sizes = int | tuple[int, ...]
Padding = int | tuple[tuple[int, int], ...]
KINDS = {
    "greatest": "max",
    "smallest": "min",
    "total": "avg",
    "norm": "norm",
    "blur": "blur",
    "samples": "samples",
    "place": "place",
}
"""`BenchmarkCase.kind` by the reducer of the operator."""


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
    """Size of the windows; of the result for adaptive operators and regions, and nothing for global ones."""
    stride: Sizes = 0
    padding: Padding = 0
    dilation: int = 1
    count_include_pad: bool = False
    ceil_mode: bool = False
    dtype: str = "float32"
    layout: str = "channels_first"
    direction: str = "forward"
    """``"forward"``; ``"indices"``, result and indices; ``"backward"``; or ``"training"``, result and gradient."""
    p: float = 0.0
    """Exponent of a norm or of a generalised mean."""
    filter_size: int = 0
    """Taps of the filter that blurs maxima."""
    output_size: Sizes = 0
    """Windows of a fractional pooling."""
    regions: int = 0
    """Number of regions of interest."""
    memory: str = ""
    """How the input lies in memory: nothing for an array in one piece, or a name of `VIEWS`."""

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
        """What is made of the values of a window: a value of `KINDS`."""
        return KINDS[OPERATORS[self.operator].reducer]

    @property
    def selects(self) -> bool:
        """Whether a result is one of the elements of its window."""
        return self.kind in ("max", "min")

    @property
    def windows(self) -> str:
        """What places the windows, as in `pooling.operators.Operator.windows`."""
        return OPERATORS[self.operator].windows

    @property
    def function(self) -> str:
        """Name of the function in `pooling`."""
        return f"{self.operator}{self.dimensions}d" if OPERATORS[self.operator].dimensions else self.operator

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result in channels_first."""
        spatial = self.shape[2:]
        each = self.dimensions
        if self.kind == "blur":  # the filter is centred on every stride-th pixel, or maximum
            reach = self.kernel_size if self.operator == "max_blur_pool" else 1
            left = (size - cells + 1 for size, cells in zip(spatial, per_axis(reach, each), strict=True))
            steps = per_axis(self.stride, each)
            return self.shape[:2] + tuple(-(-size // step) for size, step in zip(left, steps, strict=True))
        if self.windows == "sliding":
            return output_shape(
                self.shape, self.kernel_size, self.stride, self.padding, self.dilation, ceil_mode=self.ceil_mode
            )
        if self.windows == "named":
            axes = zip(spatial, per_axis(self.kernel_size, each), per_axis(self.stride, each), strict=True)
            return self.shape[:2] + tuple((size - 1) * step + cells for size, cells, step in axes)
        if self.windows == "regions":
            return (self.regions, self.shape[1], *per_axis(self.kernel_size, each))
        counts = {"adaptive": self.kernel_size, "fractional": self.output_size}.get(self.windows, 1)
        return self.shape[:2] + per_axis(counts, each)

    def laid_out(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Put the channels of a channels_first shape where the layout has them."""
        return shape if self.layout == "channels_first" else (shape[0], *shape[2:], shape[1])

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes that must be read and bytes that must be written, by any implementation.

        A gradient of a maximum has to know the argmax of each window: from indices or from the input, whichever is
        smaller. Between two calls indices are written and read, and the input is read once more. A gradient of a norm
        reads the input.
        """
        itemsize = 1 if self.dtype == "uint8" else {"float64": 8, "float32": 4}.get(self.dtype, 2)
        source, result = (math.prod(shape) * itemsize for shape in (self.shape, self.output_shape))
        indices = math.prod(self.output_shape) * np.dtype(np.int64).itemsize
        if self.kind == "place":
            named = math.prod(self.shape) * np.dtype(np.int64).itemsize
            return (result + named, source) if self.direction == "backward" else (source + named, result)
        if self.direction == "forward":
            return source, result
        if self.direction == "indices":
            return source, result + indices
        selects = self.selects or self.operator == "max_blur_pool"
        if self.kind == "norm":
            return result + source, source
        if self.direction == "backward":
            return result + selects * min(source, indices), source
        if selects and 2 * indices < source:
            return source + result + indices, result + source + indices
        return source + result + selects * source, result + source


def per_axis(sizes: Sizes, dimensions: int) -> tuple[int, ...]:
    """Repeat one size for every spatial axis."""
    return (sizes,) * dimensions if isinstance(sizes, int) else sizes


VIEWS = ("view of channels_last", "transposed", "every second column", "every second channel")
"""Arrays that do not lie in one piece in the order of their axes."""

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
    BenchmarkCase("101x101 maximum, HD", "windows", "max_pool", HD, 101, 1, 50),
    BenchmarkCase("101x101 average, HD", "windows", "avg_pool", HD, 101, 1, 50, 1, True),
    BenchmarkCase("101x101 maximum, HD RGB", "windows", "max_pool", HD_RGB, 101, 1, 50, layout=LAST),
    BenchmarkCase("101x101 average, HD RGB", "windows", "avg_pool", HD_RGB, 101, 1, 50, 1, True, layout=LAST),
)

_IMAGES = (
    BenchmarkCase("halving HD RGB, uint8", "images", "avg_pool", HD_RGB, 2, 2, dtype="uint8", layout=LAST),
    BenchmarkCase("15x15 maximum, HD, uint8", "images", "max_pool", HD, 15, 1, 7, dtype="uint8"),
    BenchmarkCase("15x15 minimum, HD, uint8", "images", "min_pool", HD, 15, 1, 7, dtype="uint8"),
    BenchmarkCase("15x15 maximum, HD RGB, uint8", "images", "max_pool", HD_RGB, 15, 1, 7, dtype="uint8", layout=LAST),
    BenchmarkCase("15x15 minimum, HD RGB, uint8", "images", "min_pool", HD_RGB, 15, 1, 7, dtype="uint8", layout=LAST),
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

_STEM, _BLOCK = (1, 64, 112, 112), (1, 64, 224, 224)

_FAMILIES = (
    *(BenchmarkCase(f"Lp p={p}, 3x3 s2", "families", "lp_pool", _STEM, 3, 2, p=p) for p in (1, 2, 3)),
    BenchmarkCase("average 3x3 s2, for Lp", "families", "avg_pool", _STEM, 3, 2),
    BenchmarkCase("Lp p=2, 2x2 s2", "families", "lp_pool", _BLOCK, 2, 2, p=2),
    BenchmarkCase("average 2x2 s2, for Lp", "families", "avg_pool", _BLOCK, 2, 2),
    BenchmarkCase("Lp p=2, 1-D", "families", "lp_pool", (8, 64, 16000), 3, 2, p=2),
    BenchmarkCase("average 1-D, for Lp", "families", "avg_pool", (8, 64, 16000), 3, 2),
    BenchmarkCase("Lp p=2, 3-D", "families", "lp_pool", (1, 32, 64, 64, 64), 2, 2, p=2),
    BenchmarkCase("average 3-D, for Lp", "families", "avg_pool", (1, 32, 64, 64, 64), 2, 2),
    BenchmarkCase("global Lp p=2, 7x7x2048", "families", "global_lp_pool", (1, 2048, 7, 7), p=2),
    BenchmarkCase("GeM p=3, 32x32x2048", "families", "gem_pool", (1, 2048, 32, 32), p=3),
    BenchmarkCase("blur 3x3 s2", "families", "blur_pool", _STEM, 3, 2),
    BenchmarkCase("blur 5x5 s2, HD", "families", "blur_pool", HD, 5, 2),
    BenchmarkCase("blur 5x5 s1, HD", "families", "blur_pool", HD, 5, 1),
    BenchmarkCase("max blur 2x2, 3x3 s2", "families", "max_blur_pool", _STEM, 2, 2, filter_size=3),
    BenchmarkCase("RoIAlign 7x7, 512 regions", "families", "roi_align", (1, 256, 200, 272), 7, regions=512),
    BenchmarkCase("RoIAlign 14x14, 100 regions", "families", "roi_align", (1, 256, 200, 272), 14, regions=100),
    BenchmarkCase("MaxRoiPool 7x7, 512 regions", "families", "max_roi_pool", (1, 512, 38, 50), 7, regions=512),
    BenchmarkCase("fractional 2-D", "families", "fractional_max_pool", _STEM, 2, output_size=78),
    BenchmarkCase(
        "fractional 3-D", "families", "fractional_max_pool", (1, 32, 32, 64, 64), 2, output_size=(22, 44, 44)
    ),
    BenchmarkCase("unpool 1-D", "families", "max_unpool", (8, 64, 8000), 2, 2),
    BenchmarkCase("unpool 2-D", "families", "max_unpool", (1, 64, 112, 112), 2, 2),
    BenchmarkCase("unpool 3-D", "families", "max_unpool", (1, 32, 32, 32, 32), 2, 2),
    BenchmarkCase("adaptive average 3-D, 16x14x14 to 7x7x7", "families", "adaptive_avg_pool", (1, 512, 16, 14, 14), 7),
    BenchmarkCase(
        "adaptive maximum 3-D, 16x14x14 to 5x7x7", "families", "adaptive_max_pool", (1, 512, 16, 14, 14), (5, 7, 7)
    ),
    BenchmarkCase("global average, 4K RGB", "families", "global_avg_pool", (1, 3, 2160, 3840)),
    BenchmarkCase("global maximum, 4K RGB", "families", "global_max_pool", (1, 3, 2160, 3840)),
    BenchmarkCase("global average, 3-D 16x7x7x2048", "families", "global_avg_pool", (1, 2048, 16, 7, 7)),
)

_LYING = tuple(
    replace(case, name=f"{case.name}, {memory or 'in one piece'}", memory=memory)
    for case in (
        BenchmarkCase("3x3 s2 maximum", "views", "max_pool", _STEM, 3, 2, 1),
        BenchmarkCase("3x3 average", "views", "avg_pool", (8, 64, 56, 56), 3, 1, 1),
    )
    for memory in ("", *VIEWS)
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

_LARGE = [case for case in (*_NETWORKS, *_WINDOWS) if case.group == "windows"]
_INDEXED = _of("ResNet stem, batch 1; VGG block 1, batch 1; YOLO SPPF; audio; 3-D U-Net")

CASES = (
    *_NETWORKS,
    *_varied(_IN_BOTH_LAYOUTS, LAST, layout=LAST),
    *_WINDOWS,
    *_varied(_LARGE, "windows", dtype="uint8"),
    *_IMAGES,
    *(case for dtype in ("uint8", "float16", "bfloat16", "float64") for case in _varied(_TYPED, "types", dtype=dtype)),
    *_varied(_TYPED, "types", dtype="float64", direction="backward"),
    *_varied(_of("ResNet stem; VGG block 1, batch 1; YOLO SPPF; audio; 3-D U-Net"), "indices", direction="indices"),
    *(
        case
        for dtype in ("uint8", "float16", "bfloat16")
        for case in _varied(_INDEXED, "indices", dtype=dtype, direction="indices")
    ),
    *_AWKWARD,
    *_FAMILIES,
    *_varied([case for case in _FAMILIES if ", for Lp" not in case.name], "families", direction="backward"),
    *_LYING,
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
