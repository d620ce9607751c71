"""Text that others wrote, made fit to be shown: names come out of files that anybody may have written."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str, keep: str = "") -> str:
    r"""Write signs that would move the cursor, or the text around them, as Python would in a literal.

    These are control characters, such as those that begin an escape sequence of a terminal, and signs that turn the
    direction of a line. All commands, and their pages, show names by this function.

    Parameters
    ----------
    text : str
        What to show.
    keep : str
        Signs that stay, such as the end of a line.

    Examples
    --------
    >>> print(printable("pool\x1b[2J\u202e1"))
    pool\x1b[2J\u202e1
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in keep else sign.encode("unicode_escape").decode() for sign in text
    )
