"""
Small objects after halvings
============================

Objects of 4, 8 and 16 pixels, each on the grid of cells and beside it, after one to four halvings by averages.
An object that is smaller than two cells depends on where it lies.
"""

import matplotlib.pyplot as plt
import numpy as np

import pooling

scene = np.zeros((1, 1, 64, 128), np.float32)
for size, row in ((4, 4), (8, 16), (16, 40)):
    for column in (16, 48 + size // 2 - 1, 96):
        scene[..., row : row + size, column : column + size] = 1
levels = [scene]
for _ in range(4):
    levels.append(pooling.avg_pool2d(levels[-1], 2))

figure, axes = plt.subplots(1, 5, figsize=(14, 2.2), layout="constrained")
for axis, level in zip(axes, levels, strict=True):
    axis.imshow(level[0, 0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"{level.shape[3]} x {level.shape[2]}")
    axis.set_xticks([])
    axis.set_yticks([])

# %%
# The doctor says the same of a network, from its layers alone.

from pooling.doctor import examine

for size in (4, 8, 16):
    smallest = examine("pool2/2 pool2/2 pool2/2 pool2/2", input_shape=(1, 1, 64, 128), object_size=size).findings[0]
    print(f"{size:2} pixels: {smallest.code} {smallest.title}")
