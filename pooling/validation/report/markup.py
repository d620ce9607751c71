"""HTML that cannot be broken by what it says: text is escaped unless it was made here."""

from __future__ import annotations

import html

from pooling.signs import printable

__all__ = ["Markup", "joined", "lines", "tag"]

VOID = frozenset({"br", "meta"})
"""Elements that hold nothing and have no end tag."""


class Markup(str):
    """HTML that is written as it is."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | int | None) -> Markup:
    """Make an element.

    Parameters
    ----------
    name : str
        Of the element.
    *children : str
        What it holds: `Markup` as it is, any other text escaped.
    **attributes : str, int or None
        By name, ``class_`` for ``class`` and ``aria_label`` for ``aria-label``; None leaves an attribute out.

    Returns
    -------
    Markup

    Examples
    --------
    >>> tag("p", "a < b", tag("br"), class_="note")
    '<p class="note">a &lt; b<br></p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(lines(str(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: str) -> Markup:
    """Put texts and elements one behind the other."""
    return Markup("".join(map(_escaped, children)))


def _escaped(text: str) -> str:
    return text if isinstance(text, Markup) else html.escape(lines(text), quote=False)


def lines(text: str) -> str:
    """Make text of several lines fit to be shown."""
    return printable(text, keep="\n")
