"""The cases of the conformance suite, drawn from the samples of each rule."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from pooling.errors import value_error

from ..inputs.case import Case
from ..rules import RULES
from ..rules.rule import Rule
from ..rules.samples import Samples

__all__ = ["conformance_suite"]


def conformance_suite(seed: int = 0, rules: Iterable[str] | None = None) -> tuple[Case, ...]:
    """Draw the cases of the conformance suite.

    Each case is about one rule, and its geometry brings no confounder (`Rule.confounder`) into play. The oracle's
    answer to each takes milliseconds.

    Parameters
    ----------
    seed : int
        The same seed draws the same cases; those of one rule do not depend on those of another.
    rules : iterable of str, optional
        Keys of `RULES`; all of them when not given.

    Returns
    -------
    tuple of Case
        With names that are unique, in the order of the rules.

    Raises
    ------
    ValueError
        If a rule is not known.

    Examples
    --------
    >>> cases = conformance_suite(rules=["ceil-last-window"])
    >>> cases[0].rules, len({case.name for case in cases}) == len(cases)
    (('ceil-last-window',), True)
    """
    wanted = list(RULES if rules is None else rules)
    for key in wanted:
        if key not in RULES:
            raise value_error(
                "conformance_suite", "is not known", f"use one of {', '.join(RULES)}", argument=("rules", key)
            )
    return tuple(case for key in wanted for case in cases_of(RULES[key], seed))


def cases_of(rule: Rule, seed: int = 0) -> Iterator[Case]:
    """Yield the cases of a rule, with a number at the end of names that would be the same."""
    confounders = {key: each.applies for key, each in {**RULES, rule.key: rule}.items() if each.confounder}
    random = np.random.default_rng((seed, zlib.crc32(rule.key.encode())))
    taken: dict[str, int] = {}
    for case in rule.samples(Samples(rule.key, random, confounders, rule.implies)):
        taken[case.name] = taken.get(case.name, 0) + 1
        yield replace(case, name=f"{case.name}-{taken[case.name]}") if taken[case.name] > 1 else case
