"""Settings of the documentation site: ``make site`` builds it into build/site.

Pages are Markdown, read by MyST, with links that work where the repository is hosted as well. What is made when the
site is built goes to docs/generated: a page for every public name (make_reference.py) and the gallery of docs/examples.
"""

from __future__ import annotations

import importlib
import re
import sys
from inspect import getsourcelines
from pathlib import Path
from types import FunctionType
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import pooling

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))
importlib.import_module("make_reference").write()

project = "pooling"
author = "the pooling developers"
copyright = author
version = release = pooling.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["examples/**", "generated/backreferences/**"]
templates_path = ["_templates"]
# A block without a language is output or shell, and is not coloured as Python.
highlight_language = "none"
default_role = "py:obj"

myst_enable_extensions = ["colon_fence"]
# As on the code host: every heading is a target.
myst_heading_anchors = 4

autosummary_generate = True
# Types stand in the section of parameters, and would make signatures of ten lines here.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_use_plots = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "generated/gallery",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("pooling",),
    "reference_url": {"pooling": None},
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "capture_repr": (),
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 3600,  # seconds that a build took would differ from build to build
}

# What is copied can be pasted: lines behind a prompt, without it. Blocks that have none are copied whole.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "pooling"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["site.css"]
html_show_sphinx = False
html_sidebars = {"index": []}
html_theme_options = {
    "logo": {"text": "pooling"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": [],
}

PAGE = Path("interactive", "pooling.html")
"""It needs nothing but itself, and is part of the site as it is."""

NAME = re.compile(r"pooling(?:\.[A-Za-z_]\w*)+")


def link_names(app: Sphinx, doctree: nodes.document) -> None:
    """Link names of the package that pages write as code, `pooling.max_pool2d`, to their pages of the reference."""
    for node in list(doctree.findall(nodes.literal)):
        name = node.astext().removesuffix("()")
        parent: Any = node.parent
        linked = False
        while parent is not None and not linked:
            linked = isinstance(parent, (nodes.reference, nodes.title, addnodes.pending_xref))
            parent = parent.parent
        if linked or not NAME.fullmatch(name):
            continue
        target = {"refdomain": "py", "reftype": "obj", "reftarget": name, "refdoc": app.env.docname}
        node.replace_self(addnodes.pending_xref("", node.deepcopy(), refexplicit=True, refwarn=False, **target))


def end_sessions(app: Sphinx, doctree: nodes.document) -> None:
    """Leave out the empty line that ends a session for doctest."""
    for node in list(doctree.findall(nodes.literal_block)):
        if node.get("language") == "pycon":
            text = node.astext().rstrip()
            node.rawsource = text
            node.children = [nodes.Text(text)]


def link_page(app: Sphinx, doctree: nodes.document) -> None:
    """Let links to the interactive page open it: links to what is no page of Sphinx would download a copy."""
    for node in list(doctree.findall(addnodes.download_reference)):
        if Path(node["reftarget"]).name == PAGE.name:
            address = "/".join([*[".."] * app.env.docname.count("/"), PAGE.as_posix()])
            node.replace_self(nodes.reference("", "", *node.children, refuri=address, internal=True))


def copy_page(app: Sphinx, error: Exception | None) -> None:
    """Lay the interactive page beside the others, with a way back to them, which a file on a disk has not."""
    if error is None:
        target = Path(app.outdir, PAGE)
        target.parent.mkdir(exist_ok=True)
        above, title, below = (FOLDER / PAGE).read_text(encoding="utf-8").partition("<h1>")
        back = '<p><a href="../index.html">Documentation of pooling</a></p>\n'
        target.write_text(above + back + title + below, encoding="utf-8")


def draw_flowcharts(app: Sphinx, doctree: nodes.document) -> None:
    """Draw the flowcharts that the code host draws itself, without the library that would come over the network."""
    for node in list(doctree.findall(nodes.literal_block)):
        if node.get("language") == "mermaid":
            drawn = f'<div class="flowchart">{importlib.import_module("flowcharts").svg(node.astext())}</div>'
            node.replace_self(nodes.raw("", drawn, format="html"))


def find_source(app: Sphinx, modname: str) -> tuple[str, dict[str, tuple[str, int, int]]] | None:
    """Return the source of a module and the lines of its names; of what `ranked` made, those of the definition."""
    if not modname.startswith("pooling"):
        return None
    analyzer = ModuleAnalyzer.for_module(modname)
    analyzer.find_tags()
    tags = dict(analyzer.tags)
    for name, value in vars(importlib.import_module(modname)).items():
        if name not in tags and isinstance(value, FunctionType) and value.__module__ == modname:
            lines, first = getsourcelines(value)
            tags[name] = ("def", first, first + len(lines) - 1)
    return analyzer.code, tags


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("doctree-read", link_names)
    app.connect("doctree-read", draw_flowcharts)
    app.connect("doctree-read", end_sessions)
    app.connect("doctree-read", link_page, priority=100)  # before files to be downloaded are collected
    app.connect("build-finished", copy_page)
    app.connect("viewcode-find-source", find_source)
