"""What every layer can do, and layers one after another. The layers themselves are in `families`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from importlib import import_module
from inspect import Signature, signature
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import geometry
from .annotations import AnyArray
from .arguments import misnamed, per_axis_shape, plain
from .arrays import as_array
from .errors import Place, recast, type_error, value_error
from .geometry import Axis
from .maps import replace_spatial, spatial_slice
from .operators import OPERATORS
from .ranks import with_example
from .signs import counted, short_repr

__all__ = ["Layer", "Sequential"]

_OBJECTS = ("_random_samples", "rng")
"""Arguments that are no plain values."""


def _name(operator: str, dimensions: int) -> str:
    row = OPERATORS.get(operator)
    return operator if row is not None and not row.dimensions else f"{operator}{dimensions}d"


def _functions(operator: str, dimensions: int) -> tuple[Any, Any]:
    """Return the function that does the work of a layer, and its gradient."""
    row = OPERATORS.get(operator)
    if row is None:
        # Somebody's own, who says how it pools.
        return None, None
    family, name = import_module(f"{__package__}.families.{row.family}"), _name(operator, dimensions)
    pool: Any = getattr(family, name, None)
    backward: Any = getattr(family, f"{name}_backward", None)
    if row.windows == "global" and not row.dimensions:
        # One function serves all ranks of what is global; its layers know theirs.
        return partial(pool, dimensions=dimensions), partial(backward, dimensions=dimensions)
    return pool, backward


def same(one: Any, other: Any) -> bool:
    """Tell whether two arguments are equal, arrays and states of what draws numbers too."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    # Of plain values numpy.random is not asked, whose import takes some 15 ms.
    if not (one is None or isinstance(one, (bool, int, float, str, tuple))):
        if isinstance(one, np.random.Generator) and isinstance(other, np.random.Generator):
            one, other = one.bit_generator, other.bit_generator
        if isinstance(one, (np.random.BitGenerator, np.random.SeedSequence)):
            return type(one) is type(other) and same(one.state, other.state)
    try:
        if hasattr(one, "shape") or hasattr(other, "shape"):
            return one is other or bool(np.array_equal(np.asarray(one), np.asarray(other)))
        return bool(one == other)
    except Exception:  # of a comparison that somebody else wrote
        return one is other


def _taking(known: Signature, make: Callable[..., None]) -> Callable[..., None]:
    """Let a layer keep the arguments that its `__init__` takes, or say which one was meant by one that it does not."""

    @wraps(make)
    def take(self: Layer, *arguments: Any, **keywords: Any) -> None:
        try:
            bound = known.bind(self, *arguments, **keywords)
        except TypeError as error:
            unknown = next((name for name in keywords if name not in known.parameters), None)
            if unknown is None:
                raise type_error(type(self).__name__, str(error)) from error
            raise misnamed(type(self).__name__, unknown, list(known.parameters)[1:]) from error
        bound.apply_defaults()
        self.arguments = {name: value for name, value in bound.arguments.items() if name != "self"}
        make(self, *arguments, **keywords)

    return take


