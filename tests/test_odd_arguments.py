"""Whatever is passed as any argument of any function or layer is refused in a sentence, or right."""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import filters
from pooling.operators import OPERATORS
from pooling.signs import LONGEST_REPR, short_repr

ROOT = Path(__file__).parent.parent
SOURCES = [
    *sorted((ROOT / "pooling").glob("*.py")),
    *sorted((ROOT / "pooling" / "families").glob("*.py")),
    *(ROOT / "export" / f"{n}.py" for n in ("arguments", "model", "backward")),
]
"""What public functions and layers are made of."""
LONGEST = 700
"""Signs of a sentence, at most: it may show several values, and list all dtypes."""


class Raising:
    """Has no operation that works."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"attribute {name}")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("equality")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __repr__(self) -> str:
        raise RuntimeError("representation")

    def __bool__(self) -> bool:
        raise RuntimeError("truth")

    def __index__(self) -> int:
        raise RuntimeError("index")

    def __float__(self) -> float:
        raise RuntimeError("float")

    def __len__(self) -> int:
        raise RuntimeError("length")

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("iteration")

    def __array__(self, *arguments: Any, **keywords: Any) -> Any:
        raise RuntimeError("array")


def raising(kind: type) -> type:
    """Derive a type whose operations do not work."""
    names = ("__eq__", "__hash__", "__repr__", "__str__", "__bool__", "__index__", "__float__", "__len__", "__iter__")
    return type(
        f"Raising{kind.__name__.title()}", (kind,), {name: getattr(Raising, name, Raising.__repr__) for name in names}
    )


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
DEEP: tuple[Any, ...] = (2,)
for _ in range(100_000):
    DEEP = (DEEP,)

ODD: dict[str, Any] = {
    "none": None,
    "true": True,
    "zero": 0,
    "negative": -1,
    "two": 2,
    "beyond_64_bits": 2**64,
    "huge": 10**5000,
    "huge_negative": -(10**5000),
    "float": 2.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "minus_inf": -float("inf"),
    "numpy_nan": np.float32("nan"),
    "complex": 1j,
    "empty_word": "",
    "long_word": "x" * 5000,
    "lines": "a\nb",
    "surrogate": "\ud800",
    "bytes": b"channels_first",
    "empty_list": [],
    "seven": [1, 2, 3, 4, 5, 6, 7],
    "ragged": [[1, [2]], 3],
    "long_list": list(range(100_000)),
    "endless_list": ENDLESS,
    "deep_tuple": DEEP,
    "dict": {"a": 1},
    "set": {1},
    "range": range(2),
    "generator": (each for each in ()),
    "array_of_one": np.array(2.5),
    "array_of_a_word": np.array("channels_first"),
    "array_of_words": np.array(["same", "valid"]),
    "array_of_two": np.array([1, 2]),
    "array_of_none": np.array([]),
    "array_of_bools": np.array([True, False]),
    "array_of_objects": np.empty(2, object),
    "array_of_two_axes": np.zeros((2, 3)),
    "large_array": np.zeros((100, 100)),
    "masked_array": np.ma.array([1, 2], mask=[False, True]),
    "masked": np.ma.masked,
    "record": np.zeros(1, [("a", "f4")])[0],
    "date": np.datetime64("2020"),
    "dtype": np.dtype(np.float32),
    "object": object(),
    "type": int,
    "function": abs,
    "ellipsis": ...,
    "raising": Raising(),
    "raising_word": raising(str)("channels_first"),
    "raising_integer": raising(int)(2),
    "raising_float": raising(float)(2.0),
    "raising_list": raising(list)([1, 2]),
    "raising_dict": raising(dict)(a=1),
    "raising_array": np.zeros((2, 2)).view(raising(np.ndarray)),
}

ODD["array_of_objects"][0] = Raising()

WHOLE = {"two", "array_of_two", "raising_integer"}
ACCEPTED: dict[str, set[str]] = {
    "input": {"array_of_two_axes", "large_array", "raising_array"},  # of one channel, or a few, of a signal
    "out": {"none"},
    "indices": {"none"},
    "kernel_size": WHOLE,
    "blur_kernel_size": WHOLE,
    "stride": WHOLE | {"none", "empty_list", "array_of_none"},
    "padding": WHOLE | {"zero", "none"},
    "dilation": WHOLE,
    "output_size": WHOLE | {"none"},
    "output_ratio": {"none"},
    "ceil_mode": {"true"},
    "return_indices": {"true"},
    "count_include_pad": {"true"},
    "divisor_override": {"two", "raising_integer", "negative", "float", "beyond_64_bits", "none"},
    "dimensions": {"two", "raising_integer", "none"},
    "layout": {"raising_word"},
    "norm_type": {"two", "float", "inf", "beyond_64_bits"},
    "p": {"two", "float", "inf", "beyond_64_bits"},
    "eps": {"two", "float", "beyond_64_bits"},
    "spatial_scale": {"two", "float", "beyond_64_bits"},
    "sampling_ratio": {"two", "zero", "raising_integer"},
    "_random_samples": {"none"},
    "rng": WHOLE | {"none", "zero", "beyond_64_bits", "huge", "seven", "long_list"},
}
"""What some function takes, of all the odd values; everything else is wrong everywhere."""
PLAIN: dict[str, Any] = {
    "raising_integer": 2,
    "raising_word": "channels_first",
    "array_of_two": (1, 2),
    "array_of_none": (),
}
"""Plain values that mean the same."""

FUNCTIONS = [name for operator in OPERATORS.values() for name in operator.functions]
LAYERS = [
    name
    for name, kind in ((name, getattr(pooling, name)) for name in pooling.__all__)
    if isinstance(kind, type) and issubclass(kind, pooling.Layer) and kind is not pooling.Layer
]


def operator_of(function: str) -> Any:
    return next(operator for operator in OPERATORS.values() if function in operator.functions)


def good(function: str) -> dict[str, Any]:
    """Arguments with which a forward function works."""
    operator = operator_of(function)
    dimensions = int(function[-2]) if operator.dimensions else 2
    x = np.ones((1, 2, *(8,) * dimensions), np.float32)
    arguments: dict[str, Any] = {"input": x}
    if operator.windows == "sliding" and operator.reducer != "blur":
        arguments["kernel_size"] = 2
    if operator.windows == "adaptive":
        arguments["output_size"] = 2
    if operator.name == "lp_pool":
        arguments["norm_type"] = 2
    if operator.windows == "fractional":
        arguments |= {"kernel_size": 2, "output_size": 3, "_random_samples": np.full((1, 2, dimensions), 0.5)}
    if operator.windows == "named":
        values, indices = getattr(pooling, f"max_pool{dimensions}d")(x, 2, return_indices=True)
        arguments |= {"input": values, "indices": indices, "kernel_size": 2}
    if operator.name == "max_roi_pool":
        arguments |= {"rois": np.array([[0, 0, 0, 4, 4]], np.float32), "output_size": 2}
    if operator.name == "roi_align":
        box = np.array([[0, 0, 4, 4]], np.float32)
        arguments |= {"rois": box, "batch_indices": np.zeros(1, np.int64), "output_size": 2}
    if operator.name == "max_blur_pool":
        arguments["kernel_size"] = 2
    return arguments


def outcome(names: tuple[str, ...], call: Callable[[], Any]) -> str:
    """Say what is wrong with what a call does, if something is; `names` are those that a sentence may begin with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except (TypeError, ValueError) as error:
            sentence = str(error)
            if not sentence.startswith(tuple(f"{name}: " for name in names)):
                return f"does not say its name: {sentence[:200]}"
            if "\n" in sentence or len(sentence) > LONGEST:
                return f"is no short line: {sentence[:200]!r}"
            if "truth value" in sentence or "ambiguous" in sentence:
                return f"lets NumPy speak: {sentence[:200]}"
        except BaseException as error:
            return f"raises {type(error).__name__}: {str(error)[:200]}"
    return ""


