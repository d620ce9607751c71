"""Max unpooling, its gradient, and the conventions by which indices name elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import geometry
from .._core import threads_for
from ..annotations import AnyArray, Layout, Padding, Sizes
from ..arguments import INT64_MAX, axis_names, names_checked, per_axis, per_axis_shape, plain, sequence, word
from ..arrays import as_array, native, result_array
from ..calls import FUNCTIONS, functions_of
from ..dispatch import kernels
from ..errors import type_error, value_error
from ..geometry import VALID, Axis, padding_pairs, strides_of
from ..layer import Layer
from ..maps import Maps, check_total, checked_gradient, replace_spatial, spatial_slice
from ..operators import INTEGERS, OPERATORS
from ..ranks import ranked
from ..signs import counted, short_repr

__all__ = [
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "convert_indices",
    "max_unpool1d",
    "max_unpool1d_backward",
    "max_unpool2d",
    "max_unpool2d_backward",
    "max_unpool3d",
    "max_unpool3d_backward",
]

CHECKED_LINES = 2
"""Lines of a window, at most, by which the indices of a gradient are checked; of more, kernels mark the cells."""
Convention = Literal["torch", "onnx", "onnx_column_major", "tensorflow"]


def unpool_size(
    pooled_size: Sequence[int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    function: str = "max_unpool",
) -> tuple[int, ...]:
    """Size of the map that a pooling came from: ``(O - 1) * stride - pad_begin - pad_end + kernel_size``.

    `output_size` names any other: where elements go is for their indices to say.
    """
    windows = unpool_windows(pooled_size, kernel_size, stride, padding, output_size, function=function)
    return tuple(axis[1] for axis in windows)


def unpool_windows(
    pooled_size: Sequence[int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    function: str = "max_unpool",
) -> tuple[tuple[int, int, int, int, int], ...]:
    """Windows of that pooling on each axis: their number, the map's size, kernel, stride and padding in front."""
    dimensions = len(pooled_size)
    kernels = per_axis(function, "kernel_size", kernel_size, dimensions)
    strides = strides_of(function, stride, kernels)
    if isinstance(padding, str) and padding != VALID and output_size is None:
        raise value_error(
            function,
            "would follow from the size that is looked for",
            "use 'valid' or numbers, or say the size as output_size",
            argument=("padding", padding),
        )
    # A dilated pooling may have more padding than its kernel has taps.
    largest = None if output_size is None else INT64_MAX
    pairs = padding_pairs(function, padding, pooled_size, kernels, strides, largest=largest)
    names = axis_names(dimensions)
    if output_size is None:
        chosen = tuple(
            (size - 1) * step - sum(pair) + taps
            for size, step, pair, taps in zip(pooled_size, strides, pairs, kernels, strict=True)
        )
    else:
        chosen = per_axis(function, "output_size", output_size, dimensions)
    for i, name in enumerate(names):
        if pooled_size[i] < 1:
            raise value_error(function, f"the input has size 0 on axis {name}", "it must have at least 1 cell")
        if not 1 <= chosen[i] <= INT64_MAX:
            # Written here alone: compilers of PyTorch cannot write sizes that are symbols.
            blame = f"output_size={short_repr(output_size)} gives"
            if output_size is None:
                given = (("kernel_size", kernel_size), ("stride", stride))
                sizes = ", ".join(f"{argument}={short_repr(value)}" for argument, value in given)
                blame = f"{sizes} and padding={short_repr(padding)} give"
            raise value_error(
                function, f"{blame} the output size {chosen[i]} on axis {name}", "it must be at least 1 and fit 64 bits"
            )
    begins = [pair[0] for pair in pairs]
    return tuple(zip(pooled_size, chosen, kernels, strides, begins, strict=True))


def _spatial_part(output_size: Any, rank: int, dimensions: int, layout: str) -> Any:
    """Cut the spatial sizes out of a whole shape: with batch and channels, as torch takes it, or that of the input."""
    several = sequence(output_size) or []
    if len(several) > dimensions and len(several) in (rank, dimensions + 2):
        return several[spatial_slice(len(several), dimensions, layout, function="max_unpool")]
    return output_size


