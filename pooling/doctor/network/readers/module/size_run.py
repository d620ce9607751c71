"""Runs of a module at many input sizes, for the question at which of them it works and where windows leave cells out.

The code of the module runs as it is at every size, so that whatever it makes of sizes is its own. What it calls of
torch is not worked out twice: a result without data depends on nothing but the shapes of what goes in, so that it is
kept by the function, the shapes and the other arguments. Behind some strides neighbouring sizes have maps of one size,
and layers of one kind share their results.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from pooling.geometry import Axis

from ....operators.nodes import Tensor
from ...graph import step_of
from ...network import Stage
from ...size_walk import plain
from .capture import Recorder
from .stand_ins import stand_in

__all__ = ["MOST_KEPT", "Memory", "SizeRun", "Windows", "has_windows"]

Windows = tuple[tuple[Axis, ...], ...]
"""The windows of convolutions and poolings, one for each spatial axis."""
TENSOR: Any = torch.Tensor
FIELDS = tuple(each.name for each in fields(Tensor))
MOST_KEPT = 2**16
"""Results that are kept; then they are forgotten."""
PLAIN = (int, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format, type(...))


class Unkeyed(Exception):
    """The result of a call depends on what has no key."""


class Kept(NamedTuple):
    """What a call gave.

    Attributes
    ----------
    structure : object
        Of the result; None where it is one tensor.
    leaves : tuple of (str, int or object)
        ``("argument", place)``: one of the tensors that went in; ``("data", number)``: a tensor of that number;
        ``("constant", number)``: one of that shape, in which no data is; ``("value", object)``: anything else.
    windows : tuple
        Those of the stages that the call is.
    """

    structure: Any
    leaves: tuple[tuple[str, Any], ...]
    windows: Windows


class Memory:
    """What is kept from one run to the next.

    Attributes
    ----------
    called : int
        Calls that torch made, because they were not known.
    """

    def __init__(self) -> None:
        self.called = 0
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.results: dict[Hashable, Kept] = {}
        self.tensors: list[Tensor] = []
        self.layouts: list[tuple[Any, ...]] = []
        self._numbers: dict[Hashable, int] = {}

    def number(self, known: Tensor, tensor: Any) -> int:
        """Return the number of a tensor, which those share that are alike in all that shapes and windows depend on."""
        # Where it comes from, and who is to blame for what is not known of it, changes no shape.
        view = known.view and replace(known.view, lost="", context=False, aligned=True)
        bare = replace(known, source="data", view=view, culprit=None, ended=False, scattered=None)
        layout = (tuple(tensor.shape), tensor.stride(), tensor.dtype)
        key = (layout, *(plain(getattr(bare, name)) for name in FIELDS))
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.tensors)
            self.tensors.append(bare)
            self.layouts.append(layout)
        return found

    def made(self, number: int) -> Any:
        """Return a new tensor of a number."""
        shape, stride, dtype = self.layouts[number]
        with torch._C._DisableTorchDispatch():
            return torch.empty_strided(shape, stride, dtype=dtype, device="meta")


class SizeRun(TorchFunctionMode):
    """One run: calls of torch from the code of the module, of which those that are known are not made.

    Parameters
    ----------
    recorder : Recorder
        Writes the nodes of the calls that are made.
    memory : Memory
    given : mapping
        The inputs of the module: what is known of them, and the tensors that stand for them, by name.
    """

    def __init__(self, recorder: Recorder, memory: Memory, given: Mapping[str, tuple[Tensor, Any]]) -> None:
        super().__init__()
        self.recorder = recorder
        self.memory = memory
        self.windows: list[tuple[Axis, ...]] = []
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []
        self._tensors: dict[str, Tensor] = {}
        self._read = 0
        self._arguments: list[Any] = []
        self._has_data = False
        for name, (known, tensor) in given.items():
            self._tensors[name] = known
            self._name(tensor, memory.number(known, tensor))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        func, args, kwargs = stand_in(self.recorder, func, args, kwargs or {})
        memory = self.memory
        if func in ASK:
            return func(*args, **kwargs)
        if func is TENSOR.__iter__:
            return iter(self.__torch_function__(TENSOR.unbind, types, (args[0], 0)))
        if func in CHANGE_SHAPES:
            return self._made_and_known(func, args, kwargs)
        self._arguments, self._has_data = [], False
        try:
            key: Hashable = (func, self._key(args), self._key(kwargs) if kwargs else None)
        except Unkeyed:
            return self._made_and_known(func, args, kwargs)
        arguments, has_data = self._arguments, self._has_data
        known = memory.results.get(key)
        if known is None:
            make = self._made_and_known if has_data else self._made_of_constants
            return make(func, args, kwargs, key, arguments)
        if known.windows:
            self.windows += known.windows
        found = [self._again(kind, what, arguments) for kind, what in known.leaves]
        return found[0] if known.structure is None else pytree.tree_unflatten(found, known.structure)

    def finish(self) -> None:
        """Read what was called without a function of torch, such as the operators of a script."""
        self._follow()

    # -----------------------------------------------------------------------------------------------------------------

    def _name(self, tensor: Any, number: int) -> None:
        self._numbers[id(tensor)] = number
        self._kept.append(tensor)

    def _again(self, kind: str, what: Any, arguments: Sequence[Any]) -> Any:
        """Return a part of a result that is known."""
        if kind == "data":
            tensor = self.memory.made(what)
            self._name(tensor, what)
            return tensor
        if kind == "argument":
            place, number = what
            self._numbers[id(arguments[place])] = number
            return arguments[place]
        return self.memory.made(what) if kind == "constant" else what

    def _key(self, value: Any) -> Hashable:
        """Return what is equal for arguments that lead to equal results."""
        kind = type(value)
        if kind in PLAIN:
            return value  # type: ignore[no-any-return]
        if kind is bool or kind is float:
            return (kind, value)
        if isinstance(value, torch.Tensor):
            return self._key_of_tensor(value)
        if kind is tuple or kind is list or kind is torch.Size:
            return (kind, *map(self._key, value))
        if kind is slice:
            return (kind, self._key(value.start), self._key(value.stop), self._key(value.step))
        if kind is dict:
            return (kind, *((name, self._key(each)) for name, each in value.items()))
        raise Unkeyed

    def _key_of_tensor(self, tensor: Any) -> Hashable:
        number = self._numbers.get(id(tensor))
        self._arguments.append(tensor)
        if number is not None and not self.recorder.is_outdated(tensor):
            self._has_data = True
            return ("data", number)
        if number is not None or self.recorder.is_data(tensor):
            raise Unkeyed  # it was written into through another tensor
        if tensor.layout is not torch.strided:
            raise Unkeyed
        if tensor.dim() == 0 and not tensor.is_meta:
            return ("number", tensor.dtype, str(tensor.device), tensor.item())
        return ("constant", tensor.dtype, tensor.is_meta, tuple(tensor.shape), tensor.stride())

    def _made_and_known(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        key: Hashable = None,
        arguments: Sequence[Any] = (),
    ) -> Any:
        """Make a call, and keep what it gave if that depends on nothing but the key."""
        self._introduce(arguments or pytree.tree_leaves((args, kwargs)))
        self.memory.called += 1
        before = len(self.windows)
        result = func(*args, **kwargs)
        self._follow()
        leaves, structure = pytree.tree_flatten(result)
        tensors = [each for each in leaves if isinstance(each, torch.Tensor)]
        if not tensors:
            return result
        places = {id(each): place for place, each in reversed(list(enumerate(arguments)))}
        found: list[tuple[str, Any]] = []
        for each in leaves:
            if not isinstance(each, torch.Tensor):
                found.append(("value", each))
                continue
            number = self._number(each)
            if id(each) in places:
                is_data = number is not None and id(each) in self._numbers
                found.append(("argument", (places[id(each)], number)) if is_data else ("", None))
            elif number is not None:
                found.append(("data", number))
            elif each.is_meta and each.layout is torch.strided:
                found.append(("constant", self.memory.number(Tensor(tuple(each.shape)), each)))
            else:
                found.append(("", None))
            if number is not None:
                self._name(each, number)
        if key is not None and all(kind for kind, _ in found):
            alone = isinstance(result, torch.Tensor)
            self.memory.results[key] = Kept(None if alone else structure, tuple(found), tuple(self.windows[before:]))
        return result

    def _made_of_constants(
        self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], key: Hashable, arguments: Sequence[Any]
    ) -> Any:
        """Make a call into which no data goes; keep what has no values, and is no part of what went in."""
        result = func(*args, **kwargs)
        if type(result) is torch.Tensor and result.is_meta and result.layout is torch.strided:
            memory = result.untyped_storage()._cdata
            if not any(memory == each.untyped_storage()._cdata for each in arguments):
                number = self.memory.number(Tensor(tuple(result.shape)), result)
                self.memory.results[key] = Kept(None, (("constant", number),), ())
        return result

    def _introduce(self, arguments: Sequence[Any]) -> None:
        """Tell the recorder of tensors that come from calls that were not made."""
        for each in arguments:
            number = self._numbers.get(id(each)) if isinstance(each, torch.Tensor) else None
            if number is not None and not self.recorder.is_outdated(each):
                name = f"known {number}"
                self._tensors[name] = self.memory.tensors[number]
                self.recorder.give(each, name)

    def _number(self, tensor: Any) -> int | None:
        """Return the number of what a call gave; None where no data is in it, or where it is written in parts."""
        if not tensor.is_meta or not self.recorder.is_data(tensor):
            return None
        name = self.recorder.name(tensor)
        self._follow()
        known = self._tensors.get(name)
        return None if known is None else self.memory.number(known, tensor)

    def _follow(self) -> None:
        """Work out the stages that were written since the last call."""
        nodes, constants = self.recorder.nodes, self.recorder.constants
        while self._read < len(nodes):
            node = nodes[self._read]
            self._read += 1
            for name in node.inputs:
                if name in constants:
                    self._tensors[name] = constants[name]
            self.windows += [stage.axes for stage in step_of(node, self._tensors) if has_windows(stage)]


def has_windows(stage: Stage) -> bool:
    """Whether the windows of a stage may leave cells out."""
    return stage.kind in ("convolution", "pooling") and bool(stage.axes)


ASK = frozenset(
    {
        TENSOR.shape.__get__,
        TENSOR.size,
        TENSOR.stride,
        TENSOR.numel,
        TENSOR.nelement,
        TENSOR.__len__,
        TENSOR.dim,
        TENSOR.ndim.__get__,
        TENSOR.dtype.__get__,
        TENSOR.device.__get__,
        TENSOR.is_contiguous,
        TENSOR.is_floating_point,
        TENSOR.requires_grad.__get__,
    }
)
"""Functions that give numbers and no tensors; they are asked again, which costs less than a key."""
CHANGE_SHAPES = frozenset(
    getattr(TENSOR, name)
    for name in (
        "as_strided_", "resize_", "resize_as_", "set_", "squeeze_", "swapaxes_", "swapdims_", "t_", "transpose_",
        "unsqueeze_",
    )
) | {TENSOR.data.__set__}  # fmt: skip
"""Functions that change the shape of a tensor in place."""
