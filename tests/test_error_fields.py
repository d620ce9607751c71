"""Errors carry fields, and no code reads the text of an error of this package."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import pooling
from pooling.errors import Place, Refusal, recast, refusal_of, refused, rename, type_error, value_error, without

ROOT = Path(__file__).parent.parent

FOREIGN = {
    ("pooling/arrays.py", "_foreign"): "whoever wrote the kind of array",
    ("pooling/arrays.py", "_of_tensor"): "torch",
    ("pooling/benchmark/worker.py", "answer"): "the other libraries of a race",
    ("pooling/cli/__init__.py", "_unforeseen"): "what nobody foresaw, shown on one line",
    ("pooling/signs.py", "first_line"): "whatever others raise",
    ("pooling/validation/runners/onnxruntime.py", "reason"): "onnxruntime",
    ("pooling/validation/runners/processes.py", "_sentence"): "the runtimes",
}
"""The functions that read the text of an error, and whose error that is: of others, which have no fields."""


def is_error(annotation: ast.expr | None) -> bool:
    names = [node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)] if annotation else []
    return any(name.endswith(("Error", "Exception")) for name in names)


LOOKS = {"match", "search", "fullmatch", "sub", "findall", "finditer"}
"""Methods of regular expressions, which look at their arguments."""


class Texts:
    """The texts of errors in a function: of those that it catches, and those that it is given."""

    def __init__(self, function: ast.FunctionDef) -> None:
        self.nodes = list(ast.walk(function))
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        self.errors = {each.arg for each in arguments if is_error(each.annotation)}
        self.errors |= {node.name for node in self.nodes if isinstance(node, ast.ExceptHandler) and node.name}
        self.names: set[str] = set()
        assigned = [node for node in self.nodes if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value]
        for _ in assigned:
            for node in assigned:
                if self.makes(node.value):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    self.names |= {target.id for target in targets if isinstance(target, ast.Name)}

    def among(self, *parts: ast.expr) -> bool:
        """Whether the text of an error is among what some expressions are made of."""
        return any(self.is_text(node) for part in parts for node in ast.walk(part))

    def is_text(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Name):
            return node.id in self.names
        if isinstance(node, ast.Attribute) and node.attr == "args":
            read = node.value
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("str", "repr") and len(node.args) == 1:
            read = node.args[0]
        else:
            return False
        return isinstance(read, ast.Name) and read.id in self.errors

    def makes(self, value: ast.expr) -> bool:
        """Whether the value of an expression is the text of an error, or made of one by methods and operators."""
        if isinstance(value, ast.Call) and not self.is_text(value):
            method = isinstance(value.func, ast.Attribute) and hasattr(str, value.func.attr)
            return method and self.among(value)
        return self.among(value) if not isinstance(value, (ast.List, ast.Tuple, ast.Dict)) else False

    def reads(self, node: ast.AST) -> bool:
        """Whether an expression looks at what a text says."""
        if isinstance(node, ast.Compare):
            return self.among(node.left, *node.comparators)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            own = hasattr(str, node.func.attr) and self.among(node.func.value)
            return own or (node.func.attr in LOOKS and self.among(*node.args))
        return isinstance(node, ast.Subscript) and self.among(node.value)


def readers(source: str) -> Iterator[str]:
    """Yield the functions that take the text of an error apart, or compare it."""
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef):
            texts = Texts(function)
            if any(map(texts.reads, texts.nodes)):
                yield function.name


@pytest.mark.parametrize(
    "reading",
    [
        "str(error).removeprefix('validate: ')",
        "' lacks ' in str(error)",
        "str(error) == 'its inputs are no tensors'",
        "error.args[0]",
        "re.sub('^to_onnx: ', '', str(error))",
        "BLAMED.sub('', str(error))",
        "[text for text in [str(error)] if text].pop() or str(error).split(': ')",
    ],
)
def test_a_reader_of_a_text_is_found(reading: str) -> None:
    caught = f"def f():\n    try:\n        g()\n    except ValueError as error:\n        return {reading}\n"
    given = f"def f(error: ValueError) -> object:\n    return {reading}\n"
    later = f"def f(error: Exception):\n    text = str(error)\n    return {reading.replace('str(error)', 'text')}\n"
    assert [list(readers(each)) for each in (caught, given, later)] == [["f"]] * 3


@pytest.mark.parametrize(
    "showing", ["str(error)", "f'{error}; {text}'", "refusal_of(error).function == 'f'", "error.shape"]
)
def test_who_shows_a_text_or_asks_for_fields_reads_none(showing: str) -> None:
    assert not list(readers(f"def f(error: Exception, text):\n    return {showing}\n"))


def test_texts_of_errors_are_read_of_others_only() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for folder in ("pooling", "export")
        for path in (ROOT / folder).rglob("*.py")
        if path != ROOT / "pooling" / "errors.py"
        for name in readers(path.read_text())
    }
    assert found == set(FOREIGN)


# --- fields --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (Refusal("f", "it is wrong"), "f: it is wrong"),
        (Refusal("", "it is wrong", "mend it"), "it is wrong; mend it"),
        (Refusal("f", "must be 1", "write 1", "stride", "2"), "f: stride=2 must be 1; write 1"),
        (Refusal("f", "must be 1", "", "stride", "2", "MaxPool node 'p'"), "f: MaxPool node 'p': stride=2 must be 1"),
    ],
)
def test_the_sentence_of_the_fields(refusal: Refusal, sentence: str) -> None:
    assert str(refusal) == sentence


def test_errors_are_of_the_kinds_of_python_and_keep_their_fields_when_pickled() -> None:
    for make, kind in ((value_error, ValueError), (type_error, TypeError)):
        error = make(Place("f", "MaxPool node 'p'"), "must be 1", "write 1", argument=("stride", "2; 3"))
        assert type(error) is kind
        assert error.args == ("f: MaxPool node 'p': stride='2; 3' must be 1; write 1",)
        expected = Refusal("f", "must be 1", "write 1", "stride", "'2; 3'", "MaxPool node 'p'")
        assert refusal_of(error) == refusal_of(pickle.loads(pickle.dumps(error))) == expected


def test_an_error_of_others_is_all_rule() -> None:
    error = ValueError("f: wrong; mend it")
    assert refusal_of(error) == Refusal("", "f: wrong; mend it")
    assert without(error, "f") == str(error)


def test_an_error_with_more_than_a_sentence() -> None:
    error = refused(partial(ModuleNotFoundError, name="onnx"), "f", "needs onnx", "install it")
    assert (error.name, str(error)) == ("onnx", "f: needs onnx; install it")


def test_without_leaves_out_the_functions_that_it_is_told() -> None:
    error = value_error("f", "f: g is wrong", "mend it")
    assert without(error, "g", "h") == str(error) == "f: f: g is wrong; mend it"
    assert without(error, "g", "f") == "f: g is wrong; mend it"


def test_rename_changes_the_function_only() -> None:
    error = value_error("f", "f: is wrong")
    rename(error, "g", "h")
    assert str(error) == "f: f: is wrong"
    rename(error, "f", "h")
    assert str(error) == "h: f: is wrong"
    assert refusal_of(error).function == "h"
    foreign = KeyError("f: is wrong")
    rename(foreign, "f", "h")
    assert foreign.args == ("f: is wrong",)


@pytest.mark.parametrize(
    ("inner", "sentence"),
    [
        (value_error("f", "is wrong", "mend it"), "f: layer 1: is wrong; mend it"),
        (value_error("g", "is wrong", "mend it"), "f: layer 1: g: is wrong; mend it"),
        (value_error(Place("f", "layer 2"), "is wrong"), "f: layer 1: layer 2: is wrong"),
        (ValueError("is wrong"), "f: layer 1: is wrong"),
    ],
)
def test_an_error_of_a_part_says_where_it_is(inner: ValueError, sentence: str) -> None:
    error = recast(TypeError, inner, Place("f", "layer 1"))
    assert str(error) == sentence
    assert type(error) is TypeError
    assert refusal_of(error).remedy == refusal_of(inner).remedy


def test_what_a_call_says_has_fields() -> None:
    with pytest.raises(ValueError) as caught:
        pooling.max_pool2d(np.zeros((1, 1, 4, 4), np.float32), 2, padding=2)
    refusal = refusal_of(caught.value)
    assert (refusal.function, refusal.argument, refusal.written) == ("max_pool2d", "padding", "2")
    assert refusal.remedy == "use padding <= 1"
    with pytest.raises(ValueError) as caught:
        pooling.Sequential(pooling.MaxPool2d(2), pooling.MaxPool2d(3)).output_shape((1, 1, 4, 4))
    refusal = refusal_of(caught.value)
    assert (refusal.function, refusal.node[:8]) == ("Sequential", "layer 1,")
    assert str(refusal) == str(caught.value)