class _Unpooling(NamedTuple):
    """A checked call: elements, the indices that say where they go, and the shape of the map that comes of it."""

    function: str
    array: AnyArray
    indices: AnyArray
    maps: Maps
    output_shape: tuple[int, ...]
    windows: tuple[tuple[int, int, int, int, int], ...]

    @classmethod
    def of(
        cls,
        function: str,
        input: ArrayLike,
        indices: ArrayLike,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        output_size: Any,
        layout: Any,
    ) -> _Unpooling:
        """Check the arguments of a public function."""
        row = FUNCTIONS[function]
        array = as_array(function, "input", input, row.dtypes)
        maps = Maps.of(function, array.shape, row.dimensions, layout)
        wanted = _spatial_part(output_size, array.ndim, len(maps.sizes), layout)
        windows = unpool_windows(maps.sizes, kernel_size, stride, padding, wanted, function=function)
        output_shape = maps.restored(function, [axis[1] for axis in windows])
        named = as_array(function, "indices", indices, INTEGERS)
        if named.shape != array.shape:
            raise value_error(
                function, f"indices have shape {named.shape}, the input {array.shape}", "give each element one index"
            )
        return cls(function, array, named, maps, output_shape, windows)

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the result."""
        return self.array.dtype.newbyteorder("=")

    def run(self, source: AnyArray, result: AnyArray, *, backward: bool) -> AnyArray:
        """Put elements into their places, or bring gradients back from there."""
        maps = self.maps
        cells = math.prod(self.output_shape[maps.spatial])
        by_windows = backward and math.prod(axis[2] for axis in self.windows[:-1]) <= CHECKED_LINES
        bad = kernels.unpool(
            native(source),
            native(self.indices.astype(np.int64, copy=False)),
            result,
            maps.outer,
            math.prod(maps.sizes),
            cells,
            maps.inner,
            result.itemsize,
            backward,
            threads_for(source.nbytes + result.nbytes, "unpooling"),
            ((1, 1, 1, 1, 0),) * (3 - len(self.windows)) + self.windows if by_windows else None,
        )
        if bad >= 0:
            position = tuple(int(i) for i in np.unravel_index(bad, maps.shape))
            raise value_error(
                self.function,
                f"indices{list(position)} is {self.indices[position]}, but a plane of the output has "
                f"{counted(cells, 'element')}",
                "give the indices of the pooling, and the size of its input as output_size",
            )
        return result


FUNCTIONS |= functions_of(OPERATORS["max_unpool"], ())


def _max_unpool(
    input: ArrayLike,
    indices: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    output_size: Sizes | None = None,
    *,
    layout: Layout = "channels_first",
    out: AnyArray | None = None,
) -> AnyArray:
    """Put each element back to where `pooling.max_pool{n}d` took it from; everything else is 0.

    Where an index occurs twice, the last element in row-major order stays, at any number of threads.

    Parameters
    ----------
    indices : array_like of integers
        For each element its position in the plane of the output, flat in row-major order; see
        `pooling.convert_indices` for other conventions.
    kernel_size, stride, padding
        As the pooling had them; ``"valid"`` is no padding, and ``"same"`` needs `output_size`. Where that is given,
        they change nothing.
    output_size : int or sequence of int, optional
        Size of the map that was pooled, or its whole shape, of which only the spatial sizes count; by default
        ``(I - 1) * stride - padding + kernel_size`` on each axis. After a dilated, fractional or adaptive pooling it
        must be given.

    Returns
    -------
    ndarray
        The map, with the input's dtype.

    {raises}
        Also if an index names no element of its plane; `out` is then partly written.

    Notes
    -----
    Equals ``torch.nn.functional.{function}`` and ONNX MaxUnpool-22. Of equal indices torch keeps any.

    {examples}
    >>> x = np.array([1.0, 3.0, 2.0, 1.0]).reshape{row 4}
    >>> values, indices = pooling.max_pool{n}d(x, {along 2}, return_indices=True)
    >>> pooling.{function}(values, indices, {along 2}).ravel()
    array([0., 3., 2., 0.])
    """
    call = _Unpooling.of("{function}", input, indices, kernel_size, stride, padding, output_size, layout)
    result = result_array(call.function, out, call.output_shape, call.dtype, call.array, call.indices)
    return call.run(call.array, result, backward=False)


def _max_unpool_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    indices: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    output_size: Sizes | None = None,
    *,
    layout: Layout = "channels_first",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.{forward}` with respect to its input.

    Each element gets the gradient of its place; one that a later element replaced there gets 0.

    Parameters
    ----------
    input : array_like
        What was unpooled; only its shape and dtype matter. dtype {dtypes}.
    indices, kernel_size, stride, padding, output_size
        As in the forward call.

    {gradient_or_errors}
        Also if an index names no element of its plane; `out` is then partly written.

    Notes
    -----
    {torch_gradient}, but where an index occurs twice: there
    torch gives the gradient to replaced elements as well.

    {examples}
    >>> x, indices = np.ones({row 2}), np.array([3, 3]).reshape{row 2}
    >>> pooling.{function}(np.arange(4.0).reshape{row 4}, x, indices, {along 2}).ravel()
    array([0., 3.])
    """
    call = _Unpooling.of("{function}", input, indices, kernel_size, stride, padding, output_size, layout)
    gradient = checked_gradient(call.function, grad_output, call.dtype, call.output_shape, call.maps.shape)
    result = result_array(call.function, out, call.maps.shape, call.dtype, gradient, call.indices)
    return call.run(gradient, result, backward=True)


