"""One definition for all ranks: what is made of it is a function like any other, and runs no more than it has to."""

from __future__ import annotations

import ast
import inspect
import pickle
import traceback
import typing
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import calls
from pooling.families import extremes, means, norms
from pooling.operators import OPERATORS
from pooling.ranks import OF_GRADIENTS, PARAMETERS, PIECES, ranked

FUNCTIONS = [
    getattr(pooling, name + suffix)
    for operator in OPERATORS.values()
    for name in operator.functions
    for suffix in ("", "_backward")
]
X = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8)
MANY = np.zeros((1, 8192, 8, 8), np.float32)
HUGE = np.zeros((1, 1, 1200, 1200))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_a_function_is_known_by_its_name_alone(function: Any) -> None:
    name = function.__name__
    assert getattr(pooling, name) is function
    assert function.__qualname__ == inspect.unwrap(function).__code__.co_name == name
    assert pickle.loads(pickle.dumps(function)) is function
    assert inspect.getmodule(function).__name__.startswith("pooling.families.")  # type: ignore[union-attr]
    with pytest.raises(TypeError) as error:
        function()
    assert str(error.value).startswith(f"{name}()")
    # Annotations can be read where the function is.
    assert {*typing.get_type_hints(function)} == {*inspect.signature(function).parameters, "return"}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_a_docstring_is_whole_and_names_every_argument(function: Any) -> None:
    text = inspect.getdoc(function)
    assert text
    for placeholder in (
        "{function}",
        "{n}",
        "{row",
        "{along",
        "{maps",
        *(f"{{{name}}}" for name in (*PARAMETERS, *PIECES)),
    ):
        assert placeholder not in text
    section = text.split("Parameters\n----------\n")[1].split("\n\n")[0]
    entries = [line.partition(" : ")[0].split(", ") for line in section.splitlines() if not line.startswith(" ")]
    names = list(inspect.signature(function).parameters)
    assert sorted(name for entry in entries for name in entry) == sorted(names)
    places = [names.index(entry[0]) for entry in entries]
    assert places == sorted(places)
    assert f"pooling.{function.__name__}(" in text.split("Examples")[1]


def test_a_definition_has_no_examples_that_would_be_run() -> None:
    assert extremes._extreme_pool.__doc__ is None
    assert means._avg_pool.__doc__ is None
    assert ">>> pooling.{function}" in vars(norms._lp_pool)["docstring"]


def test_every_piece_of_a_docstring_stands_in_several() -> None:
    folder = Path(pooling.__file__).parent / "families"
    sources = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    written = sources + "".join(PIECES.values())
    assert [name for name in PIECES if written.count(f"{{{name}}}") < 2] == []


def test_what_is_said_of_an_argument_of_all_functions_is_said_by_several() -> None:
    texts = [" ".join((function.__doc__ or "").split()) for function in FUNCTIONS]
    for entry in (*PARAMETERS.values(), *OF_GRADIENTS.values()):
        words = " ".join(entry.partition("({first}")[0].split())
        assert sum(words in text for text in texts) > 2, words


def test_the_divisor_of_one_axis_has_to_be_named() -> None:
    def kinds(function: Any) -> dict[str, Any]:
        return {name: each.kind for name, each in inspect.signature(function).parameters.items()}

    x = np.arange(4.0).reshape(1, 1, 4)
    for one, two in (
        (pooling.avg_pool1d, pooling.avg_pool2d),
        (pooling.avg_pool1d_backward, pooling.avg_pool2d_backward),
    ):
        assert list(kinds(one)) == list(kinds(two))
        assert kinds(one)["divisor_override"] is inspect.Parameter.KEYWORD_ONLY
        assert kinds(two)["divisor_override"] is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert {name for name in kinds(one) if kinds(one)[name] is not kinds(two)[name]} == {"divisor_override"}
    np.testing.assert_array_equal(pooling.avg_pool1d(x, 2, divisor_override=4).ravel(), [0.25, 1.25])
    with pytest.raises(TypeError):
        pooling.avg_pool1d(x, 2, 2, 0, False, True, 4.0)  # type: ignore[misc]


def test_names_of_functions_take_the_place_of_their_own_only() -> None:
    def definition(word: str = "{function}", *, other: str = "of {function}") -> tuple[str, str, str]:
        """Say {thing} {windows_of} in {row 4} and {along 4}, with {function} and {forward}."""
        return "{function}", word, other

    one, two, three = ranked(definition, "max_pool", "_backward", thing=("a", "b", "{n} c"))
    assert two() == ("max_pool2d_backward", "{function}", "of {function}")
    assert one.__doc__ == "Say a along one axis in (1, 1, 4) and 4, with max_pool1d_backward and max_pool1d."
    assert three.__doc__ == (
        "Say 3 c of a volume in (1, 1, 1, 1, 4) and (1, 1, 4), with max_pool3d_backward and max_pool3d."
    )


def test_a_traceback_names_the_function_that_was_called() -> None:
    with pytest.raises(ValueError) as error:
        pooling.min_pool3d(np.zeros((1, 1, 2, 2, 2)), 5)
    assert str(error.value).startswith("min_pool3d: kernel_size=5 finds no window")
    assert "min_pool3d" in {frame.name for frame in traceback.extract_tb(error.value.__traceback__)}


