"""
Boxes of any size, pooled to one
================================

A detector cuts boxes of any size out of a map, and pools each to the same size: `pooling.roi_align` takes means
of samples between the cells, `pooling.max_roi_pool` maxima of whole cells.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook
from matplotlib.patches import Rectangle
from PIL import Image

import pooling

photograph = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("L")
grey = np.asarray(photograph, np.float32)[np.newaxis, np.newaxis]
boxes = np.array([[170, 60, 340, 280], [205, 330, 300, 420], [230.5, 130.5, 270.25, 160.75]], np.float32)
batch = np.zeros(len(boxes), np.int64)
aligned = pooling.roi_align(grey, boxes, batch, output_size=24)
rows = np.concatenate([batch[:, np.newaxis], boxes.round()], axis=1).astype(np.float32)
maxima = pooling.max_roi_pool(grey, rows, output_size=24)

figure, axes = plt.subplot_mosaic(
    [["all", "a0", "a1", "a2"], ["all", "m0", "m1", "m2"]], figsize=(12, 5), layout="constrained"
)
axes["all"].imshow(grey[0, 0], cmap="gray")
for index, (x1, y1, x2, y2) in enumerate(boxes):
    axes["all"].add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=f"C{index}", linewidth=2))
    for letter, result, title in (("a", aligned, "roi_align"), ("m", maxima, "max_roi_pool")):
        axes[f"{letter}{index}"].imshow(result[index, 0], cmap="gray")
        axes[f"{letter}{index}"].set_title(title, color=f"C{index}")
for axis in axes.values():
    axis.set_axis_off()
