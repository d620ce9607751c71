"""Whatever is passed to the doctor, exports, validation, lazy arrays, files or patches is refused in a sentence."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pooling
from tests.test_odd_arguments import LONGEST, faults

LAYERS = "conv3x4@stem pool2@pool conv3x4@last"
SHAPE = (1, 3, 32, 32)


def guarded(call: Callable[..., Any], *kinds: type[Exception]) -> Callable[..., Any]:
    """Let a call raise documented errors that begin with no function's name, as long as they are short lines."""

    def guarded_call(**arguments: Any) -> Any:
        try:
            return call(**arguments)
        except kinds as error:
            sentence = str(error)
            short = "\n" not in sentence and 0 < len(sentence) <= LONGEST
            # Of an error of the system, the sentence or its fields name the file.
            named = not isinstance(error, OSError) or bool(error.filename) or "'" in sentence
            if isinstance(error, AssertionError) or (short and named):
                return None
            raise LookupError(f"no short line that names its file: {sentence[:100]!r}") from error

    return guarded_call


def told(
    names: str | tuple[str, ...],
    call: Callable[..., Any],
    good: dict[str, Any],
    *kinds: type[Exception],
    leave: Collection[str] = (),
    signature: Callable[..., Any] | None = None,
) -> list[str]:
    """Try every odd value as every argument of a function but some."""
    parameters = inspect.signature(signature or call).parameters.values()
    asked = [
        each.name
        for each in parameters
        if each.name not in leave and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    ]
    return faults((names,) if isinstance(names, str) else names, guarded(call, *kinds), good, asked)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def doctor() -> Any:
    from pooling import doctor

    return doctor


def test_examine(doctor: Any) -> None:
    assert told("examine", doctor.examine, {"source": LAYERS, "input_shape": SHAPE}, doctor.NetworkError) == []


def test_examine_a_module(doctor: Any) -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.MaxPool2d(2))
    examine = guarded(doctor.examine, doctor.NetworkError)
    assert faults(("examine",), examine, {"source": net, "input_shape": SHAPE}, ["input_shape"]) == []


WRITTEN_SHAPES: list[Any] = [
    (1, 3, 48, 48),
    [1, 3, 48, 48],
    np.array([1, 3, 48, 48]),
    (np.int64(1), 3, 48, 48),
    "1x3x48x48",
    "1,3,48,48",
    "(1, 3, 48, 48)",
    " 3 x 48 x 48 ",
    "48",
    48,
    np.int32(48),
    (48,),
    (48, 48),
    {"input": "1x3x48x48"},
]


@pytest.mark.parametrize("shape", WRITTEN_SHAPES, ids=repr)
def test_a_shape_may_be_written_as_on_the_command_line(doctor: Any, shape: Any) -> None:
    assert doctor.examine(LAYERS, shape).network.input_shape == (1, 3, 48, 48)


def test_a_module_takes_the_same_shapes(doctor: Any) -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.MaxPool2d(2))
    for shape in (48, "48", "3x48x48", torch.Size((1, 3, 48, 48))):
        assert doctor.examine(net, shape).network.input_shape == (1, 3, 48, 48)


REFUSED_SHAPES: list[tuple[Any, type[Exception], str]] = [
    ("large", ValueError, "write (1, 3, 224, 224) or '1x3x224x224'"),
    ((None, 3, 48, 48), TypeError, "None is of type NoneType: give a number for every axis, such as 1 for the batch"),
    (("N", 3, 48, 48), TypeError, "'N' is of type str: give a number for every axis, such as 1 for the batch"),
    ([[1, 3, 48, 48]], TypeError, "[1, 3, 48, 48] is of type list"),
    (np.zeros((1, 3, 48, 48)), TypeError, "give the .shape of what goes into the network"),
    (48.0, TypeError, "it is of type float"),
    ((0, 3, 48, 48), ValueError, "must have sizes of at least 1"),
    (b"48", TypeError, "it is of type bytes"),
]


