"""One run of a module on tensors without data, with every operator that data passes through written down as a node."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from pooling.layer import Layer

from ....operators import OPERATORS, SMALL, outcome_of
from ....operators.nodes import Node, NodeCall, Outcome, Rule, Shape, Tensor
from ....operators.torch import as_torch_has_it, overwritten, unknown
from .scope import Names, Place, place_of

__all__ = ["AtenCall", "Key", "KnowledgeEnds", "Recorder", "Trial", "dtype_of", "label_of", "run_module"]

Key = tuple[str, str, int]
"""What a stage is known by while a module runs: the module, the operator, and which of its calls this is."""
TORCH = os.path.dirname(torch.__file__) + os.sep
DATA_DEPENDENT = frozenset(
    [
        "_local_scalar_dense",
        "_unique2",
        "allclose",
        "batched_nms",
        "bincount",
        "equal",
        "histc",
        "is_nonzero",
        "item",
        "masked_select",
        "nms",
        "nonzero",
        "nonzero_numpy",
        "unique_consecutive",
        "unique_dim",
    ]
)
"""Operators whose result has a size, or is a number, that depends on data."""
OF_SHAPE_ALONE = frozenset(
    [
        "empty_like",
        "full_like",
        "new_empty",
        "new_empty_strided",
        "new_full",
        "new_ones",
        "new_zeros",
        "ones_like",
        "rand_like",
        "randint_like",
        "randn_like",
        "zeros_like",
    ]
)
"""Operators of whose input nothing but the shape matters."""
COMPOSITE = "CompositeImplicitAutograd"


class KnowledgeEnds(BaseException):
    """A module cannot be followed any further without data; no code of the module may catch this."""

    def __init__(self, operator: str, why: str) -> None:
        super().__init__(f"{operator} {why}")
        self.operator = operator
        self.why = why


@dataclass(eq=False)
class Storage:
    """Memory that tensors share: how often it was written, and what was written that the whole does not have yet."""

    version: int = 0
    pending: list[Value] = field(default_factory=list)
    first: Value | None = None
    """The tensor that was known first of those that share it."""


@dataclass(eq=False)
class Value:
    """What is known of a tensor of torch."""

    name: str
    data: bool
    tensor: Any
    storage: Storage
    weights: Mapping[str, int] = field(default_factory=dict)
    version: int = 0
    parent: Value | None = None
    """What it is a view of."""
    call: AtenCall | None = None
    """The call that made the view."""
    real: Any = None
    """The tensor with data that it stands for, if there is one."""


@dataclass(eq=False)
class AtenCall:
    """A call of an operator of ATen, with its arguments by name."""

    name: str
    arguments: dict[str, Any]
    inputs: list[Any]
    outputs: list[Any]
    place: Place
    function: Any = None

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument, the default where the operator has none of that name."""
        return self.arguments.get(name, default)

    @property
    def shapes(self) -> list[Shape]:
        """Those of the results."""
        return [tuple(map(int, each.shape)) for each in self.outputs]


def dtype_of(tensor: Any) -> np.dtype[Any] | None:
    """Return the type of a tensor in NumPy; None where NumPy has none."""
    return DTYPES.get(tensor.dtype)


DTYPES = {
    kind: np.dtype(name)
    for kind, name in {
        torch.float32: "float32",
        torch.float64: "float64",
        torch.float16: "float16",
        torch.int64: "int64",
        torch.int32: "int32",
        torch.int16: "int16",
        torch.int8: "int8",
        torch.uint8: "uint8",
        torch.bool: "bool",
        torch.complex64: "complex64",
        torch.complex128: "complex128",
    }.items()
}
DTYPES[torch.bfloat16] = np.dtype("float16")  # as wide


INTERPOLATIONS = frozenset(["upsample_bicubic2d", "upsample_bilinear2d", "upsample_linear1d", "upsample_trilinear3d"])
"""Operators of which torch works out every weight without data."""


