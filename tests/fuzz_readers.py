"""Feed the readers of ONNX models, `.pt2` archives and data sets with what coverage leads to; they read or refuse it.

Usage: python tests/fuzz_readers.py {onnx,pt2,program,json,csv} FOLDER [options of libFuzzer, such as
-max_total_time=3600]. It needs atheris (``pip install atheris``), and for archives torch, which writes the first of
them. "program" is what an archive says of its program, in an archive that is otherwise whole: most damage to an archive
is noticed by its checksums. "json" and "csv" are files of objects, as ``pooling doctor --objects`` reads them. FOLDER
keeps what was found interesting, and is filled first with small models. Half of the changes to JSON are those of bytes,
half exchange, copy and remove values of it, so that it stays JSON. What is neither read nor refused by the
reader's own error ends the run with a traceback, and its bytes are written.
"""

from __future__ import annotations

import copy
import io
import json
import random
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

try:
    import atheris
except ModuleNotFoundError:
    sys.exit("fuzz_readers: this needs atheris, which is not installed; run pip install atheris")

with atheris.instrument_imports(include=["pooling"]):
    from pooling.doctor import read
    from pooling.doctor.analysis.object_set import RESIZES, read_objects
    from pooling.doctor.network import NetworkError
    from pooling.doctor.network.readers import exported
    from pooling.validation.pooling_nodes import CannotRunError, read_pooling_nodes

FILE = Path(tempfile.mkdtemp(), "file")


def of_onnx(data: bytes) -> None:
    """Read a model as the doctor and as the validator read it."""
    path = FILE.with_suffix(".onnx")
    path.write_bytes(data)
    for reader, refusal in ((read, NetworkError), (read_pooling_nodes, CannotRunError)):
        try:
            reader(path)
        except refusal as error:
            assert str(error)  # noqa: PT017


def of_archive(data: bytes) -> None:
    """Read a program that torch exported."""
    path = FILE.with_suffix(".pt2")
    path.write_bytes(data)
    try:
        exported.load(str(path))
    except NetworkError as error:
        assert str(error)  # noqa: PT017


PROGRAM = "/models/model.json"


def of_program(data: bytes) -> None:
    """Read a program whose description is changed, in an archive with right checksums."""
    whole = zipfile.ZipFile(io.BytesIO(whole_archive()))
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for name in whole.namelist():
            archive.writestr(name, data if name.endswith(PROGRAM) else whole.read(name))
    of_archive(changed.getvalue())


def of_objects(suffix: str, data: bytes) -> None:
    """Read the objects of a data set."""
    path = FILE.with_suffix(suffix)
    path.write_bytes(data)
    for resize in RESIZES:
        try:
            objects = read_objects(path, (48, 64), resize)
        except ValueError as error:
            assert str(error).startswith("examine: objects=")  # noqa: PT017
        else:
            assert 0 <= objects.share_of((8, 8), 1) <= 1


def models() -> Iterator[bytes]:
    """Yield small models with poolings, functions and branches."""
    from onnx import parser

    for body in (
        "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1> (x)",
        'y = AveragePool <kernel_shape = [2, 2], auto_pad = "SAME_UPPER", count_include_pad = 1> (x)',
        "y, i = MaxPool <kernel_shape = [2, 2], dilations = [2, 2], storage_order = 1> (x)",
        "t = GlobalAveragePool (x) s = Shape (t) y = Reshape (t, s)",
        "t = LpPool <kernel_shape = [2, 2], p = 3> (x) y = Relu (t)",
        "a = Constant <value_ints = [2, 3]> () y = ReduceMean <keepdims = 1> (x, a)",
        'y = Resize <mode = "nearest"> (x, , s)',
    ):
        inputs = "float[N, 3, 9, 9] x, float[4] s" if ", s)" in body and "Shape" not in body else "float[N, 3, 9, 9] x"
        text = f'<ir_version: 8, opset_import: ["" : 18]> g ({inputs}) => (float[a, b, c, d] y) {{ {body} }}'
        yield parser.parse_model(text).SerializeToString()


