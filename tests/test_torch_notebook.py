"""The notebook for PyTorch users does what it shows; run where timm is, without Jupyter."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module("make_torch_notebook")


@pytest.fixture
def notebook(maker: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(maker.NOTEBOOK.read_text(encoding="utf-8"))
    return found


def test_it_has_six_cells_and_shows_what_they_printed(maker: Any, notebook: dict[str, Any]) -> None:
    assert maker.NOTEBOOK.read_text(encoding="utf-8") == maker.text_of(notebook)
    assert [cell["cell_type"] for cell in notebook["cells"]] == ["markdown"] + ["code"] * 5
    shown = ["".join(output["text"]) for cell in notebook["cells"][1:] for output in cell["outputs"]]
    assert len(shown) == 3
    assert "replaced" in shown[0]
    assert re.fullmatch(r"(?:\w+ differ by (?:0|\S+e-0[5-9]) of the largest\n){2}", shown[1])
    assert re.search(r"inference: .*\ntraining: ", shown[2])


def test_its_cells_run(maker: Any, notebook: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    measure = importlib.import_module("pooling.benchmark.networks.measure")
    measure.declare_operators()  # where torchvision, which timm imports, belongs to another torch
    pytest.importorskip("timm")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tests run side by side
    try:
        printed, names = maker.run(maker.sources(notebook))
    finally:
        torch.set_num_threads(threads)
    assert re.match(r"1\d modules replaced, \d left", printed[2])
    assert names["model"].training
    assert all(type(each).__module__ != "pooling.torch.nn" for each in names["model"].modules())
    shown = maker.with_outputs(notebook, printed)
    assert maker.sources(shown) == maker.sources(notebook)
    assert [bool(cell["outputs"]) for cell in shown["cells"][1:]] == [False, False, True, True, True]


def test_a_cell_that_fails_says_where(maker: Any) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        maker.run(["a = 0", "1 / a"])
    assert caught.traceback[-1].path.__str__().endswith("torch.ipynb, code cell 2")
    sys.modules.pop("make_torch_notebook", None)
