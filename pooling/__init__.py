"""Pooling on CPUs: NumPy arrays in, NumPy arrays out, forward and backward.

The functions follow torch.nn.functional in names, order and defaults. ``pooling.export`` builds the same poolings as
ONNX graphs, ``pooling.validation`` compares runtimes; both are imported on their own, since they need onnx.
"""

from . import blurring, fractional, functional, gradients, layers, norms, regions, unpooling
from ._version import __version__
from .blurring import *  # noqa: F403
from .fractional import *  # noqa: F403
from .functional import *  # noqa: F403
from .geometry import output_shape
from .gradients import *  # noqa: F403
from .layers import *  # noqa: F403
from .norms import *  # noqa: F403
from .regions import *  # noqa: F403
from .system import show_config
from .threads import get_num_threads, set_num_threads, threads
from .unpooling import *  # noqa: F403

__all__ = [
    "__version__",
    "get_num_threads",
    "output_shape",
    "set_num_threads",
    "show_config",
    "threads",
]
__all__ += functional.__all__ + gradients.__all__ + layers.__all__
__all__ += norms.__all__ + blurring.__all__ + regions.__all__ + fractional.__all__ + unpooling.__all__
