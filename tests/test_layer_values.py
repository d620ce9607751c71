"""Every layer takes what its function takes, and is a value: equal, hashed, pickled and copied by its arguments."""

from __future__ import annotations

import copy
import doctest
import inspect
import pickle
import re
from typing import Any

import numpy as np
import pytest

import pooling
from pooling.operators import OPERATORS
from tests.conftest import LAYOUTS, assert_same_bytes, random_array

PER_CALL = {"input", "out", "indices", "rois", "batch_indices", "dimensions"}
"""What comes with each call, or with the name of a layer."""

CLASSES = {
    name: value
    for name in pooling.__all__
    if isinstance(value := getattr(pooling, name), type)
    and issubclass(value, pooling.Layer)
    and hasattr(value, "operator")
}

MADE: list[pooling.Layer] = [
    pooling.MaxPool2d(2),
    pooling.MaxPool2d(np.array([2, 2]), stride=[1, 2]),  # type: ignore[arg-type]
    pooling.MaxPool1d((3,), stride=(), padding=((1, 0),)),
    pooling.AvgPool2d(2, divisor_override=2.5, rounding="floor"),
    pooling.AdaptiveAvgPool2d((None, 3), rounding="trunc"),
    pooling.GlobalAvgPool3d(rounding="half_up"),
    pooling.GeMPool2d(p=2.0),
    pooling.MaxBlurPool2d(3),
    pooling.MaxUnpool2d(2),
    pooling.RoIAlign(7, spatial_scale=0.25),
    pooling.FractionalMaxPool2d(2, output_ratio=(0.5, 0.75), rng=np.random.default_rng(7)),
    pooling.FractionalMaxPool2d(2, output_size=3, _random_samples=np.full((1, 2, 2), 0.25)),
]


@pytest.mark.parametrize("name", CLASSES)
def test_a_layer_and_its_function_take_the_same_arguments(name: str) -> None:
    layer = CLASSES[name]
    made = inspect.signature(layer).parameters
    if OPERATORS[layer.operator].dimensions:
        function = getattr(pooling, f"{layer.operator}{layer.dimensions}d")
    else:
        function = getattr(pooling, layer.operator)
    taken = {key: value for key, value in inspect.signature(function).parameters.items() if key not in PER_CALL}
    if layer.operator == "max_unpool":
        assert taken.pop("output_size").default is None  # comes with the call, as in torch.nn
    assert made.keys() == taken.keys()
    assert {key: value.default for key, value in made.items()} == {key: value.default for key, value in taken.items()}


@pytest.mark.parametrize("name", CLASSES)
def test_the_docstring_of_a_layer_names_its_function_and_has_an_example_of_it(name: str) -> None:
    layer = CLASSES[name]
    summary, _, rest = (inspect.getdoc(layer) or "").partition("\n\nExamples\n--------\n")
    function = f"{layer.operator}{layer.dimensions if OPERATORS[layer.operator].dimensions else ''}"
    assert summary.startswith(f"Layer of `pooling.{function}{'d' if function[-1].isdigit() else ''}`")
    digits = re.findall(r"(?<=Pool)[123]d|(?<=pool)[123]d", summary)
    assert set(digits) <= {f"{layer.dimensions}d"}
    if ", " in (shape := re.findall(r"``\((N, C, .*?)\)``", summary) or [""])[0]:
        assert shape[0].count(", ") == layer.dimensions + 1
    assert rest.startswith(f">>> {name}(")
    assert "{" not in summary + rest
    # What is shown is run, as part of the module.
    (test,) = [each for each in doctest.DocTestFinder().find(layer, name) if each.name == name]
    assert test.examples
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_every_function_of_the_operator_table_has_a_layer_for_each_rank() -> None:
    found = {(layer.operator, layer.dimensions) for layer in CLASSES.values()}
    one_rank = {"max_roi_pool": (2,), "roi_align": (2,)}
    expected = {
        (name, n) for name, operator in OPERATORS.items() for n in operator.dimensions or one_rank.get(name, (1, 2, 3))
    }
    assert found == expected


@pytest.mark.parametrize("layer", MADE, ids=lambda layer: type(layer).__name__)
def test_a_layer_equals_its_copies_and_no_other(layer: pooling.Layer) -> None:
    for other in (pickle.loads(pickle.dumps(layer)), copy.copy(layer), copy.deepcopy(layer)):
        assert other == layer
        assert hash(other) == hash(layer)
    assert [each for each in MADE if each == layer] == [layer]


class Twice(pooling.Layer, dimensions=2):
    """A layer of somebody else, who says how it pools."""

    operator = "twice"

    def __init__(self, factor: float = 2.0, stride: int | None = None) -> None:
        self.arguments = {"factor": factor, "stride": stride, "more": 0}

    def __call__(self, input: Any) -> Any:
        """Give back what comes, so many times."""
        return np.asarray(input) * self.arguments["factor"]


