"""
Unpooling
=========

A maximum with its indices can be undone as far as its windows go: each element returns to its place, among
zeros.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook
from PIL import Image

import pooling

photograph = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("L")
grey = np.asarray(photograph, np.float32)[np.newaxis, 60:252, 160:352]
values, indices = pooling.max_pool2d(grey, 3, return_indices=True)
restored = pooling.max_unpool2d(values, indices, 3, output_size=grey.shape)

figure, axes = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")
for axis, image, title in zip(
    axes, (grey, values, restored), ("192 x 192", "maxima of 3 x 3", "unpooled"), strict=True
):
    axis.imshow(image[0], cmap="gray", vmin=0, vmax=255)
    axis.set_title(title)
    axis.set_axis_off()

# %%
# Where there is a value, it is that of the photograph.

placed = restored != 0
print(f"{placed.mean():.3f} of the pixels are there, all equal: {bool((restored[placed] == grey[placed]).all())}")
