"""Pooling on CPUs: NumPy arrays in, NumPy arrays out, forward and backward.

The functions follow torch.nn.functional in names, order and defaults. ``pooling.export`` builds the same poolings as
ONNX graphs, ``pooling.validation`` compares runtimes, ``pooling.doctor`` examines networks; these need onnx, and are
imported on first use, as is ``pooling.torch``, which lets PyTorch models pool by these kernels.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if getattr(sys, "argv", [])[:1] == ["-m"]:  # a program that starts, and may have to end while NumPy is imported
    import _ndpooling

    if _ndpooling.starts_package():
        _ndpooling.default_interrupts()

from . import dispatch as dispatch  # first, since it says how to build what is missing
from ._version import __version__
from .config import show_config
from .workers import get_num_threads, set_num_threads, threads

if TYPE_CHECKING:
    from .families.blocks import *  # noqa: F403
    from .families.blurs import *  # noqa: F403
    from .families.extremes import *  # noqa: F403
    from .families.fractional import *  # noqa: F403
    from .families.means import *  # noqa: F403
    from .families.norms import *  # noqa: F403
    from .families.pyramids import *  # noqa: F403
    from .families.regions import *  # noqa: F403
    from .families.unpooling import *  # noqa: F403
    from .layer import *  # noqa: F403
    from .maps import LayoutWarning as LayoutWarning
    from .maps import output_shape as output_shape

_ON_DEMAND = {
    "families.extremes": """
        AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d GlobalMaxPool1d GlobalMaxPool2d GlobalMaxPool3d MaxPool1d
        MaxPool2d MaxPool3d MinPool1d MinPool2d MinPool3d adaptive_max_pool1d adaptive_max_pool1d_backward
        adaptive_max_pool2d adaptive_max_pool2d_backward adaptive_max_pool3d adaptive_max_pool3d_backward
        global_max_pool global_max_pool_backward max_pool1d max_pool1d_backward max_pool2d max_pool2d_backward
        max_pool3d max_pool3d_backward min_pool1d min_pool1d_backward min_pool2d min_pool2d_backward min_pool3d
        min_pool3d_backward
    """,
    "families.means": """
        AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AvgPool1d AvgPool2d AvgPool3d GlobalAvgPool1d
        GlobalAvgPool2d GlobalAvgPool3d adaptive_avg_pool1d adaptive_avg_pool1d_backward adaptive_avg_pool2d
        adaptive_avg_pool2d_backward adaptive_avg_pool3d adaptive_avg_pool3d_backward avg_pool1d avg_pool1d_backward
        avg_pool2d avg_pool2d_backward avg_pool3d avg_pool3d_backward global_avg_pool global_avg_pool_backward
    """,
    "families.norms": """
        GeMPool2d GlobalLPPool1d GlobalLPPool2d GlobalLPPool3d LPPool1d LPPool2d LPPool3d gem_pool2d gem_pool2d_backward
        global_lp_pool global_lp_pool_backward lp_pool1d lp_pool1d_backward lp_pool2d lp_pool2d_backward lp_pool3d
        lp_pool3d_backward
    """,
    "families.blurs": """
        BlurPool2d MaxBlurPool2d blur_pool2d blur_pool2d_backward max_blur_pool2d max_blur_pool2d_backward
    """,
    "families.regions": "MaxRoIPool RoIAlign max_roi_pool max_roi_pool_backward roi_align roi_align_backward",
    "families.fractional": """
        FractionalMaxPool2d FractionalMaxPool3d fractional_max_pool2d fractional_max_pool2d_backward
        fractional_max_pool3d fractional_max_pool3d_backward
    """,
    "families.unpooling": """
        MaxUnpool1d MaxUnpool2d MaxUnpool3d convert_indices max_unpool1d max_unpool1d_backward max_unpool2d
        max_unpool2d_backward max_unpool3d max_unpool3d_backward
    """,
    "families.blocks": "block_reduce block_reduce_backward",
    "families.pyramids": "pyramid",
    "layer": "Layer Sequential",
    "maps": "LayoutWarning output_shape",
}
"""What each module makes public, beside what is imported above: the module is imported when a name is first used."""

_MODULES = {
    "cli",
    "dask",
    "doctor",
    "export",
    "families",
    "filters",
    "layer",
    "maps",
    "onnx_models",
    "operators",
    "reference",
    "torch",
    "validation",
    "xarray",
    "zarr",
}
"""Modules with names of their own, imported on first use."""

_MODULE_OF = {name: module for module, names in _ON_DEMAND.items() for name in names.split()}

__all__ = ["__version__", "get_num_threads", "set_num_threads", "show_config", "threads", *_MODULE_OF]

if not TYPE_CHECKING:  # to a type checker a module with __getattr__ has every name

    def __getattr__(name: str) -> object:
        """Import what is used for the first time (PEP 562); from then on it is an attribute like any other."""
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name not in _MODULE_OF:
            # With these fields a traceback proposes the name that is nearest.
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=sys.modules[__name__])
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_MODULES})
