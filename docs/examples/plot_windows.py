"""
Windows, and what floor drops
=============================

Windows of 3 x 3 at a stride of 2, over a map of 8 x 8: without ``ceil_mode`` the last row and column are in no
window.
"""

import matplotlib.pyplot as plt
import numpy as np

import pooling

x = np.random.default_rng(0).integers(0, 100, (1, 1, 8, 8)).astype(np.float32)
layers = [
    pooling.MaxPool2d(3, stride=2),
    pooling.MaxPool2d(3, stride=2, ceil_mode=True),
    pooling.MaxPool2d(3, stride=2, padding=1),
]

# %%
# A cell that no window covers has no gradient, whatever the map. For each cell, the number of windows that it is in is
# the gradient of the sum of their sums.


def windows_of(layer):
    """Return for each cell how many windows it is in."""
    ones = np.ones(layer.output_shape(x.shape), np.float32)
    sums = pooling.AvgPool2d(
        **{name: layer.arguments[name] for name in ("kernel_size", "stride", "padding", "ceil_mode")},
        divisor_override=1,
    )
    return sums.backward(ones, x)[0, 0]


figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), layout="constrained")
for axis, layer in zip(axes, layers, strict=True):
    counts = windows_of(layer)
    shown = axis.imshow(counts, cmap="Blues", vmin=0, vmax=4)
    for (row, column), value in np.ndenumerate(x[0, 0]):
        colour = ("red", "black", "black", "black", "white")[int(counts[row, column])]
        axis.text(column, row, f"{value:g}", ha="center", va="center", color=colour)
    rows, columns = layer.output_shape(x.shape)[2:]
    axis.set_title(f"{layer}\n{rows} x {columns} windows, {np.count_nonzero(counts == 0)} cells dropped", fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])
figure.colorbar(shown, ax=axes, label="windows that a cell is in", ticks=range(5))
