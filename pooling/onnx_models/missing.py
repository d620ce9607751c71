"""What is said where a model is given that is no file, such as the name of a network that `pooling doctor` takes."""

from __future__ import annotations

import os
import re

__all__ = ["remedy_for_missing"]

FACTORY = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*):([A-Za-z_]\w*(?:\.\w+)*)")
SIZES = "torch.rand(1, 3, 224, 224)"


def remedy_for_missing(text: str) -> str:
    """Say how the network becomes a file whose name was given in place of one; empty where it is no such name.

    Examples
    --------
    >>> remedy_for_missing("timm:resnet18").partition(", ")[2].partition(" in Python")[0]
    "torch.onnx.export(timm.create_model('resnet18').eval(), (torch.rand(1, 3, 224, 224),), 'resnet18.onnx')"
    >>> remedy_for_missing("model.onnx")
    ''
    """
    library, sign, name = text.partition(":")
    if not sign or os.path.exists(text):
        return ""
    file = f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.onnx"
    if library == "ultralytics":
        how = f"ultralytics.YOLO({name!r}).export(format='onnx')"
    elif library == "timm" and name:
        how = _exported(f"timm.create_model({name!r})", file)
    elif library == "torchvision" and name:
        how = _exported(f"torchvision.models.get_model({name!r})", file)
    elif FACTORY.fullmatch(text):
        how = _exported(f"{name}()", file, "(inputs,)")
    else:
        return ""
    return (
        f"it is the name of a network and no file: export it first, {how} in Python; pooling doctor alone takes names"
    )


def _exported(module: str, file: str, inputs: str = f"({SIZES},)") -> str:
    return f"torch.onnx.export({module}.eval(), {inputs}, {file!r})"