max_unpool1d, max_unpool2d, max_unpool3d = ranked(_max_unpool, "max_unpool")
max_unpool1d_backward, max_unpool2d_backward, max_unpool3d_backward = ranked(
    _max_unpool_backward, "max_unpool", "_backward"
)


# ---------------------------------------------------------------------------------------------------------------------
# Conventions

# For each convention, what an index is made of: the position of the plane's first cell for each (n, c), how far
# neighbouring cells lie apart, and the order in which the cells of a plane are counted.
CONVENTIONS = ("torch", "onnx", "onnx_column_major", "tensorflow")


def _numbering(convention: str, planes: NDArray[np.int64], channels: int, cells: int) -> tuple[Any, int, str]:
    if convention == "torch":
        return np.zeros_like(planes), 1, "C"
    if convention == "tensorflow":
        return planes % max(channels, 1), channels, "C"
    return planes * cells, 1, "F" if convention == "onnx_column_major" else "C"


@names_checked
def convert_indices(
    indices: ArrayLike,
    input_shape: Sequence[int],
    *,
    source: Convention,
    target: Convention,
    layout: Layout = "channels_first",
) -> NDArray[np.int64]:
    """Convert the indices of a max pooling from one convention to another.

    ================= ===================================================================================
    convention        an index counts
    ================= ===================================================================================
    torch             the cells of the plane, row by row; what this library returns and takes
    onnx              the elements of the whole array ``(N, C, *S)`` (ONNX MaxPool)
    onnx_column_major likewise, but the first spatial axis runs fastest (ONNX MaxPool, storage_order=1)
    tensorflow        the elements of one image ``(*S, C)`` (tf.nn.max_pool_with_argmax)
    ================= ===================================================================================

    Parameters
    ----------
    indices : array_like of integers
        Indices of shape ``(N, C, *O)``, or ``(N, *O, C)`` with ``layout="channels_last"``, with one to three spatial
        axes. -1, of a window without any element, stays.
    input_shape : sequence of int
        Shape of the array that was pooled, batch and channels included.
    source, target : {"torch", "onnx", "onnx_column_major", "tensorflow"}
        What `indices` are, and what they shall be.
    layout : {"channels_first", "channels_last"}
        Order of the axes of `indices` and of `input_shape`.

    Returns
    -------
    ndarray of int64
        As many indices, in a new array.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If an argument has a wrong value, or an index names no element of its plane.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.arange(16.0).reshape(1, 2, 2, 4)
    >>> _, indices = pooling.max_pool2d(x, 2, return_indices=True)
    >>> indices.ravel()
    array([5, 7, 5, 7])
    >>> pooling.convert_indices(indices, x.shape, source="torch", target="onnx").ravel()
    array([ 5,  7, 13, 15])
    >>> pooling.convert_indices(indices, x.shape, source="torch", target="tensorflow").ravel()
    array([10, 14, 11, 15])
    """
    function = "convert_indices"
    source = word(function, "source", source, CONVENTIONS)  # type: ignore[assignment]
    target = word(function, "target", target, CONVENTIONS)  # type: ignore[assignment]
    array = as_array(function, "indices", indices, INTEGERS)
    shape = per_axis_shape(function, input_shape)
    spatial = spatial_slice(len(shape), len(shape) - 2, layout, function=function)
    if not 3 <= len(shape) <= 5:
        raise value_error(
            function,
            f"has {counted(len(shape), 'axis', 'axes')}",
            "it must have a batch, a channel and one to three spatial axes",
            argument=("input_shape", input_shape),
        )
    outputs = array.shape[spatial] if array.ndim == len(shape) else ()
    if array.shape != replace_spatial(shape, spatial, outputs):
        raise value_error(
            function,
            f"indices of shape {array.shape} cannot come from an input of shape {shape}",
            "batch and channels must be the same",
        )
    check_total(function, shape, 8)
    sizes, layout = shape[spatial], plain(layout)
    cells = math.prod(sizes)
    batch, channels = shape[0], shape[-1] if layout == "channels_last" else shape[1]
    planes = np.arange(batch * channels, dtype=np.int64).reshape(
        (batch, *(1,) * len(sizes), channels) if layout == "channels_last" else (batch, channels, *(1,) * len(sizes))
    )
    first, step, order = _numbering(source, planes, channels, cells)
    bad = array < -1
    if array.dtype == np.uint64:
        bad |= array > INT64_MAX
    # Bad indices are as good as any until they are refused below.
    index = np.where(bad, 0, array).astype(np.int64)
    place = index - first
    empty = array == -1
    bad |= ~empty & ((place < 0) | (place >= cells * step) | (place % max(step, 1) != 0))
    if bad.any():
        position = tuple(int(i) for i in np.argwhere(bad)[0])
        raise value_error(
            function,
            f"indices{list(position)} is {array[position]}, which names no element of its plane in the convention "
            f"{source!r} for input_shape {shape}",
            "give the shape and the convention that the indices have",
        )
    cell = np.where(empty, 0, place // max(step, 1))
    first, step, new_order = _numbering(target, planes, channels, cells)
    if cells and order != new_order:
        cell = np.ravel_multi_index(np.unravel_index(cell, sizes, order), sizes, order=new_order)  # type: ignore[call-overload]
    result: NDArray[np.int64] = np.where(empty, -1, first + cell * step).astype(np.int64)
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Layers


class _MaxUnpool(Layer):
    """Layer of `pooling.{function}`, with the arguments of ``torch.nn.{layer}`` and keyword-only extras."""

    operator = "max_unpool"
    _example = """
        >>> {layer}(2, stride=2).output_shape({maps 50})
        {maps 100}"""

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        *,
        layout: Layout = "channels_first",
    ) -> None: ...

    def __call__(
        self, input: ArrayLike, indices: ArrayLike | None = None, output_size: Sizes | None = None
    ) -> AnyArray:
        """Put the elements of `input` to where `indices` say; `output_size` where it is not the usual one."""
        indices = self._needed(indices)
        result: AnyArray = type(self)._pool(input, indices, output_size=output_size, **self._arguments)
        return result

    def backward(
        self,
        grad_output: ArrayLike,
        input: ArrayLike,
        indices: ArrayLike | None = None,
        output_size: Sizes | None = None,
        **keywords: Any,
    ) -> AnyArray:
        """Return the gradient with respect to `input`.

        Parameters
        ----------
        grad_output : array_like
            Gradient with respect to the result.
        input, indices, output_size
            As in the forward call.
        **keywords
            ``out=``.
        """
        indices = self._needed(indices)
        gradient: AnyArray = type(self)._backward(
            grad_output, input, indices, output_size=output_size, **self._arguments, **keywords
        )
        return gradient

    def _needed(self, indices: ArrayLike | None) -> ArrayLike:
        if indices is None:
            name = type(self).__name__
            raise type_error(name, "indices=None does not say where elements go", "give those of a max pooling")
        return indices

    def axes(self, input_shape: Sequence[int]) -> tuple[Axis, ...]:
        """Return the windows, on each spatial axis, of the pooling that is undone."""
        restored = self.output_shape(input_shape)
        return geometry.pool_axes(
            restored[self._spatial(restored)],
            self.arguments["kernel_size"],
            self.arguments["stride"],
            self.arguments["padding"],
            function=type(self).__name__,
        )

    def output_shape(self, input_shape: Sequence[int], output_size: Sizes | None = None) -> tuple[int, ...]:
        """Return the shape of the result for an input of this shape, without unpooling anything."""
        name = type(self).__name__
        shape = per_axis_shape(name, input_shape)
        spatial = self._spatial(shape)
        sizes = unpool_size(
            shape[spatial],
            self.arguments["kernel_size"],
            self.arguments["stride"],
            self.arguments["padding"],
            _spatial_part(output_size, len(shape), self.dimensions, self.layout),
            function=name,
        )
        return replace_spatial(shape, spatial, sizes)


class MaxUnpool1d(_MaxUnpool, dimensions=1): ...


class MaxUnpool2d(_MaxUnpool, dimensions=2): ...


class MaxUnpool3d(_MaxUnpool, dimensions=3): ...