class Layer:
    """What every pooling layer can do: pool, send gradients back, and tell shapes without pooling.

    Layers are values: two of one class with the same arguments are equal. Those of this package say in the signature of
    `__init__` what they take; each argument is kept under its name, and handed on to the function.

    Attributes
    ----------
    operator : str
        Row of the operator table.
    dimensions : int
        Spatial axes.
    arguments : mapping
        Keyword arguments of the function that does the work, read once, when the layer is made; what `repr` shows.

    Examples
    --------
    >>> import pooling
    >>> layer = pooling.MaxPool2d(3, stride=2)
    >>> isinstance(layer, pooling.Layer), layer.operator, layer.dimensions
    (True, 'max_pool', 2)
    >>> layer.arguments["stride"], layer.output_shape((1, 64, 112, 112))
    (2, (1, 64, 55, 55))
    """

    operator: ClassVar[str]
    dimensions: ClassVar[int]
    _arguments: dict[str, Any]
    _pool: ClassVar[Any]
    _backward: ClassVar[Any]
    _defaults: ClassVar[Mapping[str, Any]] = {}
    _example: ClassVar[str]
    """Ends the docstrings of classes made with ``dimensions=1`` and so on. In it and in the docstring of the family,
    ``{layer}`` and ``{function}`` stand for the names of each."""

    @property
    def function(self) -> str:
        """Name of the function in `pooling` that does the work."""
        return _name(self.operator, self.dimensions)

    @property
    def layout(self) -> str:
        """Order of the axes."""
        layout = self._arguments.get("layout", "channels_first")
        return layout if isinstance(layout, str) else short_repr(layout)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Keyword arguments of the function that does the work."""
        return MappingProxyType(self._arguments)

    @arguments.setter
    def arguments(self, arguments: Mapping[str, Any]) -> None:
        self._arguments = {name: value if name in _OBJECTS else plain(value) for name, value in arguments.items()}

    def __init_subclass__(cls, *, dimensions: int | None = None, **keywords: Any) -> None:
        # Looked up once: doing so for each call takes half as long as pooling a small map.
        super().__init_subclass__(**keywords)
        ours = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
        if "__init__" in cls.__dict__:
            known = signature(cls.__init__)
            given = {name: each.default for name, each in known.parameters.items() if each.default is not each.empty}
            cls._defaults = {**cls._defaults, **given}
            if ours:
                cls.__init__ = _taking(known, cls.__init__)  # type: ignore[method-assign]
        if dimensions is not None:
            cls.dimensions = dimensions
        if dimensions is not None and ours:
            cls.__doc__ = with_example(cls, cls._example, cls.operator, _name(cls.operator, dimensions), dimensions)
        if hasattr(cls, "operator") and hasattr(cls, "dimensions"):
            cls._pool, cls._backward = _functions(cls.operator, cls.dimensions)

    def __call__(self, input: ArrayLike) -> Any:
        """Pool an array."""
        return type(self)._pool(input, **self._arguments)

    def backward(self, grad_output: ArrayLike, input: ArrayLike, **keywords: Any) -> AnyArray:
        """Return the gradient with respect to `input`.

        Parameters
        ----------
        grad_output, input : array_like
            Gradient with respect to the result, and what the layer pooled.
        **keywords
            ``indices=`` of the forward call for a maximum, ``out=``.
        """
        gradient: AnyArray = type(self)._backward(grad_output, input, **self._arguments, **keywords)
        return gradient

    def axes(self, input_shape: Sequence[int]) -> tuple[Axis, ...]:
        """Return the windows on each spatial axis for an input of this shape."""
        name = type(self).__name__
        shape = per_axis_shape(name, input_shape)
        spatial = self._spatial(shape)
        if self.operator in OPERATORS and OPERATORS[self.operator].windows == "global":
            return geometry.global_axes(shape[spatial], function=name)
        if "output_size" in self.arguments:
            return geometry.adaptive_axes(shape[spatial], self.arguments["output_size"], function=name)
        names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
        windows = {key: self.arguments[key] for key in names if key in self.arguments}
        return geometry.pool_axes(shape[spatial], **windows, function=name)

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the result for an input of this shape, without pooling anything."""
        shape = per_axis_shape(type(self).__name__, input_shape)
        sizes = [axis.output_size for axis in self.axes(shape)]
        return replace_spatial(shape, self._spatial(shape), sizes)

    def _spatial(self, shape: tuple[int, ...]) -> slice:
        name = type(self).__name__
        if len(shape) - self.dimensions not in (1, 2):
            raise value_error(
                name,
                f"has {counted(len(shape), 'axis', 'axes')}",
                f"it must have {self.dimensions + 2}, or {self.dimensions + 1} without the batch",
                argument=("input_shape", shape),
            )
        layout = self._arguments.get("layout", "channels_first")
        return spatial_slice(len(shape), self.dimensions, layout, function=name)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items() if self._tells(name, value))
        return f"{type(self).__name__}({shown})"

    def _tells(self, name: str, value: Any) -> bool:
        """Whether an argument differs from its default, or says most of what a layer is."""
        if name in ("kernel_size", "p") or name not in self._defaults:
            return True
        default = self._defaults[name]
        return type(value) is not type(default) or not same(value, default)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layer):
            return NotImplemented
        mine, others = self._arguments, other._arguments
        return type(self) is type(other) and mine.keys() == others.keys() and same(mine, others)

    def __hash__(self) -> int:
        values = [(name, value) for name, value in self._arguments.items() if name not in _OBJECTS]
        return hash((type(self), *values))


