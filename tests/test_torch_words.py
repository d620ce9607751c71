"""What PyTorch users are told: at the prompt, by `help`, by tab completion, and of calls that are wrong."""

from __future__ import annotations

import inspect
import re
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import pooling.torch  # noqa: E402
from pooling.torch import functional as F  # noqa: E402
from pooling.torch import nn, patch, patched, unpatch  # noqa: E402


def test_a_report_is_a_table_at_the_prompt() -> None:
    report = patch(torch.nn.Sequential(torch.nn.MaxPool2d(2)))
    assert repr(report) == str(report)
    assert "1 module replaced" in repr(report)


def test_functions_lists_what_is_public() -> None:
    assert F.__all__ == sorted(name for name, value in vars(F).items() if inspect.isfunction(value) and is_public(name))
    assert set(F.__all__) > {"max_pool2d", "blur_pool2d", "gem_pool2d", "fractional_max_pool3d"}


def is_public(name: str) -> bool:
    return not name.startswith("_") and name not in ("pool", "unpool", "fractional", "ranked")


@pytest.mark.parametrize("name", F.__all__)
def test_help_describes_tensors(name: str) -> None:
    text = inspect.getdoc(getattr(F, name)) or ""
    assert "array_like" not in text
    assert "layout=" not in text
    if "Parameters" in text:
        described = text.partition("Parameters\n---")[2].partition("Returns\n---")[0]
        for argument in inspect.signature(getattr(F, name)).parameters:
            assert f"\n{argument} : " in described, argument
        assert text.index("Parameters") < text.index("Returns") < text.index("Examples")


@pytest.mark.parametrize("name", [each for each in F.__all__ if each[-1] == "d" and "blur" not in each])
def test_help_of_functions_of_torch_has_parameters(name: str) -> None:
    assert "Parameters" in (inspect.getdoc(getattr(F, name)) or "") or name == "gem_pool2d"


@pytest.mark.parametrize("change", [patch, unpatch])
def test_what_is_no_module(change: Any) -> None:
    name = change.__name__
    with pytest.raises(TypeError, match=rf"^{name}: model must be .* not the class ReLU; give an instance, ReLU"):
        change(torch.nn.ReLU)
    with pytest.raises(TypeError, match=rf"^{name}: model must be .* not list; call {name} on each"):
        change([torch.nn.ReLU()])
    program = torch.export.export(torch.nn.Sequential(torch.nn.MaxPool2d(2)), (torch.ones(1, 1, 4, 4),))
    with pytest.raises(TypeError, match=rf"not ExportedProgram; call {name} on the model that was exported"):
        change(program)


def test_options_are_true_or_false() -> None:
    model = torch.nn.Sequential(torch.nn.MaxPool2d(2))
    for options in ({"always": "no"}, {"functional": 1}):
        with pytest.raises(TypeError, match=r"^patch: \w+=.* must be True or False, not (str|int)"):
            patch(model, **options)  # type: ignore[arg-type]
    assert unpatch(model) == 0
    with pytest.raises(TypeError, match=r"^patched: always='no' must be True or False, not str"):
        patched(always="no")  # type: ignore[arg-type]


def test_a_trace_of_a_patched_model_does_not_warn() -> None:
    model = torch.nn.Sequential(torch.nn.MaxPool2d(2), torch.nn.AvgPool2d(9, 1, 4))
    x = torch.randn(1, 2, 20, 20)
    expected = model(x)
    patch(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        traced = torch.jit.trace(model, x, check_trace=False)
    torch.testing.assert_close(traced(x), expected)
    assert "pooling::" not in str(traced.inlined_graph)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torch_script_is_refused_in_words() -> None:
    model = torch.nn.Sequential(torch.nn.MaxPool2d(2))
    patch(model)
    with pytest.raises(RuntimeError, match=r"^torch\.jit\.script: a MaxPool2d .* call unpatch\(model\)"):
        torch.jit.script(model)
    assert unpatch(model) == 1
    x = torch.randn(1, 1, 8, 8)
    assert torch.equal(torch.jit.script(model)(x), model(x))
    with pytest.raises(
        RuntimeError, match=r"^torch\.jit\.script: a AvgPool1d .*pooling\.torch\.nn.* torch\.nn has one"
    ):
        torch.jit.script(torch.nn.Sequential(nn.AvgPool1d(2)))
    with pytest.raises(RuntimeError, match=r"call that; torch\.export and torch\.compile take this one$"):
        torch.jit.script(nn.BlurPool2d())


@pytest.mark.parametrize("name", ["global_avg_pool", "global_max_pool", "global_lp_pool"])
def test_global_poolings_name_no_argument_that_they_do_not_have(name: str) -> None:
    for shape in ((4, 4), (1, 2, 3, 3, 3, 3)):
        with pytest.raises(ValueError, match=rf"^{name}: input has \d axes; it must have 3 to 5 axes"):
            getattr(F, name)(torch.ones(shape))


def test_powers_of_generalised_means() -> None:
    for power in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"^GeMPool2d: p=.* must be a finite number above 0"):
            nn.GeMPool2d(power)
    with pytest.raises(TypeError, match=r"^GeMPool2d: p='3' must be a real number, not str"):
        nn.GeMPool2d("3")  # type: ignore[arg-type]


def test_arrays_belong_to_the_functions_of_pooling() -> None:
    array = torch.ones(1, 1, 4, 4).numpy()
    with pytest.raises(TypeError, match=r"not ndarray; use pooling\.fractional_max_pool2d for arrays$"):
        F.fractional_max_pool2d(array, 2, 2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"not ndarray; use pooling\.max_unpool2d for arrays$"):
        F.max_unpool2d(array, array, 2)  # type: ignore[arg-type]


def test_it_is_there_after_import_pooling() -> None:
    assert pooling.torch.patch is patch
    assert "torch" in dir(pooling)


def test_the_code_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parent.parent / "docs" / "torch.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "docs/torch.md", "exec"), {})
    assert capsys.readouterr().out.endswith("torch.Size([1, 8, 16, 16])\n")


def test_the_report_of_the_page_is_that_of_such_a_module() -> None:
    page = (Path(__file__).parent.parent / "docs" / "torch.md").read_text(encoding="utf-8")
    model = torch.nn.Sequential(OrderedDict(maxpool=torch.nn.MaxPool2d(3, 2, 1), avgpool=torch.nn.AdaptiveAvgPool2d(1)))
    shown = str(patch(model)).splitlines()[:3]
    assert "\n".join(shown) in page


def test_a_block_is_no_function_of_a_model() -> None:
    model = torch.nn.Sequential(torch.nn.MaxPool2d(2))
    with pytest.raises(TypeError, match=r"^patched: takes no model, and was given Sequential; call patch\(model\) to"):
        patched(model)
    with pytest.raises(
        TypeError, match=r"^patched: takes no argument without a name, .*`with patched\(\): model\(x\)`"
    ):
        patched(True)
    with pytest.raises(TypeError, match=r"^patched: is a block of calls, and needs its brackets; write"), patched:
        pass
    assert unpatch(model) == 0
    with patched(always=True):
        assert model(torch.ones(1, 1, 4, 4)).shape == (1, 1, 2, 2)
