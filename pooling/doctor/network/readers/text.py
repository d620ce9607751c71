r"""Networks from layers as text.

A list has one word for each layer, first layer first::

    conv7x64/2p3 pool3/2p1 conv3 conv3/2x128 conv3+conv2 avgpool2 global fc1000

===========================  ======================================================================================
``conv3``                    convolution with a 3 x 3 kernel, 3 or 3 x 3 x 3 on one or three spatial axes
``dwconv3``                  depthwise: as many groups as channels
``deconv4/2p1``              transposed convolution
``pool3`` or ``maxpool3``    max pooling; ``avgpool``, ``minpool``, ``lppool``, ``blurpool``, ``maxblurpool`` alike
``global`` or ``gap``        global average pooling; ``globalmax``
``adaptive7``                adaptive average pooling to 7 x 7; ``adaptivemax7``
``up2``                      resize by 2, nearest; ``bilinear2``
``shuffle2``                 pixel shuffle (DepthToSpace); ``unshuffle2`` is SpaceToDepth, patches of 2 x 2
``pad1``                     padding with zeros
``fc1000``                   flatten and dense layer with 1000 results; ``flatten``
``relu``, ``bn`` ...         ``dropout``, ``gelu``, ``lrn``, ``sigmoid``, ``softmax``, ``tanh``
``add+a``, ``cat|a``         nothing but a merge, see below
===========================  ======================================================================================

Behind that, in any order and without a space:

============  =====================================================================================================
``/2``        stride; 1 for convolutions, the kernel size for poolings
``p1``        padding, ``p0:1`` at begin and end, ``psame``, ``psame_lower``, ``pvalid``. Without it a convolution is
              padded by half of what dilation makes of its kernel, ``(d * (k - 1)) // 2``, all others by nothing
``d2``        dilation
``c``         ceil_mode of a pooling
``x64``       channels of the result; without it they stay
``g32``       groups
``o1``        output padding of a transposed convolution
``<a``        reads from the layer named a instead of the one before; ``input`` is the network's input
``+a``        then adds what the layer named a gives
``|a``        then concatenates it along the channels; ``|a|b`` concatenates three
``@a``        name of the result; without it layers are ``conv1``, ``conv2``, ``pool1``, ... ``add1``, ``cat1``
============  =====================================================================================================

Kernel, stride, padding and dilation take one number, or one for each axis: ``conv1,7``, ``p0,3``. Convolutions
and dense layers have a bias.

Layers of this package may also be given as they are written in Python, ``MaxPool2d(3, stride=2, padding=1)``, each on a
line of its own; see `pooling.layer_text`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pooling
from pooling.errors import recast, refused
from pooling.layer import Layer, Sequential
from pooling.layer_text import has_calls, layers_from_text
from pooling.signs import short_repr

from ...operators.common import spread
from ...operators.nodes import Node, OperatorError, Shape
from ..graph import Graph
from ..network import NetworkError
from .layers import INPUT, OPERATORS, USUAL, from_sequential

__all__ = ["EXAMPLE", "from_text", "poolings_from_text"]

POOLINGS = {
    "pool": "MaxPool",
    "maxpool": "MaxPool",
    "avgpool": "AvgPool",
    "minpool": "MinPool",
    "lppool": "LPPool",
    "blurpool": "BlurPool",
    "maxblurpool": "MaxBlurPool",
}
GLOBALS = {"global": "GlobalAvgPool", "gap": "GlobalAvgPool", "globalmax": "GlobalMaxPool"}
ADAPTIVE = {"adaptive": "AdaptiveAvgPool", "adaptivemax": "AdaptiveMaxPool"}
CONVOLUTIONS = {"conv": "Conv", "dwconv": "Conv", "deconv": "ConvTranspose"}
RESIZES = {"up": "nearest", "bilinear": "linear"}
BLOCKS = {"shuffle": "DepthToSpace", "unshuffle": "SpaceToDepth"}
CELL_BY_CELL = {
    "relu": "Relu",
    "bn": "BatchNormalization",
    "dropout": "Dropout",
    "gelu": "Gelu",
    "lrn": "LRN",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "tanh": "Tanh",
}
MERGES = ("add", "cat")
WORDS = (
    *CONVOLUTIONS,
    *POOLINGS,
    *GLOBALS,
    *ADAPTIVE,
    *RESIZES,
    *BLOCKS,
    "pad",
    "fc",
    "flatten",
    *CELL_BY_CELL,
    *MERGES,
)

NUMBERS = r"\d+(?:,\d+)*"
PADS = r"\d+(?::\d+)?(?:,\d+(?::\d+)?)*"
PARTS = re.compile(
    rf"/(?P<stride>{NUMBERS})|p(?P<padding>same_lower|same_upper|same|valid|{PADS})|d(?P<dilation>{NUMBERS})"
    r"|(?P<ceil>c)|x(?P<channels>\d+)|g(?P<groups>\d+)|o(?P<output_padding>\d+)"
)
HEAD = re.compile(rf"(?P<word>{'|'.join(sorted(WORDS, key=len, reverse=True))})(?P<size>{PADS})?")
REFERENCE = re.compile(r"([<+|@])([^<+|@\s]+)")

ALLOWED = {
    **{key: {"stride", "padding", "dilation", "channels", "groups"} for key in ("conv",)},
    "dwconv": {"stride", "padding", "dilation"},
    "deconv": {"stride", "padding", "dilation", "channels", "groups", "output_padding"},
    **{key: {"stride", "padding", "dilation", "ceil"} for key in ("pool", "maxpool", "minpool", "avgpool", "lppool")},
    "blurpool": {"stride", "padding"},
    "maxblurpool": {"stride", "padding"},
}
"""What may stand behind a word, beside references."""
EXAMPLE = (
    "write a layer as conv7x64/2p3@stem or pool3/2p1c: a word and its kernel, then xchannels, /stride, ppadding, "
    "ddilation, c for ceil_mode, and last @name, +name or |name"
)
"""How a layer is written, in one line for error sentences."""
SIZED = {*CONVOLUTIONS, *POOLINGS, *ADAPTIVE, *RESIZES, *BLOCKS, "pad", "fc"}
"""Words that need a number."""


def from_text(text: str, input_shape: Sequence[int] | None = None) -> Graph:
    """Read a list of layers as text, as the module describes it.

    Examples
    --------
    >>> network = from_text("conv3x16@a relu conv3+a pool2").infer((1, 3, 32, 32))
    >>> [(stage.name, stage.inputs) for stage in network.stages]
    [('a', ('input',)), ('relu1', ('a',)), ('conv1', ('relu1',)), ('add1', ('conv1', 'a')), ('pool1', ('add1',))]
    """
    if has_calls(text):
        try:
            return from_sequential(Sequential(*layers_from_text(text)), input_shape)
        except (TypeError, ValueError) as error:
            raise recast(NetworkError, error) from error
    builder = _built(text)
    return Graph("layers", INPUT, tuple(builder.nodes), {}, builder.leaves(), usual=USUAL[:4])


def poolings_from_text(text: str, dimensions: int) -> list[Layer]:
    """Read a list of layers that is a chain of poolings, and return these.

    Parameters
    ----------
    text : str
        As `from_text` reads it.
    dimensions : int
        Spatial axes, for words, which do not say how many they are for.

    Raises
    ------
    ValueError
        If the list cannot be read, or anything in it is no pooling or reads from somewhere else.

    Examples
    --------
    >>> poolings_from_text("pool3/2p1 avgpool2", 2)
    [MaxPool2d(kernel_size=3, stride=2, padding=1), AvgPool2d(kernel_size=2)]
    """
    if has_calls(text):
        return layers_from_text(text)
    layers, before = [], INPUT
    for node in _built(text).nodes:
        if node.layer is None:
            raise refused(NetworkError, "layers", f"{node.name!r} is {node.operator}", "give poolings only")
        if node.inputs != (before,):
            raise refused(
                NetworkError, "layers", f"{node.name!r} reads from {node.inputs[0]!r}", "give layers one after another"
            )
        layers.append(node.layer((1,) * (2 + dimensions)))
        before = node.name
    return layers


def _built(text: str) -> _Builder:
    words = text.split()
    if not words:
        raise refused(
            NetworkError,
            "layers",
            "the list is empty",
            'write one word for each layer, such as "conv7/2p3 pool3/2p1 fc10"',
        )
    builder = _Builder()
    for number, word in enumerate(words, start=1):
        builder.add(word, f"{short_repr(word)} (word {number})")
    return builder


class _Builder:
    """The layers so far."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._last = INPUT
        self._counts: dict[str, int] = {}
        self._names = {INPUT}

    def leaves(self) -> tuple[str, ...]:
        """Return the results that nothing reads."""
        read = {name for node in self.nodes for name in node.inputs}
        return tuple(node.name for node in self.nodes if node.name not in read)

    def add(self, text: str, where: str) -> None:
        head = HEAD.match(text)
        if head is None:
            raise refused(
                NetworkError,
                "layers",
                f"{where} is no layer; known are {', '.join(WORDS)}, and there is no model of that name",
                f"{EXAMPLE}; a model of a library as timm:resnet50",
            )
        word, size = head["word"], head["size"]
        found, position = {}, head.end()
        while part := PARTS.match(text, position):
            assert part.lastgroup is not None
            if part.lastgroup in found:
                raise refused(NetworkError, "layers", f"{where} gives its {part.lastgroup} twice", "keep one")
            if part.lastgroup not in ALLOWED.get(word, set()):
                raise refused(
                    NetworkError,
                    "layers",
                    f"{where} gives a {part.lastgroup}, which {word} does not have",
                    f"leave out {part[0]!r}",
                )
            found[part.lastgroup] = part[part.lastgroup]
            position = part.end()
        references = REFERENCE.findall(text[position:])
        if "".join(sign + name for sign, name in references) != text[position:]:
            raise refused(NetworkError, "layers", f"{where} is not understood from {text[position:]!r} on", EXAMPLE)
        if (size is None) == (word in SIZED):
            raise refused(
                NetworkError, "layers", f"{where} must {'have' if size is None else 'not have'} a number behind {word}"
            )
        if (":" in (size or "") and word != "pad") or ("," in (size or "") and word in ("fc", *BLOCKS)):
            raise refused(
                NetworkError,
                "layers",
                f"{where} has {size!r} behind {word}",
                f"give {'one number' if word in ('fc', *BLOCKS) else 'numbers'}",
            )
        self._place(word, size, found, references, where)

    def _place(
        self, word: str, size: str | None, found: dict[str, str], references: list[tuple[str, str]], where: str
    ) -> None:
        names = [name for sign, name in references if sign == "@"]
        sources = [name for sign, name in references if sign == "<"]
        if len(names) > 1 or len(sources) > 1:
            raise refused(
                NetworkError,
                "layers",
                f"{where} gives {'two names' if len(names) > 1 else 'two layers to read from'}",
                "keep one",
            )
        for sign, name in references:
            if sign != "@" and name not in self._names:
                raise refused(
                    NetworkError,
                    "layers",
                    f"{where} refers to {name!r}, which no layer before it has as its name",
                    f"write @{name} there",
                )
        if names and names[0] in self._names:
            raise refused(
                NetworkError, "layers", f"{where} gives the name {names[0]!r}, which is taken", "choose another"
            )
        source = sources[0] if sources else self._last
        merges: list[tuple[str, list[str]]] = []
        for sign, name in references:
            if sign == "|" and merges and merges[-1][0] == "|":
                merges[-1][1].append(name)
            elif sign in "+|":
                merges.append((sign, [name]))
        if word in MERGES:
            if not merges:
                raise refused(
                    NetworkError,
                    "layers",
                    f"{where} merges nothing",
                    f"write {'add+name' if word == 'add' else 'cat|name'}",
                )
            self._last = source
        else:
            title = names[0] if names and not merges else self._numbered(word)
            try:
                self._append(title, source, *_node(word, size, found))
            except ValueError as error:
                raise refused(NetworkError, "layers", f"{where}: {error}") from error
        for number, (sign, others) in enumerate(merges, start=1):
            title = names[0] if names and number == len(merges) else self._numbered("add" if sign == "+" else "cat")
            node = Node(
                title,
                "Add" if sign == "+" else "Concat",
                (self._last, *others),
                (title,),
                {"axis": 1} if sign == "|" else {},
                NEWEST,
            )
            self._keep(node)

    def _append(
        self, title: str, source: str, operator: str, attributes: dict[str, Any], changes: dict[str, Any], layer: Any
    ) -> None:
        self._keep(Node(title, operator, (source,), (title,), attributes, NEWEST, layer, changes=changes))

    def _keep(self, node: Node) -> None:
        self.nodes.append(node)
        self._names.add(node.name)
        self._last = node.name

    def _numbered(self, word: str) -> str:
        while True:
            self._counts[word] = self._counts.get(word, 0) + 1
            name = f"{word}{self._counts[word]}"
            if name not in self._names:
                return name


