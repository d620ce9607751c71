"""What takes the place of calls that tensors without data cannot make: of their values, and of accelerators."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

from .capture import Recorder

__all__ = ["stand_in"]

TENSOR: Any = torch.Tensor
ASK_FOR_VALUES = {
    TENSOR.numpy: "Tensor.numpy",
    TENSOR.__array__: "Tensor.numpy",
    TENSOR.__dlpack__: "Tensor.__dlpack__",
    TENSOR.tolist: "Tensor.tolist",
    TENSOR.data_ptr: "Tensor.data_ptr",
}
"""Functions that give what is in a tensor, by how they are called."""
ASK_FOR_GRADIENTS = {
    TENSOR.backward: "Tensor.backward",
    torch.autograd.backward: "torch.autograd.backward",
    torch.autograd.grad: "torch.autograd.grad",
}
TO_AN_ACCELERATOR = frozenset(getattr(TENSOR, name) for name in ("cuda", "ipu", "xpu") if hasattr(TENSOR, name))
ACCELERATORS = ("cuda", "hpu", "ipu", "mps", "npu", "xla", "xpu")

Called = tuple[Any, tuple[Any, ...], dict[str, Any]]


def stand_in(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Called:
    """Return the call to make instead of one: its function and arguments.

    Raises
    ------
    KnowledgeEnds
        If it asks for what is in a tensor that has no data.
    """
    if func in ASK_FOR_VALUES and args[0].is_meta:
        why = "gives a result that depends on data" if recorder.is_data(args[0]) else "needs the values of a weight"
        recorder.end(ASK_FOR_VALUES[func], [args[0]], why, sys._getframe(2))
    if func in ASK_FOR_GRADIENTS:
        tensors = [each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        recorder.end(ASK_FOR_GRADIENTS[func], tensors, "works out gradients, which needs data", sys._getframe(2))
    if func is TENSOR.__format__ and args[0].is_meta and args[0].dim() == 0:
        return _text, args, {}
    if func in TO_AN_ACCELERATOR:
        return _same, args[:1], {}
    if func is TENSOR.to and len(args) > 1 and isinstance(args[1], int) and not isinstance(args[1], bool):
        args = (args[0], args[0].device, *args[2:])
    devices = [kwargs.get("device"), *(each for each in args if isinstance(each, torch.device))]
    if any(map(_is_accelerator, devices)):
        here = next((each.device for each in args if isinstance(each, torch.Tensor)), torch.device("cpu"))
        kwargs = {**kwargs, "device": here} if "device" in kwargs else kwargs
        return func, tuple(here if isinstance(each, torch.device) else each for each in args), dict(kwargs)
    if func is TENSOR.to and len(args) > 1 and _is_accelerator(args[1]):
        args = (args[0], args[0].device, *args[2:])
    return func, args, dict(kwargs)


def _is_accelerator(device: Any) -> bool:
    kind = (
        device.type if isinstance(device, torch.device) else device.partition(":")[0] if isinstance(device, str) else ""
    )
    return kind in ACCELERATORS


def _same(tensor: Any) -> Any:
    """Return what is where it should be: all tensors are on one device."""
    return tensor


def _text(_: Any, form: str) -> str:
    """Write a number that is not known, as code that logs does."""
    return format(math.nan, form)
