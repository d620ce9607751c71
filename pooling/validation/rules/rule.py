"""A rule is one record: what it says, where it applies, how a breach of it looks, and the cases that test it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from ..inputs.case import Case
from .evidence import Cell, Evidence, Setting
from .samples import Samples

__all__ = ["OWN", "EachCell", "NoAnswer", "OfGradient", "Rule", "Strength", "WholeAnswer", "onnx_text", "torch_text"]

OWN = "this library, where ONNX is silent"
"""The source of what no other text settles."""


def onnx_text(operator: str, since: int | None = None) -> str:
    """Name the text of an ONNX operator as a source, with its address."""
    version = "" if since is None else f"-{since}"
    return f"ONNX {operator}{version}, https://onnx.ai/onnx/operators/onnx__{operator}.html"


def torch_text(function: str) -> str:
    """Name the text of a function of torch as a source, with its address."""
    return f"torch, https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.{function}.html"


class Strength(IntEnum):
    """How surely a sign tells its rule from others: the strongest are looked for first, then the earlier rule's."""

    CERTAIN = 0
    SPECIFIC = 1
    GENERAL = 2
    LAST_RESORT = 3


@dataclass(frozen=True)
class NoAnswer:
    """How a breach looks where a runtime has no answer, or has one where there is none to give."""

    shows: Callable[[Evidence], bool]
    """Whether the evidence shows it."""
    strength: Strength = Strength.SPECIFIC
    """How surely."""


@dataclass(frozen=True)
class WholeAnswer:
    """How a breach looks in an answer as a whole, shape and all; with the attributes of `NoAnswer`."""

    shows: Callable[[Evidence], bool]
    strength: Strength = Strength.SPECIFIC


@dataclass(frozen=True)
class EachCell:
    """How a breach looks in a cell that differs."""

    shows: Callable[[Evidence, Cell, Any, Any], bool]
    """Takes the evidence, a cell, the number expected there and the one that was found."""
    strength: Strength = Strength.SPECIFIC
    """How surely."""


@dataclass(frozen=True)
class OfGradient:
    """How a breach looks in a gradient; with the attributes of `NoAnswer`."""

    shows: Callable[[Evidence], bool]
    strength: Strength = Strength.SPECIFIC


def _never(setting: Setting) -> bool:
    return False


@dataclass(frozen=True)
class Rule:
    """A rule that runtimes break or may break."""

    key: str
    """Its name."""
    title: str
    """A few words."""
    text: str
    """The rule in a sentence."""
    source: str
    """Where it stands, with an address where there is one."""
    samples: Callable[[Samples], Iterator[Case]] = field(repr=False, compare=False)
    """Yields the cases of the conformance suite that test it."""
    applies: Callable[[Setting], bool] = field(default=_never, repr=False, compare=False)
    """Whether it applies to a node's attributes and shape. Rules about numbers alone never do, since they would apply
    to every node of their operator; the cases that have such numbers name them."""
    diagnose: tuple[NoAnswer | WholeAnswer | EachCell | OfGradient, ...] = field(default=(), repr=False, compare=False)
    """How a breach of it looks; nothing is attributed to a rule without any."""
    remedy: str = ""
    """What to write instead in a model that has to give the same in every runtime."""
    confounder: bool = False
    """Whether samples of other rules must not bring it into play, unless they are about a rule that implies it."""
    implies: tuple[str, ...] = ()
    """Keys of confounders that samples of this rule cannot be without, or need not be."""