def faults(
    names: tuple[str, ...],
    call: Callable[..., Any],
    arguments: dict[str, Any],
    parameters: Any,
    accepts: dict[str, set[str]] | None = None,
) -> list[str]:
    """Try every odd value as every argument, of which some may be accepted; by default, any."""
    call(**arguments)
    found = []
    for parameter in parameters:
        for kind, value in ODD.items():
            results: list[Any] = []
            said = outcome(names, lambda p=parameter, v=value: results.append(call(**(arguments | {p: v}))))  # noqa: B023
            if results and accepts is not None and kind not in accepts.get(parameter, ()):
                said = "is accepted"
            elif results and kind in PLAIN and accepts is not None:
                plainly = call(**(arguments | {parameter: PLAIN[kind]}))
                if not same_results(results[0], plainly):
                    said = f"is another thing than {PLAIN[kind]!r}"
            if said:
                found.append(f"{parameter}={kind} {said}")
    return found


def same_results(some: Any, others: Any) -> bool:
    """Tell whether two arrays are equal, or two tuples of arrays."""
    if isinstance(some, tuple):
        return len(some) == len(others) and all(map(same_results, some, others))
    return bool(np.array_equal(some, others, equal_nan=True))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_forward_function(function: str) -> None:
    called = getattr(pooling, function)
    assert faults((function,), called, good(function), inspect.signature(called).parameters, ACCEPTED) == []


