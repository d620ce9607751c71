"""What is exported, in released runtimes: by the table that comes with the package, and in those that are there.

``POOLING_OLD_RUNTIMES`` names folders of other releases of onnxruntime, separated as in ``PATH``, each made by ``pip
install --no-deps --target FOLDER onnxruntime==VERSION``; a release that was built for NumPy 1 has a NumPy of its own in
its folder. Each is asked in a process of its own. Without it the installed one is asked.
"""

from __future__ import annotations

import json
import os
import runpy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pooling

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from pooling.export import VerificationError, deployed, make_portable, to_onnx  # noqa: E402
from pooling.export.arguments import Request  # noqa: E402
from pooling.export.deployed import wrong_in  # noqa: E402
from pooling.export.model import forward_model  # noqa: E402
from pooling.onnx_models import function_from_node  # noqa: E402
from pooling.validation.deployed import measure  # noqa: E402
from pooling.validation.deployed.measure import ask, content_of, made_in, merged, newest_opset, processes  # noqa: E402
from pooling.validation.deployed.probes import layer_probes  # noqa: E402
from tests.exported import operators  # noqa: E402

FOLDERS = [folder for folder in os.environ.get("POOLING_OLD_RUNTIMES", "").split(os.pathsep) if folder]
OPSETS = (13, 16, 18, 19, 22)


@pytest.mark.parametrize("folder", ["", *FOLDERS], ids=lambda folder: Path(folder).name or "installed")
@pytest.mark.parametrize("level", ["default", "disabled"])
def test_every_exported_form_is_right(level: str, folder: str) -> None:
    wrong, right, refused = [], 0, []
    with processes("onnxruntime", level, [folder] if folder else []) as process:
        newest = newest_opset(process)
        assert newest >= 20
        for probe in layer_probes():
            for opset in OPSETS:
                if opset > newest:
                    continue
                made = made_in(probe, opset)
                if made is None:
                    continue
                answer, detail = ask(process, made[1])
                right += answer == "right"
                if answer == "refused":
                    refused.append(f"{probe.form} in opset {opset}: {detail}")
                elif answer != "right":
                    wrong.append(f"{probe.form} in opset {opset}: {answer}, {detail}")
    assert wrong == []
    # onnxruntime 1.19 and older have no arithmetic of uint64.
    assert [each for each in refused if ", uint64 " not in each] == []
    assert right > 700


def test_a_wrong_answer_is_seen() -> None:
    """The form that onnxruntime reads as another operator set has it: 3 x 3 windows where 2 x 2 were asked for."""
    layer = pooling.AvgPool2d(2)
    with processes("onnxruntime", "default", []) as process:
        _, verification = forward_model(Request.of(layer, ("N", "C", 8, 8)))
        assert ask(process, verification) == ("right", "")
        other, _ = forward_model(Request.of(pooling.MaxPool2d(2), ("N", "C", 8, 8)))
        smaller, _ = forward_model(Request.of(pooling.AvgPool2d(3), ("N", "C", 8, 8)))

        def swapped(by: onnx.ModelProto) -> tuple[str, str]:
            opened = measure.opened_in(process)
            try:
                verification(lambda _: opened(by))
            except VerificationError as error:
                return error.fault, error.detail
            return "right", ""

        assert swapped(other)[0] == "numbers"
        assert swapped(smaller) == ("shape", "output of float32 (2, 3, 2, 2) instead of float32 (2, 3, 4, 4)")
        other.graph.node[0].op_type = "NoSuchOperator"
        fault, said = swapped(other)
        assert fault == "refused"
        assert "NoSuchOperator" in said


# --- repaired models -------------------------------------------------------------------------------------------------

