"""
Maximum, average and minimum of a photograph
============================================

A maximum keeps what is bright, a minimum what is dark, an average the amount of light.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook
from PIL import Image

import pooling

photograph = np.asarray(Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
pooled = {
    "512 x 600": photograph,
    "max_pool2d": pooling.max_pool2d(photograph, 12, layout="channels_last"),
    "avg_pool2d": pooling.avg_pool2d(photograph, 12, layout="channels_last"),
    "min_pool2d": pooling.min_pool2d(photograph, 12, layout="channels_last"),
}

figure, axes = plt.subplots(1, 4, figsize=(12, 4), layout="constrained")
for axis, (title, image) in zip(axes, pooled.items(), strict=True):
    axis.imshow(image)
    axis.set_title(title)
    axis.set_axis_off()

# %%
# Bytes stay bytes: maxima and minima are elements of the photograph, and averages are exact means, rounded once.

for title, image in pooled.items():
    print(f"{title:11} {image.dtype} {image.shape} mean {image.mean():.1f}")
