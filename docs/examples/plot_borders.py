"""
What an average does at the border
==================================

Padding holds no element, but it counts in the divisor unless ``count_include_pad`` is false: an average of a
map of ones then falls off at its border.
"""

import matplotlib.pyplot as plt
import numpy as np

import pooling

ones = np.ones((1, 12, 12), np.float32)
counted = pooling.avg_pool2d(ones, 5, stride=1, padding=2)
left_out = pooling.avg_pool2d(ones, 5, stride=1, padding=2, count_include_pad=False)

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for axis, image, title in zip(
    axes, (counted, left_out), ("the default, as in torch", "count_include_pad=False"), strict=True
):
    shown = axis.imshow(image[0], vmin=0, vmax=1, cmap="viridis")
    axis.set_title(title)
    axis.set_xticks([])
    axis.set_yticks([])
figure.colorbar(shown, ax=axes)

# %%
# The cell at the corner is the mean of 9 elements, divided by 25 or by 9.

print(counted[0, 0, 0], left_out[0, 0, 0])
