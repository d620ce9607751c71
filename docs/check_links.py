"""Check every link inside the built site, without a network: ``python docs/check_links.py build/site``.

A link leads to a file that is there, and to a place in it that is there. What leads elsewhere is only counted.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ATTRIBUTES = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src", "iframe": "src"}
OWN_NAMES = ("genindex.html", "search.html", "py-modindex.html")
"""Pages that Sphinx makes; some have places that scripts fill in."""
SETTINGS = re.compile(r"\w+=[^&]*(&\w+=[^&]*)*")
"""What a page is to show, behind the # of its address, and no place in it."""


class _Reader(HTMLParser):
    """Collects the links and the places of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element links to, and what it is called."""
        found = dict(attrs)
        self.places |= {value for name in ("id", "name") if (value := found.get(name))}
        link = found.get(ATTRIBUTES.get(tag, ""))
        if link:
            self.links.append(link)


@dataclass
class Checked:
    """What was found in a site."""

    broken: list[str] = field(default_factory=list)
    inside: int = 0
    elsewhere: int = 0


def read(site: Path) -> dict[Path, _Reader]:
    """Read every page."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        if "_static" in path.relative_to(site).parts:
            continue  # templates of the theme, which nobody opens
        pages[path] = _Reader()
        pages[path].feed(path.read_text(encoding="utf-8"))
    return pages


def _problem(site: Path, page: Path, link: str, pages: dict[Path, _Reader]) -> str:
    """Say what is wrong with a link; nothing if it is right."""
    parts = urlsplit(link)
    target = page if not parts.path else (page.parent / unquote(parts.path)).resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(site):
        return "leads out of the site"
    if not target.exists():
        return "is not there"
    if not parts.fragment or target not in pages or target.name in OWN_NAMES or SETTINGS.fullmatch(parts.fragment):
        return ""
    return "" if unquote(parts.fragment) in pages[target].places else "has no such place"


def check(site: Path) -> Checked:
    """Check all links of all pages."""
    site = site.resolve()
    checked, pages = Checked(), read(site)
    for page, found in pages.items():
        for link in found.links:
            if urlsplit(link).scheme or link.startswith("//"):
                checked.elsewhere += 1
                continue
            checked.inside += 1
            if problem := _problem(site, page, link, pages):
                checked.broken.append(f"{page.relative_to(site)}: {link} {problem}")
    return checked


def main(folder: str) -> int:
    """Print what is broken, and return how the process ends."""
    checked = check(Path(folder))
    print(*checked.broken, sep="\n")
    numbers = f"{checked.inside} links inside, {len(checked.broken)} broken"
    print(f"{numbers}; {checked.elsewhere} elsewhere, not followed")
    return 1 if checked.broken or not checked.inside else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
