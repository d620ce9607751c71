"""The operator table keeps its word: every row has functions, references, dtypes, ONNX operators, layers, a page."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import reference
from pooling.operators import BOOL, FLOATS, INTEGERS, OPERATORS, Operator
from tests.conftest import dtype_of

DOCS = Path(__file__).parent.parent / "docs"
DTYPES = FLOATS + INTEGERS + BOOL
LAYERS = [
    layer
    for layer in (getattr(pooling, name) for name in pooling.__all__)
    if inspect.isclass(layer) and issubclass(layer, pooling.Layer) and hasattr(layer, "operator")
]
FORWARD_ONLY = {"return_indices", "rounding", "rng"}


# --- what a row needs ---------------------------------------------------------------------------------------------


def missing_functions(operator: Operator) -> list[str]:
    """List the public functions that are missing, and those that `pooling.reference` lacks."""
    return [
        f"{place.__name__}.{function}"
        for name in operator.functions
        for function in (name, f"{name}_backward")
        for place in (pooling, reference)
        if not callable(getattr(place, function, None))
    ]


def differing_arguments(operator: Operator) -> list[str]:
    """List the arguments of a reference implementation that its function lacks, or that have another default there.

    A function may have more, if they must be named.
    """
    found = []
    for name in operator.functions:
        for function in (name, f"{name}_backward"):
            ours, theirs = (inspect.signature(getattr(place, function)).parameters for place in (pooling, reference))
            found += [
                f"{function}: {key}"
                for key, parameter in theirs.items()
                if key not in ours or ours[key].default != parameter.default
            ]
            found += [
                f"{function}: {key}"
                for key, parameter in ours.items()
                if key not in theirs and parameter.kind is not parameter.KEYWORD_ONLY and key not in FORWARD_ONLY
            ]
    return found


def bad_dtypes(operator: Operator) -> list[str]:
    """List what is wrong with the dtypes of a row."""
    found = []
    for field in ("dtypes", "gradient_dtypes"):
        names = getattr(operator, field)
        if not names:
            found.append(f"{field} is empty")
        found += [f"{field} has {name}" for name in names if name not in DTYPES]
    return found + [f"{name} has a gradient only" for name in operator.gradient_dtypes if name not in operator.dtypes]


def missing_onnx(operator: Operator) -> list[str]:
    """List what is wrong with the ONNX operators of a row."""
    if not operator.onnx:
        return ["no ONNX operator"]
    onnx = pytest.importorskip("onnx")
    return [name for name in operator.onnx if not onnx.defs.has(name)]


def missing_layers(operator: Operator) -> list[str]:
    """List the numbers of axes that no public layer of a row has."""
    dimensions = {layer.dimensions for layer in LAYERS if layer.operator == operator.name}
    wanted = operator.dimensions or ((1, 2, 3) if operator.windows == "global" else ())
    if not wanted and not dimensions:
        return [f"no layer of {operator.name}"]
    return [f"no layer of {operator.name} with {n} spatial axes" for n in wanted if n not in dimensions]


@pytest.mark.parametrize("name", OPERATORS)
def test_every_function_exists_and_has_a_reference(name: str) -> None:
    assert missing_functions(OPERATORS[name]) == []


@pytest.mark.parametrize("name", OPERATORS)
def test_every_function_takes_what_its_reference_takes(name: str) -> None:
    assert differing_arguments(OPERATORS[name]) == []


@pytest.mark.parametrize("name", OPERATORS)
def test_every_row_lists_dtypes(name: str) -> None:
    assert bad_dtypes(OPERATORS[name]) == []


@pytest.mark.parametrize("name", OPERATORS)
def test_every_row_names_operators_of_onnx(name: str) -> None:
    assert missing_onnx(OPERATORS[name]) == []


@pytest.mark.parametrize("name", OPERATORS)
def test_every_row_has_layers(name: str) -> None:
    assert missing_layers(OPERATORS[name]) == []


@pytest.mark.parametrize("name", OPERATORS)
def test_every_row_has_a_summary_and_a_name_of_its_own(name: str) -> None:
    operator = OPERATORS[name]
    assert operator.name == name
    assert operator.summary.endswith(".")
    assert "|" not in operator.summary


def test_every_gradient_and_layer_belongs_to_a_row() -> None:
    functions = {function for operator in OPERATORS.values() for function in operator.functions}
    functions.add("block_reduce")  # whose words have a table of their own
    ending = "_backward"
    gradients = {name.removesuffix(ending) for name in pooling.__all__ if name.endswith(ending)}
    assert gradients == functions
    assert {layer.operator for layer in LAYERS} <= OPERATORS.keys()


def test_a_row_that_lacks_something_is_found_out() -> None:
    new = dataclasses.replace(OPERATORS["min_pool"], name="median_pool", dimensions=(2,))
    assert missing_functions(new) == [
        "pooling.median_pool2d",
        "pooling.reference.median_pool2d",
        "pooling.median_pool2d_backward",
        "pooling.reference.median_pool2d_backward",
    ]
    assert missing_layers(new) == ["no layer of median_pool with 2 spatial axes"]
    assert missing_layers(dataclasses.replace(new, dimensions=())) == ["no layer of median_pool"]
    assert bad_dtypes(dataclasses.replace(new, dtypes=("float32", "float8"), gradient_dtypes=("float64",))) == [
        "dtypes has float8",
        "float64 has a gradient only",
    ]
    assert bad_dtypes(dataclasses.replace(new, dtypes=(), gradient_dtypes=())) == [
        "dtypes is empty",
        "gradient_dtypes is empty",
    ]
    assert missing_onnx(dataclasses.replace(new, onnx=())) == ["no ONNX operator"]
    assert missing_onnx(dataclasses.replace(new, onnx=("MedianPool",))) == ["MedianPool"]


def test_a_reference_with_other_arguments_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "min_pool2d", lambda input, kernel_size, stride=1, size=2: None)
    found = differing_arguments(dataclasses.replace(OPERATORS["min_pool"], dimensions=(2,)))
    assert "min_pool2d: stride" in found
    assert "min_pool2d: size" in found
    assert "min_pool2d: dilation" in found
    assert "min_pool2d: layout" not in found


# --- dtypes are what the row says ---------------------------------------------------------------------------------


def sample(function: str, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Make arguments for a function, by their names; the same serve its gradient."""
    spatial = int(function[-2]) if function.endswith("d") and function[-2].isdigit() else 2
    x = np.ones((1, 2, *[4] * spatial), dtype)
    known: dict[str, Any] = {
        "input": x,
        "kernel_size": 2,
        "norm_type": 2.0,
        "output_ratio": 0.5,
        "_random_samples": np.full((1, 2, spatial), 0.5),
        "indices": np.arange(x.size // 2).reshape(1, 1, *x.shape[2:]).repeat(2, 1),
        "rois": np.array([[0.0, 0, 0, 3, 3]])[:, 0 if function == "max_roi_pool" else 1 :],
        "batch_indices": np.array([0]),
    }
    parameters = inspect.signature(getattr(pooling, function)).parameters.values()
    taken = {parameter.name: known[parameter.name] for parameter in parameters if parameter.name in known}
    if any(parameter.name == "output_size" and parameter.default is parameter.empty for parameter in parameters):
        taken["output_size"] = 2
    return taken


def documented(function: str) -> list[str]:
    """List the dtypes of the input that the documentation of a function names."""
    text = " ".join((getattr(pooling, function).__doc__ or "").partition("\ninput : ")[2].split())
    found = re.search(rf"\bdtype ((?:{'|'.join(DTYPES)}|, )+)\.", text)
    assert found is not None, function
    return found[1].split(", ")


CALLS = [
    pytest.param(operator, function, dtype, id=f"{function}-{dtype}")
    for operator in OPERATORS.values()
    for function in operator.functions
    for dtype in DTYPES
]


@pytest.mark.parametrize(("operator", "function", "dtype"), CALLS)
def test_a_function_accepts_the_dtypes_of_its_row_and_no_other(operator: Operator, function: str, dtype: str) -> None:
    arguments = sample(function, dtype_of(dtype))
    assert (dtype in documented(function)) == (dtype in operator.dtypes)
    assert (dtype in documented(f"{function}_backward")) == (dtype in operator.gradient_dtypes)
    for place in (pooling, reference):
        pool, backward = getattr(place, function), getattr(place, f"{function}_backward")
        if dtype not in operator.dtypes:
            for call in (pool, backward):
                with pytest.raises(TypeError, match=dtype):
                    call(*[arguments["input"]] * (call is backward), **arguments)
            continue
        result = pool(**arguments)
        assert result.dtype == dtype_of(dtype)
        if dtype in operator.gradient_dtypes:
            gradient = backward(np.ones_like(result), **arguments)
            first = gradient[0] if isinstance(gradient, tuple) else gradient
            assert (first.dtype, first.shape) == (arguments["input"].dtype, arguments["input"].shape)
        else:
            with pytest.raises(TypeError, match=dtype):
                backward(np.ones_like(result), **arguments)


@pytest.mark.parametrize("name", OPERATORS)
def test_functions_take_a_layout_where_the_row_says_so(name: str) -> None:
    operator = OPERATORS[name]
    for function in operator.functions:
        takes = "layout" in inspect.signature(getattr(pooling, function)).parameters
        assert takes == (len(operator.layouts) > 1)


# --- the pages ----------------------------------------------------------------------------------------------------


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_operators", DOCS / "make_operators.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_operators_is_made_from_the_table() -> None:
    made = generator()
    assert made.PAGE.read_text(encoding="utf-8") == made.page(), "run `python docs/make_operators.py`"


def test_the_page_of_operators_changes_with_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    made = generator()
    before = made.page()
    changed = dataclasses.replace(OPERATORS["min_pool"], dtypes=("float32",))
    monkeypatch.setitem(OPERATORS, "min_pool", changed)
    assert made.page() != before


def test_the_guide_names_files_and_things_that_exist() -> None:
    text = (DOCS / "adding-an-operator.md").read_text(encoding="utf-8")
    named = [part for part in text.split("`")[1::2] if "/" in part and " " not in part]
    assert named
    assert [path for path in named if not (DOCS.parent / path).exists()] == []
    tests = {part for part in text.split("`")[1::2] if part.startswith("test_") and "/" not in part}
    assert tests
    assert tests <= globals().keys()
