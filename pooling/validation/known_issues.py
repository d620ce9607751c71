"""What is known of released runtimes (``known_issues.toml``), read and checked, and whether it is still so."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.onnx_models.making import check_whole, newest_opset

from .inputs.case import Case, make_case
from .rules import RULES, broken_rule
from .runners import RUNTIMES, installed
from .runners.processes import Limits, run_cases
from .runners.results import Result
from .verdicts import Kind, Verdict, judge

__all__ = [
    "KNOWN_ISSUES",
    "REPOSITORIES",
    "KnownIssue",
    "Recheck",
    "address",
    "issues_of",
    "read_issues",
    "recheck_known_issues",
    "upstream_of",
]

Numbers = NDArray[Any]
SOON = Limits(seconds=20)
"""What a case this small may take."""
FIELDS: Mapping[str, type] = {
    "rule": str,
    "runtime": str,
    "kind": str,
    "finding": str,
    "operator": str,
    "inputs": list,
    "attributes": dict,
    "opset": int,
    "outputs": int,
    "versions": list,
    "upstream": list,
    "gradient": dict,
}
"""Of an entry; the first six have to be there."""
REQUIRED = 6
TABLES: Mapping[str, tuple[type, type, str]] = {
    "repositories": (dict, str, "a table of names"),
    "measured": (dict, list, "a table of lists of versions"),
    "issue": (list, dict, "a list of tables, each with the head [[issue]]"),
}
"""What the file may have at its top, what that must be, and what is in it."""
INPUT_FIELDS = frozenset({"values", "shape", "count_from", "times", "fill", "dtype"})


@dataclass(frozen=True)
class KnownIssue:
    """A difference that was seen."""

    rule: str
    """The key of the rule that is broken, of `pooling.validation.rules.RULES`."""
    runtime: str
    """Who breaks it, a key of `pooling.validation.runners.RUNTIMES`."""
    kind: Kind
    """How: `Kind.REFUSES` for what it does not take, `Kind.CRASHES` where it ends the process."""
    finding: str
    """What was measured."""
    operator: str
    inputs: Sequence[Mapping[str, Any]]
    attributes: Mapping[str, Any]
    opset: int
    outputs: int
    """From `operator` on: the node that shows it and what it pools, as ``known_issues.toml`` has them."""
    versions: tuple[str, ...]
    """In which it was seen with this case."""
    upstream: tuple[str, ...]
    """Where it is reported, such as ``"openvino#35935"``; `address` makes links of them."""
    gradient: Mapping[str, Any] | None = None
    """The gradient of the result, described as an input is, where the gradient of what is pooled is wrong."""

    @cached_property
    def case(self) -> Case:
        """The case that shows it."""
        return make_case(
            self.operator,
            [_array(each) for each in self.inputs],
            self.opset,
            name=re.sub(r"[^a-z0-9]+", "-", f"known-{self.rule}-{self.operator}".lower()),
            rules=(self.rule,),
            outputs=self.outputs,
            gradient=None if self.gradient is None else _array(self.gradient),
            **self.attributes,
        )


@dataclass(frozen=True)
class Recheck:
    """What became of a known issue in the installed version of its runtime."""

    issue: KnownIssue
    """The issue."""
    version: str
    """Installed."""
    verdict: Verdict
    """On its case, today."""
    rule: str | None
    """The rule that is broken today, if any."""

    @property
    def fixed(self) -> bool:
        """Whether the runtime gives the right answer now."""
        return self.verdict.kind is Kind.AGREES

    @property
    def shown(self) -> bool:
        """Whether the issue is there, and the same as ever."""
        return self.verdict.kind is self.issue.kind and self.rule == self.issue.rule

    @property
    def sentence(self) -> str:
        """What became of it, in a sentence."""
        name = f"{self.issue.runtime} {self.version}"
        if self.fixed:
            return f"{name} keeps {self.issue.rule}; the difference seen in {self.issue.versions[-1]} is fixed"
        verb = {Kind.REFUSES: "refuses what", Kind.CRASHES: "crashes on what"}.get(self.verdict.kind)
        broken = self.rule or "no rule that is known"
        what = f"{verb} {broken} asks for" if verb else f"breaks {broken}"
        return f"{name} {what}: {self.verdict.sentence}"


# ---------------------------------------------------------------------------------------------------------------------
# The file


def _array(entry: Mapping[str, Any]) -> Numbers:
    """Make the array that an entry of `inputs` describes."""
    dtype = np.dtype(entry.get("dtype", "float32"))
    if "values" in entry:
        return np.array(entry["values"], dtype)
    shape = tuple(entry["shape"])
    if "fill" in entry:
        return np.full(shape, entry["fill"], dtype)
    start = entry.get("count_from", 0)
    numbers: Numbers = np.arange(start, start + math.prod(shape), dtype=dtype).reshape(shape)
    return numbers * dtype.type(entry["times"]) if "times" in entry else numbers


def _wrong_input(entry: Any) -> str | None:
    """Say what is wrong with an entry of `inputs`."""
    if not isinstance(entry, dict) or not entry.keys() <= INPUT_FIELDS:
        return f"inputs={entry!r} must be a table with no other keys than {', '.join(sorted(INPUT_FIELDS))}"
    if ("values" in entry) == ("shape" in entry):
        return f"inputs={entry!r} must have values, or a shape"
    shape = entry.get("shape", [])
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        return f"inputs={entry!r} must have a shape of sizes that are at least 0"
    if "shape" not in entry and entry.keys() & {"count_from", "times", "fill"}:
        return f"inputs={entry!r} has numbers of its own; count_from, times and fill go with a shape"
    if "fill" in entry and entry.keys() & {"count_from", "times"}:
        return f"inputs={entry!r} cannot have the same number everywhere, and count"
    return None


def _problem(entry: Mapping[str, Any], measured: Mapping[str, Any], repositories: Mapping[str, str]) -> str | None:
    """Say what is wrong with the fields of an entry."""
    for number, (name, kind) in enumerate(FIELDS.items()):
        if number < REQUIRED and name not in entry:
            return f"{name} is missing"
        if name in entry and (not isinstance(entry[name], kind) or entry[name] == "" or isinstance(entry[name], bool)):
            return f"{name}={entry[name]!r} must be a {kind.__name__}, and not empty"
    if unknown := entry.keys() - FIELDS.keys():
        return f"{', '.join(sorted(unknown))} is none of {', '.join(FIELDS)}"
    kinds = [str(kind) for kind in Kind if kind is not Kind.AGREES]
    for name, choices in (("rule", RULES), ("runtime", RUNTIMES), ("kind", kinds)):
        if entry[name] not in choices:
            return f"{name}={entry[name]!r} is none of {', '.join(choices)}"
    if not 1 <= entry.get("opset", 1) <= newest_opset():
        return f"opset={entry['opset']} must be between 1 and {newest_opset()}, the newest that onnx knows"
    versions = entry.get("versions", measured.get(entry["runtime"]))
    if not versions or not all(isinstance(each, str) and each for each in versions):
        return f"versions={versions!r} must name one at least; give them here or in measured"
    for each in entry.get("upstream", ()):
        project, _, issue = str(each).partition("#")
        if project not in repositories or not issue.isdecimal():
            return f'upstream={each!r} must be "project#number" with a project of {", ".join(repositories)}'
    arrays = [*entry["inputs"], *([entry["gradient"]] if "gradient" in entry else [])]
    return next(filter(None, map(_wrong_input, arrays)), None if entry["inputs"] else "inputs has no entry")


def read_issues(text: str) -> tuple[dict[str, str], tuple[KnownIssue, ...]]:
    """Read known issues from TOML, and check each.

    Parameters
    ----------
    text : str
        As in ``known_issues.toml``.

    Returns
    -------
    repositories : dict of str to str
        By the names that `upstream` has.
    issues : tuple of KnownIssue
        In the order of the file.

    Raises
    ------
    ValueError
        If an entry names a rule, a runtime or a repository that there is not, has a field too few or too many, its
        node is none that ONNX allows, or it stands there twice.

    Examples
    --------
    >>> _, (issue,) = read_issues('''
    ... [repositories]
    ... openvino = "openvinotoolkit/openvino"
    ... [[issue]]
    ... rule = "nan-propagates"
    ... runtime = "openvino"
    ... kind = "nan"
    ... finding = "the maximum of [nan, 2] is 2"
    ... operator = "MaxPool"
    ... attributes = { kernel_shape = [2] }
    ... inputs = [{ values = [[[nan, 2]]] }]
    ... versions = ["2026.4.1"]
    ... upstream = ["openvino#35935"]
    ... ''')
    >>> issue.case.array
    array([[[nan,  2.]]], dtype=float32)
    """
    content = tomllib.loads(text)
    if unknown := content.keys() - TABLES.keys():
        raise ValueError(f"known_issues.toml: {', '.join(sorted(unknown))} is none of {', '.join(TABLES)}")
    for name, (table, kind, form) in TABLES.items():
        given = content.get(name, table())
        values = given.values() if isinstance(given, dict) else given
        if not isinstance(given, table) or not all(isinstance(each, kind) for each in values):
            raise ValueError(f"known_issues.toml: {name} must be {form}")
    repositories, measured = content.get("repositories", {}), content.get("measured", {})
    issues: list[KnownIssue] = []
    for number, entry in enumerate(content.get("issue", []), 1):
        where = f"known_issues.toml: issue {number} ({entry.get('rule')}, {entry.get('runtime')})"
        if problem := _problem(entry, measured, repositories):
            raise ValueError(f"{where}: {problem}")
        versions = tuple(entry.get("versions", measured.get(entry["runtime"])))
        fields = {"attributes": {}, "opset": 22, "outputs": 1, **entry, "kind": Kind(entry["kind"])}
        issue = KnownIssue(**{**fields, "versions": versions, "upstream": tuple(entry.get("upstream", ()))})
        same = [first for first, each in enumerate(issues, 1) if repr(each) == repr(issue)]  # NaN is not equal to NaN
        if same:
            raise ValueError(f"{where}: stands there twice, as issue {same[0]}; remove one")
        try:
            check_whole(issue.case.model)
        except (ValueError, TypeError, OverflowError, MemoryError) as error:
            raise ValueError(f"{where}: its node is none of opset {issue.opset} ({error})") from error
        issues.append(issue)
    return repositories, tuple(issues)


REPOSITORIES, KNOWN_ISSUES = read_issues(
    resources.files(__package__).joinpath("known_issues.toml").read_text(encoding="utf-8")
)


def address(reference: str) -> str:
    """Return where an upstream reference leads.

    Examples
    --------
    >>> address("openvino#35935")
    'https://github.com/openvinotoolkit/openvino/issues/35935'
    """
    project, _, number = reference.partition("#")
    return f"https://github.com/{REPOSITORIES[project]}/issues/{number}"


def issues_of(rule: str | None, runtime: str, case: Case | None = None) -> tuple[KnownIssue, ...]:
    """Return what is known of a runtime and a rule, that of the same operator first.

    Parameters
    ----------
    rule : str or None
        A key of `pooling.validation.rules.RULES`; nothing is known about None.
    runtime : str
        A key of `pooling.validation.runners.RUNTIMES`.
    case : Case, optional
        The node and its numbers.
    """
    found = [issue for issue in KNOWN_ISSUES if (issue.rule, issue.runtime) == (rule, runtime)]
    operator = None if case is None else case.node.op_type
    return tuple(sorted(found, key=lambda issue: issue.operator != operator))


def upstream_of(rule: str | None, runtime: str, case: Case | None = None) -> tuple[str, ...]:
    """Return where it is reported what is known of a runtime and a rule; the arguments are those of `issues_of`."""
    return tuple(dict.fromkeys(each for known in issues_of(rule, runtime, case) for each in known.upstream))


def recheck_known_issues(
    issues: Iterable[KnownIssue] | None = None,
    *,
    limits: Limits | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Recheck]:
    """Ask the installed runtimes again for what is known of them.

    Parameters
    ----------
    issues : iterable of KnownIssue, optional
        All of `KNOWN_ISSUES` when not given; those of runtimes that are not installed are left out.
    limits : Limits, optional
        For each case; `SOON` when not given.
    progress : callable, optional
        Called as ``progress(done, total, name)`` before each case.

    Returns
    -------
    list of Recheck
        In the order of `issues`.
    """
    versions = installed()
    chosen = [each for each in (KNOWN_ISSUES if issues is None else issues) if each.runtime in versions]
    cases = [each.case for each in chosen]
    total, done = 2 * len(cases), 0

    def answers(runtime: str, asked: Sequence[Case]) -> list[Result]:
        nonlocal done
        before = done
        done += len(asked)
        return run_cases(
            runtime,
            asked,
            limits or SOON,
            progress and (lambda number, _, name: progress(before + number, total, name)),
        )

    expected = answers("oracle", cases)
    actual: dict[int, Result] = {}
    for runtime in dict.fromkeys(each.runtime for each in chosen):
        places = [place for place, each in enumerate(chosen) if each.runtime == runtime]
        actual.update(zip(places, answers(runtime, [cases[place] for place in places]), strict=True))
    found = []
    for place, (each, case, right) in enumerate(zip(chosen, cases, expected, strict=True)):
        verdict = judge(case, right, actual[place])
        found.append(Recheck(each, versions[each.runtime], verdict, broken_rule(case, right, verdict, actual[place])))
    return found
