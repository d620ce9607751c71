"""`pooling.doctor.assert_no_findings`, for test suites."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pooling.doctor import NetworkError, assert_no_findings, examine

GUIDE = (Path(__file__).parent.parent / "docs" / "doctor.md").read_text(encoding="utf-8")
FINE, NOTED, WARNED, WRONG = (
    "conv3x8 conv3x8",
    "conv3x8 pool2 conv3x8",
    "conv3x8 conv1/2@down",
    "conv3x8 pool2@p conv9p0",
)
SHAPE = (1, 3, 32, 32)


def test_a_network_without_findings_passes_and_is_returned() -> None:
    result = assert_no_findings(FINE, "note", input_shape=SHAPE, object_size=4)
    assert result.findings == ()
    assert result.network == examine(FINE, SHAPE, object_size=4).network


@pytest.mark.parametrize(("layers", "severity"), [(FINE, None), (NOTED, "note"), (WARNED, "warning"), (WRONG, "error")])
def test_it_fails_from_the_severity_on_that_is_named(layers: str, severity: str | None) -> None:
    order = ("note", "warning", "error")
    size = (1, 3, 8, 8) if layers == WRONG else SHAPE
    for fail_on in order:
        arguments = {"input_shape": size, "object_size": 4}
        if severity is not None and order.index(severity) >= order.index(fail_on):
            with pytest.raises(AssertionError):
                assert_no_findings(layers, fail_on, **arguments)
        else:
            assert_no_findings(layers, fail_on, **arguments)


def test_a_warning_is_enough_by_default() -> None:
    assert_no_findings(NOTED, input_shape=SHAPE)
    with pytest.raises(AssertionError):
        assert_no_findings(WARNED, input_shape=SHAPE)


def test_it_says_all_in_sentences() -> None:
    layers = "conv3x8 conv1/2@down pool2@last conv3x8 conv1/2@late"
    with pytest.raises(AssertionError) as error:
        assert_no_findings(layers, input_shape=(1, 3, 33, 33))
    text = str(error.value)
    found = [each for each in examine(layers, (1, 3, 33, 33)).findings if each.severity != "note"]
    assert len(found) > 1
    assert text.startswith(f"layers at 1×3×33×33: {len(found)} findings of severity warning or above.\n")
    for finding in found:
        assert f"{finding.code} {finding.severity} at {finding.stage} ({finding.title}): {finding.message}." in text
        assert all(f"  - {fix}." in text for fix in finding.fixes)
    assert not re.search(r"\.\.$", text, re.MULTILINE)


def test_the_size_that_was_asked_for_is_named() -> None:
    with pytest.raises(AssertionError, match="layers at 1×3×8×8: 1 finding of severity error"):
        assert_no_findings(WRONG, "error", input_shape=(1, 3, 8, 8))


def test_what_is_ignored_does_not_count() -> None:
    assert_no_findings(WARNED, ignore=["D402"], input_shape=SHAPE)
    assert_no_findings(WARNED, ignore=("D4",), input_shape=SHAPE)
    with pytest.raises(AssertionError):
        assert_no_findings(WARNED, ignore=["D401"], input_shape=SHAPE)


def test_wrong_arguments_are_no_findings() -> None:
    with pytest.raises(ValueError, match="fail_on='never' must be one of 'note', 'warning', 'error'"):
        assert_no_findings(FINE, "never")
    with pytest.raises(ValueError, match="E1"):
        assert_no_findings(FINE, ignore=["E1"])
    with pytest.raises(TypeError, match="colour"):
        assert_no_findings(FINE, colour="red")
    with pytest.raises(NetworkError):
        assert_no_findings("conv3 poool2")


def test_names_that_would_move_the_cursor_are_written_out() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        g (float[1, 1, 9, 9] x) => (float[1, 1, 4, 4] y) {
            y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        }""")
    model.graph.node[0].name = "pool\x1b[2J"
    with pytest.raises(AssertionError) as error:
        assert_no_findings(model)
    assert "\x1b" not in str(error.value)
    assert "pool\\x1b[2J" in str(error.value)


def test_the_example_of_the_guide_is_a_test_that_passes() -> None:
    (source,) = [each for each in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "assert_no_findings" in each]
    names: dict[str, object] = {}
    exec(source, names)  # the code under test is the guide's
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()  # type: ignore[operator]
