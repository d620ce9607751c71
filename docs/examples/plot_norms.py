"""
From the average to the maximum
===============================

The generalised mean of a window, ``mean(x ** p) ** (1 / p)``, is the average for p = 1 and comes close to the
maximum for large p.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook
from PIL import Image

import pooling

photograph = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("L")
grey = np.asarray(photograph, np.float32)[np.newaxis]

# %%
# An Lp norm is a sum, so that it is divided by the number of elements once more.

size = 16
powers = (1, 2, 4, 16)
norms = [pooling.lp_pool2d(grey, p, size) / size ** (2 / p) for p in powers]
maximum = pooling.max_pool2d(grey, size)

figure, axes = plt.subplots(1, 5, figsize=(13, 3.6), layout="constrained")
for axis, image, title in zip(axes, [*norms, maximum], [*(f"p = {p}" for p in powers), "maximum"], strict=True):
    axis.imshow(image[0], cmap="gray", vmin=0, vmax=255)
    axis.set_title(f"{title}: mean {image.mean():.0f}")
    axis.set_axis_off()
