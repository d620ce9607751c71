"""What is read of COCO instances: sizes of images and of boxes. Needs msgspec."""

from __future__ import annotations

from pooling.extras import needing

with needing("cli", __name__):
    from msgspec import MsgspecError, Struct
    from msgspec.json import decode

__all__ = ["Annotation", "Image", "Instances", "MsgspecError", "instances"]


class Image(Struct, gc=False):
    """An image of the data set."""

    id: int | str
    width: float
    height: float


class Annotation(Struct, gc=False):
    """A box in an image: left, top, width and height in its pixels."""

    image_id: int | str
    bbox: tuple[float, float, float, float]
    iscrowd: int | bool = 0


class Instances(Struct):
    """A file of instances; other keys, such as outlines, are passed over unread."""

    annotations: list[Annotation]
    images: list[Image]


def instances(content: bytes) -> Instances:
    """Read a file.

    Raises
    ------
    MsgspecError, RecursionError, UnicodeDecodeError
        If it is none.
    """
    return decode(content, type=Instances)
