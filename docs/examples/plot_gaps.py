"""
An elevation model with gaps
============================

Means of what is there, left out where too little is.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook

import pooling

heights = cbook.get_sample_data("jacksboro_fault_dem.npz")["elevation"].astype(np.float32)
rows, columns = np.indices(heights.shape)
random = np.random.default_rng(3)
for _ in range(40):
    y, x, radius = random.integers(0, 344), random.integers(0, 403), random.integers(4, 16)
    heights[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = np.nan

maps = {
    "the model, gaps white": heights,
    "mean": pooling.block_reduce(heights, 8),
    "nodata=nan": pooling.block_reduce(heights, 8, nodata=np.nan),
    "nodata=nan, min_valid=0.5": pooling.block_reduce(heights, 8, nodata=np.nan, min_valid=0.5),
}
figure, axes = plt.subplots(2, 2, figsize=(9, 8), layout="constrained")
for axis, (title, image) in zip(axes.flat, maps.items(), strict=True):
    axis.imshow(image, cmap="terrain", vmin=200, vmax=1100)
    axis.set_title(f"{title}: {np.isnan(image).mean():.0%} missing")
    axis.set_axis_off()