@cache
def whole_archive() -> bytes:
    """Return a small program."""
    import torch

    model = torch.nn.Sequential(torch.nn.MaxPool2d(2), torch.nn.AdaptiveAvgPool2d(3))
    path = FILE.with_suffix(".pt2")
    torch.export.save(torch.export.export(model, (torch.zeros(1, 2, 8, 8),)), path)
    return path.read_bytes()


def archives() -> Iterator[bytes]:
    """Yield that program."""
    yield whole_archive()


def programs() -> Iterator[bytes]:
    """Yield its description."""
    archive = zipfile.ZipFile(io.BytesIO(whole_archive()))
    yield from (archive.read(name) for name in archive.namelist() if name.endswith(PROGRAM))


def instances() -> Iterator[bytes]:
    """Yield data sets as COCO writes them."""
    yield b'{"images": [{"id": 1, "width": 9, "height": 9}], "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4.5]}]}'
    yield (
        b'{"images": [{"id": "a", "width": 9, "height": 9}, {"id": "b", "width": 640.5, "height": 480}], "annotations":'
        b'[{"image_id": "b", "bbox": [0, 0, 0, 4], "iscrowd": 1}, {"image_id": "a", "bbox": [1, 2, 1e3, 4]}]}'
    )


def tables() -> Iterator[bytes]:
    """Yield tables of sizes."""
    yield b"width,height\n3,4.5\n"
    yield b"\xef\xbb\xbfimage_width;height;image_height;width;name\r\n640;4;480;3;a\r\n\r\n640;1e2;480;0;b\r\n"
    yield b'3\t4\n"5"\t6\n'


ODD_JSON = (None, True, -1, 0, 1, 2**31, 2**63, -(2**64), 0.5, 1e308, "", "9" * 400, "as_int", [], [[]], {}, {"": {}})


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return each list and object in a value of JSON, with each of its indices or keys."""
    found = []
    open_values = [value]
    while open_values:
        each = open_values.pop()
        keys = each if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
        for key in keys:
            found.append((each, key))
            open_values.append(each[key])
    return found


def changed_json(data: bytes, most: int, seed: int) -> bytes:
    """Change some values of JSON, or bytes of it."""
    drawn = random.Random(seed)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if drawn.random() < 0.5 or not places(value):
        mutated: bytes = atheris.Mutate(data, most)
        return mutated
    for _ in range(drawn.choice((1, 1, 2, 4))):
        if not (found := places(value)):
            break
        where, key = drawn.choice(found)
        what = drawn.randrange(5)
        if what == 0:
            where.pop(key)
        elif what == 1 and isinstance(where, list):
            where.insert(key, copy.deepcopy(where[key]))
        elif what <= 2:
            other, name = drawn.choice(found)
            where[key] = copy.deepcopy(other[name])
        elif what == 3 and isinstance(where[key], (int, float)):
            where[key] = where[key] + drawn.choice((-1, 1, 2, 1 << 40))
        else:
            where[key] = copy.deepcopy(drawn.choice(ODD_JSON))
    return json.dumps(value).encode()[:most]


KINDS: dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]] = {
    "onnx": (of_onnx, models),
    "pt2": (of_archive, archives),
    "program": (of_program, programs),
    "json": (partial(of_objects, ".json"), instances),
    "csv": (partial(of_objects, ".csv"), tables),
}


def main(kind: str, folder: str, *options: Any) -> None:
    """Fuzz until libFuzzer ends."""
    target, seeds = KINDS[kind]
    warnings.simplefilter("ignore")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        Path(folder, f"seed{number}").write_bytes(seed)
    how = {"custom_mutator": changed_json} if kind in ("program", "json") else {}
    atheris.Setup([sys.argv[0], *options, folder], target, **how)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
