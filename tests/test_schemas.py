"""The schemas of what the commands write are those of the records that the commands are made of."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, NotRequired, TypedDict, get_args

import pytest

pytest.importorskip("onnx")

from pooling.export.repair import records as repair_records
from pooling.reporting.json import json_schema
from pooling.validation.report import records
from pooling.validation.report.model import FAIL_ON
from pooling.validation.verdicts import Kind
from tests.schemas import schema_of

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def made() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_schemas", DOCS / "make_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_those_that_the_records_make(made: ModuleType) -> None:
    assert {*made.SCHEMAS} == {path.name.partition(".")[0] for path in made.FOLDER.iterdir()}
    for command in made.SCHEMAS:
        assert made.path(command).read_text(encoding="utf-8") == made.schema(command)
        assert schema_of(command)["title"].startswith("pooling-")
    said = {"validate": "| `limit_memory` | integer | of a case, in bytes |", "repair": "| `was` | string | before |"}
    for command, path in made.PAGES.items():
        text = path.read_text(encoding="utf-8")
        assert made.page(command, text) == text
        assert said[command] in text


class Leaf(TypedDict):
    """A leaf."""

    size: Annotated[int, "in pixels"]
    kind: Literal["a", "b"]


class Tree(TypedDict):
    """A tree."""

    schema: Literal["tree/1"]
    leaves: list[Leaf]
    by_name: dict[str, float | None]
    beside: NotRequired[Annotated[Tree, "only where there is one"]]
    rest: Any


def test_a_schema_describes_every_record_once() -> None:
    made = json_schema("tree/1", Tree)
    assert made["$ref"] == "#/$defs/Tree"
    assert made["$defs"]["Leaf"] == {
        "description": "A leaf.",
        "type": "object",
        "properties": {"size": {"description": "in pixels", "type": "integer"}, "kind": {"enum": ["a", "b"]}},
        "required": ["size", "kind"],
    }
    tree = made["$defs"]["Tree"]
    assert tree["required"] == ["schema", "leaves", "by_name", "rest"]
    assert tree["properties"] == {
        "schema": {"const": "tree/1"},
        "leaves": {"type": "array", "items": {"$ref": "#/$defs/Leaf"}},
        "by_name": {"type": "object", "additionalProperties": {"anyOf": [{"type": "number"}, {"type": "null"}]}},
        "beside": {"description": "only where there is one", "$ref": "#/$defs/Tree"},
        "rest": {},
    }


def test_words_in_the_schema_are_those_of_the_library() -> None:
    guide = (DOCS / "repair.md").read_text(encoding="utf-8").partition("## What is rewritten")[2]
    rules = re.findall(r"^\| `(\w+)` \|", guide.partition("## What is proven")[0], re.MULTILINE)
    assert {*get_args(repair_records.RuleName)} == {*rules}
    assert {*get_args(records.Counted)} == {*FAIL_ON}
    assert {*get_args(records.KindWord)} == {str(kind) for kind in Kind if kind is not Kind.AGREES}
