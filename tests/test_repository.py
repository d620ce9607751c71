"""The rules of the repository that a machine can check."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import pooling

ROOT = Path(__file__).parent.parent
HEAVY = ["jinja2", "matplotlib", "ml_dtypes", "msgspec", "onnx", "onnxruntime", "openvino", "rich", "torch"]


def in_new_process(code: str, folder: Path) -> list[str]:
    """Return the words that `code` prints in a new interpreter."""
    process = subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True)
    return process.stdout.split()


def test_importing_pooling_imports_numpy_and_nothing_heavier(tmp_path: Path) -> None:
    code = f"import sys, pooling; print(*(name for name in {HEAVY} if name in sys.modules))"
    assert in_new_process(code, tmp_path) == []


def test_importing_pooling_imports_no_function_before_it_is_asked_for(tmp_path: Path) -> None:
    # Modules that NumPy imports itself, `inspect` with some releases, cost nothing more.
    imports = "import sys, numpy; before = set(sys.modules); import pooling; after = set(sys.modules)"
    added = in_new_process(f"{imports}; print(*after - before)", tmp_path)
    own = {name for name in added if name.startswith("pooling") and not name.startswith("pooling._kernels_")}
    assert own == {f"pooling{name}" for name in ("", "._core", "._version", ".config", ".dispatch", ".workers")}
    assert {"ast", "copy", "dataclasses", "enum", "inspect", "numpy.typing"}.isdisjoint(added)
    used = in_new_process(f"{imports}; pooling.max_pool2d; print(*set(sys.modules) - after)", tmp_path)
    assert "pooling.families.extremes" in used
    assert {f"pooling.families.{name}" for name in ("means", "norms", "blurs", "regions")}.isdisjoint(used)


@pytest.mark.parametrize(
    "code",
    [
        "print(pooling.max_pool2d.__name__)",
        "from pooling.families.extremes import max_pool2d; print(max_pool2d.__name__)",
        "import pooling.families.extremes; print(pooling.families.extremes.max_pool2d.__name__)",
        "from pooling.families import extremes; print(extremes.max_pool2d.__name__)",
        "from pooling import max_pool2d; print(max_pool2d.__name__)",
        "from pooling import *; print(max_pool2d.__name__)",
        "pooling.max_pool2d; print(*{'max_pool2d'} & vars(pooling).keys())",
        "import pickle; print(pickle.loads(b'cpooling\\nmax_pool2d\\n.').__name__)",
        "print(*{'max_pool2d'} & set(dir(pooling)))",
    ],
)
def test_ways_to_a_function_in_a_new_process(code: str, tmp_path: Path) -> None:
    assert in_new_process(f"import pooling; {code}", tmp_path) == ["max_pool2d"]


def test_names_are_imported_from_where_they_are() -> None:
    on_demand = {module: names.split() for module, names in pooling._ON_DEMAND.items()}
    assert on_demand.pop("maps") == ["LayoutWarning", "output_shape"]
    assert on_demand == {name: importlib.import_module(f"pooling.{name}").__all__ for name in on_demand}
    assert len(pooling.__all__) == len(set(pooling.__all__))
    assert [name for name in pooling.__all__ if not hasattr(pooling, name)] == []
    assert {*pooling.__all__, "families", "layer", "maps"} <= set(dir(pooling))
    # A module of that name would take the place of the function as soon as it is imported, or be hidden by it.
    modules = {module.name for module in pkgutil.iter_modules(pooling.__path__)}
    assert modules.isdisjoint({*pooling._MODULE_OF, "get_num_threads", "set_num_threads", "show_config", "threads"})
    assert {"get_num_threads", "set_num_threads", "show_config", "threads"} <= set(pooling.__all__)


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError) as error:
        pooling.max_pool4d  # noqa: B018
    assert str(error.value) == "module 'pooling' has no attribute 'max_pool4d'"


def test_version_is_the_installed_one() -> None:
    assert pooling.__version__ == metadata.version("ndpooling")


def test_nothing_generated_is_tracked() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    generated = {".c", ".cpp", ".html", ".o", ".pyc", ".pyd", ".so", ".whl"}
    written_by_hand = {"docs/_templates/layout.html", "docs/interactive/pooling.html"}
    written_by_hand |= {"tests/failures.c", "tests/team_stress.c"}
    written_by_hand |= {name for name in tracked.splitlines() if Path(name).match("report*/templates/*.html")}
    assert [name for name in set(tracked.splitlines()) - written_by_hand if Path(name).suffix in generated] == []


def divisions_by_stride(source: str) -> Iterator[int]:
    """Yield the lines that divide by something called a stride: the mark of output-size arithmetic."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.BinOp(op=ast.FloorDiv() | ast.Div(), right=divisor):
                pass
            case ast.AugAssign(op=ast.FloorDiv() | ast.Div(), value=divisor):
                pass
            case ast.Call(func=ast.Name(id="divmod"), args=[_, divisor]):
                pass
            case _:
                continue
        words = {getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(divisor)}
        if any("stride" in word.lower() for word in words):
            yield node.lineno


@pytest.mark.parametrize(
    "expression",
    [
        "(n + 2 * padding - kernel) // stride + 1",
        "-(-n // strides[axis])",
        "(n + axis.stride - 1) // axis.stride",
        "math.floor((n - k) / stride) + 1",
        "divmod(n - k, stride)",
    ],
)
def test_output_size_arithmetic_is_recognised(expression: str) -> None:
    assert list(divisions_by_stride(expression)) == [1]


@pytest.mark.parametrize("expression", ["array.strides[0] // itemsize", "start * stride + 1", "n // 2 + 1"])
def test_other_arithmetic_is_left_alone(expression: str) -> None:
    assert list(divisions_by_stride(expression)) == []


def test_output_size_arithmetic_is_in_geometry_only() -> None:
    # reference.py is the oracle and has to be independent of geometry.py.
    sources = sorted((*(ROOT / "pooling").rglob("*.py"), *(ROOT / "export").rglob("*.py")))
    assert ROOT / "pooling" / "geometry.py" in sources
    elsewhere = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources
        if path.name not in {"geometry.py", "reference.py"}
        for line in divisions_by_stride(path.read_text(encoding="utf-8"))
    ]
    assert elsewhere == []


def modules() -> list[str]:
    """List every public module; an editable install has pooling.export in a folder of its own."""
    export = importlib.import_module("pooling.export")
    found = [
        *pkgutil.walk_packages(pooling.__path__, "pooling."),
        *pkgutil.walk_packages(export.__path__, "pooling.export."),
    ]
    names = {"pooling", "pooling.export", *(module.name for module in found)}
    return sorted(name for name in names if not name.startswith("pooling._"))


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings(name: str) -> None:
    if name.startswith(("pooling.doctor.network.readers.module", "pooling.torch", "pooling.benchmark.networks.m")):
        pytest.importorskip("torch")
    if name in ("pooling.dask", "pooling.xarray", "pooling.zarr"):
        pytest.importorskip(name.removeprefix("pooling."))
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
