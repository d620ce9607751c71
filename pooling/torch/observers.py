"""Who sees an operator that is called, besides autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

__all__ = ["is_unobserved"]

PLAIN = frozenset((torch.Tensor, torch.nn.Parameter))

# Names of this module: looking them up in torch costs as much as calling them.
_is_compiling = torch.compiler.is_compiling
_transforms = torch._C._are_functorch_transforms_active
_function_modes = torch._C._is_torch_function_mode_enabled
_dispatch_modes = torch._C._len_torch_dispatch_stack
_tracing = torch._C._get_tracing_state
_profiler = torch._C._autograd._profiler_enabled
_autocast = torch._C._is_any_autocast_enabled


def is_unobserved(tensor: Any) -> bool:
    """Whether nothing sees or changes an operator that is called with this tensor, but autograd.

    Compilation and export, the transforms of `torch.func`, modes of functions and of dispatch, `torch.jit.trace`,
    profilers, autocast and forward-mode derivatives do, and so do subclasses of tensors.
    """
    return not (
        _is_compiling()
        or type(tensor) not in PLAIN
        or _transforms()
        or _function_modes()
        or _dispatch_modes()
        or _profiler()
        or _autocast()
        or forward_ad._current_level >= 0
        or _tracing() is not None
    )
