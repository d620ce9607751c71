"""The operator table. Dispatch, tests, benchmarks, exporter and documentation iterate it.

An operator that is not in the table does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["BLOCK_REDUCTIONS", "BOOL", "FLOATS", "INTEGERS", "OPERATORS", "BlockReduction", "Operator"]

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
BOOL = ("bool",)


@dataclass(frozen=True)
class Operator:
    """One pooling operator.

    Attributes
    ----------
    name : str
        Name of the function without its dimensions.
    family : str
        File of `pooling.families` that has its functions and layers.
    dimensions : tuple of int
        Numbers of spatial axes that exist as functions of their own (``max_pool2d``); empty where one function serves
        all.
    windows : {"sliding", "adaptive", "global", "regions", "fractional", "named"}
        What places the windows: kernel and stride, the output size, the whole map, regions that come with the call, or
        the output size and random phases. Unpooling has no windows, but places that indices name.
    reducer : str
        What combines the values of a window, as the kernels name it.
    dtypes, gradient_dtypes : tuple of str
        Names of the dtypes accepted by the functions, and by their gradients.
    onnx : tuple of str
        ONNX operators that do the work in exported graphs.
    indices : bool
        Whether the operator can return indices.
    summary : str
        One sentence for the documentation.

    Examples
    --------
    >>> from pooling.operators import OPERATORS
    >>> OPERATORS["max_pool"].functions, OPERATORS["max_pool"].onnx
    (('max_pool1d', 'max_pool2d', 'max_pool3d'), ('MaxPool',))
    """

    name: str
    family: str
    dimensions: tuple[int, ...]
    windows: Literal["sliding", "adaptive", "global", "regions", "fractional", "named"]
    reducer: str
    dtypes: tuple[str, ...]
    gradient_dtypes: tuple[str, ...]
    onnx: tuple[str, ...]
    indices: bool
    summary: str

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the public functions: ``max_pool1d`` and so on, or the name itself."""
        return tuple(f"{self.name}{n}d" for n in self.dimensions) or (self.name,)

    @property
    def layouts(self) -> tuple[str, ...]:
        """Orders of the axes that the functions take; regions of interest lie on maps in channels_first only."""
        return ("channels_first",) if self.windows == "regions" else ("channels_first", "channels_last")

    @property
    def average(self) -> bool:
        """Whether sums are divided by the number of elements."""
        return self.reducer == "total"


def _extreme(
    name: str, windows: Literal["sliding", "adaptive", "global"], reducer: str, onnx: str, summary: str
) -> Operator:
    dimensions = () if windows == "global" else (1, 2, 3)
    dtypes = FLOATS + INTEGERS + BOOL
    return Operator(
        name, "extremes", dimensions, windows, reducer, dtypes, FLOATS, (onnx,), windows != "global", summary
    )


def _float(
    name: str,
    dimensions: tuple[int, ...],
    windows: Literal["sliding", "adaptive", "global"],
    reducer: str,
    onnx: tuple[str, ...],
    summary: str,
) -> Operator:
    family = "blurs" if reducer == "blur" else "norms"
    return Operator(name, family, dimensions, windows, reducer, FLOATS, FLOATS, onnx, False, summary)


def _mean(name: str, windows: Literal["sliding", "adaptive", "global"], onnx: str, summary: str) -> Operator:
    dimensions = () if windows == "global" else (1, 2, 3)
    return Operator(name, "means", dimensions, windows, "total", FLOATS + INTEGERS, FLOATS, (onnx,), False, summary)


def _regions(name: str, reducer: str, onnx: str, summary: str) -> Operator:
    return Operator(name, "regions", (), "regions", reducer, FLOATS, FLOATS, (onnx,), False, summary)


OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        _extreme("max_pool", "sliding", "greatest", "MaxPool", "Greatest element of every window."),
        _extreme("min_pool", "sliding", "smallest", "MaxPool", "Smallest element of every window (erosion)."),
        _mean("avg_pool", "sliding", "AveragePool", "Mean of every window."),
        _extreme("global_max_pool", "global", "greatest", "GlobalMaxPool", "Greatest element of every channel."),
        _mean("global_avg_pool", "global", "GlobalAveragePool", "Mean of every channel."),
        _extreme(
            "adaptive_max_pool",
            "adaptive",
            "greatest",
            "MaxPool",
            "Greatest element of each of a fixed number of windows.",
        ),
        _mean("adaptive_avg_pool", "adaptive", "AveragePool", "Mean of each of a fixed number of windows."),
        _float(
            "lp_pool", (1, 2, 3), "sliding", "norm", ("Abs", "Pow", "Gather", "ReduceSum"), "p-norm of every window."
        ),
        _float("global_lp_pool", (), "global", "norm", ("Abs", "Pow", "ReduceSum"), "p-norm of every channel."),
        _float("gem_pool", (2,), "global", "norm", ("Pow", "ReduceMean"), "Generalised mean of every map."),
        _float(
            "blur_pool",
            (2,),
            "sliding",
            "blur",
            ("Gather", "Mul", "ReduceSum"),
            "Binomial blur at every stride-th pixel.",
        ),
        _float(
            "max_blur_pool",
            (2,),
            "sliding",
            "blur",
            ("MaxPool", "Gather", "Mul", "ReduceSum"),
            "Greatest element of every window, blurred (anti-aliased max pooling).",
        ),
        _regions("max_roi_pool", "greatest", "MaxRoiPool", "Greatest element of each window of regions of interest."),
        _regions("roi_align", "samples", "RoiAlign", "Mean, or greatest, of bilinear samples in regions of interest."),
        Operator(
            "fractional_max_pool",
            "fractional",
            (2, 3),
            "fractional",
            "greatest",
            FLOATS,
            FLOATS,
            ("Reshape", "GatherElements", "ReduceMax"),
            True,
            "Greatest element of each of a fixed number of windows that lie at random steps.",
        ),
        Operator(
            "max_unpool",
            "unpooling",
            (1, 2, 3),
            "named",
            "place",
            FLOATS + INTEGERS,
            FLOATS,
            ("ScatterElements", "GatherElements"),
            False,
            "Elements put back where the indices of a max pooling say, among zeros.",
        ),
    )
}


@dataclass(frozen=True)
class BlockReduction:
    """One ``func`` of `pooling.block_reduce`: arrays of any axes, blocks that do not overlap.

    Attributes
    ----------
    name : str
        What is passed as ``func``.
    result : {"same", "mean", "sum", "range", "real", "count"}
        The dtype of the result: that of the array; the same, or float64 for bool; 64 bits for integers; wide enough for
        a difference; float64 for integers; or int64.
    weighted : bool
        Whether it takes weights.
    levels : {"sums", "level", "either", "originals"}
        What the levels of a pyramid are made of: carried sums, the level before, that or the original elements as the
        caller says, or the original elements.
    gradient_dtypes : tuple of str
        Names of the dtypes that its gradient takes; none where it has no gradient.
    onnx : tuple of str
        ONNX operators that do the work in exported graphs; none where ONNX cannot say it.
    summary : str
        One sentence for the documentation.

    Examples
    --------
    >>> from pooling.operators import BLOCK_REDUCTIONS
    >>> BLOCK_REDUCTIONS["mean"].weighted, BLOCK_REDUCTIONS["median"].levels
    (True, 'either')
    """

    name: str
    result: Literal["same", "mean", "sum", "range", "real", "count"]
    weighted: bool
    levels: Literal["sums", "level", "either", "originals"]
    gradient_dtypes: tuple[str, ...]
    onnx: tuple[str, ...]
    summary: str

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Names of the dtypes of arrays."""
        return FLOATS + INTEGERS + BOOL


BLOCK_REDUCTIONS: dict[str, BlockReduction] = {
    reduction.name: reduction
    for reduction in (
        BlockReduction("mean", "mean", True, "sums", FLOATS, ("AveragePool",), "Mean of every block."),
        BlockReduction("sum", "sum", True, "sums", FLOATS, ("AveragePool", "Mul"), "Sum of every block."),
        BlockReduction("min", "same", False, "level", FLOATS, ("MaxPool",), "Smallest element of every block."),
        BlockReduction("max", "same", False, "level", FLOATS, ("MaxPool",), "Greatest element of every block."),
        BlockReduction("range", "range", False, "level", (), (), "Greatest element of every block less the smallest."),
        BlockReduction("median", "mean", False, "either", (), (), "Middle element, or mean of the middle two."),
        BlockReduction("mode", "same", False, "either", (), (), "Most frequent element, the smallest of several."),
        BlockReduction("rms", "real", True, "originals", FLOATS, ("LpPool", "Mul"), "Root of the mean square."),
        BlockReduction("std", "real", True, "originals", (), (), "Standard deviation of the elements of every block."),
        BlockReduction("var", "real", True, "originals", (), (), "Variance of the elements of every block."),
        BlockReduction("first", "same", False, "originals", (), (), "First element of every block, row by row."),
        BlockReduction("count", "count", False, "sums", (), (), "Number of valid elements of every block."),
    )
}