@pytest.mark.parametrize(("shape", "kind", "said"), REFUSED_SHAPES, ids=[said for *_, said in REFUSED_SHAPES])
def test_a_shape_that_is_none_is_told_what_to_write(doctor: Any, shape: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as caught:
        doctor.examine(LAYERS, shape)
    assert str(caught.value).startswith("examine: input_shape=")
    assert said in str(caught.value)


def test_codes_may_be_written_as_on_the_command_line(doctor: Any) -> None:
    ignored = doctor.examine(LAYERS, SHAPE, ignore="d101, D4").ignored
    assert ignored == doctor.examine(LAYERS, SHAPE, ignore=["D101", "D4"]).ignored == ("D101", "D4")
    assert doctor.examine(LAYERS, SHAPE, ignore=None).ignored == ()


def test_read(doctor: Any) -> None:
    for function in (doctor.read, doctor.read_graph):
        assert told(function.__name__, function, {"source": LAYERS, "input_shape": SHAPE}, doctor.NetworkError) == []


def test_assert_no_findings(doctor: Any) -> None:
    good = {"model": LAYERS, "ignore": ["D"], "input_shape": SHAPE}
    kinds = doctor.NetworkError, AssertionError
    assert told(("assert_no_findings", "examine"), doctor.assert_no_findings, good, *kinds) == []


def test_methods_of_the_doctor(doctor: Any) -> None:
    examination = doctor.examine(LAYERS, SHAPE)
    graph, network = examination.graph, examination.network
    stage = network.stage("pool")
    of = doctor.NetworkError
    found = {
        "infer": told("infer", graph.infer, {"input_shape": SHAPE}, of),
        "edited": told("edited", graph.edited, {"changes": {"pool": {"stride": 1}}}, of),
        "stage": told("stage", network.stage, {"name": "pool"}, of),
        "of_stage": told("of_stage", examination.of_stage, {"name": "pool"}, of),
        "macs_saved": told("macs_saved", examination.macs_saved, {"stage": stage}, of),
    }
    assert {name: each for name, each in found.items() if each} == {}


@pytest.mark.parametrize("argument", ["kernel_size", "stride", "padding", "dilation", "ceil_mode"])
def test_arguments_of_a_stage(doctor: Any, argument: str) -> None:
    """What `changes` sets reaches the layers, and is refused with the name of the stage."""

    def changed(value: Any) -> Any:
        return doctor.examine(LAYERS, SHAPE, changes={"pool": {argument: value}})

    good = {"value": True if argument == "ceil_mode" else 1}
    assert faults(("examine",), guarded(changed, doctor.NetworkError), good, ["value"]) == []


def test_what_if(doctor: Any) -> None:
    from pooling.doctor.what_if import find_stage, parse_changes, what_if

    examination = doctor.examine(LAYERS, SHAPE)
    network = examination.network
    good = {"before": examination, "other": {"pool": {"stride": 1}}}
    assert told(("what_if", "examine"), what_if, good, doctor.NetworkError) == []
    # Both say of what the command line was given it is.
    good = {"network": network, "texts": ["pool.stride=1"]}
    assert told("parse_changes", parse_changes, good, ValueError, leave=("network",)) == []
    assert told("parse_changes", parse_changes, good, leave=("texts",)) == []
    good = {"network": network, "name": "pool", "where": "--explain"}
    assert told(("find_stage", "--explain"), find_stage, good, leave=("where",)) == []


def test_pages_and_pictures(doctor: Any) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("PIL")
    from pooling.doctor.report.figure import save_figure
    from pooling.doctor.report.json import save_json
    from pooling.doctor.report.page import write_page

    examination = doctor.examine("pool2", (1, 3, 4, 4))
    good = {"examination": examination, "path": "page.html"}
    # A page is slow to draw; the pictures of it are those of figures.
    assert told("write_page", write_page, good, OSError, leave=("image",)) == []
    assert told("save_json", save_json, good, OSError) == []
    assert told(("save_figure", "doctor"), save_figure, {**good, "path": "p.svg"}, OSError) == []


@pytest.fixture
def model() -> Any:
    pytest.importorskip("onnx")
    from pooling.export import to_onnx

    return to_onnx(pooling.MaxPool2d(2), (1, 2, 8, 8), verify=False)


def test_save(model: Any) -> None:
    from pooling.export import save

    assert told("save", save, {"model": model, "path": "a.onnx"}, OSError) == []


def test_make_portable(model: Any) -> None:
    from pooling.export import VerificationError, make_portable

    assert (
        told("make_portable", make_portable, {"model": model, "verify": False}, VerificationError, leave=("verify",))
        == []
    )


def test_validate(model: Any) -> None:
    from pooling.export import save
    from pooling.validation import validate

    good = {"models": [], "runtimes": [], "rounds": 0, "repair": False}
    assert told("validate", validate, good, leave=("progress",)) == []
    with pytest.raises(TypeError, match=r"^validate: progress=1 must be a function, not int; it is called as"):
        validate([], progress=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"write a model to a file first, by pooling\.export\.save"):
        validate(model)
    # A word alone is no list of letters.
    save(model, "pool.onnx")
    report = validate("pool.onnx", runtimes="pooling", fail_on="special", rounds=0)
    assert (list(report.runtimes), report.fail_on) == (["pooling"], ("special",))


def test_cases(model: Any) -> None:
    from pooling.validation import Limits, Result, judge, run_cases
    from pooling.validation.inputs.case import make_case

    assert told("Limits", Limits, {}, ValueError) == []  # in the words of the command line
    case = make_case("MaxPool", np.zeros((1, 1, 4, 4), np.float32), kernel_shape=[2, 2])
    result = Result([np.zeros((1, 1, 3, 3), np.float32)])
    assert told("judge", judge, {"case": case, "expected": result, "actual": result}) == []
    assert told("run_cases", run_cases, {"runtime": "pooling", "cases": []}) == []


def test_nodes(model: Any) -> None:
    from pooling.onnx_models import function_from_node, layer_from_node

    node = model.graph.node[0]
    assert told("layer_from_node", layer_from_node, {"node": node, "opset": 18, "input_shape": (1, 2, 8, 8)}) == []
    assert told("function_from_node", function_from_node, {"node": node, "opset": 18}, leave=("function",)) == []


def test_xarray() -> None:
    xarray = pytest.importorskip("xarray")
    from pooling.xarray import coarsen

    data = xarray.DataArray(np.ones((8, 8), np.float32), {"x": range(8)}, ("y", "x"))
    asked = ["data", "windows", "func", "edge", "coord_func"]  # the others are those of pooling.block_reduce
    assert faults(("xarray.coarsen",), coarsen, {"data": data, "windows": {"x": 2}}, asked) == []


def test_dask() -> None:
    dask = pytest.importorskip("dask.array")
    from pooling.dask import block_reduce, pyramid

    array = dask.ones((8, 8), chunks=3, dtype=np.float32)
    found = told("dask.block_reduce", block_reduce, {"array": array, "block_size": 2})
    assert found + told("dask.pyramid", pyramid, {"array": array}) == []


def test_zarr() -> None:
    pytest.importorskip("zarr")
    pytest.importorskip("tifffile")
    from pooling.zarr import open_source, shown_levels, write_multiscales

    data = np.ones((8, 8), np.uint8)
    numbers = count()

    def written(**given: Any) -> None:
        write_multiscales(**{"store": f"z{next(numbers)}", **given})

    good = {"source": data, "axes": "yx", "levels": 1}
    left = ("progress", "nodata", "min_valid", "rounding", "func", "factors", "levels")  # those of pooling.pyramid
    assert told("write_multiscales", written, good, OSError, leave=left, signature=write_multiscales) == []
    np.save("a.npy", data)

    def opened(source: Any, axes: Any) -> None:
        with open_source(source, axes):
            pass

    assert told("write_multiscales", opened, {"source": "a.npy", "axes": "yx"}, OSError) == []
    write_multiscales(data, "s.zarr", axes="yx")
    assert told("shown_levels", shown_levels, {"store": "s.zarr"}, OSError) == []


def test_patches() -> None:
    torch = pytest.importorskip("torch")
    from pooling.torch import patch, patched, unpatch

    net = torch.nn.MaxPool2d(2)
    example = torch.zeros(1, 3, 8, 8)

    def patched_net(model: Any, **given: Any) -> None:
        try:
            patch(model, **given)
        finally:
            if isinstance(model, torch.nn.Module):
                unpatch(model)

    good = {"model": net, "example": example}
    assert told("patch", patched_net, good, RuntimeError, signature=patch) == []
    assert told("unpatch", unpatch, {"model": net}) == []
    with pytest.raises(TypeError, match=r"^patch: example must be inputs of the model.*torch\.zeros"):
        patch(net, example=(1, 3, 8, 8))

    def within(always: Any) -> None:
        with patched(always=always):
            pass

    assert told("patched", within, {"always": True}) == []
