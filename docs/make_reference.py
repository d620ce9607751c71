"""Write docs/generated/reference, a page for each group of public names; Sphinx adds a page for each name.

The groups of `pooling` are its families, and the names are those of `__all__`, so that nothing public can be left out.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pooling

FOLDER = Path(__file__).resolve().parent / "generated" / "reference"

FAMILIES = {
    "families.extremes": (
        "Maxima and minima",
        "The greatest or smallest element of each window, where it is, and gradients.",
    ),
    "families.means": ("Means", "Averages of windows, of a fixed number of windows, and of whole maps."),
    "families.norms": ("Norms and generalised means", "Lp norms of windows and maps, and GeM."),
    "families.blurs": ("Blurs", "Anti-aliased downsampling: a binomial filter, alone and behind a maximum."),
    "families.regions": ("Regions of interest", "Windows that come with the call."),
    "families.fractional": ("Fractional pooling", "Windows at random steps, for any output size."),
    "families.unpooling": ("Unpooling and indices", "Elements put back where their indices say."),
    "families.blocks": ("Reductions of blocks", "Images and volumes of any axes; see [semantics]."),
    "families.pyramids": ("Pyramids", "All levels of an image or a volume."),
    "layer": ("Layers", "What all layers can do, and layers one after another."),
    "maps": ("Shapes", "What comes out, without pooling anything."),
}
"""Modules of `pooling._ON_DEMAND`, in the order of the reference."""

MODULES = {
    "filters": ("Filters: functions", ()),
    "export": ("ONNX export", ("onnx",)),
    "onnx_models": ("ONNX nodes", ("onnx",)),
    "validation": ("Validation of runtimes", ("onnx",)),
    "doctor": ("The doctor", ()),
    "torch": ("PyTorch", ("torch",)),
    "torch.functional": ("PyTorch: functions", ("torch",)),
    "torch.nn": ("PyTorch: modules", ("torch",)),
    "dask": ("dask", ("dask",)),
    "xarray": ("xarray", ("xarray", "dask")),
    "zarr": ("OME-Zarr", ("zarr", "tifffile", "dask")),
    "operators": ("The table of operators", ()),
}
"""Modules with names of their own, and what each needs; it is left out where that is not installed."""


@dataclass(frozen=True)
class Page:
    """A page of the reference."""

    name: str
    title: str
    text: str
    module: str
    names: tuple[str, ...]

    @property
    def constants(self) -> list[str]:
        """Names of what is neither a class nor a function: they have no page."""
        return [name for name in self.names if self.kind(name) == "constant"]

    def kind(self, name: str) -> str:
        """Tell what a name stands for."""
        value = getattr(importlib.import_module(self.module), name)
        if inspect.ismodule(value):
            return "module"
        if inspect.isclass(value):
            return "layer" if self.module == "pooling" and issubclass(value, pooling.Layer) else "class"
        if not callable(value):
            return "constant"
        return "gradient" if name.endswith("_backward") else "function"

    def listed(self) -> str:
        """Return the title and the names, without gradients and constants, as an entry of a list."""
        shown = [name for kind in ("function", "layer", "class") for name in self.names if self.kind(name) == kind]
        links = ", ".join(f":py:obj:`{name} <{self.module}.{name}>`" for name in shown)
        return f":doc:`{self.name}`\n   {links}\n"

    def written(self) -> str:
        """Return the page."""
        parts = [self.title, "=" * len(self.title), "", self.text, "", f".. currentmodule:: {self.module}", ""]
        titles = {"function": "Functions", "gradient": "Gradients", "layer": "Layers", "class": "Classes"}
        for kind, title in titles.items():
            names = [name for name in self.names if self.kind(name) == kind]
            if names:
                parts += [title, "-" * len(title), "", ".. autosummary::", "   :toctree: api", "   :nosignatures:", ""]
                parts += [*(f"   {name}" for name in names), ""]
        if self.constants:
            parts += ["Constants: " + ", ".join(f"``{name}``" for name in self.constants) + ".", ""]
        return "\n".join(parts)


def pages() -> Iterator[Page]:
    """Yield the pages, in their order."""
    own = [name for name in pooling.__all__ if name not in pooling._MODULE_OF and not name.startswith("__")]
    yield Page("settings", "Threads and settings", "What holds for all calls.", "pooling", tuple(own))
    for module, (title, text) in FAMILIES.items():
        names = tuple(pooling._ON_DEMAND[module].split())
        yield Page(
            module.rpartition(".")[2],
            title,
            text.replace(" see [semantics].", " they are defined in :doc:`/semantics`."),
            "pooling",
            names,
        )
    for module, (title, needs) in MODULES.items():
        if all(find_spec(each) for each in needs):
            found = importlib.import_module(f"pooling.{module}")
            first = (inspect.getdoc(found) or "").partition("\n\n")[0]
            yield Page(
                module.replace(".", "-"),
                title,
                f"``pooling.{module}``. {first}",
                f"pooling.{module}",
                tuple(found.__all__),
            )


def written() -> dict[str, str]:
    """Return the name and text of each file."""
    made = {page.name: page.written() for page in pages()}
    names = "\n".join(f"   {name}" for name in made)
    title = "Functions and classes"
    text = (
        "Every public name, with its arguments, errors, source and an example. Gradients, whose names end in "
        "``_backward``, are on the pages of their groups."
    )
    toctree = f".. toctree::\n   :hidden:\n\n{names}\n"
    groups = "\n".join(page.listed() for page in pages())
    return made | {"index": f"{title}\n{'=' * len(title)}\n\n{text}\n\n{groups}\n{toctree}"}


def write() -> None:
    """Write what has changed, so that Sphinx reads no page twice for nothing."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in written().items():
        path = FOLDER / f"{name}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