SHAPE = (1, 3, 11, 10)
OPSETS_OF_REPAIR = (11, 13, 18, 19, 21, 22)
POOLING = {
    "asymmetric pads": "AveragePool<kernel_shape=[2,2],pads=[0,0,1,1],count_include_pad=1>",
    "ceil_mode, pads": "AveragePool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1],ceil_mode=1,count_include_pad=1>",
    "ceil_mode, asymmetric pads": (
        "AveragePool<kernel_shape=[3,3],strides=[2,2],pads=[1,0,0,1],ceil_mode=1,count_include_pad=1>"
    ),
    "SAME_UPPER": 'AveragePool<kernel_shape=[3,3],strides=[2,2],auto_pad="SAME_UPPER",count_include_pad=1>',
    "dilations": "AveragePool<kernel_shape=[2,2],dilations=[2,3],pads=[1,1,1,1],count_include_pad=1>",
    "dilations, asymmetric pads": (
        "AveragePool<kernel_shape=[2,2],dilations=[2,3],pads=[0,0,1,1],count_include_pad=1>"
    ),
    "maximum, ceil_mode": "MaxPool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1],ceil_mode=1>",
    "maximum of padding alone": "MaxPool<kernel_shape=[2,2],pads=[2,2,0,0]>",
    "norm, SAME_UPPER": 'LpPool<kernel_shape=[3,3],strides=[2,2],auto_pad="SAME_UPPER">',
    "norm of all": "GlobalLpPool",
    "mean behind zeros at the end": "AveragePool<kernel_shape=[2,2]>",
    "mean behind zeros around": "AveragePool<kernel_shape=[3,3],strides=[2,2]>",
    "mean behind more zeros than a window": "AveragePool<kernel_shape=[2,2]>",
    "mean with padding of its own behind zeros": "AveragePool<kernel_shape=[3,3],pads=[0,0,1,1]>",
    "mean with padding that counts behind zeros": "AveragePool<kernel_shape=[3,3],pads=[0,1,1,0],count_include_pad=1>",
    "mean with padding behind more zeros than a window": (
        "AveragePool<kernel_shape=[3,3],strides=[2,2],pads=[1,0,0,1],count_include_pad=1>"
    ),
    "mean with padding that, with zeros before it, is more than a window": (
        "AveragePool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1],count_include_pad=1>"
    ),
    "mean with uncounted padding behind more zeros than a window": "AveragePool<kernel_shape=[3,3],pads=[1,1,1,1]>",
}
ZEROS = {
    "mean behind zeros at the end": (0, 0, 1, 1),
    "mean behind zeros around": (1, 1, 1, 1),
    "mean behind more zeros than a window": (3, 1, 1, 1),
    "mean with padding of its own behind zeros": (1, 1, 1, 1),
    "mean with padding that counts behind zeros": (1, 1, 1, 1),
    "mean with padding behind more zeros than a window": (3, 0, 4, 3),
    "mean with padding that, with zeros before it, is more than a window": (2, 2, 2, 2),
    "mean with uncounted padding behind more zeros than a window": (3, 0, 4, 3),
}
"""Pads of a Pad in front of the node: top, left, bottom, right."""


def with_pooling(name: str, *, opset: int, known: bool) -> onnx.ModelProto:
    """Write a model of one pooling node, or of a Pad and one."""
    x = "float[1,3,11,10] x" if known else "float[N,C,H,W] x"
    top, left, bottom, right = ZEROS.get(name, (0, 0, 0, 0))
    pad = f"n = Constant<value=int64[8]{{0,0,{top},{left},0,0,{bottom},{right}}}>() p = Pad(x, n) "
    body = f"{pad if name in ZEROS else ''} y = {POOLING[name]}({'p' if name in ZEROS else 'x'})"
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {opset}]> g ({x}) => (float[N,K,A,B] y) {{ {body} }}'
    )


