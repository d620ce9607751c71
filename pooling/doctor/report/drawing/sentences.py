"""What a drawing says: the sentence in large type, and what one cell sees."""

from __future__ import annotations

from itertools import pairwise

from pooling.reporting.formats import brief, by, cells, joined
from pooling.signs import printable

from ...analysis.tokens import embeds_patches
from .maps import DrawnMap, DrawnMaps, texts_of

__all__ = ["described", "field_sentence", "headline", "object_text", "subtitle"]

FRACTIONS = {0.5: "half a", 0.25: "a quarter of a", 0.125: "an eighth of a", 1.0: "one"}


def _object(maps: DrawnMaps) -> str:
    """Name the object."""
    size = maps.pyramid.object_size
    if len(size) > 1 and len(set(size)) > 1:
        return f"An object of {maps.examination.words.cells(size)}"
    digits = str(size[0])
    vowel = digits.startswith("8") or (digits.startswith(("11", "18")) and len(digits) % 3 == 2)
    words = maps.examination.words
    return f"{'An' if vowel else 'A'} {digits}-{words.cell} object{words.seconds(size)}"


def _cells(number: float, noun: str = "cell") -> str:
    if number in FRACTIONS:
        return f"{FRACTIONS[number]} {noun}"
    return f"{cells(number)} {noun}s" if number > 1 else f"{cells(number)} of a {noun}"


def _patches(maps: DrawnMaps, each: DrawnMap, first: str | None) -> bool:
    """Whether the stage from which on the object is small cuts the input into tokens, and belongs to a map."""
    return first is not None and first in each.stages and embeds_patches(maps.examination.network, first)


def object_text(each: DrawnMap) -> str:
    """Say how many cells the object covers at a map."""
    if not each.object_cells:
        return ""
    numbers = [cells(number) for number in each.object_cells]
    return f"{brief(numbers)} {'cell' if max(each.object_cells) <= 1 else 'cells'}"


def headline(maps: DrawnMaps) -> tuple[str, bool]:
    """Say what happens to the object, in one sentence without its full stop, and whether that is good."""
    name = _object(maps)
    followed = [each for each in maps.maps[1:] if each.object_cells]
    unknown = next((each for each in maps.maps if each.kind == "unknown"), None)
    small = name[0].lower() + name[1:]
    if set(maps.maps[0].size) == {1}:
        return "The input is a single cell: there is no detail that could be lost", True
    if unknown is not None and not (followed and maps.at_output):
        return f"What becomes of {small} cannot be told behind {unknown.label}, which is not known", False
    objects = maps.examination.objects
    if objects.unknown and not maps.at_output:
        # Of all outputs something is not known, though maybe not the shape of their maps.
        culprit = printable(maps.examination.network.stage(objects.unknown[0]).culprit)
        return f"What becomes of {small} cannot be told behind {culprit}, which was not followed", False
    if not followed:
        if maps.maps[-1].kind == "vector":
            return f"{name} is put together with all of the input at once: no map is left of it", False
        return f"What becomes of {small} cannot be told", False
    lost = next((each for each in followed if min(each.object_cells) < 1), None)
    best = min(maps.at_output or followed[-1].object_cells)
    # Behind the last weights only scores are sorted, boxes cut and the like.
    fine = unknown is None or not any(loss.weights for loss in maps.examination.network.losses)
    behind = "" if unknown is None else f"; what comes behind {unknown.label} is not known"
    if lost is not None and best < 1:
        where = f" at {lost.stride_text}" if lost.stride_text else ""
        if _patches(maps, lost, maps.examination.objects.below_one):
            part = _cells(min(lost.object_cells), "token")
            return (
                f"{name} is {part}{where}: it is kept inside one token, together with its surroundings{behind}",
                False,
            )
        return f"{name} is {_cells(min(lost.object_cells))}{where}: it is lost at {lost.label}{behind}", False
    if best < 2:
        tight = next((each for each in followed if min(each.object_cells) < 2), followed[-1])
        if _patches(maps, tight, maps.examination.objects.below_two):
            many = _cells(best, "token")
            return (
                f"{name} is {many} at {tight.stride_text}: these keep its detail as channels{behind}",
                fine,
            )
        return f"{name} is {_cells(best)} at {tight.stride_text}: it is seen there, but not its shape{behind}", False
    if lost is not None:
        small = f"{name} is {_cells(min(lost.object_cells))} at {lost.label}"
        return f"{small}, but {_kept(maps, best)}{behind}", fine
    least = cells(min(min(each.object_cells) for each in followed))
    known = "" if unknown is None else " that is known"
    return f"{name} keeps {least} cells or more at every map{known}{behind}", fine


def _kept(maps: DrawnMaps, best: float) -> str:
    """Say where the object is still to be seen."""
    heads = [each for each in maps.maps if each.flag and each.object_cells]
    finest = max(heads, key=lambda each: min(each.object_cells), default=None)
    if finest is not None and len(heads) > 1:
        return f"the output at {finest.stride_text} keeps {cells(best)} cells"
    if maps.skips and _rises(maps):
        return f"its skips bring back {cells(best)} cells at the output"
    return f"{cells(best)} cells where the output is read"


def _rises(maps: DrawnMaps) -> bool:
    """Whether maps become larger again."""
    sizes = [each.size for each in maps.maps if each.kind == "map"]
    return any(max(new) > 1.5 * max(old) for old, new in pairwise(sizes))


def field_sentence(maps: DrawnMaps) -> str:
    """Say what one cell of the last map sees."""
    each = maps.maps[maps.last] if maps.last > 0 else None
    if each is None or each.level is None:
        return ""
    sizes, pixels = maps.examination.network.spatial_sizes, each.level.field_size
    words = maps.examination.words
    unit, seconds = f"{words.cell}s", words.seconds(pixels)
    field = f"The receptive field of a cell of {each.label}"
    network = maps.examination.network
    fields = {stage.name: stage.receptive_field for stage in network.stages}
    of_all = any((seen := fields.get(name)) is not None and seen.context for name in each.stages)
    if of_all:
        return f"{field} is {by(pixels)} {unit}{seconds}; attention or a global branch adds the whole input to it"
    if all(seen >= size for seen, size in zip(pixels, sizes, strict=True)):
        return f"{field} is {by(pixels)} {unit}{seconds}: the whole input of {by(sizes)}"
    return f"{field} is {by(pixels)} of {by(sizes)} {unit}{seconds}"


def subtitle(maps: DrawnMaps) -> str:
    """Name the network and its input."""
    network, task = maps.examination.network, maps.examination.task
    return f"{printable(network.title)}, input {by(network.input_shape)}{f', for {task}' if task else ''}"


def described(maps: DrawnMaps) -> str:
    """Put the drawing into words, box by box."""
    told = [subtitle(maps), f"From the input on: {'; '.join(texts_of(maps.maps))}"]
    skips = [f"{maps.maps[skip.begin].label} to {maps.maps[skip.end].label}" for skip in maps.skips]
    told += [f"Skips: {joined(skips)}"] if skips else []
    return ". ".join(filter(None, [*told, field_sentence(maps)])) + "."