@contextmanager
def in_sequence(position: int, layer: Layer, function: str = "Sequential") -> Iterator[None]:
    """Let sentences name the layer of a `Sequential` that they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise recast(kind, error, Place(function, f"layer {position}, {short_repr(layer)}")) from error


def is_of_torch(value: object) -> bool:
    """Whether a value is of a class of torch, or of one that inherits from it; without importing torch."""
    return any(each.__module__.partition(".")[0] == "torch" for each in type(value).__mro__)


def kind_of(value: object) -> str:
    """Name the class of a value in a sentence; of torch, which has classes of the same names, with that."""
    return f"{type(value).__name__}{' of torch' if is_of_torch(value) else ''}"


EXPORT = "write a network of torch to a file with torch.onnx.export, and give that file to pooling.doctor"


class Sequential:
    """Layers one after another.

    Parameters
    ----------
    *layers : Layer
        First layer first. Only the last may return indices, since a layer takes one array.

    Examples
    --------
    >>> from pooling import GlobalAvgPool2d, MaxPool2d
    >>> stages = Sequential(MaxPool2d(3, stride=2, padding=1), GlobalAvgPool2d())
    >>> stages.output_shape((1, 64, 112, 112))
    (1, 64, 1, 1)
    """

    def __init__(self, *layers: Layer) -> None:
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise type_error(
                    "Sequential",
                    f"layer {position} is a {kind_of(layer)}",
                    "give pooling layers of this package, one argument "
                    f"each{f'; or {EXPORT}' if is_of_torch(layer) else ''}",
                )
            if layer.arguments.get("return_indices") and position < len(layers) - 1:
                raise value_error(
                    "Sequential",
                    f"layer {position} has return_indices=True, but layer {position + 1} takes one array",
                    "only the last layer may return indices",
                )
        self.layers = layers

    def __call__(self, input: ArrayLike) -> Any:
        """Pool an array with each layer in turn."""
        result: Any = input
        for position, layer in enumerate(self.layers):
            with in_sequence(position, layer):
                result = layer(result)
        return result

    def backward(self, grad_output: ArrayLike, input: ArrayLike) -> AnyArray:
        """Return the gradient with respect to `input`, running the layers forward once more."""
        inputs: list[Any] = [input]
        for position, layer in enumerate(self.layers[:-1]):
            with in_sequence(position, layer):
                inputs.append(layer(inputs[-1]))
        gradient: NDArray[Any] = as_array("Sequential", "grad_output", grad_output)
        for position, layer in reversed(list(enumerate(self.layers))):
            with in_sequence(position, layer):
                gradient = layer.backward(gradient, inputs[position])
        return gradient

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the result for an input of this shape."""
        shape = per_axis_shape("Sequential", input_shape)
        for position, layer in enumerate(self.layers):
            with in_sequence(position, layer):
                shape = layer.output_shape(shape)
        return shape

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, position: int) -> Layer:
        return self.layers[position]

    def __eq__(self, other: object) -> bool:
        return self.layers == other.layers if isinstance(other, Sequential) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.layers)

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"
