"""Show the doctor at work: ``python docs/make_doctor.py``.

Writes what ``pooling doctor`` says of ResNet-50 and an object of 8 pixels into README.md, and the titles and texts of
the rules into docs/doctor.md; writes ResNet-50 as docs/resnet50.layers, draws it as docs/doctor.svg and
docs/doctor-levels.svg, and takes docs/doctor-page.png, a picture of the page, where there is a chromium. Tests compare
the README with `shown`, the guide with `guide`, and the drawing with what `DRAWN` draws.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import onnx

from pooling.cli import main as pooling
from pooling.doctor.lint import RULES
from pooling.files import write_whole

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
GUIDE = DOCS / "doctor.md"
BEGIN, END = "<!-- doctor: begin -->", "<!-- doctor: end -->"
MODELS = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
COMMAND = ("doctor", "light_resnet50.onnx", "--object", "8", "--task", "detection")
LAYERS = DOCS / "resnet50.layers"
DRAWN = ("doctor", "--layers", str(LAYERS), "--object", "16", "--task", "detection", "--fail-on", "never")
"""What the pictures are of: layers with the names of modules, which the small models of onnx do not have."""
WIDTH = 100
"""Columns of the table."""
BROWSER = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1",
    "--window-size=1280,992",
)  # fmt: skip


def resnet50() -> str:
    """Return ResNet-50 as a list of layers, named as torchvision names its modules.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (2016); the stride is that of the 3x3
    convolution of a block, as in torchvision.
    """
    lines, source = ["conv7x64/2p3@conv1 pool3/2p1@maxpool"], "maxpool"
    for layer, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 1):
        for block in range(blocks):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            words = [
                f"conv1x{width}<{source}@{name}.conv1",
                f"conv3x{width}/{stride}@{name}.conv2",
                f"conv1x{4 * width}@{name}.conv3",
            ]
            shortcut = source
            if block == 0:
                words.append(f"conv1x{4 * width}/{stride}<{source}@{name}.downsample")
                shortcut = f"{name}.downsample"
            words.append(f"add<{name}.conv3+{shortcut}@{name}.add")
            lines.append(" ".join(words))
            source = f"{name}.add"
    return "\n".join([*lines, "global@avgpool fc1000@fc", ""])


def shown() -> str:
    """Return what the command prints, down to the end of the first finding, as it stands in the README."""
    printed = io.StringIO()
    with contextlib.chdir(MODELS), contextlib.redirect_stdout(printed), _width(WIDTH):
        pooling(COMMAND)
    first = re.split(r"\n\n(?=D\d{3} )", printed.getvalue())[:2]
    text = "\n".join(line.rstrip() for line in "\n\n".join(first).splitlines())
    return f"```\n$ pooling {' '.join(COMMAND)}\n{text}\n\n...\n```\n"


def guide(text: str) -> str:
    """Return the guide with the title and the text of each rule in its section; the examples are the guide's own."""
    for rule in RULES.values():
        paragraphs = (textwrap.fill(each, 120, break_on_hyphens=False) for each in rule.text.split("\n\n"))
        section = "\n\n".join([f"## {rule.code}: {rule.title}", *paragraphs, "```"])
        text = re.sub(rf"^## {rule.code}: .*?^```", lambda _, new=section: new, text, flags=re.DOTALL | re.MULTILINE)
    return text


@contextlib.contextmanager
def _width(columns: int):
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(columns)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def main() -> int:
    """Write everything."""
    text = README.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    write_whole(README, f"{head}{BEGIN}\n{shown()}{END}{rest.split(END)[1]}")
    write_whole(GUIDE, guide(GUIDE.read_text(encoding="utf-8")))
    write_whole(LAYERS, resnet50())
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        with contextlib.redirect_stdout(io.StringIO()):
            pooling((*DRAWN, "--figure", str(DOCS / "doctor.svg"), "--html", str(page)))
            pooling((*DRAWN, "--figure", str(DOCS / "doctor-levels.svg"), "--picture", "levels"))
        browser = shutil.which("chromium") or shutil.which("google-chrome")
        if browser is None:
            print("there is no chromium; docs/doctor-page.png stays as it is", file=sys.stderr)
            return 0
        screenshot = f"--screenshot={DOCS / 'doctor-page.png'}"
        profile = f"--user-data-dir={folder}/profile"
        subprocess.run([browser, *BROWSER, profile, screenshot, page.as_uri()], check=True, capture_output=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
