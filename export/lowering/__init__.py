"""Each pooling as the graph of standard operators that computes it, on tensors of shape ``(N, C, *S)``.

A graph is made of what onnxruntime runs: where that lacks an operator for a type, the graph converts to a type that
holds every number of it, or does without the operator.

::

    extremes          greatest and smallest elements, and where they stand
    means             means of windows
    norms             norms and generalised means
    blurs             binomial blurs
    regions           pooling of regions of interest
    fractional        fractional max pooling
    unpooling         max unpooling
    windows           windows as attributes of nodes, and as tables of cells
    special           maxima among which there may be NaN and -inf
    indices           the conventions of indices
    gradients         the gradient of each pooling
    inverse_windows   the windows that hold each cell
    region_gradients  the gradients of pooling of regions
"""

from __future__ import annotations

from collections.abc import Callable

from ..graph_builder import GraphBuilder
from ..layer_calls import LayerCall
from . import blurs, extremes, fractional, means, norms, regions, unpooling

__all__ = ["LOWERINGS"]

Lowering = Callable[[GraphBuilder, LayerCall, tuple[str, ...]], tuple[str, ...]]

LOWERINGS: dict[str, Lowering] = {
    "max_pool": extremes.max_pool,
    "min_pool": extremes.min_pool,
    "avg_pool": means.avg_pool,
    "global_max_pool": extremes.global_max_pool,
    "global_avg_pool": means.global_avg_pool,
    "adaptive_max_pool": extremes.max_pool,
    "adaptive_avg_pool": means.avg_pool,
    "lp_pool": norms.lp_pool,
    "global_lp_pool": norms.global_lp_pool,
    "gem_pool": norms.gem_pool,
    "blur_pool": blurs.blur_pool,
    "max_blur_pool": blurs.max_blur_pool,
    "max_roi_pool": regions.max_roi_pool,
    "roi_align": regions.roi_align,
    "fractional_max_pool": fractional.fractional_max_pool,
    "max_unpool": unpooling.max_unpool,
}
"""By row of the operator table, what adds the nodes of a layer to a graph and names its results."""
