"""
The envelope of a signal
========================

A plot has a thousand pixels, a recording a million samples: the least and the greatest of each stretch draw the
same picture, where every hundredth sample would miss the peaks.
"""

import matplotlib.pyplot as plt
import numpy as np

import pooling

random = np.random.default_rng(0)
time = np.arange(200_000) / 1000
sound = (np.sin(time / 7) * random.normal(0, 0.3, time.size)).astype(np.float32)
sound[[31_415, 92_653, 158_979]] = 3, -3, 3

step = 400
highest = pooling.max_pool1d(sound[np.newaxis], step)[0]
lowest = pooling.min_pool1d(sound[np.newaxis], step)[0]
level = pooling.lp_pool1d(sound[np.newaxis], 2, step)[0] / step**0.5
middles = time[step // 2 :: step]

figure, axes = plt.subplots(2, 1, figsize=(10, 5), sharex=True, sharey=True, layout="constrained")
axes[0].plot(time[::step], sound[::step], linewidth=0.8)
axes[0].set_title(f"every {step}th sample: the peaks are gone")
axes[1].fill_between(middles, lowest, highest, alpha=0.5, label="min_pool1d to max_pool1d")
axes[1].plot(middles, level, color="black", linewidth=1, label="root mean square, by lp_pool1d")
axes[1].set_title(f"{highest.size} windows of {step} samples")
axes[1].set_xlabel("seconds")
axes[1].legend()
