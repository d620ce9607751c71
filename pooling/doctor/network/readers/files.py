"""Files that hold no network which can be read: what they are, told from their first bytes, and what to give instead.

Nothing in a file is run or unpickled for that; of a pickle, only the names of what it would import are read.
"""

from __future__ import annotations

import difflib
import os
import pickletools
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["EXPORTED", "OF_ULTRALYTICS", "PICKLES", "about_file", "about_folder", "about_missing", "yaml_of"]

EXPORTED = ".pt2"
PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".bin", ".torchscript")
"""Files of torch that are pickles, or programs of TorchScript."""
NEAR = 3
"""Names that are proposed."""
LONGEST_PICKLE = 2**22
"""Bytes of a pickle that are looked through."""
FIRST_BYTES = 512

FACTORY = "give the function that makes the module, package.module:factory; weights are not needed"
SAVED = f"{FACTORY}; or save the module with torch.export.save (model.pt2) or torch.onnx.export (model.onnx)"
TENSORFLOW = "convert it with tf2onnx: python -m tf2onnx.convert"
KERAS = 'write it as ONNX from Keras: model.export("model.onnx", format="onnx")'
WEIGHTS = "holds weights by name (a state dict), and nothing of how layers are connected"
RUNS_CODE = "runs code of whoever wrote it when it is loaded; it is not loaded"

PICTURE = ("is a picture and no network", "it is given as --image, beside a network")
PACKED = ("is packed", "unpack it first, and give the model in it")
BEGINNINGS: tuple[tuple[int, bytes, tuple[str, str]], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", ("is a file of Keras (HDF5)", KERAS)),
    (4, b"TFL3", ("is a model of TensorFlow Lite", f"{TENSORFLOW} --tflite {{path}} --output model.onnx")),
    (4, b"ORTM", ("is a model in the format of ONNX Runtime (ORT)", "give the ONNX model that it was made from")),
    (0, b"GGUF", ("is a file of weights (GGUF)", FACTORY)),
    (0, b"\x93NUMPY", ("is an array of NumPy", FACTORY)),
    (0, b"\x1f\x8b", PACKED),
    (0, b"\xfd7zXZ", PACKED),
    (0, b"\x28\xb5\x2f\xfd", PACKED),
    (0, b"7z\xbc\xaf", PACKED),
    (0, b"\x89PNG", PICTURE),
    (0, b"\xff\xd8\xff", PICTURE),
    (0, b"GIF8", PICTURE),
    (0, b"BM", PICTURE),
    (0, b"II*\x00", PICTURE),
    (0, b"MM\x00*", PICTURE),
    (8, b"WEBP", PICTURE),
)
"""Where bytes stand, the bytes, what a file is that has them there, and what to do."""
ENDINGS: dict[str, tuple[str, str]] = {
    **dict.fromkeys((".h5", ".hdf5", ".keras"), ("is a file of Keras", KERAS)),
    ".pb": (
        "is a graph of TensorFlow",
        f"{TENSORFLOW} --graphdef {{path}} --output model.onnx --inputs ... --outputs ...",
    ),
    ".tflite": ("is a model of TensorFlow Lite", f"{TENSORFLOW} --tflite {{path}} --output model.onnx"),
    ".safetensors": (WEIGHTS, FACTORY),
    **dict.fromkeys(
        (".mlmodel", ".mlpackage"), ("is a model of Core ML", "give the module or the ONNX model that it was made from")
    ),
    **dict.fromkeys(
        (".engine", ".plan", ".trt"),
        ("is an engine of TensorRT", "give the ONNX model that it was built from"),
    ),
    **dict.fromkeys((".pdmodel", ".pdparams"), ("is a file of PaddlePaddle", "write it as ONNX with paddle2onnx")),
    ".xml": ("is no ONNX model", "of a model of OpenVINO (IR), give the model that it was converted from"),
    ".py": ("is source code", "give the function in it that makes the module: {stem}:FUNCTION"),
    **dict.fromkeys(
        (".yaml", ".yml"),
        ("is a configuration", "one of ultralytics is given as ultralytics:{path}"),
    ),
    **dict.fromkeys((".txt", ".json", ".md"), ("is text", "a list of layers is given as --layers {path}")),
}
"""What files are by the ends of their names, where their bytes do not tell."""


def about_file(path: str | os.PathLike[str]) -> str:
    """Say what a file is that is no ONNX model, and what to give instead; empty where it may be one.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "photo.png"
    >>> _ = path.write_bytes(bytes.fromhex("89504e470d0a1a0a"))
    >>> about_file(path).replace(str(path), "photo.png")
    'photo.png is a picture and no network; it is given as --image, beside a network'
    """
    path = Path(path)
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            begin = file.read(FIRST_BYTES)
    except OSError:
        return ""  # who reads it says so
    found = next((known for at, sign, known in BEGINNINGS if begin[at : at + len(sign)] == sign), None)
    if found is None and begin[:4] == b"PK\x03\x04":
        found = _archive(path)
    if found is None and begin[:1] == b"\x80":  # the first byte of every pickle since Python 2.3
        found = _pickle(_names_in(path), path)
    if found is None and suffix in PICKLES:
        found = "holds no network that can be read", SAVED
    if found is None and begin[8:10] == b'{"' and not any(begin[4:8]):
        found = ENDINGS[".safetensors"]
    found = found or ENDINGS.get(suffix)
    if found is None:
        return ""
    what, remedy = found
    return f"{path} {what}; {remedy.format(path=path, stem=path.stem)}"