def test_a_layer_of_somebody_else_is_a_value_as_ours_are() -> None:
    assert inspect.getdoc(Twice) == "A layer of somebody else, who says how it pools."
    assert (Twice(3.0)(1.5), Twice.dimensions) == (4.5, 2)
    assert repr(Twice(3.0)) == "Twice(factor=3.0, more=0)"
    assert Twice() == pickle.loads(pickle.dumps(Twice(2.0))) != Twice(3.0)

    class Wider(pooling.MaxPool2d):
        def __init__(self, kernel_size: int) -> None:
            super().__init__(kernel_size + 2, padding=1)

    assert repr(Wider(1)) == "Wider(kernel_size=3, padding=1)"
    with pytest.raises(TypeError) as error:
        Wider(1, stride=2)  # type: ignore[call-arg]
    assert "stride" in str(error.value)


def test_states_of_generators_and_samples_tell_layers_apart() -> None:
    first = pooling.FractionalMaxPool2d(2, output_size=3, rng=np.random.default_rng(1))
    assert first != pooling.FractionalMaxPool2d(2, output_size=3, rng=np.random.default_rng(2))
    samples = np.full((1, 2, 2), 0.25)
    second = pooling.FractionalMaxPool2d(2, output_size=3, _random_samples=samples)
    assert second != pooling.FractionalMaxPool2d(2, output_size=3, _random_samples=samples + 0.5)
    assert second != pooling.FractionalMaxPool2d(2, output_size=3)


def test_the_arguments_of_a_layer_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        pooling.MaxPool2d(2).arguments["kernel_size"] = 3  # type: ignore[index]


@pytest.mark.parametrize("name", CLASSES)
def test_repr_tells_every_argument_that_is_not_the_default(name: str) -> None:
    parameters = inspect.signature(CLASSES[name]).parameters
    needed = {key: 2 for key, each in parameters.items() if each.default is each.empty}
    assert list(CLASSES[name](**needed).arguments) == list(parameters)
    for key in parameters:
        # Some equal a default in value and not in type; a function refuses a flag that is a number, and the like.
        for value in (None, 0, 1, 1.0, 3, 3.0, False, True, "reflect", "channels_last", (2, 3)):
            layer = CLASSES[name](**{**needed, key: value})
            same = eval(repr(layer), {name: CLASSES[name]})
            assert dict(same.arguments) == {**layer.arguments}
            assert type(same.arguments[key]) is type(layer.arguments[key]) is type(value)


@pytest.mark.parametrize("rounding", ["half_even", "half_up", "floor", "trunc"])
def test_mean_layers_round_as_asked(rounding: str) -> None:
    x = np.array([[[[1, 2, 2, 2, -1, -2, 3, 5]]]], np.int32)
    expected = pooling.avg_pool2d(x, (1, 2), rounding=rounding)  # type: ignore[arg-type]
    assert_same_bytes(pooling.AvgPool2d((1, 2), rounding=rounding)(x), expected)  # type: ignore[arg-type]
    assert_same_bytes(pooling.AdaptiveAvgPool2d((1, 4), rounding=rounding)(x), expected)  # type: ignore[arg-type]
    whole = pooling.GlobalAvgPool2d(rounding=rounding)(x[..., :2])  # type: ignore[arg-type]
    assert_same_bytes(whole, expected[..., :1])
    floats = x.astype(np.float64)
    grad = np.ones(expected.shape)
    layer = pooling.AvgPool2d((1, 2), rounding=rounding)  # type: ignore[arg-type]
    assert_same_bytes(layer.backward(grad, floats), pooling.avg_pool2d_backward(grad, floats, (1, 2)))


WITHOUT_BATCH = ["GlobalMaxPool", "GlobalAvgPool", "GlobalLPPool"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("kind", WITHOUT_BATCH)
def test_unbatched_global_layers_take_what_batched_ones_take(kind: str, dimensions: int, layout: Any) -> None:
    layer = getattr(pooling, f"{kind}{dimensions}d")(layout=layout)
    x = random_array((3, 4, 2, 5)[: dimensions + 1], np.float64)
    grad = random_array(layer.output_shape(x.shape), np.float64, 1)
    expected = layer.backward(grad[None], x[None])[0]
    out = np.empty_like(x)
    assert layer.backward(grad, x, out=out) is out
    assert_same_bytes(out, expected)
    assert_same_bytes(layer(x), layer(x[None])[0])
    with pytest.raises(TypeError) as error:
        layer(np.ma.masked_array(x, mask=True))
    assert "mask" in str(error.value)
    with pytest.raises(TypeError):
        layer.backward(grad, np.ma.masked_array(x, mask=True))
    if kind == "GlobalMaxPool":
        flat = x.reshape(-1, x.shape[-1]).argmax(0) if layout == "channels_last" else x.reshape(3, -1).argmax(1)
        assert_same_bytes(layer.backward(grad, x, indices=flat.reshape(grad.shape)), expected)
