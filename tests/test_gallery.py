"""Pictures of images and volumes: the page says what the code computes."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def test_the_gallery_is_what_the_code_computes() -> None:
    for library in ("skimage", "scipy", "matplotlib"):
        pytest.importorskip(library)
    made = runpy.run_path(str(ROOT / "docs/make_gallery.py"))
    text = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    assert text == made["page"](), "run `python docs/make_gallery.py`"
    pictures = re.findall(r"\]\((gallery-\w+\.png)\)", text)
    assert len(pictures) == 5
    for name in pictures:
        assert (ROOT / "docs" / name).read_bytes().startswith(b"\x89PNG")
    assert all(wrong == 0 for wrong, _ in made["drifts"]()["pyramid"])
    assert np.count_nonzero(np.isnan(made["with_nan"]()[2])) == 9 * 9
