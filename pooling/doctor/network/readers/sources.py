"""Networks by name: of timm, torchvision and ultralytics, of a function that makes one, and exported programs.

Models are made under ``torch.device("meta")``, so that no weights are made or loaded; where a model works with its
weights while it is made, it is made on the CPU, with random ones.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pooling.signs import first_line

from ..graph import Graph
from ..network import NetworkError
from .files import EXPORTED, OF_ULTRALYTICS, PICKLES, about_file, about_missing, yaml_of

__all__ = ["LIBRARIES", "from_source", "is_source"]

InputShape = Sequence[int] | Mapping[str, Sequence[int]]
FACTORY = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*(\.\w+)*")
NEAR = 3
"""Names that are proposed for one that is not known."""


class Made(NamedTuple):
    """A module, and the input shape that belongs to it."""

    module: Any
    shape: tuple[int, ...] | None = None
    note: str = ""


def is_source(text: str) -> bool:
    """Whether a text names a network that is made or loaded here.

    Examples
    --------
    >>> is_source("timm:resnet50"), is_source("mypackage.models:build"), is_source("model.pt2")
    (True, True, True)
    >>> is_source("conv7x64/2p3@stem pool3/2p0:1")
    False
    """
    library = text.partition(":")[0]
    return (
        (library in LIBRARIES and ":" in text)
        or FACTORY.fullmatch(text) is not None
        or Path(text).suffix.lower() in (EXPORTED, *PICKLES)
    )


def from_source(text: str, input_shape: InputShape | None = None) -> Graph:
    """Make the network that a text names, and read it.

    Parameters
    ----------
    text : str
        ``timm:NAME``, ``torchvision:NAME``, ``ultralytics:NAME.yaml``, ``package.module:factory``, or the path of a
        program that ``torch.export.save`` wrote.
    input_shape : sequence of int, or mapping, optional
        Of the input, or of each input by name. By default what the library says of the model.

    Raises
    ------
    NetworkError
        If there is no such network, or if it cannot be made.
    """
    suffix = Path(text).suffix.lower()
    library, _, name = text.partition(":")
    if library not in LIBRARIES and suffix in PICKLES:
        raise NetworkError(about_file(text) or about_missing(text))
    if library in LIBRARIES and suffix in WEIGHT_FILES:
        raise NetworkError(_about_weights(library, Path(name)))
    torch = _needed("torch", text)
    if library in LIBRARIES:
        _needed(LIBRARIES[library].package, text)
        with _kept_print_options():
            made = LIBRARIES[library].make(torch, name)
    elif suffix == EXPORTED:
        from .exported import load

        made = Made(*load(text))
    else:
        with _kept_print_options():
            made = _of_factory(torch, library, name)
    from .module import from_module
    from .module.graph import completed_shape
    from .module.inputs import example_shape

    shape: InputShape | None = input_shape
    notes = []
    if shape is None and made.shape is not None:
        shape = made.shape
        origin = LIBRARIES[library].shape if library in LIBRARIES else ""
        notes.append(made.note or f"no input shape was given; {'x'.join(map(str, shape))} is {origin}")
    elif made.shape is not None and shape is not None and not isinstance(shape, Mapping):
        shape = completed_shape(shape, made.shape)
    if shape is None:
        example = example_shape(made.module)
        raise NetworkError(
            f"{text} says no input shape; give --input-shape {'x'.join(map(str, example))} (in Python: "
            f"input_shape={example}), or for several inputs --input NAME=1x3x224x224 for each"
        )
    return from_module(made.module, shape, name=text, notes=notes, made_for=made.shape)


WEIGHT_FILES = (*PICKLES, ".safetensors", ".onnx", EXPORTED)
"""Ends of names of files, which libraries make no networks of."""


def _about_weights(library: str, file: Path) -> str:
    """Say that a library was given a file, and the network that is probably in it."""
    said = f"{library}:{file} names a file, and networks of {library} are made without weights"
    if library == "ultralytics":
        if OF_ULTRALYTICS.fullmatch(file.stem):
            return f"{said}; give ultralytics:{yaml_of(file.stem)}"
        return f"{said}; give the configuration that it was trained from, such as ultralytics:yolov8n.yaml"
    return f"{said}; give {library}:{file.stem}"


def _needed(package: str, text: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        if (error.name or "").partition(".")[0] == package:
            raise NetworkError(f"{text} needs {package}; install it with pip install {package}") from error
        raise NetworkError(f"{text}: {package} cannot be imported ({first_line(error)})") from error
    except Exception as error:  # what a broken installation raises
        raise NetworkError(f"{text}: {package} cannot be imported ({first_line(error)})") from error


@contextmanager
def _kept_print_options() -> Iterator[None]:
    """Keep how arrays and tensors are printed, which a library may change when it is imported, as ultralytics does."""
    from torch._tensor_str import printoptions

    with np.printoptions(), printoptions():
        yield


def _without_weights(torch: Any, text: str, make: Callable[[], Any]) -> Any:
    """Make a module without weights; where that does not work, with random ones."""
    # What foreign code prints is none of the doctor's output, which may be JSON.
    with torch.random.fork_rng(devices=[]), redirect_stdout(sys.stderr):
        try:
            with torch.device("meta"):
                return make()
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException:  # whatever its code makes of tensors without data
            pass
        try:
            return make()
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:  # sys.exit in foreign code too
            raise NetworkError(f"{text} cannot be made: {type(error).__name__}: {first_line(error)}") from error


# ---------------------------------------------------------------------------------------------------------------------
# Libraries


def _timm(torch: Any, name: str) -> Made:
    import timm

    base = name.partition(".")[0]
    if not timm.is_model(base):
        raise _no_model("timm", name, timm.list_models())
    module = _without_weights(torch, f"timm:{name}", lambda: timm.create_model(name, pretrained=False))
    from .module.graph import configured_shape

    return Made(module, configured_shape(module))


def _torchvision(torch: Any, name: str) -> Made:
    from torchvision import models

    if name not in models.list_models():
        raise _no_model("torchvision", name, models.list_models())
    options: dict[str, Any] = {"weights": None}
    builder = models.get_model_builder(name)
    if "weights_backbone" in inspect.signature(builder).parameters:
        options["weights_backbone"] = None
    module = _without_weights(torch, f"torchvision:{name}", lambda: models.get_model(name, **options))
    return Made(module, _torchvision_shape(models, name, module))


def _torchvision_shape(models: Any, name: str, module: Any) -> tuple[int, ...] | None:
    """Return the size that the weights of torchvision were made for, or that a detector scales images to."""
    transform = getattr(module, "transform", None)
    for attribute in ("fixed_size", "min_size"):
        size = getattr(transform, attribute, None)
        if size:
            sizes = [int(each) for each in size]
            return (1, 3, *(sizes if attribute == "fixed_size" else [sizes[-1]] * 2))
    size = getattr(module, "image_size", None)  # of a transformer, which takes no other
    if isinstance(size, int):
        return 1, 3, size, size
    try:
        weights = list(models.get_model_weights(name))
        options = weights[0].transforms.keywords
    except (ValueError, AttributeError, IndexError):
        return None
    size = options.get("crop_size") or options.get("resize_size")
    if isinstance(size, int):
        return 1, 3, size, size
    if isinstance(size, (tuple, list)) and len(size) == 2:
        return 1, 3, VIDEO_FRAMES, int(size[0]), int(size[1])
    return None


VIDEO_FRAMES = 16
"""Frames of a clip, as the models of videos take them."""


def _ultralytics(torch: Any, name: str) -> Made:
    if Path(name).suffix not in (".yaml", ".yml"):
        meant = (
            f"ultralytics:{yaml_of(name)}" if OF_ULTRALYTICS.fullmatch(name) else "one such as ultralytics:yolov8n.yaml"
        )
        raise NetworkError(
            f"ultralytics:{name} is no configuration; give {meant}, of which the network is made without weights"
        )
    from ultralytics import RTDETR, YOLO
    from ultralytics.utils.checks import check_yaml

    try:
        path = check_yaml(name, hard=False)
    except Exception:
        path = ""
    if not path and not os.path.isfile(name):
        from ultralytics.cfg import __file__ as folder

        known = sorted(each.name for each in Path(folder).parent.joinpath("models").rglob("*.yaml"))
        stem = re.sub(r"(yolo(?:v\d+|\d+))[nslmx]", r"\1", name)
        if stem not in known:
            raise _no_model("ultralytics", name, known)
    maker, options = (RTDETR, {}) if "rtdetr" in name else (YOLO, {"verbose": False})
    module = _without_weights(torch, f"ultralytics:{name}", lambda: maker(name, **options).model)
    channels = int(getattr(module, "yaml", {}).get("channels", 3))
    size = 224 if type(module).__name__ == "ClassificationModel" else 640
    return Made(module, (1, channels, size, size))


class Library(NamedTuple):
    """A library that makes models by their names."""

    package: str
    make: Callable[[Any, str], Made]
    shape: str
    """What the input shape is that it says of a model."""


LIBRARIES = {
    "timm": Library("timm", _timm, "the size in timm's own configuration of it (pretrained_cfg)"),
    "torchvision": Library("torchvision", _torchvision, "the size that torchvision made it for"),
    "ultralytics": Library("ultralytics", _ultralytics, "the size that ultralytics trains it at by default"),
}


def _no_model(library: str, name: str, known: Sequence[str]) -> NetworkError:
    near = difflib.get_close_matches(name, known, NEAR, 0.5) or [each for each in known if name and name in each][:NEAR]
    proposed = " or ".join(f"{library}:{each}" for each in near)
    help_ = f"do you mean {proposed}?" if near else f"{library} has {len(known)} models, such as {library}:{known[0]}"
    return NetworkError(f"{library} has no model {name!r}; {help_}")


# ---------------------------------------------------------------------------------------------------------------------
# Functions that make a module


def _of_factory(torch: Any, package: str, name: str) -> Made:
    """Import what somebody wrote, from the current folder too, and call it."""
    text = f"{package}:{name}"
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        with redirect_stdout(sys.stderr):
            found = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if package.endswith(".py") and Path(package).is_file():
            file = Path(package)
            where = "" if file.parent == Path(".") else f", in its folder {file.parent}"
            raise NetworkError(f"{text}: {package} is a file; give its module, {file.stem}:{name}{where}") from error
        if error.name and (package == error.name or package.startswith(f"{error.name}.")):
            raise NetworkError(
                f"{text}: there is no module {error.name!r}; it must be installed, or lie in the current folder"
            ) from error
        raise NetworkError(f"{text}: importing {package} needs {error.name}, which is not installed") from error
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # it is foreign code, which may call sys.exit too
        raise NetworkError(f"{text}: importing {package} raises {type(error).__name__}: {first_line(error)}") from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
    for part in name.split("."):
        if not hasattr(found, part):
            names = [each for each in vars(found) if not each.startswith("_")] if hasattr(found, "__dict__") else []
            near = difflib.get_close_matches(part, names, NEAR, 0.5)
            made = [each for each in names if _is_of(found, each, package)]
            others = near or made[:NEAR]
            asked = f"; do you mean {' or '.join(others)}?" if others else "; give one of its functions or classes"
            raise NetworkError(f"{text}: {package} has no {name!r}{asked}")
        found = getattr(found, part)
    if isinstance(found, torch.nn.Module):
        return Made(found)
    if not callable(found):
        raise NetworkError(f"{text} is of type {type(found).__name__}; it must be a torch.nn.Module or make one")
    required = _required(found)
    if required:
        raise NetworkError(
            f"{text} needs arguments ({', '.join(required)}); give a function without any that calls it, such as "
            f"def build(): return {name}(...)"
        )
    module = _without_weights(torch, text, found)
    if not isinstance(module, torch.nn.Module):
        raise NetworkError(f"{text} returns an object of type {type(module).__name__}; it must make a torch.nn.Module")
    return Made(module)


def _is_of(found: Any, name: str, package: str) -> bool:
    """Whether a module of Python has a function or class of that name which it defines itself."""
    each = getattr(found, name, None)
    return callable(each) and getattr(each, "__module__", None) == package


def _required(factory: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (ValueError, TypeError):  # of what is written in C
        return []
    positional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in positional]
