"""Show the doctor at work: ``python docs/make_doctor.py``.

Writes what ``pooling doctor`` says of ResNet-50 and an object of 8 pixels into README.md, and the titles and texts of
the rules into docs/doctor.md; draws docs/doctor.svg, and takes docs/doctor-page.png, a picture of the page, where there
is a chromium. Tests compare the README with `shown` and the guide with `guide`.
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
WIDTH = 100
"""Columns of the table."""
BROWSER = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1",
    "--window-size=1280,992",
)  # fmt: skip


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
    model = str(MODELS / COMMAND[1])
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        files = ("--figure", str(DOCS / "doctor.svg"), "--html", str(page))
        with contextlib.redirect_stdout(io.StringIO()):
            pooling((COMMAND[0], model, *COMMAND[2:], *files))
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
