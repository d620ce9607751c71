"""Layer objects with the names and arguments of torch.nn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from inspect import signature
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import functional, geometry, gradients
from .annotations import AdaptiveSize, AnyArray, Indexed, Layout, NanRule, Rounding
from .arrays import as_array
from .geometry import Axis, Padding, Sizes
from .operators import OPERATORS
from .signs import counted, short_repr

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "GlobalAvgPool1d",
    "GlobalAvgPool2d",
    "GlobalAvgPool3d",
    "GlobalMaxPool1d",
    "GlobalMaxPool2d",
    "GlobalMaxPool3d",
    "Layer",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MinPool1d",
    "MinPool2d",
    "MinPool3d",
    "Sequential",
]


_OBJECTS = ("_random_samples", "rng")
"""Arguments that are no plain values."""


def _function(operator: str, dimensions: int) -> str:
    known = OPERATORS.get(operator)
    return operator if known is not None and not known.dimensions else f"{operator}{dimensions}d"


def _found(layer: type[Layer], name: str) -> Any:
    """Return a function that does the work of a layer, which stands beside it or in one of two modules."""
    package = __name__.partition(".")[0]
    own = [sys.modules[each.__module__] for each in layer.__mro__ if each.__module__.startswith(f"{package}.")]
    for module in (*own, functional, gradients):
        if hasattr(module, name):
            function = getattr(module, name)
            # One function serves all ranks of what is global; its layers know theirs.
            return partial(function, dimensions=layer.dimensions) if name.startswith("global_") else function
    # Somebody's own operator, who says how it pools.
    return None


def same(one: Any, other: Any) -> bool:
    """Tell whether two arguments are equal, arrays and states of generators too."""
    if isinstance(one, np.random.Generator) and isinstance(other, np.random.Generator):
        return type(one.bit_generator) is type(other.bit_generator) and same(
            one.bit_generator.state, other.bit_generator.state
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    try:
        if hasattr(one, "shape") or hasattr(other, "shape"):
            return one is other or bool(np.array_equal(np.asarray(one), np.asarray(other)))
        return bool(one == other)
    except Exception:  # of a comparison that somebody else wrote
        return one is other


def _explained(make: Callable[..., None]) -> Callable[..., None]:
    """Let a layer that cannot be made say its own name, and which argument was meant."""

    @wraps(make)
    def make_or_explain(self: Layer, *arguments: Any, **keywords: Any) -> None:
        try:
            make(self, *arguments, **keywords)
        except TypeError as error:
            known = signature(make)
            try:
                known.bind(self, *arguments, **keywords)
            except TypeError as refusal:
                unknown = next((name for name in keywords if name not in known.parameters), "")
                nearest = geometry.nearest_word(unknown, list(known.parameters)[1:])
                meant = f"; do you mean {nearest}?" if nearest else ""
                raise TypeError(f"{type(self).__name__}: {refusal}{meant}") from error
            raise

    return make_or_explain


class Layer:
    """What every pooling layer can do: pool, send gradients back, and tell shapes without pooling.

    Layers are values: two of one class with the same arguments are equal.

    Attributes
    ----------
    operator : str
        Row of the operator table.
    dimensions : int
        Spatial axes.
    arguments : mapping
        Keyword arguments of the function that does the work, read once, when the layer is made; what `repr` shows.
    """

    operator: ClassVar[str]
    dimensions: ClassVar[int]
    _arguments: dict[str, Any]
    _pool: ClassVar[Any]
    _backward: ClassVar[Any]

    @property
    def function(self) -> str:
        """Name of the function in `pooling` that does the work."""
        return _function(self.operator, self.dimensions)

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
        self._arguments = {
            name: value if name in _OBJECTS else geometry.plain(value) for name, value in arguments.items()
        }

    def __init_subclass__(cls, **keywords: Any) -> None:
        # Looked up once: doing so for each call takes half as long as pooling a small map.
        super().__init_subclass__(**keywords)
        if "__init__" in cls.__dict__ and cls.__module__.partition(".")[0] == __name__.partition(".")[0]:
            cls.__init__ = _explained(cls.__init__)  # type: ignore[method-assign]
        if hasattr(cls, "operator") and hasattr(cls, "dimensions"):
            name = _function(cls.operator, cls.dimensions)
            cls._pool = _found(cls, name)
            cls._backward = _found(cls, f"{name}_backward")

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
        shape = geometry.per_axis_shape(name, input_shape)
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
        shape = geometry.per_axis_shape(type(self).__name__, input_shape)
        sizes = [axis.output_size for axis in self.axes(shape)]
        return geometry.replace_spatial(shape, self._spatial(shape), sizes)

    def _spatial(self, shape: tuple[int, ...]) -> slice:
        name = type(self).__name__
        if len(shape) - self.dimensions not in (1, 2):
            raise ValueError(
                f"{name}: input_shape={short_repr(shape)} has {counted(len(shape), 'axis', 'axes')}; it must have "
                f"{self.dimensions + 2}, "
                "or "
                f"{self.dimensions + 1} without the batch"
            )
        layout = self._arguments.get("layout", "channels_first")
        return geometry.spatial_slice(len(shape), self.dimensions, layout, function=name)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items() if self._tells(name, value))
        return f"{type(self).__name__}({shown})"

    def _tells(self, name: str, value: Any) -> bool:
        """Whether an argument differs from its default."""
        return (
            name in ("kernel_size", "output_size")
            or type(value) is not type(self._defaults[name])
            or not same(value, self._defaults[name])
        )

    _defaults: ClassVar[dict[str, Any]] = {
        "stride": None,
        "padding": 0,
        "dilation": 1,
        "ceil_mode": False,
        "return_indices": False,
        "count_include_pad": True,
        "divisor_override": None,
        "layout": "channels_first",
        "nan": "propagate",
        "rounding": "half_even",
    }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layer):
            return NotImplemented
        mine, others = self._arguments, other._arguments
        return type(self) is type(other) and mine.keys() == others.keys() and same(mine, others)

    def __hash__(self) -> int:
        values = [(name, value) for name, value in self._arguments.items() if name not in _OBJECTS]
        return hash((type(self), *values))


class _MaxPool(Layer):
    operator = "max_pool"

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
    ) -> None:
        self.arguments = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "return_indices": return_indices,
            "ceil_mode": ceil_mode,
            "layout": layout,
            "nan": nan,
        }

    def __call__(self, input: ArrayLike) -> AnyArray | Indexed:
        """Pool an array; with ``return_indices``, return the indices as well."""
        result: AnyArray | Indexed = type(self)._pool(input, **self._arguments)
        return result


class _MinPool(_MaxPool):
    operator = "min_pool"


class _AdaptiveMaxPool(Layer):
    operator = "adaptive_max_pool"

    def __init__(
        self,
        output_size: AdaptiveSize,
        return_indices: bool = False,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
    ) -> None:
        self.arguments = {
            "output_size": output_size,
            "return_indices": return_indices,
            "layout": layout,
            "nan": nan,
        }


class _AdaptiveAvgPool(Layer):
    operator = "adaptive_avg_pool"

    def __init__(
        self,
        output_size: AdaptiveSize,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        rounding: Rounding = "half_even",
    ) -> None:
        self.arguments = {"output_size": output_size, "layout": layout, "nan": nan, "rounding": rounding}


class _AvgPool(Layer):
    operator = "avg_pool"

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: float | None = None,
        *,
        dilation: Sizes = 1,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        rounding: Rounding = "half_even",
    ) -> None:
        self.arguments = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "ceil_mode": ceil_mode,
            "count_include_pad": count_include_pad,
            "divisor_override": divisor_override,
            "dilation": dilation,
            "layout": layout,
            "nan": nan,
            "rounding": rounding,
        }


class _GlobalMaxPool(Layer):
    operator = "global_max_pool"

    def __init__(self, *, layout: Layout = "channels_first", nan: NanRule = "propagate") -> None:
        self.arguments = {"layout": layout, "nan": nan}


class _GlobalAvgPool(Layer):
    operator = "global_avg_pool"

    def __init__(
        self, *, layout: Layout = "channels_first", nan: NanRule = "propagate", rounding: Rounding = "half_even"
    ) -> None:
        self.arguments = {"layout": layout, "nan": nan, "rounding": rounding}


class MaxPool1d(_MaxPool):
    """Layer of `pooling.max_pool1d`, with the arguments of ``torch.nn.MaxPool1d`` and keyword-only extras.

    Examples
    --------
    >>> MaxPool1d(3, stride=2).output_shape((8, 16, 100))
    (8, 16, 49)
    """

    dimensions = 1


class MaxPool2d(_MaxPool):
    """Layer of `pooling.max_pool2d`, with the arguments of ``torch.nn.MaxPool2d`` and keyword-only extras.

    Examples
    --------
    >>> MaxPool2d(3, stride=2, padding=1)
    MaxPool2d(kernel_size=3, stride=2, padding=1)
    >>> MaxPool2d(3, stride=2, padding=1).output_shape((1, 64, 112, 112))
    (1, 64, 56, 56)
    """

    dimensions = 2


class MaxPool3d(_MaxPool):
    """Layer of `pooling.max_pool3d`, with the arguments of ``torch.nn.MaxPool3d`` and keyword-only extras.

    Examples
    --------
    >>> MaxPool3d(2).output_shape((1, 32, 16, 64, 64))
    (1, 32, 8, 32, 32)
    """

    dimensions = 3


class AvgPool1d(_AvgPool):
    """Layer of `pooling.avg_pool1d`, with the arguments of ``torch.nn.AvgPool1d`` and more.

    Examples
    --------
    >>> AvgPool1d(4).output_shape((8, 16, 100))
    (8, 16, 25)
    """

    dimensions = 1


class AvgPool2d(_AvgPool):
    """Layer of `pooling.avg_pool2d`, with the arguments of ``torch.nn.AvgPool2d`` and keyword-only extras.

    Examples
    --------
    >>> AvgPool2d(2).output_shape((1, 128, 56, 56))
    (1, 128, 28, 28)
    """

    dimensions = 2


class AvgPool3d(_AvgPool):
    """Layer of `pooling.avg_pool3d`, with the arguments of ``torch.nn.AvgPool3d`` and keyword-only extras.

    Examples
    --------
    >>> AvgPool3d(2).output_shape((1, 32, 16, 64, 64))
    (1, 32, 8, 32, 32)
    """

    dimensions = 3


class GlobalMaxPool1d(_GlobalMaxPool):
    """Layer of `pooling.global_max_pool` for ``(N, C, L)``.

    Examples
    --------
    >>> GlobalMaxPool1d().output_shape((8, 16, 100))
    (8, 16, 1)
    """

    dimensions = 1


class GlobalMaxPool2d(_GlobalMaxPool):
    """Layer of `pooling.global_max_pool` for ``(N, C, H, W)``.

    Examples
    --------
    >>> GlobalMaxPool2d().output_shape((32, 512, 7, 7))
    (32, 512, 1, 1)
    """

    dimensions = 2


class GlobalMaxPool3d(_GlobalMaxPool):
    """Layer of `pooling.global_max_pool` for ``(N, C, D, H, W)``.

    Examples
    --------
    >>> GlobalMaxPool3d().output_shape((1, 8, 4, 7, 7))
    (1, 8, 1, 1, 1)
    """

    dimensions = 3


class GlobalAvgPool1d(_GlobalAvgPool):
    """Layer of `pooling.global_avg_pool` for ``(N, C, L)``.

    Examples
    --------
    >>> GlobalAvgPool1d().output_shape((8, 16, 100))
    (8, 16, 1)
    """

    dimensions = 1


class GlobalAvgPool2d(_GlobalAvgPool):
    """Layer of `pooling.global_avg_pool` for ``(N, C, H, W)``.

    Examples
    --------
    >>> GlobalAvgPool2d().output_shape((32, 512, 7, 7))
    (32, 512, 1, 1)
    """

    dimensions = 2


class GlobalAvgPool3d(_GlobalAvgPool):
    """Layer of `pooling.global_avg_pool` for ``(N, C, D, H, W)``.

    Examples
    --------
    >>> GlobalAvgPool3d().output_shape((1, 8, 4, 7, 7))
    (1, 8, 1, 1, 1)
    """

    dimensions = 3


class MinPool1d(_MinPool):
    """Layer of `pooling.min_pool1d`, with the arguments of `MaxPool1d`.

    Examples
    --------
    >>> MinPool1d(2).output_shape((8, 16, 100))
    (8, 16, 50)
    """

    dimensions = 1


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Layer of `pooling.adaptive_max_pool1d`, with the arguments of ``torch.nn.AdaptiveMaxPool1d``.

    Examples
    --------
    >>> AdaptiveMaxPool1d(7).output_shape((8, 16, 100))
    (8, 16, 7)
    """

    dimensions = 1


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Layer of `pooling.adaptive_avg_pool1d`, with the arguments of ``torch.nn.AdaptiveAvgPool1d``.

    Examples
    --------
    >>> AdaptiveAvgPool1d(7).output_shape((8, 16, 100))
    (8, 16, 7)
    """

    dimensions = 1


class MinPool2d(_MinPool):
    """Layer of `pooling.min_pool2d`, with the arguments of `MaxPool2d`.

    Examples
    --------
    >>> MinPool2d(2).output_shape((1, 64, 13, 13))
    (1, 64, 6, 6)
    """

    dimensions = 2


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Layer of `pooling.adaptive_max_pool2d`, with the arguments of ``torch.nn.AdaptiveMaxPool2d``.

    Examples
    --------
    >>> AdaptiveMaxPool2d(7).output_shape((1, 64, 13, 13))
    (1, 64, 7, 7)
    """

    dimensions = 2


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Layer of `pooling.adaptive_avg_pool2d`, with the arguments of ``torch.nn.AdaptiveAvgPool2d``.

    Examples
    --------
    >>> AdaptiveAvgPool2d(7).output_shape((1, 64, 13, 13))
    (1, 64, 7, 7)
    """

    dimensions = 2


class MinPool3d(_MinPool):
    """Layer of `pooling.min_pool3d`, with the arguments of `MaxPool3d`.

    Examples
    --------
    >>> MinPool3d(2).output_shape((1, 8, 16, 13, 13))
    (1, 8, 8, 6, 6)
    """

    dimensions = 3


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Layer of `pooling.adaptive_max_pool3d`, with the arguments of ``torch.nn.AdaptiveMaxPool3d``.

    Examples
    --------
    >>> AdaptiveMaxPool3d(7).output_shape((1, 8, 16, 13, 13))
    (1, 8, 7, 7, 7)
    """

    dimensions = 3


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Layer of `pooling.adaptive_avg_pool3d`, with the arguments of ``torch.nn.AdaptiveAvgPool3d``.

    Examples
    --------
    >>> AdaptiveAvgPool3d(7).output_shape((1, 8, 16, 13, 13))
    (1, 8, 7, 7, 7)
    """

    dimensions = 3


@contextmanager
def in_sequence(position: int, layer: Layer, function: str = "Sequential") -> Iterator[None]:
    """Let sentences name the layer of a `Sequential` that they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        sentence = str(error).removeprefix(f"{function}: ")
        raise kind(f"{function}: layer {position}, {short_repr(layer)}: {sentence}") from error


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
    >>> stages = Sequential(MaxPool2d(3, stride=2, padding=1), GlobalAvgPool2d())
    >>> stages.output_shape((1, 64, 112, 112))
    (1, 64, 1, 1)
    """

    def __init__(self, *layers: Layer) -> None:
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"Sequential: layer {position} is a {kind_of(layer)}; give pooling layers of this package, one "
                    f"argument each{f'; or {EXPORT}' if is_of_torch(layer) else ''}"
                )
            if layer.arguments.get("return_indices") and position < len(layers) - 1:
                raise ValueError(
                    f"Sequential: layer {position} has return_indices=True, but layer {position + 1} takes one array; "
                    "only the last layer may return indices"
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
        shape = geometry.per_axis_shape("Sequential", input_shape)
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
