"""The operator table. Dispatch, tests, benchmarks, exporter and documentation iterate it.

An operator that is not in the table does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FLOATS", "INTEGERS", "OPERATORS", "Operator"]

FLOATS = ("float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@dataclass(frozen=True)
class Operator:
    """One pooling operator.

    Attributes
    ----------
    name : str
        Name of the function without its dimensions.
    dimensions : tuple of int
        Numbers of spatial axes that exist as functions of their own (``max_pool2d``); empty where one function serves
        all.
    reducer : str
        What combines the values of a window, as the kernels name it.
    dtypes, gradient_dtypes : tuple of str
        Names of the dtypes accepted forward and backward.
    onnx : tuple of str
        ONNX operators that an exported graph is made of.
    indices : bool
        Whether the operator can tell which element won.
    summary : str
        One sentence for the documentation.
    """

    name: str
    dimensions: tuple[int, ...]
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


OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        Operator(
            "max_pool",
            (1, 2, 3),
            "greatest",
            FLOATS,
            FLOATS,
            ("MaxPool",),
            True,
            "Greatest element of every window.",
        ),
        Operator(
            "avg_pool",
            (1, 2, 3),
            "total",
            FLOATS,
            FLOATS,
            ("AveragePool",),
            False,
            "Mean of every window.",
        ),
        Operator(
            "global_max_pool",
            (),
            "greatest",
            FLOATS,
            FLOATS,
            ("GlobalMaxPool",),
            False,
            "Greatest element of every channel.",
        ),
        Operator(
            "global_avg_pool",
            (),
            "total",
            FLOATS,
            FLOATS,
            ("GlobalAveragePool",),
            False,
            "Mean of every channel.",
        ),
    )
}