def _result(func: Any, base: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a call; the results of those of which torch works out more than the shape without data are made up."""
    if base == "batch_norm" and len(args) > 5 and args[3] is not None and args[4] is not None and not args[5]:
        return torch.empty_like(args[0])
    if base == "_native_batch_norm_legit_no_training":
        return torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0)
    if base in INTERPOLATIONS and len(args) > 1 and args[1] is not None and min(*args[0].shape, *args[1]) > 0:
        layout = torch._prims_common.suggest_memory_format(args[0])
        return args[0].new_empty((*args[0].shape[:2], *args[1])).to(memory_format=layout)
    return func(*args, **kwargs)


class Recorder(TorchDispatchMode):
    """Runs a module and writes nodes.

    Parameters
    ----------
    modules : mapping
        Names of the modules by their ``id``.
    parameters : mapping
        Parameters by name, each once.
    write : callable
        Writes the nodes of a call; returns False where it has no record.
    recorded : container of str
        Operators that are written as they are, though torch would take them apart.
    changes : mapping
        Arguments that take the place of others.
    """

    supports_higher_order_operators = True

    def __init__(
        self,
        modules: Names,
        parameters: Mapping[str, Any],
        write: Callable[[Recorder, AtenCall], bool],
        recorded: Callable[[str], bool],
        changes: Mapping[Key, Mapping[str, Any]],
    ) -> None:
        super().__init__()
        self.modules = modules
        self.write = write
        self.recorded = recorded
        self.changes = changes
        self.constants: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.keys: dict[str, Key] = {}
        self.is_free = True
        """Whether every node has a rule that holds at every size."""
        self.free_rules: dict[str, Rule | None] = {}
        self.failed: tuple[BaseException, AtenCall] | None = None
        self._counts: Counter[tuple[str, str]] = Counter()
        self._values: dict[int, Value] = {}
        self._storages: dict[int, Storage] = {}
        self._twins: dict[int, Any] = {}
        self._kept: list[Any] = []
        self._number = 0
        for name, parameter in parameters.items():
            value = self._bind(parameter, name, data=False, weights={name: parameter.numel()})
            value.name = ""

    # -----------------------------------------------------------------------------------------------------------------
    # Tensors and their names

    def give(self, tensor: Any, name: str) -> None:
        """Name an input of the module."""
        self._bind(tensor, name, data=True)

    def is_data(self, tensor: Any) -> bool:
        """Whether data passes through a tensor."""
        # Data that was written into a tensor of the module's own is in what stands for it.
        value = self._values.get(id(self._twins.get(id(tensor), tensor)))
        return value is not None and (value.data or self._is_written(value))

    def is_outdated(self, tensor: Any) -> bool:
        """Whether the memory of a tensor was written through another one since it was named."""
        value = self._values.get(id(tensor))
        return value is not None and value.version != value.storage.version

    def is_known(self, tensor: Any) -> bool:
        """Whether a tensor is one that a call gave which was seen, or that the module has."""
        return id(tensor) in self._values

    def name(self, tensor: Any) -> str:
        """Return the name of a tensor as it is now."""
        value = self._current(self._value(self._twins.get(id(tensor), tensor) if self.is_data(tensor) else tensor))
        if not value.name:
            value.name = self._new_name("constant")
            real = value.real if value.real is not None else value.tensor
            self.constants[value.name] = Tensor(
                tuple(map(int, real.shape)), dtype_of(real), value=_small(real), weights=value.weights
            )
        return value.name

    def weights(self, tensor: Any) -> Mapping[str, int]:
        """Return the parameters that a tensor is made of."""
        return self._value(tensor).weights

    def size_constant(self, numbers: Sequence[int] | int) -> str:
        """Return the name of a constant that holds integers."""
        array = np.asarray(numbers, np.int64)
        name = self._new_name("sizes")
        self.constants[name] = Tensor(array.shape, array.dtype, value=array)
        return name

    def scale_constant(self, numbers: Sequence[float]) -> str:
        """Return the name of a constant that holds scales."""
        array = np.asarray(numbers, np.float32)
        name = self._new_name("scales")
        self.constants[name] = Tensor(array.shape, array.dtype, value=array)
        return name

    def weight_constant(self, tensor: Any, shape: Shape) -> str:
        """Return the name of a constant that is made of the parameters of a tensor, in another shape."""
        name = self._new_name("weight")
        self.constants[name] = Tensor(shape, dtype_of(tensor), weights=self.weights(tensor))
        return name

    def same(self, call: AtenCall) -> None:
        """Let the result of a call have the name of its input, to which it is equal, cell by cell."""
        tensor, source = call.outputs[0], call.inputs[0]
        shares = self._storage(tensor) is self._storage(source)
        self._set(tensor, self.name(source), self._value(source) if shares else None, call if shares else None)

    def same_data(self, tensor: Any, source: Any) -> None:
        """Let a tensor stand for another one of the same shape."""
        self._bind(tensor, self.name(source), data=True)

    def _new_name(self, kind: str) -> str:
        self._number += 1
        return f"{kind} {self._number}"

    def _storage(self, tensor: Any) -> Storage:
        try:
            key = int(tensor.untyped_storage()._cdata)
        except (NotImplementedError, RuntimeError):  # sparse tensors and the like have none
            return Storage()
        return self._storages.setdefault(key, Storage())

    def _bind(self, tensor: Any, name: str, *, data: bool, weights: Mapping[str, int] | None = None) -> Value:
        storage = self._storage(tensor)
        value = Value(name, data, tensor, storage, weights or {}, storage.version)
        self._values[id(tensor)] = value
        self._kept.append(tensor)
        if storage.first is None:
            storage.first = value
        return value

    def _value(self, tensor: Any) -> Value:
        value = self._values.get(id(tensor))
        if value is None:
            storage = self._storage(tensor)
            # What shares the memory of something known, as `.data` does, is the same.
            known = storage.first
            value = self._bind(tensor, "", data=False, weights=known.weights if known is not None else None)
            if known is not None and known.tensor.shape == tensor.shape and known.data:
                value.name, value.data = self._current(known).name, True
        return value

    def _set(self, tensor: Any, name: str, parent: Value | None = None, call: AtenCall | None = None) -> Value:
        value = self._values.get(id(tensor))
        if value is None:
            value = self._bind(tensor, name, data=True)
            value.parent, value.call = parent, call
        value.name, value.data, value.version = name, True, value.storage.version
        return value

    def _is_written(self, value: Value) -> bool:
        stale = value.version != value.storage.version
        return stale and (self._root(value).data or any(each.data for each in value.storage.pending))

    def _root(self, value: Value) -> Value:
        while value.parent is not None:
            value = value.parent
        return value

    def _current(self, value: Value) -> Value:
        """Bring a tensor up to date whose memory was written through another one."""
        storage = value.storage
        if value.version == storage.version:
            return value
        root = self._root(value)
        pending, storage.pending = storage.pending, []
        for written in pending:
            self._lift(written)
        if root.version != storage.version:
            root.version = storage.version
        if value.parent is not None and value.call is not None:
            self._current(value.parent)
            call = value.call
            data = self.is_data(value.parent.tensor)
            for output in call.outputs:
                each = self._values[id(output)]
                each.version = storage.version
                each.data = data
                each.weights = value.parent.weights
                each.name = ""
            if data:
                self._write(call)
        return value

    def _lift(self, written: Value) -> None:
        """Put what was written through a view into what it is a view of."""
        value, name = written, written.name
        while value.parent is not None:
            parent = value.parent
            parent.weights = {**parent.weights, **value.weights}
            if written.data:
                was = parent.version
                parent.version = parent.storage.version  # what it is without this write
                name = self._replaced(value, parent, name)
                parent.version = was
                parent.name, parent.data = name, True
            value = parent

    def _replaced(self, value: Value, parent: Value, name: str) -> str:
        """Write what becomes of a tensor when a view of it is written; return its new name."""
        shape = tuple(map(int, parent.tensor.shape))
        kind = value.call.name if value.call is not None else ""
        place = value.call.place if value.call is not None else Place("", "")
        result = self._new_name("tensor")
        dtypes = [dtype_of(parent.tensor)]
        if parent.tensor.numel() == value.tensor.numel() and kind not in ORDER_CHANGES:
            if shape == tuple(value.tensor.shape):
                return name
            inputs = (name, self.size_constant(shape))
            self._append(
                place, "reshape", "Reshape", inputs, (result,), {"allowzero": 1}, None, None, [shape], dtypes, {}, None
            )
            return result
        call = value.call
        if kind == "slice" and call is not None and not parent.data and call["step"] == 1:
            # Put into the middle of what has no data in it: padding.
            axis = int(call["dim"]) % len(shape)
            start = call["start"] or 0
            begins, ends = [0] * len(shape), [0] * len(shape)
            begins[axis] = max(0, start + shape[axis] if start < 0 else start)
            ends[axis] = shape[axis] - begins[axis] - int(value.tensor.shape[axis])
            padded = (name, self.size_constant(begins + ends))
            self._append(
                place, "pad", "Pad", padded, (result,), {"mode": "constant"}, None, None, [shape], dtypes, {}, None
            )
            return result
        inputs = (self.name(parent.tensor), name)
        rule = overwritten(shape, _span(call, shape) if kind == "slice" and call is not None else None)
        self._append(place, "overwrite", "aten.copy_", inputs, (result,), {}, None, rule, [shape], dtypes, {}, None)
        return result

    # -----------------------------------------------------------------------------------------------------------------
    # Nodes

    def emit(
        self,
        call: AtenCall,
        operator: str,
        inputs: Iterable[Any],
        outputs: Sequence[Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
        *,
        layer: Callable[[Shape], Layer] | None = None,
        rule: Rule | None = None,
        free: Rule | None = None,
        label: str = "",
        shape: Shape | None = None,
    ) -> str:
        """Write a node.

        Parameters
        ----------
        call : AtenCall
        operator : str
            As the stage has it.
        inputs : iterable of tensor, str or None
            Tensors of torch, or names; None is left out.
        outputs : sequence of tensor, optional
            By default those of the call; none for a step in between, whose name is returned.
        attributes, layer, rule
            As those of `Node`.
        free : callable, optional
            A rule that holds at every size, where `rule` holds at this one only.
        label : str
            What the stage is called behind its module; by default the operator of torch.
        shape : tuple of int, optional
            Of the result, for a step in between.
        """
        names = tuple("" if each is None else each if isinstance(each, str) else self.name(each) for each in inputs)
        tensors = list(call.outputs if outputs is None and shape is None else outputs or ())
        results = tuple(self._new_name("tensor") for _ in tensors) or (self._new_name("tensor"),)
        shapes = [tuple(map(int, each.shape)) for each in tensors] or [shape or ()]
        dtypes = [dtype_of(each) for each in tensors] or [dtype_of(call.inputs[0])]
        changed = self.changes.get(self._key(call.place.module, label or label_of(call.name), 1), {})
        self._append(
            call.place,
            label or label_of(call.name),
            operator,
            names,
            results,
            attributes or {},
            layer,
            rule,
            shapes,
            dtypes,
            changed,
            free,
        )
        views = _views(call)
        parent = self._value(call.inputs[0]) if views else None
        for tensor, name in zip(tensors, results, strict=False):
            is_view = parent is not None and self._storage(tensor) is parent.storage and tensor is not call.inputs[0]
            known = self._values.get(id(tensor))
            if known is not None and known.version != known.storage.version:
                known.version = known.storage.version
            self._set(tensor, name, parent if is_view else None, call if is_view else None)
        return results[0]

    def _key(self, module: str, label: str, ahead: int = 0) -> Key:
        return module, label, self._counts[module, label] + ahead

    def _append(
        self,
        place: Place,
        label: str,
        operator: str,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        attributes: Mapping[str, Any],
        layer: Callable[[Shape], Layer] | None,
        rule: Rule | None,
        shapes: Sequence[Shape],
        dtypes: Sequence[np.dtype[Any] | None],
        changes: Mapping[str, Any],
        free: Rule | None,
    ) -> None:
        self._counts[place.module, label] += 1
        key = self._key(place.module, label)
        name = f"{place.module or 'forward'}/{label}" + (f"_{key[2]}" if key[2] > 1 else "")
        self.keys[name] = key
        # What was changed has the shape that the doctor's own rule gave it.
        exact = None if changes else as_torch_has_it(operator, rule, shapes, dtypes)
        self.nodes.append(
            Node(
                name,
                operator,
                inputs,
                outputs,
                attributes,
                OPSET,
                layer,
                changes=changes,
                rule=exact,
                source_line=place.line,
            )
        )
        by_record = rule is None and (operator in OPERATORS or layer is not None)
        self.is_free = self.is_free and (free is not None or by_record)
        self.free_rules[name] = free

    def passed_over(self, call: AtenCall, why: str, shapes: Sequence[Shape | None] | None = None) -> None:
        """Write a stage that is not known."""
        operator = _title(call.function, call.name)
        found = call.shapes if shapes is None else shapes
        dtypes = [dtype_of(each) for each in call.outputs] or [None] * len(found)
        inputs = [each for each in call.inputs if self.is_data(each)] or call.inputs
        rule = unknown(why, found, dtypes)
        names = tuple(self.name(each) for each in inputs)
        results = tuple(self._new_name("tensor") for _ in found) or (self._new_name("tensor"),)
        self._append(call.place, label_of(call.name), operator, names, results, {}, None, rule, [], [], {}, None)
        self.nodes[-1] = replace(self.nodes[-1], rule=rule)
        for tensor, name in zip(call.outputs, results, strict=False):
            self._set(tensor, name)

    # -----------------------------------------------------------------------------------------------------------------
    # Calls

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        if isinstance(func, torch._ops.HigherOrderOperator):
            why = "calls functions that are not followed"
            self.end(func.name(), [each for each in tensors if self.is_data(each)], why, sys._getframe(1))
        name = func._schema.name.rpartition("::")[2]
        base = name[:-1] if func._schema.is_mutable and name.endswith("_") else name
        if not any(map(self.is_data, tensors)) or base in OF_SHAPE_ALONE:
            return self._constant(func, base, args, kwargs, tensors)
        args, kwargs = pytree.tree_map_only(torch.Tensor, self._without_data, (args, kwargs))
        known = self.recorded(base)
        if not known and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), COMPOSITE):
            with self:
                return func.decompose(*args, **kwargs)
        place = place_of(sys._getframe(1), self.modules, TORCH, run_module.__code__)
        if base in DATA_DEPENDENT or _picks_by_data(base, args):
            call = _call(func, base, args, kwargs, place)
            self._end(call, "gives a result that depends on data")
        device = kwargs.get("device")
        if device is not None and str(device) != "meta":
            kwargs["device"] = torch.device("meta")  # where the data would go does not matter
        call = _call(func, base, args, kwargs, place)
        if base == "embedding" and call["indices"].dtype.is_floating_point:
            # Nobody says of what type an input is; here it must be places.
            call.arguments["indices"] = torch.empty_like(call["indices"], dtype=torch.int64)
            self.same_data(call["indices"], args[1])
            args = (args[0], call["indices"], *args[2:])
            call.inputs = list(args[:2])
        try:
            result = self._changed(call) if self.changes else None
            if result is None and base in RECURRENT and "hx" in call.arguments and "batch_sizes" not in call.arguments:
                result = _recurrent(call)
            if result is None:
                result = _result(func, base, args, kwargs)
        except NotImplementedError:
            self._end(call, _why_not(func))
        except Exception as error:
            if _has_no_fake(func) or base.startswith("_nested_"):
                self._end(call, _why_not(func))
            self.failed = error, call
            raise
        call.outputs = [each for each in pytree.tree_leaves(result) if isinstance(each, torch.Tensor)]
        self._finish(call)
        return result

    def _finish(self, call: AtenCall) -> None:
        if call.function._schema.is_mutable:
            self._written_in_place(call)
        elif call.outputs and not all(any(each is given for given in call.inputs) for each in call.outputs):
            self._write(call)

    def _write(self, call: AtenCall) -> None:
        if not self.write(self, call):
            self.passed_over(call, f"{_title(call.function, call.name)} is not known here")

    def _written_in_place(self, call: AtenCall) -> None:
        """Write a call that changes a tensor: from now on its name, and those of its views, are others."""
        target = next(iter(call.outputs), None)
        if target is None or not any(target is each for each in call.inputs):
            if target is not None and self.recorded(call.name):
                self._write(call)  # what it writes are statistics of its own
                return
            self.passed_over(call, f"{call.name}, which writes into a tensor, is not known here")
            return
        value = self._value(target)
        if call.name not in ("copy", "fill", "zero"):
            self._current(value)
        parent, made_by, storage = value.parent, value.call, value.storage
        before = value.name, value.data
        if call.name == "copy":
            source = call["src"]
            if not self.is_data(source):
                value.name, value.data = "", False
                value.weights = self.weights(source)
            elif source.shape == target.shape:
                value.name, value.data = self.name(source), True
            else:
                self._write(call)
        elif call.name in ("fill", "zero"):
            value.name, value.data = "", False
        else:
            self._write(call)
        value.parent, value.call = parent, made_by
        storage.version += 1
        value.version = storage.version
        if parent is None:
            storage.pending.clear()
        elif value.data or before[1] or self._root(value).data:
            storage.pending.append(Value(value.name, value.data, target, storage, value.weights, 0, parent, made_by))

    def _constant(self, func: Any, base: str, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[Any]) -> Any:
        """Run what no data passes through, with values where it has some."""
        if any(each.is_meta for each in tensors):
            if base in ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal"):
                place = place_of(sys._getframe(2), self.modules, TORCH, run_module.__code__)
                self._end(_call(func, base, args, kwargs, place), "needs the values of a weight")
            args, kwargs = pytree.tree_map_only(torch.Tensor, self._without_data, (args, kwargs))
            if kwargs.get("device") is not None:
                kwargs["device"] = torch.device("meta")
        result = func(*args, **kwargs)
        if base in OF_SHAPE_ALONE or not tensors:
            return result
        if any(each.alias_info is not None and not each.alias_info.is_write for each in func._schema.returns):
            self._constant_view(func, base, args, kwargs, result)
            return result
        weights: dict[str, int] = {}
        for tensor in tensors:
            known = self._values.get(id(tensor)) or self._values.get(id(self._twins.get(id(tensor))))
            if known is not None:
                weights.update(known.weights)
        if not weights and not func._schema.is_mutable:
            return result
        for output in pytree.tree_leaves(result):
            if isinstance(output, torch.Tensor) and id(output) not in self._values:
                self._bind(output, "", data=False, weights=weights)
            elif isinstance(output, torch.Tensor):
                known = self._values[id(output)]
                known.weights = {**known.weights, **weights}
                if known.name in self.constants:
                    known.name = ""
        return result

    def _constant_view(
        self,
        func: Any,
        base: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        result: Any,
        place: Place | None = None,
    ) -> None:
        """Remember what a view is one of: data may be written through it."""
        if place is None:
            place = place_of(sys._getframe(2), self.modules, TORCH, run_module.__code__)
        call = _call(func, base, args, kwargs, place)
        call.outputs = [each for each in pytree.tree_leaves(result) if isinstance(each, torch.Tensor)]
        parent = self._value(call.inputs[0])
        for output in call.outputs:
            if id(output) not in self._values:
                value = self._bind(output, "", data=False, weights=parent.weights)
                if value.storage is parent.storage:
                    value.parent, value.call = parent, call

    def _without_data(self, tensor: Any) -> Any:
        """Return a tensor of the same shape without data; a single number stays what it is."""
        if tensor.is_meta or (tensor.dim() == 0 and tensor.device.type == "cpu"):
            return tensor
        twin = self._twins.get(id(tensor))
        if twin is None:
            twin = self._twin_of_view(tensor)
            if twin is None:
                twin = torch.empty_like(tensor, device="meta")
            self._twins[id(tensor)] = twin
            self._kept.append(tensor)
            self._value(twin).real = tensor
        return twin

    def _twin_of_view(self, tensor: Any) -> Any:
        """Return the same view of what stands for the whole, so that what is written into it is in the whole."""
        value = self._values.get(id(tensor))
        if value is None or value.parent is None or value.call is None or len(value.call.outputs) != 1:
            return None
        whole, call = self._without_data(value.parent.tensor), value.call
        names = [each.name for each in call.function._schema.arguments if not each.kwarg_only]
        args = [whole if call.arguments[name] is value.parent.tensor else call.arguments[name] for name in names]
        twin = call.function(*args)
        if twin.shape != tensor.shape or self._storage(twin) is not self._storage(whole):
            return None
        self._constant_view(call.function, call.name, args, {}, twin, call.place)
        return twin

    def _changed(self, call: AtenCall) -> Any:
        """Return what an operator gives whose arguments are changed, as the doctor's own rule has it."""
        key = self._key(call.place.module, label_of(call.name), 1)
        changes = self.changes.get(key)
        if not changes:
            return None
        trial = Trial(self, changes)
        number = self._number
        call.outputs = []
        trial.write(call)
        self._number = number
        shape = tuple(trial.outcome.shapes[0] or ()) if trial.outcome is not None else ()
        data = call.inputs[0]
        first = torch.empty(shape, dtype=data.dtype, device="meta")
        if len(call.function._schema.returns) > 1:
            return first, torch.empty(shape, dtype=torch.int64, device="meta")
        return first

    def end(self, name: str, tensors: Sequence[Any], why: str, frame: FrameType | None) -> NoReturn:
        """Follow the module no further: what is called there needs data.

        Parameters
        ----------
        name : str
            As people write what is called.
        tensors : sequence of tensor
            What it is given.
        why : str
        frame : frame
            Where it is called.
        """
        place = place_of(frame, self.modules, TORCH, run_module.__code__)
        self._end(AtenCall(name, {}, list(tensors), [], place), why)

    def _end(self, call: AtenCall, why: str) -> NoReturn:
        if not call.inputs:
            call.inputs = [self._values[each].tensor for each in self._values if self._values[each].data][:1]
        self.passed_over(call, f"{_title(call.function, call.name)} {why}", [None])
        raise KnowledgeEnds(_title(call.function, call.name), why)


ORDER_CHANGES = frozenset(["permute", "transpose", "t", "swapaxes", "movedim", "adjoint", "mT", "as_strided", "unfold"])
"""Views that have the elements in another order."""
OPSET = 22
"""The operators of ONNX whose rules are used are those of this version."""


def run_module(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call a module; frames beyond this one are none of its own."""
    return module(*args, **kwargs)


class Trial:
    """Finds out what the doctor's own rule makes of a call with changed arguments."""

    def __init__(self, recorder: Recorder, changes: Mapping[str, Any]) -> None:
        self.recorder = recorder
        self.changes = changes
        self.outcome: Outcome | None = None

    def write(self, call: AtenCall) -> None:
        """Let the record of a call write into this instead of the recorder."""
        self.recorder.write(self, call)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.recorder, name)

    def emit(
        self,
        call: AtenCall,
        operator: str,
        inputs: Iterable[Any],
        outputs: Sequence[Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
        *,
        layer: Callable[[Shape], Layer] | None = None,
        rule: Rule | None = None,
        free: Rule | None = None,
        label: str = "",
        shape: Shape | None = None,
    ) -> str:
        """Apply the rule."""
        if rule is not None and not self.changes:
            return ""  # what ONNX says of an operator of that name is not why torch refuses
        given = [
            None
            if each is None
            else self.recorder.constants[each]
            if isinstance(each, str)
            else Tensor(tuple(map(int, each.shape)), dtype_of(each), source="input")
            for each in inputs
        ]
        name = f"{call.place.module}/{label_of(call.name)}"
        none = ("",) * len(given)
        node = Node(name, operator, none, ("",), attributes or {}, OPSET, layer, changes=self.changes)
        self.outcome = outcome_of(NodeCall(node, tuple(given)))
        return ""


def _span(call: AtenCall, shape: Shape) -> tuple[int, range]:
    """Return the axis of a slice, and the elements that it takes."""
    axis = int(call["dim"]) % len(shape)
    chosen = slice(call["start"], call["end"], call["step"])
    return axis, range(*chosen.indices(shape[axis]))


def _why_not(func: Any) -> str:
    """Say why a call gives nothing without data, and what would help."""
    why = "has no rule in torch that works without data"
    space = func._schema.name.partition("::")[0]
    if space == "quantized":
        return f"{why}; give the module before it was quantised"
    return why if space in OWN else f"{why}; torch.library.register_fake adds one"


OWN = ("aten", "prims", "torchvision")
"""Namespaces of operators that are none of the user's."""


def _has_no_fake(func: Any) -> bool:
    """Whether a call is one of an operator of the user's, of which nobody said what it gives without data."""
    with suppress(ImportError, AttributeError):
        from torch._library.custom_ops import OPDEFS

        found = OPDEFS.get(func._schema.name)
        return found is not None and found._abstract_fn is None
    return False


def _picks_by_data(base: str, args: Sequence[Any]) -> bool:
    """Whether a call picks elements by truths, so that it depends on data how many there are."""
    if base == "where":
        return len(args) == 1
    places = args[1] if base in ("index", "_unsafe_index") and len(args) > 1 else ()
    return any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in places)


RECURRENT = frozenset(["gru", "lstm", "rnn_relu", "rnn_tanh"])
"""Operators that torch would run step by step, which takes as long without data as with it."""


def _recurrent(call: AtenCall) -> Any:
    """Return what a recurrent layer gives."""
    given, states = call.inputs[0], call["hx"]
    states = [states] if isinstance(states, torch.Tensor) else list(states)
    features = int(states[0].shape[-1]) * (2 if call["bidirectional"] else 1)
    output = torch.empty((*given.shape[:-1], features), dtype=given.dtype, device="meta")
    return output, *(torch.empty_like(each, device="meta") for each in states)


def label_of(name: str) -> str:
    """Return what a stage is called behind its module."""
    return LABELS.get(name) or name.strip("_").removeprefix("native_").removesuffix("_with_indices")


LABELS = {"convolution": "conv", "_convolution": "conv", "scaled_dot_product_attention": "attention"}


def _call(func: Any, base: str, args: Sequence[Any], kwargs: Mapping[str, Any], place: Place) -> AtenCall:
    arguments = {each.name: each.default_value for each in func._schema.arguments}
    arguments.update(zip(arguments, args, strict=False))
    arguments.update(kwargs)
    inputs = [each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    return AtenCall(base, arguments, inputs, [], place, func)


def _views(call: AtenCall) -> bool:
    return any(each.alias_info is not None and not each.alias_info.is_write for each in call.function._schema.returns)


def _title(func: Any, base: str) -> str:
    """Return the name of an operator as people write it."""
    return base if func is None else f"{func._schema.name.partition('::')[0]}.{base}"


def _small(tensor: Any) -> np.ndarray[Any, Any] | None:
    """Return the values of a small tensor of integers that has some."""
    if tensor.is_meta or tensor.numel() > SMALL or tensor.dtype not in (torch.int64, torch.int32, torch.bool):
        return None
    return np.asarray(tensor.detach().cpu().numpy())
