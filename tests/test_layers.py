"""Layers are their functions with the arguments bound: same results, same names as torch.nn, shapes without pooling."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pooling
from pooling.families import extremes, means
from pooling.layer import Layer
from tests.conftest import LAYOUTS, Array, assert_same_bytes, random_array, window_arguments

# Each kind of layer with arguments that differ from the defaults, and the function of the same arguments.
EXAMPLES: dict[str, dict[str, Any]] = {
    "MaxPool": {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    "MinPool": {"kernel_size": 2, "stride": 1, "dilation": 2},
    "AvgPool": {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
    "AdaptiveMaxPool": {"output_size": 3},
    "AdaptiveAvgPool": {"output_size": 4},
    "GlobalMaxPool": {},
    "GlobalAvgPool": {},
}
FUNCTIONS = {
    "MaxPool": "max_pool{}d",
    "MinPool": "min_pool{}d",
    "AvgPool": "avg_pool{}d",
    "AdaptiveMaxPool": "adaptive_max_pool{}d",
    "AdaptiveAvgPool": "adaptive_avg_pool{}d",
    "GlobalMaxPool": "global_max_pool",
    "GlobalAvgPool": "global_avg_pool",
}
KINDS = [pytest.param(kind, n, id=f"{kind}{n}d") for kind in EXAMPLES for n in (1, 2, 3)]


def layer_of(kind: str, dimensions: int, **arguments: Any) -> Layer:
    layer: Layer = getattr(pooling, f"{kind}{dimensions}d")(**arguments)
    return layer


def array_of(dimensions: int, layout: str, *, batched: bool = True) -> Array:
    spatial = (6, 7, 5)[:dimensions]
    shape = (2, 3, *spatial) if layout == "channels_first" else (2, *spatial, 3)
    return random_array(shape if batched else shape[1:], np.float32)


@pytest.mark.parametrize(("kind", "dimensions"), KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batched", [True, False])
def test_a_layer_is_its_function(kind: str, dimensions: int, layout: str, batched: bool) -> None:
    layer = layer_of(kind, dimensions, **EXAMPLES[kind], layout=layout)
    name = FUNCTIONS[kind].format(dimensions)
    forward, backward = getattr(pooling, name), getattr(pooling, f"{name}_backward")
    assert layer.function == name
    x = array_of(dimensions, layout, batched=batched)
    rank = {"dimensions": dimensions} if kind.startswith("Global") else {}
    expected = forward(x, **EXAMPLES[kind], **rank, layout=layout)
    grad = random_array(expected.shape, np.float32, 1)
    gradient = backward(grad, x, **EXAMPLES[kind], **rank, layout=layout)
    assert_same_bytes(layer(x), expected)
    assert_same_bytes(layer.backward(grad, x), gradient)
    assert layer.output_shape(x.shape) == expected.shape
    spatial = expected.shape[-dimensions:] if layout == "channels_first" else expected.shape[-dimensions - 1 : -1]
    assert tuple(axis.output_size for axis in layer.axes(x.shape)) == spatial


@pytest.mark.parametrize("kind", ["MaxPool", "MinPool", "AdaptiveMaxPool"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_layer_that_returns_indices_takes_them_back(kind: str, dimensions: int) -> None:
    layer = layer_of(kind, dimensions, **EXAMPLES[kind], return_indices=True)
    x = array_of(dimensions, "channels_first")
    values, indices = layer(x)
    assert_same_bytes(values, layer_of(kind, dimensions, **EXAMPLES[kind])(x))
    grad = random_array(values.shape, np.float32, 1)
    expected = layer.backward(grad, x)
    assert_same_bytes(layer.backward(grad, x, indices=indices), expected)
    with pytest.raises(ValueError):
        layer.backward(grad, x, indices=indices + 10**6)
    out = np.empty_like(x)
    assert layer.backward(grad, x, out=out) is out
    assert_same_bytes(out, expected)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("kind", ["MaxPool", "MinPool", "AvgPool"])
@given(data=st.data())
def test_the_output_shape_of_a_layer_is_the_shape_of_its_result(
    kind: str, dimensions: int, data: st.DataObject
) -> None:
    layout = data.draw(st.sampled_from(LAYOUTS))
    layer = layer_of(kind, dimensions, **data.draw(window_arguments(dimensions)), layout=layout)
    spatial = data.draw(st.tuples(*[st.integers(1, 8)] * dimensions))
    shape = (2, 3, *spatial) if layout == "channels_first" else (2, *spatial, 3)
    for each in (shape, shape[1:]):
        try:
            expected = layer(np.zeros(each, np.float32)).shape
        except ValueError:
            with pytest.raises(ValueError):
                layer.output_shape(each)
        else:
            assert layer.output_shape(each) == expected


@pytest.mark.parametrize(("kind", "dimensions"), KINDS)
def test_an_array_of_another_rank_is_refused_as_its_shape_is(kind: str, dimensions: int) -> None:
    layer = layer_of(kind, dimensions, **EXAMPLES[kind])
    for rank in range(7):
        shape = (9,) * rank
        if rank in (dimensions + 1, dimensions + 2):
            assert layer(np.zeros(shape, np.float32)).shape == layer.output_shape(shape)
        else:
            with pytest.raises(ValueError):
                layer.output_shape(shape)
            with pytest.raises(ValueError):
                layer(np.zeros(shape, np.float32))


@pytest.mark.parametrize("kind", ["MaxPool", "AvgPool", "AdaptiveMaxPool", "AdaptiveAvgPool"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_arguments_come_in_the_order_of_torch_nn(kind: str, dimensions: int) -> None:
    torch = pytest.importorskip("torch")
    theirs = list(inspect.signature(getattr(torch.nn, f"{kind}{dimensions}d")).parameters.values())
    ours = inspect.signature(getattr(pooling, f"{kind}{dimensions}d")).parameters.values()
    positional = [parameter for parameter in ours if parameter.kind is not parameter.KEYWORD_ONLY]
    # Ours take a divisor in one dimension too.
    assert [parameter.name for parameter in positional][: len(theirs)] == [parameter.name for parameter in theirs]
    assert {parameter.name for parameter in positional[len(theirs) :]} <= {"divisor_override"}
    for our, their in zip(positional, theirs, strict=False):
        assert our.default == their.default


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_values_are_those_of_torch_nn(dimensions: int) -> None:
    torch = pytest.importorskip("torch")
    x = array_of(dimensions, "channels_first")
    for kind, arguments in (
        ("MaxPool", (3, 2, 1, 1, False, True)),
        ("AvgPool", (3, 2, 1, True, False)),
        ("AdaptiveMaxPool", (3,)),
        ("AdaptiveAvgPool", (4,)),
    ):
        theirs = getattr(torch.nn, f"{kind}{dimensions}d")(*arguments)(torch.from_numpy(x)).numpy()
        ours = getattr(pooling, f"{kind}{dimensions}d")(*arguments)(x)
        np.testing.assert_allclose(ours, theirs, rtol=2.0**-20, atol=2.0**-22)


# --- what a layer says of itself --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (pooling.MaxPool2d(3, stride=2, padding=1), "MaxPool2d(kernel_size=3, stride=2, padding=1)"),
        (pooling.MaxPool2d(2), "MaxPool2d(kernel_size=2)"),
        (pooling.MaxPool2d(2, None, 0, 1, False, False), "MaxPool2d(kernel_size=2)"),
        (
            pooling.MaxPool1d((3,), padding=[(0, 1)], layout="channels_last"),
            "MaxPool1d(kernel_size=(3,), padding=((0, 1),), layout='channels_last')",
        ),
        (
            pooling.MaxPool3d(2, return_indices=True, ceil_mode=True, nan="ignore"),
            "MaxPool3d(kernel_size=2, return_indices=True, ceil_mode=True, nan='ignore')",
        ),
        (
            pooling.AvgPool2d(2, count_include_pad=False, divisor_override=3),
            "AvgPool2d(kernel_size=2, count_include_pad=False, divisor_override=3)",
        ),
        (pooling.AvgPool1d(2, padding="same"), "AvgPool1d(kernel_size=2, padding='same')"),
        (pooling.AdaptiveAvgPool2d((1, None)), "AdaptiveAvgPool2d(output_size=(1, None))"),
        (pooling.AdaptiveMaxPool1d(1), "AdaptiveMaxPool1d(output_size=1)"),
        (pooling.GlobalAvgPool2d(), "GlobalAvgPool2d()"),
        (pooling.GlobalMaxPool3d(layout="channels_last"), "GlobalMaxPool3d(layout='channels_last')"),
        (
            pooling.Sequential(pooling.MaxPool2d(2), pooling.GlobalAvgPool2d()),
            "Sequential(MaxPool2d(kernel_size=2), GlobalAvgPool2d())",
        ),
        (pooling.Sequential(), "Sequential()"),
    ],
    ids=str,
)
def test_repr_is_what_makes_the_same_layer(layer: Any, text: str) -> None:
    assert repr(layer) == text
    assert repr(eval(text, vars(pooling).copy())) == text


def test_arguments_that_are_arrays_are_read_once() -> None:
    kernel = np.array([2, 3])
    layer = pooling.MaxPool2d(kernel, stride=np.array([1, 2]))  # type: ignore[arg-type]
    kernel[:] = 1
    assert repr(layer) == "MaxPool2d(kernel_size=(2, 3), stride=(1, 2))"
    assert layer == pooling.MaxPool2d((2, 3), [1, 2])
    assert layer.output_shape((1, 1, 6, 7)) == (1, 1, 5, 3)


def test_layers_are_equal_if_kind_and_arguments_are() -> None:
    layer = pooling.MaxPool2d(2)
    assert layer == pooling.MaxPool2d(2)
    assert layer != pooling.MaxPool2d(2, ceil_mode=True)
    assert layer != pooling.MaxPool3d(2)
    assert layer != pooling.AvgPool2d(2)
    assert layer != "MaxPool2d(kernel_size=2)"
    assert hash(layer) == hash(pooling.MaxPool2d(2))
    assert len({layer, pooling.MaxPool2d(2), pooling.MaxPool2d(3)}) == 2
    assert pooling.Sequential(layer) == pooling.Sequential(pooling.MaxPool2d(2)) != pooling.Sequential()


@pytest.mark.parametrize(("kind", "dimensions"), KINDS)
def test_a_layer_names_itself_where_a_shape_is_wrong(kind: str, dimensions: int) -> None:
    name = f"{kind}{dimensions}d"
    layer = layer_of(kind, dimensions, **EXAMPLES[kind])
    with pytest.raises(ValueError) as error:
        layer.output_shape((3,) * dimensions)
    assert str(error.value) == (
        f"{name}: input_shape={(3,) * dimensions} has {dimensions} {'axis' if dimensions == 1 else 'axes'}; it must "
        f"have {dimensions + 2}, or {dimensions + 1} without the batch"
    )
    with pytest.raises(TypeError) as error:
        layer.output_shape(7)  # type: ignore[arg-type]
    assert str(error.value) == f"{name}: input_shape=7 must be a sequence of integers; 7 is of type int"


def test_a_layer_names_itself_where_its_windows_find_no_place() -> None:
    with pytest.raises(ValueError) as error:
        pooling.MaxPool2d((2, 9)).output_shape((1, 1, 8, 8))
    assert str(error.value) == (
        "MaxPool2d: kernel_size=(2, 9) finds no window on axis W: the effective kernel size is 9 and the padded input "
        "0 + 8 + 0 = 8; the smallest input that works is 9"
    )


# --- layers one after another ----------------------------------------------------------------------------------


def test_a_sequence_pools_layer_by_layer_forward_and_backward() -> None:
    x = array_of(2, "channels_first")
    first, second = pooling.MaxPool2d(3, 1, 1), pooling.AvgPool2d(2)
    stages = pooling.Sequential(first, second)
    between = first(x)
    assert_same_bytes(stages(x), second(between))
    assert stages.output_shape(x.shape) == stages(x).shape
    grad = random_array(stages(x).shape, np.float32, 1)
    expected = first.backward(second.backward(grad, between), x)
    assert_same_bytes(stages.backward(grad, x), expected)
    assert (len(stages), list(stages), stages[1]) == (2, [first, second], second)


def test_a_sequence_of_no_layers_changes_nothing() -> None:
    x = array_of(1, "channels_first")
    assert pooling.Sequential()(x) is x
    assert_same_bytes(pooling.Sequential().backward(x, x), x)
    assert pooling.Sequential().output_shape((1, 2, 3)) == (1, 2, 3)


def test_the_last_layer_of_a_sequence_may_return_indices() -> None:
    x = array_of(2, "channels_first")
    stages = pooling.Sequential(pooling.AvgPool2d(2, 1), pooling.MaxPool2d(2, return_indices=True))
    values, indices = stages(x)
    assert values.shape == indices.shape == stages.output_shape(x.shape)
    assert stages.backward(values, x).shape == x.shape


def test_a_sequence_of_what_does_not_fit_is_refused_in_words() -> None:
    with pytest.raises(TypeError) as kind:
        pooling.Sequential(pooling.MaxPool2d(2), [pooling.MaxPool2d(2)])  # type: ignore[arg-type]
    assert str(kind.value) == "Sequential: layer 1 is a list; give pooling layers of this package, one argument each"
    with pytest.raises(ValueError) as value:
        pooling.Sequential(pooling.MaxPool2d(2, return_indices=True), pooling.AvgPool2d(2))
    assert str(value.value) == (
        "Sequential: layer 0 has return_indices=True, but layer 1 takes one array; "
        "only the last layer may return indices"
    )


def test_a_sequence_says_which_layer_refuses() -> None:
    stages = pooling.Sequential(pooling.MaxPool2d(2), pooling.AvgPool2d(9), pooling.MaxPool2d(2))
    x = np.zeros((1, 1, 8, 8), np.float32)
    rest = (
        "kernel_size=9 finds no window on axis H: the effective kernel size is 9 and the padded input 0 + 4 + 0 = 4; "
        "the smallest input that works is 9"
    )
    where = "Sequential: layer 1, AvgPool2d(kernel_size=9)"
    for call, sentence in (
        (lambda: stages(x), f"{where}: avg_pool2d: {rest}"),
        (lambda: stages.backward(x, x), f"{where}: avg_pool2d: {rest}"),
        (lambda: stages.output_shape(x.shape), f"{where}: AvgPool2d: {rest}"),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == sentence
    with pytest.raises(TypeError) as kind:
        pooling.Sequential(pooling.MaxPool2d(2), pooling.AvgPool2d("2"))(x)  # type: ignore[arg-type]
    assert str(kind.value).startswith(
        "Sequential: layer 1, AvgPool2d(kernel_size='2'): avg_pool2d: kernel_size='2' must"
    )
    with pytest.raises(ValueError) as first:
        stages.backward(np.zeros((1, 1, 3, 3), np.float32), np.zeros((1, 1, 36, 36), np.float32))
    assert str(first.value).startswith(
        "Sequential: layer 2, MaxPool2d(kernel_size=2): max_pool2d_backward: grad_output "
    )


ALL_LAYERS = [
    name
    for name, kind in ((name, getattr(pooling, name)) for name in pooling.__all__)
    if isinstance(kind, type) and issubclass(kind, pooling.Layer) and kind is not pooling.Layer
]


@pytest.mark.parametrize("name", ALL_LAYERS)
def test_a_layer_that_cannot_be_made_says_its_own_name_and_what_was_meant(name: str) -> None:
    kind = getattr(pooling, name)
    parameters = inspect.signature(kind).parameters
    needed = [each.name for each in parameters.values() if each.default is each.empty]
    good = dict.fromkeys(needed, 2)
    for parameter in set(parameters) - {"p"}:  # which nothing is similar to
        misspelled = parameter[:-1] if len(parameter) > 3 else f"{parameter}s"
        with pytest.raises(TypeError) as error:
            kind(**good, **{misspelled: 2})
        assert str(error.value) == (
            f"{name}: got an unexpected keyword argument {misspelled!r}; do you mean {parameter}?"
        )
    with pytest.raises(TypeError) as error:
        kind(**good, something_else=1)
    listed = f"its arguments are {', '.join(parameters)}" if parameters else "it takes no arguments"
    assert str(error.value) == f"{name}: got an unexpected keyword argument 'something_else'; {listed}"
    if needed:
        with pytest.raises(TypeError) as error:
            kind()
        assert str(error.value) == f"{name}: missing a required argument: {needed[0]!r}"


def test_every_layer_is_public_and_tested_here() -> None:
    concrete = {name for name in (*extremes.__all__, *means.__all__) if name[0].isupper()}
    here = {f"{kind}{n}d" for kind in EXAMPLES for n in (1, 2, 3)}
    elsewhere = concrete - here
    assert here <= concrete
    assert not {name for name in elsewhere if name.startswith(tuple(EXAMPLES))}
    assert concrete <= set(pooling.__all__)


def test_a_layer_of_torch_is_named_with_what_to_do() -> None:
    torch = pytest.importorskip("torch")

    class Own(torch.nn.Module):  # type: ignore[name-defined,misc]
        pass

    for layer, kind in ((torch.nn.ReLU(), "ReLU"), (torch.nn.MaxPool2d(2), "MaxPool2d"), (Own(), "Own")):
        with pytest.raises(TypeError) as error:
            pooling.Sequential(pooling.MaxPool2d(2), layer)
        assert str(error.value) == (
            f"Sequential: layer 1 is a {kind} of torch; give pooling layers of this package, one argument each; or "
            "write a network of torch to a file with torch.onnx.export, and give that file to pooling.doctor"
        )
