"""
Where gradients go
==================

The gradient of a maximum goes to the element that won, that of an average to all, that of a norm to each by its
size.
"""

import matplotlib.pyplot as plt
import numpy as np

import pooling

x = np.random.default_rng(1).random((1, 1, 12, 12), dtype=np.float32)
ones = np.ones((1, 1, 4, 4), np.float32)
gradients = {
    "the map": x,
    "max_pool2d": pooling.max_pool2d_backward(ones, x, 3),
    "avg_pool2d": pooling.avg_pool2d_backward(ones, x, 3),
    "lp_pool2d, p = 4": pooling.lp_pool2d_backward(ones, x, 4, 3),
}

figure, axes = plt.subplots(1, 4, figsize=(13, 3.6), layout="constrained")
for axis, (title, image) in zip(axes, gradients.items(), strict=True):
    axis.imshow(image[0, 0], cmap="magma", vmin=0, vmax=1)
    for place in (2.5, 5.5, 8.5):
        axis.axhline(place, color="white", linewidth=0.8)
        axis.axvline(place, color="white", linewidth=0.8)
    axis.set_title(title)
    axis.set_xticks([])
    axis.set_yticks([])