@pytest.mark.parametrize("name", ["fractional_max_pool2d", "FractionalMaxPool2d"])
def test_what_draws_where_no_samples_are_given(name: str) -> None:
    x = np.arange(50.0, dtype=np.float32).reshape(1, 2, 5, 5)

    def drawn(rng: Any) -> Any:
        if name.startswith("F"):
            return getattr(pooling, name)(2, 3, rng=rng)(x)
        return getattr(pooling, name)(x, 2, 3, rng=rng)

    assert faults(("fractional_max_pool2d",), drawn, {"rng": 0}, ["rng"], ACCEPTED) == []


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_gradient(function: str) -> None:
    arguments = good(function)
    gradient = np.ones(getattr(pooling, function)(**arguments).shape, np.float32)
    name = f"{function}_backward"
    called = getattr(pooling, name)
    given = {"grad_output": gradient} | arguments
    assert faults((name,), called, given, inspect.signature(called).parameters, ACCEPTED) == []


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer(layer: str) -> None:
    kind = getattr(pooling, layer)
    function = kind.__new__(kind).function
    arguments = good(function)
    parameters = inspect.signature(kind).parameters
    made_of = {name: value for name, value in arguments.items() if name in parameters}
    given = {name: value for name, value in arguments.items() if name not in parameters}
    x = given.pop("input")
    if kind.dimensions != x.ndim - 2:
        x = np.ones((1, 2, *(8,) * kind.dimensions), np.float32)

    def used(**changed: Any) -> None:
        made = kind(**changed)
        assert isinstance(made.layout, str)
        # Each of them has to be refused in words, where one is.
        refusals = []
        for call in (lambda: made(x, **given), lambda: made.output_shape(x.shape)):
            try:
                call()
            except (TypeError, ValueError) as error:
                refusals.append(error)
        if refusals:
            raise refusals[-1] if len({*map(str, refusals)}) == 1 else refusals[0]

    assert faults((layer, function), used, made_of, parameters) == []


@pytest.mark.parametrize("dtype", ["float64", "uint8", "bool"])
@pytest.mark.parametrize("name", ["block_reduce", "block_reduce_backward", "pyramid", *filters.__all__])
def test_a_function_of_images(name: str, dtype: str) -> None:
    function = getattr(filters, name, None) or getattr(pooling, name)
    parameters = inspect.signature(function).parameters
    x = np.ones((8, 8), dtype)
    arguments: dict[str, Any] = {next(iter(parameters)): x}
    arguments |= {parameter: 3 for parameter in ("block_size", "size") if parameter in parameters}
    if name == "block_reduce_backward":
        if dtype != "float64":
            pytest.skip("gradients are of floats")
        arguments |= {"grad_output": np.ones((3, 3)), "array": x}
    assert faults((name,), function, arguments, parameters) == []


def test_shapes_and_conventions() -> None:
    called: dict[str, dict[str, Any]] = {
        "output_shape": {"input_shape": (1, 2, 8, 8), "kernel_size": 2},
        "convert_indices": {
            "indices": np.zeros((1, 2, 4, 4), np.int64),
            "input_shape": (1, 2, 8, 8),
            "source": "torch",
            "target": "torch",
        },
    }
    for name, arguments in called.items():
        function = getattr(pooling, name)
        assert faults((name,), function, arguments, inspect.signature(function).parameters) == []


def test_numbers_of_threads() -> None:
    before = pooling.get_num_threads()
    try:
        assert faults(("set_num_threads",), pooling.set_num_threads, {"n": 1}, ["n"]) == []

        def entered(n: Any) -> None:
            with pooling.threads(n):
                pass

        assert faults(("threads",), entered, {"n": 1}, ["n"]) == []
    finally:
        pooling.set_num_threads(before)


