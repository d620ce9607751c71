"""Which strategies of the kernels our part of a race takes."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from pooling.operators import OPERATORS

from .cases import BenchmarkCase

__all__ = ["strategies_of"]


def strategies_of(case: BenchmarkCase) -> str:
    """Name the strategies that `pooling` takes in a case.

    Parameters
    ----------
    case : BenchmarkCase

    Returns
    -------
    str
        Names as `pooling info` lists them; several are joined by a plus sign: a training step has one for the result
        and one for the gradient. A gradient of a maximum is that without saved indices. Nothing for operators that are
        neither maxima, minima nor means of sliding, adaptive or global windows.

    Examples
    --------
    >>> from pooling.benchmark.cases import BenchmarkCase
    >>> strategies_of(BenchmarkCase("stem", "networks", "max_pool", (1, 64, 112, 112), 3, 2, 1))
    'bands'
    """
    import pooling
    from pooling import calls
    from pooling.dispatch import kernels
    from pooling.families.extremes import Extreme
    from pooling.families.means import Mean

    from .worker import _arguments

    family = OPERATORS[case.operator].family
    if family not in ("extremes", "means"):
        return ""
    # What a strategy depends on is the shape and the type, so that no memory is needed.
    array = np.broadcast_to(_zero(case.dtype), case.laid_out(case.shape))
    positional, keywords = _arguments(case)
    signature = inspect.signature(getattr(pooling, case.function))
    given = signature.bind_partial(None, *positional, **keywords)
    given.apply_defaults()
    names = calls.FUNCTIONS[case.function].names
    kind: type[Any] = Extreme if family == "extremes" else Mean
    call = calls.resolved(kind, case.function, array, tuple(given.arguments.get(name) for name in names))

    def name_of(plan: Any, kind_of_call: str, reducer: int) -> str:
        return str(kernels.strategy_of(plan, kind_of_call, reducer, call.kind)[0])

    found = []
    if case.direction in ("forward", "training"):
        found.append(name_of(call.plan, "forward", call.reducer))
    if case.direction == "indices":
        found.append(name_of(call.index_plan, "indices", call.reducer))
    if case.direction in ("backward", "training"):
        if family == "extremes":
            found.append(name_of(call.index_plan, "gradient", call.reducer))
        else:
            gradient, total = call.gradients[0], kernels.REDUCERS["total"]
            spread = ("forward", total) if gradient.gathers else ("mean_gradient", call.reducer)
            found.append(name_of(gradient.plan, *spread))
    return " + ".join(found)


def _zero(dtype: str) -> np.generic:
    if dtype == "bfloat16":
        import ml_dtypes

        return ml_dtypes.bfloat16(0)  # type: ignore[no-any-return]
    return np.dtype(dtype).type(0)  # type: ignore[no-any-return]
