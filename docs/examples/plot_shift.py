"""
A shift by one pixel
====================

A strided maximum changes when its input moves by one pixel. A blur between the maximum and the stride,
`pooling.max_blur_pool2d`, makes that change smaller.
"""

import matplotlib.pyplot as plt
import numpy as np

import pooling

line = np.zeros((1, 1, 1, 64), np.float32)
line[..., 10:54] = (np.sin(np.arange(44) * 1.7) > 0) * 1.0
shifts = range(4)
ways = {
    "max_pool2d": lambda x: pooling.max_pool2d(x, (1, 2)),
    "max_blur_pool2d": lambda x: pooling.max_blur_pool2d(x, (1, 2), stride=(1, 2), blur_kernel_size=(1, 3)),
}

figure, axes = plt.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
for axis, (title, pool) in zip(axes, ways.items(), strict=True):
    results = [pool(np.roll(line, shift, axis=-1)).ravel() for shift in shifts]
    for shift, result in zip(shifts, results, strict=True):
        axis.step(np.arange(result.size) * 2 - shift, result, where="mid", label=f"moved by {shift}")
    change = np.abs(results[1] - results[0]).mean()
    axis.set_title(f"{title}: mean change {change:.2f} when the input moves by one pixel")
axes[0].legend(ncols=4, fontsize=8)
axes[1].set_xlabel("pixels of the input")
