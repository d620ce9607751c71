"""
A volume from three sides
=========================

A projection is a block as long as the axis: the greatest, the smallest or the mean of each ray.
"""

import matplotlib.pyplot as plt
import numpy as np

import pooling

z, y, x = (axis - 32 for axis in np.indices((64, 64, 64)))
volume = np.random.default_rng(0).normal(20, 6, (64, 64, 64)).astype(np.float32)
volume[(x / 28) ** 2 + (y / 24) ** 2 + (z / 30) ** 2 < 1] += 40
volume[(x - 8) ** 2 + (y + 6) ** 2 + z**2 < 36] += 120
volume[np.hypot(x + 10, y - 4) < 2] += 80

figure, axes = plt.subplots(2, 3, figsize=(10, 7), layout="constrained")
for row, func in zip(axes, ("max", "mean"), strict=True):
    for side, axis in enumerate(row):
        block = [1, 1, 1]
        block[side] = 64
        axis.imshow(
            np.squeeze(pooling.block_reduce(volume, block, func), side),
            cmap="bone",
            vmin=0,
            vmax=200 if func == "max" else 80,
        )
        axis.set_title(f"{func} along {'zyx'[side]}")
        axis.set_axis_off()