def about_folder(path: str | os.PathLike[str]) -> str:
    """Say which models a folder holds, and how one of them is given."""
    path = Path(path)
    try:
        names = sorted(each.name for each in path.iterdir())
    except OSError as error:
        return f"{path} cannot be read ({error.strerror or error})"
    if "saved_model.pb" in names:
        return f"{path} is a model of TensorFlow; {TENSORFLOW} --saved-model {path} --output model.onnx"
    models = [name for name in names if Path(name).suffix.lower() in (".onnx", EXPORTED)]
    if models:
        shown = " or ".join(str(path / name) for name in models[:NEAR])
        more = f" (it holds {len(models)} models)" if len(models) > NEAR else ""
        return f"{path} is a folder; give a model in it: {shown}{more}"
    weights = next((name for name in names if Path(name).suffix.lower() in (".safetensors", *PICKLES)), "")
    if weights:
        return f"{path} is a folder with weights ({weights}) and no model; {FACTORY}"
    return f"{path} is a folder, and no model (.onnx, .pt2) is in it; give the path of one"


def about_missing(text: str) -> str:
    """Say that there is no such file, and what was probably meant."""
    said = f"there is no file {text!r}"
    if re.match(r"(dw|de)?conv\d|(max|avg)?pool\d", text):
        return f'{said}; a list of layers is given as --layers "{text}"'
    path = Path(text)
    names: list[str] = []
    with suppress(OSError, ValueError):
        names = [each.name for each in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, names, NEAR, 0.7)
    if near:
        return f"{said}; do you mean {' or '.join(str(path.parent / name) for name in near)}?"
    if path.suffix in PICKLES and OF_ULTRALYTICS.fullmatch(path.stem):
        return f"{said}; {_without_weights(path)}"
    library, _, name = text.partition("/")
    if text in ("timm", "torchvision", "ultralytics"):
        return f"{said}; a model of {text} is given as {text}:NAME"
    if library in ("timm", "torchvision", "ultralytics") and re.fullmatch(r"[\w.]+", name):
        return f"{said}; a model of a library is given as {library}:{name}"
    if re.fullmatch(r"[A-Za-z]\w*", text):
        return (
            f"{said}; a model of a library is given as timm:{text} or torchvision:{text}, a module as package:function"
        )
    if path.suffix:
        return f"{said} in {path.parent.absolute()}; give the path of a model that is there"
    return f"{said}; give the path of a model, or the name of one, such as timm:resnet50"


# ---------------------------------------------------------------------------------------------------------------------
# Archives and pickles


def _archive(path: Path) -> tuple[str, str] | None:
    """Tell what a zip archive is by the names in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            ends = {name.rpartition("/")[2] for name in names}
            if any("/code/" in name for name in names):
                return f"is a TorchScript archive, which {RUNS_CODE}", SAVED
            data = next((name for name in names if name.endswith("data.pkl")), None)
            if data is not None:
                with archive.open(data) as file:
                    return _pickle(list(_imported(file.read(LONGEST_PICKLE))), path)
    except Exception:  # zipfile lets those of its decompressors through
        return None
    if "archive_format" in ends or "serialized_exported_program.json" in ends:
        return "is a program of torch.export", "give it a name that ends in .pt2"
    if "model.weights.h5" in ends:
        return ENDINGS[".keras"]
    if all(name.endswith(".npy") for name in ends):
        return "is an archive of NumPy arrays", FACTORY
    return PACKED


def _pickle(imports: list[str] | None, path: Path) -> tuple[str, str]:
    """Tell what a pickle of torch is by what it would import."""
    remedy = _without_weights(path) if OF_ULTRALYTICS.fullmatch(path.stem) else ""
    if imports and all(_is_of_weights(each) for each in imports):
        return WEIGHTS, remedy or FACTORY
    return f"is a pickle or a TorchScript archive, which {RUNS_CODE}", remedy or SAVED


OF_ULTRALYTICS = re.compile(r"(?:yolo|rtdetr)[\w-]*", re.IGNORECASE)
"""What files of ultralytics are called."""


def _without_weights(path: Path) -> str:
    """Name the network of a file of ultralytics."""
    return f"its network without weights is ultralytics:{yaml_of(path.stem)}"


def yaml_of(name: str) -> str:
    """Return the configuration of a network of ultralytics.

    Examples
    --------
    >>> yaml_of("yolov8n-seg"), yaml_of("yolov5nu")
    ('yolov8n-seg.yaml', 'yolov5n.yaml')
    """
    # Newer weights of older networks are called so.
    stem = re.sub(r"(yolov[35].*)u$", r"\1", name.lower())
    return f"{stem}.yaml"


WEIGHT_PARTS = re.compile(
    r"torch\._utils _rebuild_\w+|torch \w*(Storage|Size)|collections OrderedDict|torch\.storage .*"
)


def _is_of_weights(name: str) -> bool:
    return WEIGHT_PARTS.fullmatch(name) is not None


def _names_in(path: Path) -> list[str] | None:
    try:
        with path.open("rb") as file:
            return list(_imported(file.read(LONGEST_PICKLE)))
    except OSError:
        return None


def _imported(data: bytes) -> Iterator[str]:
    """Yield what a pickle would import, ``"module name"`` each, as far as it can be told without running it."""
    strings: list[str] = []
    with suppress(Exception):  # it is cut, or it is none
        for operation, argument, _ in pickletools.genops(data):
            if operation.name == "GLOBAL":
                yield str(argument)
            elif operation.name == "STACK_GLOBAL":
                yield " ".join(strings[-2:])
            elif isinstance(argument, str):
                strings.append(argument)
