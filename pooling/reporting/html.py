"""Pages: HTML files that open offline, load nothing, run nothing, and show what files hold as text. Needs jinja2.

Every page extends ``templates/base.html``, which holds the stylesheet and a policy by which a browser fetches nothing.
All that a template shows is escaped unless it is `Markup`, and signs that would move text are written out.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from pooling.extras import needing
from pooling.signs import printable

from . import formats

with needing("cli", __name__):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

__all__ = ["Markup", "breakable", "escape", "linked", "rendered", "stylesheet"]

TEMPLATES = Path(__file__).with_name("templates")
ADDRESS = re.compile(r"(https?://[^\s<>\"']+[^\s<>\"'.,;:)])")


def rendered(template: Path, **values: Any) -> str:
    """Fill a template.

    Parameters
    ----------
    template : Path
        Its file; it can extend and import those beside it and those of this package.
    **values : Any
        What it names.

    Returns
    -------
    str
    """
    return _environment(template.parent).get_template(template.name).render(values)


@cache
def stylesheet() -> str:
    """Return the stylesheet of all pages."""
    return (TEMPLATES / "style.css").read_text(encoding="utf-8")


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.filters |= {name: getattr(formats, name) for name in formats.__all__}
    environment.filters |= {"breakable": breakable, "linked": linked, "sentence": _sentence}
    environment.globals["style"] = Markup(stylesheet())
    return environment


def _shown(value: object) -> object:
    return value if isinstance(value, Markup) else printable(str(value), keep="\n")


def _sentence(text: str) -> str:
    """End a text as a sentence; names at its beginning stay as they are."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def linked(text: str) -> Markup:
    """Let the addresses in a text be followed.

    Examples
    --------
    >>> print(linked("see https://onnx.ai/, or <x>"))
    see <a href="https://onnx.ai/" rel="noreferrer">https://onnx.ai/</a>, or &lt;x&gt;
    """
    parts = [escape(printable(part, keep="\n")) for part in ADDRESS.split(text)]
    parts[1::2] = [Markup('<a href="{0}" rel="noreferrer">{0}</a>').format(part) for part in parts[1::2]]
    return Markup().join(parts)


def breakable(name: str) -> Markup:
    """Let a name go on in the next line behind what separates its parts, and not within a word.

    Examples
    --------
    >>> print(breakable("stem/conv_1"))
    stem/<wbr>conv_<wbr>1
    """
    return Markup("<wbr>").join(map(printable, re.findall(r"[^/._:]*[/._:]+|[^/._:]+", name)))
