"""Graphs for maps whose sizes are known at run time only, against the layers they come from, at many sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pooling
from pooling import geometry
from pooling.layer import Layer
from pooling.operators import OPERATORS
from tests.conftest import FLOATS, Array, assert_same
from tests.exported import (
    LAYERS,
    OPSETS,
    check_model,
    compare,
    full_shape,
    inferred_shapes,
    operators,
    random_arrays,
    random_layer,
    random_windows,
)

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from pooling.export import VerificationError, to_onnx  # noqa: E402
from pooling.export.dynamic_sizes import Size, adaptive_axis, free_axis  # noqa: E402
from pooling.export.verification import run_model  # noqa: E402

FREE = [name for name, row in OPERATORS.items() if row.windows in ("sliding", "adaptive", "global")]
DTYPES = ("float32", "float64", "float16", "bfloat16", "uint8", "int32", "int64", "uint64", "bool")
FORMS = 40
"""Random layers of every operator: more than 500 together."""
MORE = ((0, 0, 0), (1, 0, 3), (2, 3, 1), (7, 4, 2))
"""By how much the sizes of runs exceed the smallest ones drawn."""


# --- random poolings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", FREE)
def test_random_layers_equal_their_graphs_at_every_size(operator: str) -> None:
    row, ran = OPERATORS[operator], 0
    for seed in range(FORMS):
        rng = np.random.default_rng([seed, FREE.index(operator), 5])
        layer, sizes = random_layer(rng, operator, int(rng.choice([each.dimensions for each in LAYERS[operator]])))
        shape = full_shape(rng, layer, sizes)
        named = with_names(rng, layer, shape)
        dtype = str(rng.choice([each for each in DTYPES if each in row.dtypes]))
        opset = [None, 13, int(rng.choice(OPSETS))][seed % 3]
        model, sentence = exported(layer, named, dtype, opset)
        if model is None:
            assert " lacks " in sentence or " cannot divide " in sentence
            assert opset not in (None, 13) or " lacks " not in sentence
            continue
        check_model(model)
        for told, found in zip(told_shapes(model), inferred_shapes(model), strict=True):
            assert len(told) == len(found) == len(shape)
            # Names that inference makes up say nothing.
            assert all(isinstance(b, str) or b in (a, 0) for a, b in zip(told, found, strict=True))
        runs = 0
        for more in MORE:
            larger = enlarged(layer, shape, named, more)
            arrays = random_arrays(rng, layer, larger, dtype)
            try:
                layer(*arrays)
            except ValueError:
                assert dtype not in FLOATS  # integers have no mean of nothing
                continue
            compare(model, layer, arrays)
            runs += 1
        ran += runs > 1
    assert ran > FORMS * 2 // 3


def exported(
    layer: Layer, shape: tuple[int | str, ...], dtype: str, opset: int | None
) -> tuple[onnx.ModelProto | None, str]:
    """Return a model that nothing has verified, or the sentence that refuses it."""
    try:
        return to_onnx(layer, shape, dtype=dtype, opset=opset, special_values="exact", verify=False), ""
    except ValueError as error:
        return None, str(error)


def with_names(rng: np.random.Generator, layer: Layer, shape: tuple[int, ...]) -> tuple[int | str, ...]:
    """Give names to some sizes, a spatial one among them."""
    spatial = layer._spatial(shape)
    always = int(rng.integers(spatial.start, spatial.stop))
    return tuple(f"size_{axis}" if axis == always or rng.random() < 0.7 else size for axis, size in enumerate(shape))


def enlarged(
    layer: Layer, shape: tuple[int, ...], named: tuple[int | str, ...], more: tuple[int, ...]
) -> tuple[int, ...]:
    """Choose other sizes where there are names."""
    spatial = layer._spatial(shape)
    return tuple(
        size if isinstance(name, int) else size + more[axis - spatial.start] if spatial.start <= axis < spatial.stop
        else 1 + more[0] % 3
        for axis, (size, name) in enumerate(zip(shape, named, strict=True))
    )  # fmt: skip


def told_shapes(model: onnx.ModelProto) -> list[tuple[int | str, ...]]:
    """Return the shapes of the outputs as the model has them."""
    return [
        tuple(size.dim_param or size.dim_value for size in output.type.tensor_type.shape.dim)
        for output in model.graph.output
    ]


@pytest.mark.parametrize("operator", FREE)
def test_models_are_verified_at_several_sizes(operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    from pooling.export import verification

    inputs = verification.drawn_inputs

    def noted(*arguments: Any, **keywords: Any) -> Any:
        seen.append(arguments[1])
        return inputs(*arguments, **keywords)

    monkeypatch.setattr(verification, "drawn_inputs", noted)
    for seed in range(6):
        rng = np.random.default_rng([seed, FREE.index(operator), 6])
        layer, sizes = random_layer(rng, operator, int(rng.choice([each.dimensions for each in LAYERS[operator]])))
        named = with_names(rng, layer, full_shape(rng, layer, sizes))
        seen.clear()
        to_onnx(layer, named, dtype=str(rng.choice(["float32", "float16"])))
        assert len(seen) == 2 * 12  # with and without graph optimisation
        spatial = [sizes[2:] for sizes in seen]
        assert len(set(spatial)) >= 2
        assert any({sizes[axis] % 2 for sizes in spatial} == {0, 1} for axis in range(layer.dimensions))


def test_what_a_small_divisor_makes_of_the_smallest_numbers_is_no_error() -> None:
    # 1e-45 / 2 rounds to 0 before it is multiplied by 2 / 0.1.
    layer = pooling.AvgPool1d(2, ceil_mode=True, count_include_pad=False, divisor_override=0.1, layout="channels_last")
    check_model(to_onnx(layer, ("N", "L", "C"), opset=8))
    x = np.array([[[1e-45, 0]]], np.float32)
    small = pooling.AvgPool1d(2, divisor_override=0.1)
    assert run_model(to_onnx(small, x.shape, verify=False), [x])[0].tolist() == [[[0.0]]]
    assert small(x) > 0


def test_random_sequences() -> None:
    stages = 0
    for seed in range(40):
        rng = np.random.default_rng([seed, 7])
        dimensions = int(rng.integers(1, 4))
        layout = str(rng.choice(["channels_first", "channels_last"]))
        layers: list[Layer] = []
        shape = (2, *[30] * dimensions, 2) if layout == "channels_last" else (2, 2, *[30] * dimensions)
        for operator in rng.choice(FREE, 3):
            if dimensions not in [each.dimensions for each in LAYERS[operator]]:
                continue
            layer = random_layer(rng, str(operator), dimensions)[0]
            arguments = layer.arguments | {"layout": layout}
            if "return_indices" in arguments:
                arguments["return_indices"] = False
            layer = type(layer)(**arguments)
            try:
                pooling.Sequential(*layers, layer).output_shape(shape)
            except ValueError:
                continue  # what is left of the map is too small
            layers.append(layer)
        if not layers:
            continue
        stages += len(layers)
        spatial = layers[0]._spatial(shape)
        named = [f"size_{axis}" if spatial.start <= axis < spatial.stop else size for axis, size in enumerate(shape)]
        model = to_onnx(pooling.Sequential(*layers), named, dtype="float64", opset=[None, 13][seed % 2])
        check_model(model)
        assert all(len(told) == len(shape) for told in told_shapes(model))
    assert stages > 60


# --- arithmetic ------------------------------------------------------------------------------------------------------


def value(number: int | Size, size: int) -> int:
    """Work a size out as Python would, from its text."""
    return int(eval(str(number), {"H": size}))


def test_formulas_are_those_of_the_geometry() -> None:
    height = Size("", (0,), "H")
    compared = 0
    empty: dict[int, list[bool]] = {}
    for seed in range(400):
        rng = np.random.default_rng([seed, 8])
        arguments, _ = random_windows(rng, 1)
        (sample,) = geometry.pool_axes([200], **arguments)
        axis = free_axis(sample, height, arguments["padding"], arguments["ceil_mode"])
        for size in range(1, 30):
            try:
                (known,) = geometry.pool_axes([size], **arguments)
            except ValueError:
                assert size < axis.smallest
                assert value(axis.output_size, size) <= 0
                continue
            assert size >= axis.smallest
            assert value(axis.output_size, size) == known.output_size
            assert value(axis.pad_begin, size) == known.pad_begin
            assert value(axis.pad_end, size) == known.pad_end
            assert axis.ceil_overhang >= known.ceil_overhang
            empty.setdefault(seed, [axis.may_be_empty]).append(bool((known.taps() < 0).all(1).any()))
            assert axis.has_out_of_bounds_taps or not (known.taps() < 0).any()
            compared += 1
    assert compared > 8000
    assert all(said == any(seen) for said, *seen in empty.values())
    assert any(said for said, *_ in empty.values())


@pytest.mark.parametrize("count", [1, 2, 3, 7, None])
def test_adaptive_windows_are_not_longer_than_said(count: int | None) -> None:
    for size in range(1, 40):
        (known,) = geometry.adaptive_axes([size], count)
        axis = adaptive_axis(Size("", (0,), "H"), count)
        assert value(axis.output_size, size) == known.output_size
        counts = known.windows(np.arange(known.output_size)).count
        assert value(axis.kernel_size, size) >= counts.max()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Size("", (0,), "H") + 2 - 2, "H"),
        (Size("", (0,), "H") + 2 - 3, "H - 1"),
        ((Size("", (0,), "H") + 1) // 2, "(H + 1) // 2"),
        ((Size("", (0,), "H") // 2 + 1) // 2, "(H // 2 + 1) // 2"),
        (3 - (Size("", (0,), "H") - 1) % 4, "3 - (H - 1) % 4"),
        (Size("", (0,), "H") * Size("", (1,), "W") * 3, "H * W * 3"),
        (Size("", (0,), "H") * (Size("", (1,), "W") // 2), "H * (W // 2)"),
        (Size("", (0,), "H") % 1, "0"),
    ],
)
def test_sizes_are_written_as_python_does(number: int | Size, text: str) -> None:
    assert str(number) == text


# --- which graph -----------------------------------------------------------------------------------------------------

NAMED = ("N", "C", "H", "W")


@pytest.mark.parametrize(
    ("layer", "expected", "sizes"),
    [
        (pooling.MaxPool2d(3, 2, 1), ["MaxPool"], ("(H + 1) // 2", "(W + 1) // 2")),
        (pooling.MaxPool2d(3, 2, 1, ceil_mode=True), ["MaxPool"], ("(H + 2) // 2", "(W + 2) // 2")),
        (pooling.MaxPool2d(3, 3, 1, ceil_mode=True), ["MaxPool"], ("(H + 3) // 3", "(W + 3) // 3")),
        (pooling.MaxPool2d(3, 1, "same_lower", 2), ["MaxPool"], ("H", "W")),
        (pooling.AvgPool2d(2, ceil_mode=True), ["AveragePool"], ("(H + 1) // 2", "(W + 1) // 2")),
        (pooling.AvgPool2d(3, 2, 1, True, False), ["AveragePool"], ("(H + 2) // 2", "(W + 2) // 2")),
        (pooling.AvgPool2d(2, ceil_mode=True, divisor_override=3), ["AveragePool", "Mul"], (
            "(H + 1) // 2", "(W + 1) // 2",
        )),
        (pooling.AdaptiveMaxPool2d((None, 1)), ["Shape", "Gather"], ("H", 1)),
        (pooling.AdaptiveMaxPool2d(1), ["GlobalMaxPool"], (1, 1)),
        (pooling.AdaptiveAvgPool2d(1), ["GlobalAveragePool"], (1, 1)),
        (pooling.GlobalAvgPool2d(), ["GlobalAveragePool"], (1, 1)),
        (pooling.MaxPool2d(3, 2, return_indices=True), ["MaxPool", "Shape", "Gather", "Gather", "Mul", "Mod"], (
            "(H - 1) // 2", "(W - 1) // 2",
        )),
    ],
)  # fmt: skip
def test_graph_of_one_layer_for_finite_numbers(layer: Layer, expected: list[str], sizes: tuple[int | str, ...]) -> None:
    model = to_onnx(layer, NAMED)
    assert operators(model)[: len(expected)] == expected
    assert len(operators(model)) == len(expected) or "Gather" in expected
    assert told_shapes(model)[0] == ("N", "C", *sizes)


def test_ceil_mode_of_every_size_is_one_padding() -> None:
    # A window that would begin behind the input finds no place, whatever the size.
    model = to_onnx(pooling.MaxPool1d(3, 3, 1, ceil_mode=True), (1, 1, "L"))
    (node,) = model.graph.node
    pads = next(onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == "pads")
    assert pads == [1, 2]
    for size in range(1, 20):
        x = np.random.default_rng(size).normal(size=(1, 1, size)).astype(np.float32)
        assert_same(run_model(model, [x])[0], pooling.MaxPool1d(3, 3, 1, ceil_mode=True)(x))


@pytest.mark.parametrize(
    ("layer", "node"),
    [
        (pooling.MaxPool2d(3, 2, "same_upper"), "MaxPool"),
        (pooling.AvgPool2d(3, 2, "same_lower"), "AveragePool"),
        (pooling.AvgPool2d(3, 2, "same_upper", divisor_override=7), "AveragePool"),
        (pooling.AvgPool2d(3, 2, "same_lower", count_include_pad=False), "AveragePool"),
    ],
)
def test_padding_that_follows_the_size_goes_before_one_node(layer: Layer, node: str) -> None:
    model = to_onnx(layer, NAMED)
    names = operators(model)
    assert names.count("Pad") == names.count(node) == 1
    assert names[names.index("Pad") + 1] == node
    # Only sizes are gathered.
    assert names.count("Gather") == 2


def test_later_layers_work_with_what_is_left_of_the_size() -> None:
    pool = pooling.Sequential(pooling.MaxPool2d(3, 2), pooling.AvgPool2d(2, padding="same_upper"))
    model = to_onnx(pool, ("N", 3, "H", 11))
    assert told_shapes(model) == [("N", 3, "((H - 1) // 2 + 1) // 2", 3)]
    assert "(H - 1) // 2" in [node.doc_string for node in model.graph.node]
    for size in range(3, 12):
        x = np.random.default_rng(size).integers(-9, 9, (2, 3, size, 11)).astype(np.float32)
        assert_same(run_model(model, [x])[0], pool(x))


def test_channels_may_become_a_spatial_axis() -> None:
    pool = pooling.Sequential(pooling.MaxPool2d(2), pooling.MaxPool2d(2, layout="channels_last"))
    model = to_onnx(pool, ("N", "C", "H", 4))
    assert told_shapes(model) == [("N", "C // 2", "H // 2 // 2", 2)]
    x = np.random.default_rng(1).normal(size=(2, 5, 9, 4)).astype(np.float32)
    assert_same(run_model(model, [x])[0], pool(x))


def test_axes_may_share_a_name() -> None:
    layer = pooling.MaxPool2d((3, 2), 2, "same_upper", return_indices=True)
    model = to_onnx(layer, ("S", 2, "S", "S"))
    assert told_shapes(model) == [("S", 2, "(S + 1) // 2", "(S + 1) // 2")] * 2
    for size in (1, 4, 5):
        x = np.random.default_rng(size).integers(-3, 4, (size, 2, size, size)).astype(np.float32)
        for found, expected in zip(run_model(model, [x]), layer(x), strict=True):
            assert_same(found, expected)


@pytest.mark.parametrize("convention", ["torch", "onnx", "onnx_column_major", "tensorflow"])
@pytest.mark.parametrize(
    "layer",
    [
        pooling.MaxPool2d(3, 2, 1, return_indices=True, ceil_mode=True),
        pooling.MinPool3d(2, padding="same_lower", return_indices=True),
        pooling.AdaptiveMaxPool2d((3, 2), return_indices=True, layout="channels_last"),
    ],
    ids=repr,
)
def test_indices_of_every_convention(layer: Layer, convention: Any) -> None:
    rank = layer.dimensions + 2
    model = to_onnx(layer, [f"size_{axis}" for axis in range(rank)], indices=convention)
    for size in (4, 5, 9):
        x = np.random.default_rng(size).integers(-3, 4, (2, *range(size, size + rank - 2), 3)).astype(np.float32)
        if layer.layout == "channels_first":
            x = np.moveaxis(x, -1, 1)
        index: Array = layer(x)[1]
        if layer.layout == "channels_last":
            index = np.moveaxis(index, -1, 1)
            shape = (*x.shape[:1], x.shape[-1], *x.shape[1:-1])
        else:
            shape = x.shape
        expected = pooling.convert_indices(index, shape, source="torch", target=convention)
        found = run_model(model, [x])[1]
        assert_same(np.moveaxis(found, -1, 1) if layer.layout == "channels_last" else found, expected)


@pytest.mark.parametrize("include", [False, True])
def test_windows_without_any_element(include: bool) -> None:
    windows = {"kernel_size": 2, "stride": 1, "dilation": 3, "padding": 2}
    highest = to_onnx(pooling.MaxPool1d(**windows, return_indices=True), (1, 1, "L"))
    layer = pooling.AvgPool1d(**windows, count_include_pad=include)
    mean = to_onnx(layer, (1, 1, "L"))
    for size in range(1, 7):
        x = np.arange(1, size + 1, dtype=np.float32).reshape(1, 1, size)
        for found, expected in zip(
            run_model(highest, [x]), pooling.MaxPool1d(**windows, return_indices=True)(x), strict=True
        ):
            assert_same(found, expected)
        assert_same(run_model(mean, [x])[0], layer(x))
    # Of padding alone, or of nothing, which has no mean among integers: the layer refuses that, the graph gives 0.
    whole = to_onnx(layer, (1, 1, "L"), dtype="int32")
    assert run_model(whole, [np.array([[[5]]], np.int32)])[0].tolist() == [[[0, 0]]]


# --- what does not work ----------------------------------------------------------------------------------------------


def test_inputs_that_are_too_small_have_no_windows() -> None:
    model = to_onnx(pooling.AvgPool1d(5, 2), (1, 1, "L"), dtype="float64")
    for size in range(1, 5):
        assert run_model(model, [np.ones((1, 1, size))])[0].shape == (1, 1, 0)
    assert run_model(model, [np.ones((1, 1, 5))])[0].tolist() == [[[1.0]]]

    model = to_onnx(pooling.MaxPool1d(5, 2), (1, 1, "L"))
    for size in range(1, 5):
        try:
            assert run_model(model, [np.ones((1, 1, size), np.float32)])[0].size <= 1
        except VerificationError as error:
            assert "does not run this model" in str(error)  # noqa: PT017


MAX = pooling.MaxPool2d(2)


@pytest.mark.parametrize(
    ("layer", "shape", "keywords", "sentence"),
    [
        (
            MAX,
            ("N", 3, 8, "W - 1"),
            {},
            "to_onnx: input_shape=('N', 3, 8, 'W - 1') of MaxPool2d has the name 'W - 1' on axis W; the sizes of "
            "results are expressions in it, so use one word such as 'H'",
        ),
        (
            MAX,
            ("N", 3, 1, "W"),
            {},
            "MaxPool2d: kernel_size=2 finds no window on axis H: the effective kernel size is 2 and the padded input "
            "0 + 1 + 0 = 1; the smallest input that works is 2",
        ),
        (
            MAX,
            ("H", "W"),
            {},
            "MaxPool2d: input_shape=(1, 1) has 2 axes; it must have 4, or 3 without the batch",
        ),
        *[
            (
                layer,
                ("N", 3, "H", 8),
                {},
                f"to_onnx: input_shape=('N', 3, 'H', 8) of {type(layer).__name__} has the name 'H' on axis H; the "
                "graph of this pooling is for one size, so use an integer",
            )
            for layer in (
                pooling.MaxUnpool2d(2),
                pooling.MaxRoIPool(2),
                pooling.RoIAlign(2),
                pooling.FractionalMaxPool2d(2, 2),
            )
        ],
        (
            pooling.Sequential(MAX, pooling.FractionalMaxPool2d(2, 2)),
            (2, 3, 8, "W"),
            {},
            "to_onnx: layer 1, FractionalMaxPool2d(kernel_size=2, output_size=2): input_shape=(2, 3, 4, 'W // 2') of "
            "FractionalMaxPool2d has the name 'W // 2' on axis W; the graph of this pooling is for one size, so use "
            "an integer",
        ),
        (
            pooling.MaxPool2d(3, 2, "same_upper"),
            NAMED,
            {"opset": 10},
            "to_onnx: opset=10 lacks Range, which this pooling needs; use opset >= 11",
        ),
        (
            pooling.AdaptiveAvgPool2d(3),
            NAMED,
            {"opset": 9},
            "to_onnx: opset=9 lacks Range, which this pooling needs; use opset >= 11",
        ),
        (
            pooling.MaxPool2d(2, return_indices=True),
            NAMED,
            {"opset": 9},
            "to_onnx: opset=9 lacks Mod, which this pooling needs; use opset >= 10",
        ),
    ],
)
def test_errors(layer: Any, shape: Any, keywords: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        to_onnx(layer, shape, **keywords)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "layer",
    [pooling.MaxPool2d(3, 2, 1, ceil_mode=True), pooling.AvgPool2d(3, 2, ceil_mode=True), pooling.GlobalMaxPool2d()],
    ids=repr,
)
@pytest.mark.parametrize("opset", OPSETS)
def test_windows_that_do_not_depend_on_the_size_have_graphs_in_every_opset(layer: Layer, opset: int) -> None:
    check_model(to_onnx(layer, NAMED, opset=opset))


@pytest.mark.parametrize("opset", [each for each in OPSETS if each >= 11])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
def test_windows_that_depend_on_the_size_have_graphs_since_opset_11(opset: int, dtype: str) -> None:
    for layer in (pooling.AvgPool2d(3, 2, "same_upper"), pooling.AdaptiveMaxPool2d((3, 4), return_indices=True)):
        check_model(to_onnx(layer, NAMED, opset=opset, dtype=dtype))


def test_a_wrong_graph_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from pooling.export import model

    def one_more(*arguments: Any, **keywords: Any) -> Any:
        axis = free_axis(*arguments, **keywords)
        return type(axis)(**{**vars(axis), "pad_begin": 0, "pad_end": 2})

    monkeypatch.setattr(model, "free_axis", one_more)
    with pytest.raises(VerificationError):
        to_onnx(pooling.MaxPool2d(3, 2, 1), NAMED)
