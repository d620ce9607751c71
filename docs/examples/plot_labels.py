"""
Labels are no numbers
=====================

The mean of two labels is a third one. The most frequent label of each block is a label that is there.
"""

import matplotlib.pyplot as plt
import numpy as np

import pooling

random = np.random.default_rng(5)
middles = random.random((40, 2)) * 96
rows, columns = np.indices((96, 96))
distances = np.stack([np.hypot(rows - y, columns - x) for y, x in middles])
labels = (distances.argmin(0) + 1).astype(np.uint16)
nearest = np.sort(distances, axis=0)
labels[nearest[1] - nearest[0] < 1.5] = 0

reduced = {
    "labels, walls 0": labels,
    '"mode"': pooling.block_reduce(labels, 4, "mode"),
    '"mode", nodata=0': pooling.block_reduce(labels, 4, "mode", nodata=0),
    '"mean"': pooling.block_reduce(labels, 4, "mean"),
}
figure, axes = plt.subplots(1, 4, figsize=(13, 3.6), layout="constrained")
for axis, (title, image) in zip(axes, reduced.items(), strict=True):
    axis.imshow(image, cmap="nipy_spectral", vmin=0, vmax=40, interpolation="nearest")
    axis.set_title(title)
    axis.set_axis_off()

# %%
# Blocks whose mean is a label that none of their elements has:

cells = labels.reshape(24, 4, 24, 4).swapaxes(1, 2).reshape(24, 24, 16)
print(np.count_nonzero((cells != reduced['"mean"'][..., np.newaxis]).all(-1)), "of", 24 * 24)