def test_an_argument_of_max_pooling_stands_in_few_signatures() -> None:
    counts: Counter[str] = Counter()
    for path in (Path(pooling.__file__).parent / "families" / "extremes.py", Path(calls.__file__)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                counts.update(each.arg for each in (*node.args.args, *node.args.kwonlyargs))
    assert 0 < counts["ceil_mode"] <= 8
    assert 0 < counts["dilation"] <= 8


# --- what a call runs -----------------------------------------------------------------------------------------


def laid_out(monkeypatch: pytest.MonkeyPatch, call: Any) -> int:
    """Count the plans that a call lays which is not remembered."""
    counted = []
    for module in (calls, extremes, means):
        lay = module.lay_out  # type: ignore[attr-defined]
        monkeypatch.setattr(module, "lay_out", lambda *args, lay=lay, **keys: counted.append(0) or lay(*args, **keys))
    calls.forget()
    call()
    first = len(counted)
    call()
    assert len(counted) == first
    monkeypatch.undo()
    return first


@pytest.mark.parametrize(
    ("plans", "call"),
    [
        (1, lambda: pooling.max_pool2d(X, 3, 2, 1)),
        (1, lambda: pooling.max_pool2d(X, 3, 2, 1, return_indices=True)),
        (1, lambda: pooling.avg_pool2d(X, 3, 2, 1)),
        (1, lambda: pooling.avg_pool2d(X, 3, 2, 1, count_include_pad=False)),
        (1, lambda: pooling.avg_pool2d_backward(X[..., ::2, ::2], X, 2)),
        (2, lambda: pooling.avg_pool2d_backward(X[..., ::2, ::2], X, 3, 2, 1, count_include_pad=False)),
        (2, lambda: pooling.avg_pool2d_backward(MANY[..., ::2, ::2], MANY, 3, 2, 1, count_include_pad=False)),
        (1, lambda: pooling.avg_pool2d_backward(np.ones((1, 1, 600, 600)), HUGE, 3, 2, 1)),
        (1, lambda: pooling.max_pool2d_backward(X[..., ::2, ::2], X, 2)),
        (1, lambda: pooling.max_pool2d_backward(X[..., ::2, ::2], X, 2, indices=np.zeros((1, 1, 4, 4), np.int64))),
        (1, lambda: pooling.lp_pool2d(X, 2, 2)),
        (1, lambda: pooling.lp_pool2d_backward(X[..., ::2, ::2], X, 2, 2)),
        (1, lambda: pooling.gem_pool2d(X)),
        (0, lambda: pooling.blur_pool2d(X)),
        (0, lambda: pooling.fractional_max_pool2d(X, 2, 3)),
        (0, lambda: pooling.max_unpool2d(X, np.arange(64).reshape(X.shape), 2)),
    ],
)
def test_no_plan_is_laid_that_a_call_does_not_run(plans: int, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert laid_out(monkeypatch, call) == plans


@pytest.mark.parametrize("indexed", [False, True])
def test_the_first_call_goes_the_way_of_the_others(indexed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel is started from Python, whatever array and arguments come in."""
    for name in ("forward", "forward_indexed"):
        monkeypatch.delattr(calls.kernels, name)
    out = np.empty((1, 1, 4, 4), np.float32)
    wide = np.repeat(X, 2, axis=-1)[..., ::2]
    for kernel in (2, (2, np.int64(2)), np.array([2, 2])):
        calls.forget()
        for x in (X, wide, X.tolist(), np.moveaxis(np.ascontiguousarray(np.moveaxis(X, 1, -1)), -1, 1)):
            found = pooling.max_pool2d(x, kernel, return_indices=indexed)  # type: ignore[call-overload]
            result = found[0] if indexed else found
            np.testing.assert_array_equal(result, X[..., 1::2, 1::2])
        found = pooling.max_pool2d(X, kernel, return_indices=indexed, out=out)  # type: ignore[call-overload]
        assert (found[0] if indexed else found) is out
        np.testing.assert_array_equal(out, X[..., 1::2, 1::2])


def test_the_first_gradient_goes_the_way_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("forward", "forward_indexed", "scatter_backward", "average_backward"):
        monkeypatch.delattr(calls.kernels, name)
    ones = np.ones((1, 1, 4, 4), np.float32)
    _, indices = pooling.max_pool2d(X, 2, return_indices=True)
    expected = np.zeros_like(X)
    expected[..., 1::2, 1::2] = 1
    out = np.empty_like(X)
    wide = np.repeat(X, 2, axis=-1)[..., ::2]
    for kernel in (2, (2, np.int64(2)), np.array([2, 2])):
        calls.forget()
        for x in (X, wide, X.tolist()):
            for g in (ones, np.repeat(ones, 2, axis=-1)[..., ::2]):
                if isinstance(x, list):
                    x = np.array(x, np.float32)
                for given in (None, indices, indices.astype(np.int32), np.repeat(indices, 2, axis=-1)[..., ::2]):
                    found = pooling.max_pool2d_backward(g, x, kernel, indices=given)  # type: ignore[arg-type]
                    np.testing.assert_array_equal(found, expected)
                assert pooling.max_pool2d_backward(g, x, kernel, out=out) is out  # type: ignore[arg-type]
                np.testing.assert_array_equal(out, expected)
                np.testing.assert_array_equal(pooling.avg_pool2d_backward(g, x, kernel), 0.25)  # type: ignore[arg-type]


def test_out_of_a_subclass_or_of_an_equal_dtype_is_written_and_returned() -> None:
    class Array(np.ndarray):  # type: ignore[type-arg]
        pass

    for out in (
        np.empty((1, 1, 4, 4), np.float32).view(Array),
        np.empty((1, 1, 4, 4), np.dtype(np.float32, metadata={"unit": "m"})),
    ):
        for _ in range(2):
            out[...] = 0
            assert pooling.max_pool2d(X, 2, out=out) is out
            np.testing.assert_array_equal(np.asarray(out), X[..., 1::2, 1::2])
