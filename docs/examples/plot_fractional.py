"""
Windows at random steps
=======================

Fractional pooling makes maps of any size, by windows whose steps are one or two cells at random. A seed gives
the same windows again.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook
from PIL import Image

import pooling

photograph = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("L")
grey = np.asarray(photograph, np.float32)[np.newaxis, np.newaxis, 60:156, 190:286]

figure, axes = plt.subplots(1, 4, figsize=(12, 3.5), layout="constrained")
axes[0].imshow(grey[0, 0], cmap="gray")
axes[0].set_title("96 x 96")
for axis, seed in zip(axes[1:], (0, 0, 1), strict=True):
    pooled = pooling.fractional_max_pool2d(grey, 2, output_size=68, rng=np.random.default_rng(seed))
    axis.imshow(pooled[0, 0], cmap="gray")
    axis.set_title(f"68 x 68, seed {seed}")
for axis in axes:
    axis.set_axis_off()