def answer_of(name: str, x: NDArray[Any]) -> NDArray[Any]:
    """Return what the text of ONNX says, with which the runtimes have nothing to do."""
    top, left, bottom, right = ZEROS.get(name, (0, 0, 0, 0))
    around = [(0, 0), (0, 0), (top, bottom), (left, right)]
    node = with_pooling(name, opset=22, known=True).graph.node[-1]
    fill = 0.0
    if name == "maximum of padding alone":  # a layer has no such padding
        around, fill = [(0, 0), (0, 0), (2, 0), (2, 0)], -np.inf
        node = onnx.helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2])
    (answer,) = function_from_node(node, 22)(np.pad(x, around, constant_values=fill))
    return np.asarray(answer)


@pytest.mark.parametrize("opset", [13, 19, 22])
def test_which_releases_are_named_for_wide_zeros_is_what_was_measured(opset: int) -> None:
    name = "mean behind more zeros than a window"
    (change,) = make_portable(with_pooling(name, opset=opset, known=True)).changes
    measured = wrong_in("Pad wider than windows, AveragePool", opset)
    assert change.rule == "pad"
    assert change.reason == f"{measured} makes one node of a Pad and a mean, and divides wrongly or refuses it."


@cache
def repaired_models() -> list[tuple[str, int, bytes, NDArray[Any], NDArray[Any]]]:
    """List models after the repair: name, opset, content, an input and what comes of it."""
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    found = []
    for name in POOLING:
        answer = answer_of(name, x)
        for known in (True, False):
            for opset in OPSETS_OF_REPAIR:
                result = make_portable(with_pooling(name, opset=opset, known=known))
                if not result.skipped:
                    found.append((name, opset, result.model.SerializeToString(), x, answer))
                else:
                    # Without sizes some is left; with them all of these are repaired.
                    assert not known, (name, opset, result.skipped)
    return found


@pytest.mark.parametrize("folder", ["", *FOLDERS], ids=lambda folder: Path(folder).name or "installed")
@pytest.mark.parametrize("level", ["default", "disabled"])
def test_repaired_models_are_right(level: str, folder: str) -> None:
    wrong, right = [], 0
    with processes("onnxruntime", level, [folder] if folder else []) as process:
        newest = newest_opset(process)
        for name, opset, content, x, wanted in repaired_models():
            if opset > newest:
                continue
            answer = process.ask(content, {"x": x})
            if not answer.given:
                wrong.append(f"{name} in opset {opset}: {answer.refusal or answer.crash}")
                continue
            (found,) = answer.outputs
            if found.shape != wanted.shape:
                wrong.append(f"{name} in opset {opset}: shape {found.shape}, not {wanted.shape}")
            elif not np.allclose(found, wanted, rtol=1e-5, atol=1e-5):
                wrong.append(f"{name} in opset {opset}: other numbers")
            else:
                right += 1
    assert wrong == []
    assert right >= len(POOLING) * 4


# --- the table -------------------------------------------------------------------------------------------------------


def test_what_is_known_of_means() -> None:
    """The releases in which padding that counts and is asymmetric gives wrong means, and a Pad in front of the node."""
    table = deployed.table()

    def wrong(form: str, opset: int) -> dict[str, tuple[str, ...]]:
        rows = [row for row in table.rows_of(form, opset, "onnxruntime") if row.answer == "numbers"]
        return {version: row.levels for row in rows for version in row.versions}

    both = ("default", "disabled")
    assert wrong("AveragePool, counted asymmetric pads", 13) == {}
    assert {
        version: wrong("AveragePool, counted asymmetric pads", 19).get(version) for version in ("1.20.1", "1.22.1")
    } == {
        "1.20.1": None,
        "1.22.1": both,
    }
    assert wrong("Pad, AveragePool, uncounted asymmetric pads", 13) == {"1.19.2": ("default",), "1.20.1": ("default",)}
    # Of zeros wider than windows the optimisers make a node that is refused.
    wide = "Pad wider than windows, AveragePool"
    assert [wrong_in(wide, opset) for opset in (13, 19)] == ["onnxruntime 1.19.2 to 1.31.1"] * 2
    assert [wrong_in(wide, opset) for opset in (21, 22, 25)] == ["onnxruntime 1.25.1 to 1.31.1"] * 3
    assert {row.levels for row in table.rows_of(wide, 22, "onnxruntime") if row.answer == "refused"} == {("default",)}
    for opset in range(11, 23):
        assert deployed.is_right("Concat of zeros wider than windows, AveragePool", opset)
        assert wrong("AveragePool, uncounted asymmetric pads", opset) == {}
        assert wrong("Conv with a group for each channel", opset) == {}
        assert wrong("Concat of zeros, AveragePool", opset) == {}


