"""The backend interface of ONNX for models whose nodes are pooling operators. Needs onnx.

It follows the text of the standard for every opset, with ONNX's own defaults; `function_from_node` says how each node
is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pooling.arrays import as_array
from pooling.extras import needing

with needing("onnx", __name__):
    import onnx
    import onnx.external_data_helper
    from onnx.backend.base import Backend, BackendRep, namedtupledict

from pooling.errors import type_error, value_error
from pooling.signs import first_line

from .functions import inlined, opset_of
from .load import check_element_type, check_model, check_order, external_location, read_model
from .nodes import function_from_node
from .shapes import known_size

__all__ = ["PoolingBackend", "PreparedModel", "is_compatible", "prepare", "run_model", "run_node", "supports_device"]

AnyArray = NDArray[Any]
Model = onnx.ModelProto | bytes | str | os.PathLike[str]
NAME = "onnx_backend"
"""How error sentences begin."""


class PoolingBackend(Backend):
    """Runs ONNX models whose nodes are pooling operators, on the CPU.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx
    >>> from pooling.onnx_models.backend import PoolingBackend
    >>> node = onnx.helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2], strides=[2])
    >>> x = np.array([[[1, 3, 2, 4], [8, 6, 7, 5]]], dtype=np.float32)
    >>> outputs = PoolingBackend.run_node(node, [x], opset_version=12)
    >>> outputs["y"].ravel(), outputs["i"].ravel()
    (array([3., 4., 8., 7.], dtype=float32), array([1, 3, 4, 6]))
    """

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Tell whether models can run on a device: on ``"CPU"`` they can, on any other they cannot."""
        return device in ("CPU", "CPU:0")

    @classmethod
    def is_compatible(cls, model: Model, device: str = "CPU", **kwargs: Any) -> bool:
        """Tell whether `prepare` would take a model.

        Parameters
        ----------
        model : onnx.ModelProto, bytes or path
            The model.
        device : str
            Where to run it.
        **kwargs
            Ignored, as the interface has it.

        Returns
        -------
        bool

        Raises
        ------
        TypeError
            If `model` is nothing that could be a model.
        """
        try:
            cls.prepare(model, device)
        except ValueError:
            return False
        return True

    @classmethod
    def prepare(cls, model: Model, device: str = "CPU", **kwargs: Any) -> PreparedModel:
        """Read a model once, so that it can be run often.

        Parameters
        ----------
        model : onnx.ModelProto, bytes or path
            The model. Data that it keeps outside is read from the folder of the path, never from elsewhere.
        device : str
            ``"CPU"``.
        **kwargs
            Ignored, as the interface has it.

        Returns
        -------
        PreparedModel

        Raises
        ------
        TypeError
            If `model` is nothing that could be a model.
        ValueError
            If it is no valid model, has a node that is no pooling operator, or `device` is not the CPU.
        """
        if not cls.supports_device(device):
            raise value_error(NAME, "is not supported", "use 'CPU'", argument=("device", device))
        proto, folder = read_model(NAME, model)
        return PreparedModel(*_translated(proto, folder))

    @classmethod
    def run_model(cls, model: Model, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[AnyArray, ...]:
        """Read a model and run it once: `prepare` and then `PreparedModel.run`, with their arguments and errors."""
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[AnyArray, ...]:
        """Run one node.

        Parameters
        ----------
        node : onnx.NodeProto
            The node.
        inputs : sequence of array_like, mapping of str to array_like, or ndarray
            Its inputs, in order or by name.
        device : str
            ``"CPU"``.
        outputs_info : sequence, optional
            Not needed.
        **kwargs
            ``opset_version=``, the newest that onnx knows if not given; others are ignored, as the interface has it.

        Returns
        -------
        tuple of ndarray
            As of `PreparedModel.run`, which raises the same errors.
        """
        if not cls.supports_device(device):
            raise value_error(NAME, "is not supported", "use 'CPU'", argument=("device", device))
        opset = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        step = _Step.of(node, opset)
        names = [name for name in step.inputs if name]
        prepared = PreparedModel((step,), dict.fromkeys(names), {}, tuple(filter(None, step.outputs)))
        return prepared.run(inputs)


@dataclass(frozen=True)
class _Step:
    """One node, with the names of the tensors that it reads and writes; a name is empty where nothing is."""

    function: Callable[..., tuple[AnyArray, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, node: onnx.NodeProto, opset: int) -> _Step:
        return cls(function_from_node(node, opset, function=NAME), tuple(node.input), tuple(node.output))

    def run(self, values: dict[str, AnyArray]) -> None:
        """Read inputs from `values`, and write outputs there."""
        results = self.function(*(values[name] if name else None for name in self.inputs))
        values.update((name, result) for name, result in zip(self.outputs, results, strict=False) if name)


@dataclass(frozen=True, eq=False)
class PreparedModel(BackendRep):
    """A model that is ready to run, made by `PoolingBackend.prepare`.

    Attributes
    ----------
    steps : tuple
        The nodes, each behind those that it reads from.
    inputs : dict of str to onnx.ValueInfoProto or None
        What the caller has to give, and what the model says of it.
    constants : dict of str to ndarray
        What the model brings along.
    outputs : tuple of str
        What comes back.
    """

    steps: tuple[_Step, ...]
    inputs: dict[str, onnx.ValueInfoProto | None]
    constants: dict[str, AnyArray]
    outputs: tuple[str, ...]

    def run(
        self, inputs: Sequence[ArrayLike] | Mapping[str, ArrayLike] | AnyArray, **kwargs: Any
    ) -> tuple[AnyArray, ...]:
        """Run the model.

        Parameters
        ----------
        inputs : sequence of array_like, mapping of str to array_like, or ndarray
            One array for each input that has no value in the model, in order or by name; a single one may come alone.
        **kwargs
            Ignored, as the interface has it.

        Returns
        -------
        tuple of ndarray
            The outputs, which can be had by name as well.

        Raises
        ------
        TypeError
            If an input is no array, or of a dtype that the model or an operator does not take.
        ValueError
            If there are more or fewer inputs than the model has, or one has a shape that the model or an operator
            does not take.
        """
        values = dict(self.constants)
        for name, value in self._named_inputs(inputs):
            array = as_array(NAME, f"input {name!r}", value)
            declared = self.inputs[name]
            if declared is not None:
                _check_declared(name, declared.type.tensor_type, array)
            values[name] = array
        for step in self.steps:
            step.run(values)
        return self._named_outputs(*(values[name] for name in self.outputs))

    @cached_property
    def _named_outputs(self) -> Callable[..., tuple[AnyArray, ...]]:
        """The class of the result, whose making takes longer than pooling a small map."""
        return namedtupledict("Outputs", self.outputs)

    def _named_inputs(self, inputs: Any) -> Iterator[tuple[str, Any]]:
        names = list(self.inputs)
        if isinstance(inputs, Mapping):
            if set(inputs) != set(names):
                raise value_error(NAME, f"inputs are named {list(inputs)}", f"the model's are {names}")
            return iter([(name, inputs[name]) for name in names])
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        if not isinstance(inputs, (list, tuple)):
            raise type_error(NAME, f"inputs must be a list of arrays or a dict by name, not {type(inputs).__name__}")
        if len(inputs) != len(names):
            raise value_error(NAME, f"{len(inputs)} inputs are given", f"the model has {len(names)}: {names}")
        return zip(names, inputs, strict=True)


def _check_declared(name: str, declared: Any, array: AnyArray) -> None:
    """Hold an input against what the model says of it."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(declared.elem_type)
    if array.dtype.newbyteorder("=") != dtype:
        raise type_error(NAME, f"input {name!r} has dtype {array.dtype.name}", f"the model takes {dtype.name}")
    if declared.HasField("shape"):
        sizes = [known_size(size) for size in declared.shape.dim]
        if len(sizes) != array.ndim or any(
            size not in (None, given) for size, given in zip(sizes, array.shape, strict=True)
        ):
            shown = ", ".join("?" if size is None else str(size) for size in sizes)
            raise value_error(NAME, f"input {name!r} has shape {array.shape}", f"the model takes ({shown})")


# ---------------------------------------------------------------------------------------------------------------------
# From files to steps


def _translated(
    model: onnx.ModelProto, folder: Path | None
) -> tuple[tuple[_Step, ...], dict[str, onnx.ValueInfoProto | None], dict[str, AnyArray], tuple[str, ...]]:
    """Translate a model to the parts of a `PreparedModel`."""
    if not model.HasField("graph"):
        raise value_error(NAME, "the model has no graph", "it is empty, or only a part of one")
    model = inlined(NAME, model)
    opset = opset_of(NAME, model)
    graph = model.graph
    constants = _constants(graph, folder)
    inputs = {tensor.name: tensor for tensor in graph.input if tensor.name not in constants}
    for kind, tensors in (("input", inputs.values()), ("output", graph.output)):
        for tensor in tensors:
            if not tensor.type.HasField("tensor_type"):
                raise value_error(NAME, f"the {kind} {tensor.name!r} of the model is no tensor", "make it one")
            if not tensor.type.tensor_type.HasField("shape"):
                raise value_error(
                    NAME,
                    f"the {kind} {tensor.name!r} of the model has no shape, so not even its rank is known",
                    "give it one, with names for sizes that are not known",
                )
            check_element_type(f"{NAME}: the {kind} {tensor.name!r} of the model", tensor.type.tensor_type.elem_type)
    steps = []
    known = {*inputs, *constants}
    for node in graph.node:
        step = _Step.of(node, opset)
        check_order(NAME, node, known)
        steps.append(step)
    outputs = tuple(str(tensor.name) for tensor in graph.output)
    for name in outputs:
        if name not in known:
            raise value_error(NAME, f"the output {name!r} of the model comes from no node")
    check_model(NAME, model)
    return tuple(steps), dict(inputs), constants, outputs


def _constants(graph: onnx.GraphProto, folder: Path | None) -> dict[str, AnyArray]:
    """Read the tensors that a model brings along."""
    if graph.sparse_initializer:
        raise value_error(NAME, "the model has sparse initializers, which no pooling operator takes", "make them dense")
    constants = {}
    for tensor in graph.initializer:
        what = f"initializer {tensor.name!r}"
        check_element_type(f"{NAME}: {what}", tensor.data_type)
        held = tensor
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            held = _loaded(what, tensor, folder)
        try:
            if min(held.dims, default=0) < 0:
                raise ValueError(f"it has the shape {list(held.dims)}")
            constants[str(tensor.name)] = onnx.numpy_helper.to_array(held)
        except Exception as error:
            raise value_error(NAME, f"{what} cannot be read ({first_line(error)})") from error
    return constants


def _loaded(what: str, tensor: onnx.TensorProto, folder: Path | None) -> onnx.TensorProto:
    """Return a tensor with the data that lies in a file of its own, which must be in the model's folder."""
    if folder is None:
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        raise value_error(
            NAME, f"{what} has its data in the file {location!r}", "give the path of the model, not the model"
        )
    location = external_location(NAME, what, tensor, folder)
    held = onnx.TensorProto()
    held.CopyFrom(tensor)
    try:
        onnx.external_data_helper.load_external_data_for_tensor(held, str(folder.resolve()))
    except Exception as error:
        raise value_error(NAME, f"{what}: its data in {location!r} cannot be read ({first_line(error)})") from error
    held.data_location = onnx.TensorProto.DEFAULT
    return held


prepare = PoolingBackend.prepare
run_model = PoolingBackend.run_model
run_node = PoolingBackend.run_node
supports_device = PoolingBackend.supports_device
is_compatible = PoolingBackend.is_compatible
