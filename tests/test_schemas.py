"""The schemas of what the commands write are those of the records that the commands are made of."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Annotated, Any, Literal, get_args

import pytest

pytest.importorskip("onnx")
pytest.importorskip("msgspec")

from msgspec import UNSET, UnsetType, ValidationError

from pooling.cli import main
from pooling.cli.schemas import REPORTS, schema_of
from pooling.export.repair import records as repair_records
from pooling.reporting.json import Record, load, record, said, save
from pooling.validation.report import records
from pooling.validation.report.model import FAIL_ON
from pooling.validation.verdicts import Kind

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def made() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_schemas", DOCS / "make_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_guides_are_those_that_the_records_make(made: ModuleType) -> None:
    said = {"validate": "| `limit_memory` | integer | of a case, in bytes |", "repair": "| `was` | string | before |"}
    for command, path in made.PAGES.items():
        text = path.read_text(encoding="utf-8")
        assert made.page(command, text) == text
        assert said[command] in text


def test_every_command_has_a_schema_of_closed_records() -> None:
    assert [schema_of(command)["title"] for command in REPORTS] == [
        "pooling-conformance/1",
        "pooling-doctor/1",
        "pooling-repair/1",
        "pooling-validation/2",
    ]
    for command in REPORTS:
        for name, each in schema_of(command)["$defs"].items():
            assert each["additionalProperties"] is False
            assert each["description"], name
            # What may be missing is said; no field has a value of its own.
            assert {*each["properties"]} - {*each["required"]} <= {"what_if"}


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    for command in REPORTS:
        assert main(["info", "--schema", command]) == 0
        assert json.loads(capsys.readouterr().out) == schema_of(command)


class Leaf(Record):
    """A leaf."""

    size: Annotated[int, said("in pixels")]
    kind: Literal["a", "b"]


class Tree(Record):
    """A tree."""

    schema: Literal["tree/1"]
    leaves: list[Leaf]
    by_name: dict[str, float | Literal["nan", "inf", "-inf"] | None]
    rest: Any
    beside: Annotated[Tree | UnsetType, said("only where there is one")] = UNSET


def test_a_record_is_filled_written_and_read_back(tmp_path: Path) -> None:
    leaf = SimpleNamespace(size=3, kind="a", colour="green")
    numbers = {"a": float("nan"), "b": -float("inf"), "c": None, "d": 0.1}
    tree = record(Tree, SimpleNamespace(leaves=(leaf,)), schema="tree/1", by_name=numbers, rest=[1, "\ud800"])
    assert tree.leaves == [Leaf(size=3, kind="a")]
    save(tree, tmp_path / "tree.json")
    assert json.loads((tmp_path / "tree.json").read_text(encoding="utf-8")) == {
        "schema": "tree/1",
        "leaves": [{"size": 3, "kind": "a"}],
        "by_name": {"a": "nan", "b": "-inf", "c": None, "d": 0.1},
        "rest": [1, "\ud800"],
    }
    save(record(Tree, tree, rest=None, beside=tree), tmp_path / "tree.json")
    with pytest.raises(ValidationError, match="size"):
        record(Leaf, leaf, size="3")
    with pytest.raises(ValidationError, match="kind"):
        record(Leaf, leaf, kind="c")
    save(record(Tree, tree, by_name={}, rest={"x": 1}), tmp_path / "plain.json")
    assert load(Tree, tmp_path / "plain.json").leaves == tree.leaves
    (tmp_path / "more.json").write_text('{"size": 1, "kind": "a", "more": 1}')
    with pytest.raises(ValidationError, match="more"):
        load(Leaf, tmp_path / "more.json")


def test_words_in_the_schema_are_those_of_the_library() -> None:
    guide = (DOCS / "repair.md").read_text(encoding="utf-8").partition("## What is rewritten")[2]
    rules = re.findall(r"^\| `(\w+)` \|", guide.partition("## What is proven")[0], re.MULTILINE)
    assert {*get_args(repair_records.RuleName)} == {*rules}
    assert {*get_args(records.Counted)} == {*FAIL_ON}
    assert {*get_args(records.KindWord)} == {str(kind) for kind in Kind if kind is not Kind.AGREES}
