"""
A pyramid of a photograph
=========================

Each level of `pooling.pyramid` is made of the original pixels and rounded once. Halving in a loop rounds at
every step, and the image drifts.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook
from PIL import Image

import pooling

photograph = np.asarray(Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
levels = pooling.pyramid(photograph, (2, 2, 1), levels=6)

figure, axes = plt.subplots(1, 7, figsize=(14, 2.8), layout="constrained")
for axis, level in zip(axes, [photograph, *levels], strict=True):
    axis.imshow(level)
    axis.set_title(f"{level.shape[1]} x {level.shape[0]}", fontsize=9)
    axis.set_axis_off()

# %%
# The mean error of each level, against exact means.

exact = [pooling.block_reduce(photograph, 2**n, layout="HWC", dtype=np.float64) for n in range(1, 7)]
loop, drift = photograph, []
for truth in exact:
    loop = pooling.block_reduce(loop, 2, layout="HWC", rounding="half_up")
    drift.append((loop - truth).mean())

plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(range(1, 7), drift, "o-", label="means of rounded means, half up")
plt.plot(
    range(1, 7),
    [(level - truth).mean() for level, truth in zip(levels, exact, strict=True)],
    "o-",
    label="pooling.pyramid",
)
plt.xlabel("level")
plt.ylabel("grey levels too bright")
plt.legend()
