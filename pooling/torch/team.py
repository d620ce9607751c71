"""How many threads a call uses under PyTorch: at most those of `torch.set_num_threads`, and at most those of `pooling`.

So a worker of a `torch.utils.data.DataLoader`, in which PyTorch sets one thread, has one here too, and so has a process
that ``torchrun`` starts with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from pooling import _core

__all__ = ["limited"]


def limited(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of `pooling` use no more threads than PyTorch does."""
    ours, here = _core.get_num_threads, _core.THREADS_HERE
    theirs = torch.get_num_threads

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        most = theirs()
        if most >= ours():
            return function(*args, **kwargs)
        token = here.set(most)
        try:
            return function(*args, **kwargs)
        finally:
            here.reset(token)

    return call
