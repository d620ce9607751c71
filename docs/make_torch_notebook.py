"""Run the cells of docs/torch.ipynb and write what they print into it: ``python docs/make_torch_notebook.py``.

Without Jupyter: a cell is Python that prints. `tests/test_torch_notebook.py` runs them as well, and does not write.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).with_name("torch.ipynb")


def sources(notebook: dict[str, Any]) -> list[str]:
    """Return the code of the cells that have any."""
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(codes: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Run cells one after another; return what each printed, and the names that they have made."""
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = []
    for number, code in enumerate(codes, 1):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(code, f"{NOTEBOOK.name}, code cell {number}", "exec"), names)
        printed.append(output.getvalue())
    return printed, names


def with_outputs(notebook: dict[str, Any], printed: list[str]) -> dict[str, Any]:
    """Return a notebook whose cells show what they printed."""
    cells = [dict(cell) for cell in notebook["cells"]]
    for number, (cell, text) in enumerate(
        zip((cell for cell in cells if cell["cell_type"] == "code"), printed, strict=True), 1
    ):
        stream = {"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}
        cell |= {"execution_count": number, "outputs": [stream] if text else []}
    return {**notebook, "cells": cells}


def text_of(notebook: dict[str, Any]) -> str:
    """Return a notebook as its file has it."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    from pooling.benchmark.networks.measure import declare_operators

    declare_operators()  # where torchvision, which timm imports, belongs to another torch
    read: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    NOTEBOOK.write_text(text_of(with_outputs(read, run(sources(read))[0])), encoding="utf-8")
