"""Snippets of docs/ that no other test runs; and no page has one that nobody runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pooling import filters

DOCS = Path(__file__).parent.parent / "docs"
RUN_BY = {
    "adding-a-rule.md": ("tests/test_adding.py", 3),
    "adding-a-runtime.md": ("tests/test_adding.py", 2),
    "adding-an-operator.md": ("tests/test_adding.py", 3),
    "doctor.md": ("tests/test_doctor_cli.py, test_doctor_assert.py, test_doctor_findings.py", 6),
    "filters.md": ("here", 1),
    "guide.md": ("tests/test_guide.py", 18),
    "multiscales.md": ("here", 3),
    "onnx-backend.md": ("here", 1),
    "repair.md": ("tests/test_repair.py", 1),
    "torch.md": ("tests/test_torch_words.py", 2),
    "validate.md": ("tests/test_validate_reports.py", 2),
}
"""Pages with blocks of Python: which file runs these, and how many there are. Blocks of `pycon` are run by
tests/test_site.py and tests/test_guide.py."""


def snippets(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def test_every_snippet_is_run_by_some_test() -> None:
    found = {page.name: len(snippets(page.name)) for page in DOCS.glob("*.md") if snippets(page.name)}
    assert found == {page: number for page, (_, number) in RUN_BY.items()}


def test_the_filters_of_the_page() -> None:
    names: dict[str, Any] = {}
    exec(snippets("filters.md")[0], names)
    image = names["image"]
    # An opening takes bright things away, and adds nothing.
    assert (names["background"] <= image).all()
    assert names["smooth"].dtype == np.float32
    np.testing.assert_allclose(names["smooth"][100, 200], image[98:103, 196:205].mean(), rtol=1e-6)
    assert (names["brightest"] == filters.maximum_filter(image, 7)).all()
    assert names["brightest"][100, 200] == image[97:104, 197:204].max()


def test_the_volume_of_the_page_becomes_a_zarr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("zarr", "dask", "tifffile"):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    volume = np.random.default_rng(0).integers(0, 1000, (6, 32, 48)).astype(np.uint16)
    np.save("scan.npy", volume)
    write, lazy, _ = snippets("multiscales.md")
    names: dict[str, Any] = {}
    exec(write, names)
    exec(lazy, names)
    np.testing.assert_array_equal(names["image"].compute(), volume)
    blocks = volume.reshape(6, 8, 4, 12, 4)
    np.testing.assert_array_equal(names["thumbnails"].compute(), blocks.max((2, 4)))
    assert [level.shape for level in names["levels"]] == [(3, 16, 24), (2, 8, 12), (1, 4, 6)]


def test_the_field_of_the_page_becomes_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    xarray = pytest.importorskip("xarray")
    for library in ("dask", "scipy"):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    heights = np.random.default_rng(0).random((8, 12)).astype(np.float32)
    heights[0, 0] = np.nan
    xarray.Dataset({"height": (("lat", "lon"), heights)}).to_netcdf("field.nc", engine="scipy")
    names: dict[str, Any] = {}
    exec(snippets("multiscales.md")[2], names)
    small = names["small"]["height"].values
    assert small.shape == (2, 3)
    np.testing.assert_allclose(small[0, 0], np.nanmean(heights[:4, :4], dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(small[1, 2], heights[4:, 8:].mean(dtype=np.float64), rtol=1e-6)


def test_the_backend_of_the_page_runs_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    onnx.save(
        onnx.parser.parse_model("""
            <ir_version: 8, opset_import: ["": 18]>
            g (float[1, 1, 4, 4] x) => (float[1, 1, 2, 2] y) {
                y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
            }"""),
        "model.onnx",
    )
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    names: dict[str, Any] = {"x": x}
    exec(snippets("onnx-backend.md")[0], names)
    assert names["outputs"][0].tolist() == names["outputs"]["y"].tolist() == [[[[5, 7], [13, 15]]]]
    assert names["backend"].is_compatible("model.onnx") is True