def test_no_exported_layer_gave_a_wrong_answer() -> None:
    table = deployed.table()
    layers = [row for row in table.rows if row.form not in table.forms_of("forms") and row.runtime == "onnxruntime"]
    assert len({row.form for row in layers}) > 200
    assert [row for row in layers if row.answer in ("numbers", "shape")] == []
    assert {row.form.rpartition(", ")[2] for row in layers if row.answer == "refused"} <= {"uint64"}


def test_the_table_knows_every_form_that_is_chosen() -> None:
    for pads in ([0, 0], [1, 1], [0, 1]):
        for counted in (True, False):
            for dilated in (True, False):
                form = deployed.form_of_average(pads, counted=counted, dilated=dilated)
                assert deployed.table().rows_of(form, 19, "onnxruntime")
    with pytest.raises(KeyError):
        deployed.is_right("no such form", 13)


def test_the_form_follows_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = pooling.AvgPool2d(2, 1, [(0, 1), (0, 1)])
    assert operators(to_onnx(layer, (1, 3, 6, 6), opset=18)) == ["AveragePool"]
    assert operators(to_onnx(layer, (1, 3, 6, 6), opset=19)) == ["AveragePool", "Mul"]
    monkeypatch.setattr(deployed, "is_right", lambda form, opset: "symmetric" not in form)
    assert "Gather" in operators(to_onnx(layer, (1, 3, 6, 6), opset=18))


def test_an_opset_between_has_the_answers_of_the_one_before() -> None:
    form = "AveragePool, counted asymmetric pads"
    assert deployed.table().rows_of(form, 20) == deployed.table().rows_of(form, 19)


def test_rows_of_several_releases() -> None:
    answers = {
        ("forms", "a", level, opset): ("right" if opset < 13 else "numbers", "" if opset < 13 else "up to 1")
        for level in ("default", "disabled")
        for opset in (11, 12, 13)
    }
    content = content_of([("onnxruntime", "1.20.0", 20, answers), ("onnxruntime", "1.9.0", 14, answers)])
    assert content["newest_opsets"] == {"onnxruntime": {"1.9.0": 14, "1.20.0": 20}}
    assert content["forms"]["a"] == [
        {
            "runtime": "onnxruntime",
            "answer": "right",
            "opsets": "11-12",
            "levels": ["default", "disabled"],
            "versions": ["1.9.0", "1.20.0"],
        },
        {
            "runtime": "onnxruntime",
            "answer": "numbers",
            "detail": "up to 1",
            "opsets": "13",
            "levels": ["default", "disabled"],
            "versions": ["1.9.0", "1.20.0"],
        },
    ]
    later = {("forms", "a", "default", 13): ("right", "")}
    rows = merged(content, content_of([("onnxruntime", "1.20.0", 20, later)]))["forms"]["a"]
    assert [(row["answer"], row["versions"]) for row in rows] == [
        ("right", ["1.9.0"]),
        ("numbers", ["1.9.0"]),
        ("right", ["1.20.0"]),
    ]
    json.dumps(content)


def test_the_page_is_made_from_the_table() -> None:
    docs = Path(__file__).parents[1] / "docs"
    made = runpy.run_path(str(docs / "make_deployed_runtimes.py"))
    content = (docs / "deployed-runtimes.md").read_text(encoding="utf-8")
    assert content == made["page"](), "run `python docs/make_deployed_runtimes.py`"
