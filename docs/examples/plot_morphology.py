"""
Opening and closing
===================

A grey opening takes bright specks away, a closing dark ones; both keep the size of the image. The filters of
`pooling.filters` have the arguments of ``scipy.ndimage``.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook
from PIL import Image

from pooling import filters

photograph = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("L")
grey = np.array(photograph)[40:296, 130:386]
random = np.random.default_rng(0)
grey[random.random(grey.shape) < 0.02] = 255
grey[random.random(grey.shape) < 0.02] = 0
opened = filters.grey_opening(grey, size=3)
cleaned = filters.grey_closing(opened, size=3)

figure, axes = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")
for axis, image, title in zip(
    axes, (grey, opened, cleaned), ("salt and pepper", "opened", "opened and closed"), strict=True
):
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    axis.set_title(title)
    axis.set_axis_off()
