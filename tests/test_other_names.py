"""Arguments and functions by the names that other libraries give them: the error has ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import filters
from pooling.arguments import OTHER_NAMES, misnamed
from pooling.doctor import examine

pytest.importorskip("onnx")
from pooling.export import make_portable, save, to_onnx, to_onnx_backward
from pooling.validation import validate

POOL = pooling.MaxPool2d(2)
IMAGE = np.arange(24.0).reshape(4, 6)
MAPS = IMAGE.reshape(1, 1, 4, 6)

CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any], str, str]] = {
    # scikit-image
    "block_reduce image": (pooling.block_reduce, {"block_size": 2}, "image", "array"),
    "pyramid downscale": (pooling.pyramid, {"array": IMAGE}, "downscale", "factors"),
    "pyramid max_layer": (pooling.pyramid, {"array": IMAGE}, "max_layer", "levels"),
    "pyramid channel_axis": (pooling.pyramid, {"array": IMAGE}, "channel_axis", "axes"),
    # NumPy and dask
    "block_reduce axis": (pooling.block_reduce, {"array": IMAGE, "block_size": 2}, "axis", "layout"),
    "block_reduce a": (pooling.block_reduce, {"block_size": 2}, "a", "array"),
    # SciPy and OpenCV
    "maximum_filter kernel_size": (filters.maximum_filter, {"input": IMAGE}, "kernel_size", "size"),
    "uniform_filter borderType": (filters.uniform_filter, {"input": IMAGE}, "borderType", "mode"),
    "grey_opening footprints": (filters.grey_opening, {"input": IMAGE}, "footprints", "footprint"),
    # torch and torchvision
    "block_reduce kernel_size": (pooling.block_reduce, {"array": IMAGE}, "kernel_size", "block_size"),
    "roi_align boxes": (pooling.roi_align, {"input": MAPS}, "boxes", "rois"),
    "roi_align aligned": (pooling.roi_align, {"input": MAPS}, "aligned", "coordinate_transformation_mode"),
    # Keras, TensorFlow, ONNX
    "MaxPool2d pool_size": (pooling.MaxPool2d, {}, "pool_size", "kernel_size"),
    "AvgPool3d strides": (pooling.AvgPool3d, {"kernel_size": 2}, "strides", "stride"),
    "MaxPool1d data_format": (pooling.MaxPool1d, {"kernel_size": 2}, "data_format", "layout"),
    "AvgPool2d exclusive": (pooling.AvgPool2d, {"kernel_size": 2}, "exclusive", "count_include_pad"),
    "MaxPool2d auto_pad": (pooling.MaxPool2d, {"kernel_size": 2}, "auto_pad", "padding"),
    "output_shape ksize": (pooling.output_shape, {"input_shape": (1, 1, 4)}, "ksize", "kernel_size"),
    "max_roi_pool pooled_shape": (pooling.max_roi_pool, {"input": MAPS}, "pooled_shape", "output_size"),
    # torch.onnx
    "to_onnx opset_version": (to_onnx, {"pool": POOL, "input_shape": (1, 1, 4, 4)}, "opset_version", "opset"),
    "to_onnx dynamic_axes": (to_onnx, {"pool": POOL}, "dynamic_axes", "input_shape"),
    "to_onnx_backward model": (to_onnx_backward, {}, "model", "pool"),
    "save f": (save, {}, "f", "path"),
    "make_portable onnx_model": (make_portable, {}, "onnx_model", "model"),
    "examine model": (examine, {}, "model", "source"),
    "examine object": (examine, {"source": "conv3x8"}, "object", "object_size"),
    "validate runtime": (validate, {"models": "m.onnx"}, "runtime", "runtimes"),
    # A slip of the fingers
    "block_reduce blocksize": (pooling.block_reduce, {"array": IMAGE}, "blocksize", "block_size"),
    "blur_pool2d paddings": (pooling.blur_pool2d, {"input": MAPS}, "paddings", "padding"),
}


@pytest.mark.parametrize(("function", "good", "other", "ours"), CALLS.values(), ids=CALLS)
def test_a_name_of_another_library_is_answered_with_ours(
    function: Callable[..., Any], good: dict[str, Any], other: str, ours: str
) -> None:
    with pytest.raises(TypeError) as error:
        function(**good, **{other: 2})
    said = f"{function.__name__}: got an unexpected keyword argument {other!r}; do you mean {ours}?"
    assert str(error.value) == said
    assert ours in inspect.signature(function).parameters


def test_a_name_that_nothing_is_similar_to_is_answered_with_all_arguments() -> None:
    with pytest.raises(TypeError) as error:
        pooling.output_shape((1, 1, 4), 2, something="else")  # type: ignore[call-arg]
    arguments = "input_shape, kernel_size, stride, padding, dilation, ceil_mode, layout"
    said = f"output_shape: got an unexpected keyword argument 'something'; its arguments are {arguments}"
    assert str(error.value) == said


def test_what_is_proposed_is_an_argument_of_the_function() -> None:
    for other, names in OTHER_NAMES.items():
        assert str(misnamed("f", other, names)).endswith(f"do you mean {names[0]}?")
        assert str(misnamed("f", other, ["zzz"])).endswith("its arguments are zzz")


def test_a_function_whose_names_are_checked_keeps_its_signature_and_module() -> None:
    parameters = inspect.signature(pooling.output_shape).parameters
    assert list(parameters)[:3] == ["input_shape", "kernel_size", "stride"]
    assert parameters["layout"].kind is inspect.Parameter.KEYWORD_ONLY
    assert pooling.output_shape.__module__ == "pooling.maps"


@pytest.mark.parametrize("name", ["MaxPooling2D", "average_pool2d", "AvgPool2D"])
def test_a_missing_name_of_the_package_has_what_python_needs_to_propose_another(name: str) -> None:
    with pytest.raises(AttributeError) as error:
        getattr(pooling, name)
    # A traceback looks for the nearest of dir(error.obj).
    assert (error.value.name, error.value.obj) == (name, pooling)
    assert str(error.value) == f"module 'pooling' has no attribute {name!r}"
    assert {"MaxPool2d", "avg_pool2d", "AvgPool2d"} <= set(dir(pooling))


@pytest.mark.parametrize("word", ["average", "avg"])
def test_a_mean_by_another_name_is_proposed(word: str) -> None:
    with pytest.raises(ValueError) as error:
        pooling.block_reduce(IMAGE, 2, word)  # type: ignore[call-overload]
    assert str(error.value).endswith(f"; for {word!r} write 'mean'")


@pytest.mark.parametrize("name", ["cval", "fill_value"])
@pytest.mark.parametrize("function", [pooling.block_reduce, pooling.pyramid])
def test_blocks_are_not_filled(function: Callable[..., Any], name: str) -> None:
    with pytest.raises(TypeError) as found:
        function(IMAGE, 2, **{name: 0})
    assert str(found.value) == (
        f"{function.__name__}: got an unexpected keyword argument '{name}'; nothing is filled in: edge='partial' "
        "reduces what is there, and numpy.pad fills before the call"
    )
