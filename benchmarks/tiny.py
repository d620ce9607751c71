"""The tiny calls that are timed and counted: of maps of 8 x 8, where the work around a kernel is all there is."""

__all__ = ["CALLS", "SETUP"]

SETUP = """
import numpy as np
import pooling
from pooling import avg_pool2d_backward, max_pool2d, max_pool2d_backward
x = np.random.default_rng(0).standard_normal((1, 16, 8, 8), np.float32)
g = np.ones((1, 16, 4, 4), np.float32)
"""
CALLS = {
    "call": "max_pool2d(x, 2)",
    "gradient of a maximum": "max_pool2d_backward(g, x, 2)",
    "gradient of a mean": "avg_pool2d_backward(g, x, 2)",
    "indices": "max_pool2d(x, 2, return_indices=True)",
}