NEWEST = 22
"""The version of the operators that lists of layers are made of."""


def _numbers(text: str) -> int | tuple[int, ...]:
    numbers = tuple(map(int, text.split(",")))
    return numbers[0] if len(numbers) == 1 else numbers


def _padding(text: str) -> Any:
    """Return a padding as the functions of this package take it; a pair for all axes is one pair in a tuple."""
    if not text[0].isdigit():
        return text
    if ":" not in text:
        return _numbers(text)
    ends = [tuple(map(int, part.split(":"))) for part in text.split(",")]
    return tuple((pair[0], pair[-1]) for pair in ends)


def _node(word: str, size: str | None, found: dict[str, str]) -> tuple[str, dict[str, Any], dict[str, Any], Any]:
    """Return operator, attributes, arguments and layer of a word."""
    arguments: dict[str, Any] = {name: _numbers(found[name]) for name in ("stride", "dilation") if name in found}
    if "padding" in found:
        arguments["padding"] = _padding(found["padding"])
    if "ceil" in found:
        arguments["ceil_mode"] = True
    if word in CONVOLUTIONS:
        arguments["kernel_size"] = _numbers(size or "")
        attributes: dict[str, Any] = {
            "out_channels": int(found.get("channels", 0)),
            "group": int(found.get("groups", 1)),
        }
        if found.get("channels") == "0":
            raise ValueError("x0 leaves no channels; use at least 1")
        if word == "dwconv":
            attributes["group"] = 0
        if "output_padding" in found:
            attributes["output_padding"] = int(found["output_padding"])
        return CONVOLUTIONS[word], attributes, arguments, None
    if word in POOLINGS:
        arguments["kernel_size"] = _numbers(size or "")
        return _layer(POOLINGS[word], {"norm_type": 2, **arguments} if word == "lppool" else arguments)
    if word in GLOBALS:
        return _layer(GLOBALS[word], {})
    if word in ADAPTIVE:
        return _layer(ADAPTIVE[word], {"output_size": _numbers(size or "")})
    if word in RESIZES:
        place = "asymmetric" if word == "up" else "half_pixel"
        attributes = {
            "factor": _numbers(size or ""),
            "mode": RESIZES[word],
            "coordinate_transformation_mode": place,
            "nearest_mode": "floor",
        }
        return "Resize", attributes, {}, None
    if word in BLOCKS:
        return BLOCKS[word], {"blocksize": int(size or "")}, {}, None
    if word == "pad":
        return "Pad", {"padding": _padding(size or "")}, {}, None
    if word == "fc":
        return "Gemm", {"out_channels": int(size or "")}, {}, None
    return CELL_BY_CELL.get(word, "Flatten"), {}, {}, None


def _layer(kind: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any], Any]:
    known = {count: getattr(pooling, f"{kind}{count}d", None) for count in (1, 2, 3)}

    def layer(shape: Shape) -> Layer:
        count = len(shape) - 2
        kind_of_layer = known.get(count)
        if kind_of_layer is None:
            raise OperatorError(f"its input has shape {shape}; there is no {kind} for {max(count, 0)} spatial axes")
        given = dict(arguments)
        if "padding" in given:
            given["padding"] = spread(given["padding"], count)
        result: Layer = kind_of_layer(**given)
        return result

    return OPERATORS.get(kind, kind), {}, {}, layer
