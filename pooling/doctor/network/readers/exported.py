"""Programs that ``torch.export.save`` wrote, loaded without what could run code of whoever wrote the file.

``torch.export.load`` unpickles sample inputs, some weights and custom objects, loads compiled libraries, and evaluates
expressions of sizes. So the archive is looked through first, and what is loaded is a copy that has no sample inputs:
a file with pickled weights or objects, compiled code, or expressions that are no arithmetic is refused.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

from pooling.signs import first_line

from ..network import NetworkError

__all__ = ["load"]

LARGEST_TEXT = 1 << 28
"""Bytes of a description of a graph."""
EXPRESSION = re.compile(r"[\w\s+\-*/(),<>=!&|~^%.]*")
OF_SIZES = """
    Abs And CeilToInt CleanDiv Eq FloatPow FloatTrueDiv FloorDiv FloorToInt Ge Gt IntTrueDiv
    IsNonOverlappingAndDenseIndicator Le Lt Max Min Mod ModularIndexing Ne Not Or Piecewise PowByNatural PythonMod
    Add Float Integer Mul Pow Rational
    RoundDecimal RoundToInt ToFloat TruncToFloat TruncToInt VR Where ceiling floor sqrt
"""
SYMBOL = re.compile(r"Symbol\('[suz]+[a-z]*\d+'(, \w+=(True|False))*\)")
"""A size, as SymPy writes it."""
FUNCTIONS = frozenset(OF_SIZES.split())
TARGET = re.compile(r"torch\.ops\.(\w+\.\w+\.\w+|higher_order\.\w+)|_operator\.\w+|math\.\w+|torch\._?sym_\w+")


def load(path: str) -> tuple[Any, tuple[int, ...] | None, str]:
    """Return a program as a module, the shape of its input, and a note on that.

    Parameters
    ----------
    path : str

    Raises
    ------
    NetworkError
        If it is no such program, of another version, or has parts that would run code.
    """
    import torch

    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise NetworkError(f"{path} cannot be read ({error.strerror or error})") from error
    except Exception as error:
        raise NetworkError(
            f"{path} is no whole program of torch.export ({first_line(error)}); save it again with torch.export.save"
        ) from error
    with archive:
        try:
            safe = _safe_copy(path, archive)
        except Exception as error:  # zipfile lets those of its decompressors through
            if isinstance(error, NetworkError):
                raise
            raise NetworkError(f"{path} is damaged ({first_line(error)}); save it again") from error
    log = logging.getLogger("torch.export")  # tracebacks of what is told here in a sentence
    was = log.level
    try:
        log.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(safe)
            module = _Program(program)
    except Exception as error:  # whatever torch makes of a file of another version
        raise NetworkError(
            f"{path} cannot be loaded by torch {torch.__version__} ({type(error).__name__}: {first_line(error)}); save "
            "it with this version of torch"
        ) from error
    finally:
        log.setLevel(was)
    return (
        module.module,
        module.shape,
        ""
        if module.shape is None
        else (f"the input shape {'x'.join(map(str, module.shape))} is that of the exported program"),
    )


def _safe_copy(path: str, archive: zipfile.ZipFile) -> io.BytesIO:
    """Return a copy of an archive that has no pickles; refuse one that needs them."""
    names = [info.filename for info in archive.infolist()]
    odd = next(
        (name for name in names if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/")), ""
    )
    if odd:
        raise NetworkError(f"{path} holds {odd!r}, which lies outside of the archive; it is not loaded")
    version = [name for name in names if name.endswith("/archive_version")]
    graphs = [name for name in names if re.search(r"(^|/)models/[^/]+\.json$", name)]
    if any("/code/" in name or name.endswith(".py") for name in names) and not graphs:
        raise NetworkError(
            f"{path} is a TorchScript archive, whose code is not run here; export the module with torch.export.save or "
            "torch.onnx.export"
        )
    if any("data/aotinductor/" in name for name in names):
        raise NetworkError(f"{path} holds compiled code, which is not loaded; save the program with torch.export.save")
    if not version or not graphs:
        raise NetworkError(
            f"{path} is no program of torch.export of this version (it has no archive_version or no models/*.json); "
            "save it again with torch.export.save"
        )
    for info in archive.infolist():
        if info.filename.endswith(".json"):
            if info.file_size > LARGEST_TEXT:
                raise NetworkError(
                    f"{path}: {info.filename} has {info.file_size} bytes; at most {LARGEST_TEXT} are read"
                )
            _check_description(path, info.filename, archive.read(info))
    # torch stores its parts as they are; what is compressed may unpack to more than there is memory.
    unpacked, packed = sum(info.file_size for info in archive.infolist()), os.path.getsize(path)
    if unpacked > packed + LARGEST_TEXT:
        raise NetworkError(
            f"{path} has {packed} bytes and would unpack to {unpacked}; save it with torch.export.save, which does not "
            "compress"
        )
    copied = io.BytesIO()
    with zipfile.ZipFile(copied, "w", zipfile.ZIP_STORED) as written:
        for info in archive.infolist():
            sample = "/sample_inputs/" in info.filename
            written.writestr(info.filename, b"" if sample else archive.read(info))
    copied.seek(0)
    return copied


def _check_description(path: str, name: str, text: bytes) -> None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NetworkError(f"{path}: {name} is no JSON ({first_line(error)}); save it again") from error
    for key, value in _entries(found):
        if key == "use_pickle" and value is True:
            raise NetworkError(
                f"{path} holds pickled weights, which run code of whoever wrote the file when they are loaded; save it "
                "with weights that are plain tensors"
            )
        if key == "path_name" and isinstance(value, str) and not re.fullmatch(r"(weight|tensor)_\d+", value):
            raise NetworkError(f"{path} holds objects ({value!r}) that only a pickle can hold; they are not loaded")
        if key in ("expr_str", "as_expr_str") and isinstance(value, str) and not _is_arithmetic(value):
            raise NetworkError(f"{path} has a size {value[:60]!r}, which is no arithmetic; it is not loaded")
        if key == "target" and isinstance(value, str) and not TARGET.fullmatch(value):
            raise NetworkError(f"{path} calls {value[:60]!r}, which is no operator of torch; it is not loaded")


def _entries(found: Any) -> Iterator[tuple[str, Any]]:
    waiting = [found]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield from each.items()
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def _is_arithmetic(text: str) -> bool:
    """Whether an expression has numbers, sizes and functions of sizes only."""
    text = SYMBOL.sub("s0", text)
    words = re.findall(r"[A-Za-z_]\w*", text)
    return (
        EXPRESSION.fullmatch(text) is not None
        and not re.search(r"\.\s*[A-Za-z_]", text)
        and all(word in FUNCTIONS or re.fullmatch(r"[suz]+[a-z]*\d+|True|False|oo|int_oo", word) for word in words)
    )


class _Program:
    """A program as a module of torch that is run node by node, so that each is known by its module and line."""

    def __init__(self, program: Any) -> None:
        import torch

        from .module.scope import Place, at

        module = program.module(check_guards=False)

        class Traced(torch.fx.Interpreter):
            def run_node(self, node: Any) -> Any:
                stack = list((node.meta.get("nn_module_stack") or {}).values())
                name = str(stack[-1][0]) if stack else ""
                with at(Place(re.sub(r"@\d+$", "", name), _line(node.meta.get("stack_trace") or ""))):
                    return super().run_node(node)

        class Exported(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.program = module

            def forward(self, *args: Any) -> Any:
                return Traced(self.program).run(*args)

        Exported.__name__ = "ExportedProgram"
        self.module = Exported()
        given = set(program.graph_signature.user_inputs)
        nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in given]
        values = [node.meta.get("val") for node in nodes]
        tensors = [value for value in values if isinstance(value, torch.Tensor)]
        self.shape: tuple[int, ...] | None = None
        if len(tensors) == 1:
            self.shape = tuple(_size(each) for each in tensors[0].shape)


def _size(size: Any) -> int:
    if isinstance(size, int):
        return size
    hint = getattr(size.node, "hint", None)
    return 1 if hint is None else int(hint)


def _line(trace: str) -> str:
    """Return the last line of a stack that is none of torch's."""
    found = re.findall(r'File "([^"]+)", line (\d+)', trace)
    own = [(file, line) for file, line in found if f"{SEPARATOR}torch{SEPARATOR}" not in file]
    return f"{own[-1][0]}:{own[-1][1]}" if own else ""


SEPARATOR = "/"