@pytest.mark.parametrize("name", ["to_onnx", "to_onnx_backward"])
def test_an_export(name: str) -> None:
    export = pytest.importorskip("pooling.export")
    function = getattr(export, name)
    arguments = {"pool": pooling.MaxPool2d(2), "input_shape": (1, 2, 8, 8), "verify": False}
    # What the layer refuses, the layer says.
    assert faults((name, "MaxPool2d"), function, arguments, inspect.signature(function).parameters) == []


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_reference_refuses_what_is_refused_here(function: str) -> None:
    """Its sentences do not begin with the name of a function; they are short lines all the same."""
    called = getattr(pooling.reference, function)
    arguments = good(function)
    if function.startswith("fractional"):
        arguments["_random_samples"] = arguments["_random_samples"].tolist()
    called(**arguments)
    for parameter in inspect.signature(called).parameters:
        for kind in ("array_of_two_axes", "large_array", "long_list", "lines", "huge"):
            said = ""
            try:
                called(**(arguments | {parameter: ODD[kind]}))
            except (TypeError, ValueError) as error:
                said = str(error)
            assert "\n" not in said, (parameter, kind)
            assert len(said) < LONGEST, (parameter, kind)


@pytest.mark.parametrize("kind", ODD)
def test_a_value_in_a_sentence_is_a_short_line(kind: str) -> None:
    for value in (ODD[kind], [ODD[kind]], (1, (ODD[kind],)), {"key": ODD[kind]}):
        text = short_repr(value)
        assert text.isprintable()
        assert 0 < len(text) <= LONGEST_REPR


WRITTEN: list[tuple[Any, str]] = [
    (None, "None"),
    ((1, 2), "(1, 2)"),
    ([(1, 0), (0, 2)], "[(1, 0), (0, 2)]"),
    ((3,), "(3,)"),
    ([], "[]"),
    ("same", "'same'"),
    (2.5, "2.5"),
    (np.float32(2), "np.float32(2.0)"),
    (np.array([1, 2]), "array([1, 2])"),
    (np.zeros((2, 3)), "<ndarray of shape (2, 3), dtype float64>"),
    (np.zeros(17, np.int8), "<ndarray of shape (17,), dtype int8>"),
    (np.array([None]), "array([None], dtype=object)"),
    (list(range(17)), "<list of 17 entries>"),
    ((None,) * 16, f"({', '.join(['None'] * 16)})"),
    (dict.fromkeys(range(20)), "<dict of 20 entries>"),
    ([[[[1]]]], "[[[<list of 1 entry>]]]"),
    (10**5000, "<int of 16610 bits>"),
    (2**64, "18446744073709551616"),
    ("x" * 200, f"{'x' * 25!r}... of 200 characters"),
    (b"x" * 200, f"{b'x' * 25!r}... of 200 bytes"),
    ("a\nb\x1b", r"'a\nb\x1b'"),
    (object(), "<object object>"),
    (Raising(), "<Raising object>"),
    (raising(str)("same"), "'same'"),
    (raising(list)([1]), "<RaisingList object>"),
]


def test_how_values_are_written() -> None:
    assert [short_repr(value) for value, _ in WRITTEN] == [text for _, text in WRITTEN]


def shown_as_they_are(source: str) -> list[str]:
    """List the values that sentences of errors show by their repr."""
    return [
        ast.unparse(value.value)
        for statement in ast.walk(ast.parse(source))
        if isinstance(statement, ast.Raise)
        for value in ast.walk(statement)
        if isinstance(value, ast.FormattedValue) and value.conversion == ord("r")
    ]


KNOWN_WORDS = {
    "__name__",
    "built[0]",
    "cap",
    "dtype.name",
    "layer.layout",
    "layout",
    "letter",
    "location",
    "name",
    "nearest",
    "os.fspath(path)",
    "reduction.name",
    "source",
    "str(draft)",
    "str(path)",
    "str(place)",
    "str(path.parent)",
    "str(size)",
    "str(target)",
    "str(target.parent)",
    "tensor.name",
    "text",
}
"""What is a short word wherever it stands in a sentence: of this library, of the environment, or a name or a path."""


@pytest.mark.parametrize("path", SOURCES, ids=[path.name for path in SOURCES])
def test_no_sentence_shows_an_argument_by_its_repr(path: Path) -> None:
    assert [each for each in shown_as_they_are(path.read_text(encoding="utf-8")) if each not in KNOWN_WORDS] == []


def test_an_argument_that_is_shown_by_its_repr_is_found() -> None:
    assert shown_as_they_are('raise ValueError(f"pool: size={size!r} must be {rule}")') == ["size"]
