"""From models to a report."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling import dispatch
from pooling._version import __version__
from pooling.arguments import INT64_MAX, flag, names_checked, per_axis_shape, whole
from pooling.errors import type_error, value_error, without
from pooling.export import VerificationError, make_portable, save
from pooling.layer import Layer
from pooling.numerics.inputs import DTYPES, draw
from pooling.onnx_models import function_from_node
from pooling.onnx_models.contrib import is_contrib
from pooling.onnx_models.load import read_model
from pooling.onnx_models.making import ModelProto, NodeProto, ValueInfoProto, onnx_version
from pooling.operators import OPERATORS
from pooling.signs import short_repr
from pooling.tool_arguments import instance_of, mapping_of, path_of, words_of
from pooling.workers import get_num_threads
from pooling.workers import threads as use_threads

from .activations import Given, activations, fed_inputs, given_inputs, measured_shapes, serialised
from .benchmark import Times, race
from .contrib import ask_about
from .inputs.case import Case, single_node
from .inputs.plan import ORDINARY, REAL, TAPS, WITHOUT_WINDOWS, PlannedCase, plan_cases, plan_gradients, taps
from .known_issues import upstream_of
from .pooling_nodes import CannotRunError, PoolingModel, PoolingNode, load_model, read_pooling_nodes
from .report.model import FAIL_ON, Finding, ModelReport, NodeReport, RepairSummary, Report, RuntimeSummary
from .rules import broken_rule
from .runners import ORACLE, chosen, installed, portable_model, runtime_of
from .runners.processes import Limits, RuntimeProcess, check_progress, memory_is_watched, patient
from .runners.results import Result
from .verdicts import Kind, Verdict, judge
from .whole import Neighbourhood, difference, neighbourhood

__all__ = ["validate"]

Location = str | os.PathLike[str]
Numbers = NDArray[Any]
Progress = Callable[[int, int, str], None]
COPIES = 8
"""Arrays of the size of input and result that are in memory at once, when float64 counts twice."""
MOST_THREADS = 2**15
ROUNDS = 10
OWN = frozenset({"pooling", "portable"})
"""Runtimes that are this library."""
PATIENCE = 10
"""How many times as long as others the oracle may take."""
REPAIR = "pooling repair"
FOREIGN_SHOWN = 5
NO_MEMORY = "psutil is not installed (pip install psutil): the limit on memory (--limit-memory) has no effect"
DEPTH = 100.0
"""How many times the rounding of one layer a whole model may have."""
PLAIN, FUSIONS = (f"pooling.validation.runners.onnxruntime:{name}" for name in ("Unoptimised", "Fusions"))


@names_checked
def validate(
    models: Location | Sequence[Location],
    *,
    runtimes: Sequence[str] | None = None,
    inputs: Sequence[str] = (),
    shapes: Mapping[str, Sequence[int]] | None = None,
    threads: int | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
    limits: Limits | None = None,
    fail_on: Sequence[str] = ("differs",),
    repair: bool = True,
    smallest: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Ask runtimes for every pooling node of some models, and hold their answers against an oracle.

    Each node becomes a model of its own, with its own attributes, its own opset and the input shape that it has in its
    network; shapes that inference does not find are found by running the model in onnxruntime. Runtimes run in
    processes of their own, with limits on time and memory: one that crashes or hangs loses that case only.

    The oracle is `pooling.reference`, which works out one window after another. Numbers are drawn so as to bring out
    differences (`pooling.validation.inputs.plan`): ordinary ones, on which a difference counts, and special
    ones, NaN, infinities and extremes, on which it is told. With `inputs`, the activations that the model really has at
    the node are asked about, too. Selections must be equal; sums may differ by what rounding can cause
    (`pooling.validation.comparison.permitted_errors`). What differs is attributed to a rule
    (`pooling.validation.rules.RULES`), and repaired: `pooling.export.make_portable` is shown to help by asking again.

    At the end the kernels of this library and onnxruntime pool ordinary numbers against the clock
    (`pooling.validation.benchmark.race`), if both were asked.

    Parameters
    ----------
    models : path or sequence of path
        ONNX files.
    runtimes : sequence of str, optional
        Whom to ask, of `pooling.validation.runners.RUNTIMES`, or ``module:Class`` for a runtime of your own; all that
        are installed when not given.
    inputs : sequence of str
        What to run the models on: ``"FILE"`` or ``"NAME=FILE"`` for one of several inputs. A file of NumPy
        (``.npy``) is taken as it is. A picture is resized to the input, and its colours become
        ``(c - mean) / deviation`` with the usual numbers of ImageNet; this needs Pillow.
    shapes : mapping of str to sequence of int, optional
        Shapes of tensors that a model leaves open, by their names.
    threads : int, optional
        For each runtime; the default is `pooling.get_num_threads`.
    rounds : int
        Rounds of the race, at most; 0 measures no times.
    seed : int
        Of the numbers.
    limits : Limits, optional
        Time and memory that a runtime may take for one case.
    fail_on : sequence of str
        What makes `Report.exit_code` 1: ``"differs"``, ``"special"``, ``"refuses"`` and ``"crashes"``.
    repair : bool
        Whether to look for a remedy.
    smallest : bool
        Whether to look for the smallest input that shows each finding
        (`pooling.validation.reduce_findings.with_smallest`).
    progress : callable, optional
        Called as ``progress(done, total, node)`` before each node, and first of all while runtimes start.

    Returns
    -------
    Report
        Models that cannot be read and nodes that cannot be run are in it, and do not raise. A KeyboardInterrupt does
        not either, once the models are read: the report has what was known by then, and `Report.interrupted`.

    Raises
    ------
    TypeError, ValueError
        If an argument other than the models themselves is wrong, `shapes` names a tensor that no model has, or a
        runtime is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> import onnx
    >>> node = onnx.helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    >>> x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 3, 8, 8))
    >>> y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "small.onnx")
    ...     onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "small", [x], [y])), path)
    ...     report = validate(path, runtimes=["pooling"], rounds=0)
    >>> report.summary()
    '1 pooling node of 1 model: all equal'
    """
    paths = _paths(models)
    count = get_num_threads() if threads is None else _number("threads", threads, 1, MOST_THREADS)
    rounds, seed = _number("rounds", rounds, 0), _number("seed", seed, 0)
    repair, smallest = flag("validate", "repair", repair), flag("validate", "smallest", smallest)
    sizes = {} if shapes is None else mapping_of("validate", "shapes", shapes, '{"x": (1, 3, 224, 224)}')
    sizes = {name: per_axis_shape("validate", shape, f"shapes[{short_repr(name)}]") for name, shape in sizes.items()}
    failing = words_of("validate", "fail_on", fail_on, "differs")
    for word in failing:
        if word not in FAIL_ON:
            raise value_error(
                "validate", f"is none of {', '.join(FAIL_ON)}", "use some of these, or none", argument=("fail_on", word)
            )
    if limits is not None:
        instance_of("validate", "limits", limits, Limits, "write Limits(seconds=60)")
    check_progress("validate", progress)
    asked = None if runtimes is None else words_of("validate", "runtimes", runtimes, "onnxruntime")
    files = words_of("validate", "inputs", inputs, "photo.png")
    try:
        versions = chosen(asked)
        given = given_inputs(files)
    except ValueError as error:
        raise value_error("validate", without(error, "validate")) from error
    with use_threads(count), ExitStack() as stack:
        runners = stack.enter_context(_runners(versions, limits or Limits(), get_num_threads()))
        run = _Run(runners, dict(sizes), given, rounds, seed, repair, progress or (lambda done, total, node: None))
        reports = run.models(paths)
        report = Report(
            reports,
            _versions(),
            versions,
            _machine(),
            {
                "threads": get_num_threads(),
                "rounds": rounds,
                "seed": seed,
                "shapes": {name: list(shape) for name, shape in sizes.items()},
                "inputs": list(files),
                "limit_seconds": runners.limits.seconds,
                "limit_memory": runners.limits.memory,
            },
            failing,
            run.interrupted,
            () if memory_is_watched() else (NO_MEMORY,),
        )
        if smallest and not run.interrupted:
            from .reduce_findings import with_smallest

            report = with_smallest(report, progress, {ORACLE: runners.oracle, **runners.processes})
        return report


def _paths(models: Any) -> list[Path]:
    """Return the paths of the models: of one, or of several."""
    if isinstance(models, (str, os.PathLike)):
        return [path_of("validate", "models", models)]
    several: list[Any] | None = None
    if not isinstance(models, (bytes, Mapping)):
        with suppress(Exception):  # of what cannot be iterated over
            several = list(models)
    if several is None:
        raise type_error(
            "validate",
            f"must be the path of an ONNX model, or a list of paths, not {type(models).__name__}",
            "write a model to a file first, by pooling.export.save" if isinstance(models, ModelProto) else "",
            argument=("models", type(models) if isinstance(models, ModelProto) else models),
        )
    return [path_of("validate", f"models[{place}]", each) for place, each in enumerate(several)]


def _number(name: str, value: Any, least: int, most: int = INT64_MAX) -> int:
    number = whole(value)
    if number is None:
        raise type_error("validate", f"must be an integer, not {type(value).__name__}", argument=(name, value))
    if not least <= number <= most:
        bound = f"at least {least}" if number < least else f"at most {most}"
        raise value_error("validate", f"must be {bound}", argument=(name, value))
    return number


# ---------------------------------------------------------------------------------------------------------------------
# Asking


@dataclass(eq=False)
class _Runners:
    """The oracle and the runtimes, each in its process."""

    versions: Mapping[str, str]
    limits: Limits
    oracle: RuntimeProcess
    processes: Mapping[str, RuntimeProcess]
    pool: ThreadPoolExecutor
    """Waits for them, for all at the same time."""
    helpers: Mapping[str, RuntimeProcess]
    """onnxruntime without its optimiser, and what tells what the optimiser does; started when they are needed."""

    def launch(self) -> None:
        """Start all processes at once: most of them take longer to import what they need than to answer."""
        for process in (self.oracle, *self.processes.values()):
            process.launch()

    def compare_all(
        self, planned: PlannedCase, disabled: Container[str]
    ) -> Iterator[tuple[str, Result, Result, Verdict]]:
        """Ask everybody but those who are disabled; yield who, what is expected, the answer, and what to think of it.

        Raises
        ------
        CannotRunError
            If the oracle has no answer.
        """
        case = planned.case
        model = case.model.SerializeToString()
        asked = {}
        for name, process in self.processes.items():
            slow = runtime_of(name).slow
            if case.gradient is not None and not getattr(runtime_of(name), "differentiates", False):
                continue
            # The same numbers twice: at the shape of the network for the fast, and with fewer channels for the slow.
            if name in disabled or (slow and not planned.for_slow) or (not slow and planned.only_for_slow):
                continue
            asked[name] = self.pool.submit(process.ask, model, case.inputs)
        expected = self.oracle.ask(model, case.inputs)
        answers = {name: answer.result() for name, answer in asked.items()}
        if not expected.given:
            raise CannotRunError(
                f"the oracle {expected.crash}; give a smaller shape with --shape (in Python: shapes=)"
                if expected.crash
                else f"the oracle refuses it ({expected.unsupported})"
            )
        for name, actual in answers.items():
            yield name, expected, actual, judge(case, expected, actual)


@contextmanager
def _runners(versions: Mapping[str, str], limits: Limits, threads: int) -> Iterator[_Runners]:
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(len(versions) + 1)
        # Processes end first, so that nobody waits for an answer when it is stopped.
        stack.callback(pool.shutdown)
        longer = replace(limits, seconds=PATIENCE * limits.seconds)
        oracle = stack.enter_context(RuntimeProcess(ORACLE, longer, threads))
        processes = {
            name: stack.enter_context(RuntimeProcess(name, patient(name, limits), threads)) for name in versions
        }
        helpers = {}
        if "onnxruntime" in installed():
            helpers = {name: stack.enter_context(RuntimeProcess(name, limits, threads)) for name in (PLAIN, FUSIONS)}
        yield _Runners(versions, limits, oracle, processes, pool, helpers)


@dataclass(frozen=True, eq=False)
class _NodeResult:
    """What came of a node, wherever it stands: nodes that are alike are asked about once."""

    summaries: dict[str, RuntimeSummary]
    findings: tuple[Finding, ...]


@dataclass(eq=False)
class _Run:
    """One call of `validate`."""

    runners: _Runners
    shapes: dict[str, Sequence[int]]
    given: Sequence[Given]
    rounds: int
    seed: int
    repair: bool
    progress: Progress
    known: dict[object, _NodeResult] = field(default_factory=dict)
    fused: dict[bytes, tuple[Finding, ...]] = field(default_factory=dict)
    interrupted: bool = False

    def models(self, paths: Sequence[Location]) -> list[ModelReport]:
        """Validate some models."""
        found: list[PoolingModel | CannotRunError] = []
        for path in paths:
            try:
                found.append(self._read(path))
            except CannotRunError as error:
                found.append(error)
        networks = [network for network in found if isinstance(network, PoolingModel)]
        unknown = set(self.shapes).difference(*(network.declared for network in networks))
        if unknown and len(networks) == len(found):
            raise value_error(
                "validate",
                f"no model has a tensor named {short_repr(min(unknown))}",
                "name an input as the model names it",
            )
        total = sum(len(network.nodes) for network in networks)
        if total:
            self.runners.launch()
        self.progress(0, total, "starting runtimes")
        reports: list[ModelReport] = []
        try:
            self._all(zip(paths, found, strict=True), total, reports)
        except KeyboardInterrupt:
            self.interrupted = True
            self._note_what_is_missing(paths, found, reports)
        return reports

    def _note_what_is_missing(
        self, paths: Sequence[Location], found: Sequence[PoolingModel | CannotRunError], reports: list[ModelReport]
    ) -> None:
        """Say, after somebody has stopped it, which nodes were not looked at."""
        for number, (path, network) in enumerate(zip(paths, found, strict=True)):
            if number == len(reports):
                problem = str(network) if isinstance(network, CannotRunError) else None
                reports.append(ModelReport(os.fspath(path), [], problem))
            missing = 0 if isinstance(network, CannotRunError) else len(network.nodes) - len(reports[number].nodes)
            if missing:
                what = f"it was stopped before {missing} of {len(network.nodes)} nodes were looked at"  # type: ignore[union-attr]
                reports[number] = replace(reports[number], unasked=(*reports[number].unasked, what))

    def _all(
        self, models: Iterable[tuple[Location, PoolingModel | CannotRunError]], total: int, reports: list[ModelReport]
    ) -> None:
        """Validate models that were read; what is known of one is in `reports` from its beginning on."""
        done = 0
        for path, network in models:
            if isinstance(network, CannotRunError):
                reports.append(ModelReport(os.fspath(path), [], str(network)))
                continue
            report = ModelReport(os.fspath(path), [], notes=network.notes, unasked=_unasked(network))
            reports.append(report)
            real: Mapping[str, Numbers] | str = {}
            if self.given and network.nodes:
                real = self._activations(path, network)
            for node in network.nodes:
                self.progress(done, total, f"{report.name} {node.name}")
                report.nodes.append(self._among_others(network, report.path, self._node(report.path, node, real)))
                done += 1
            reports[-1] = report = self._whole(path, network, report)
            reports[-1] = replace(report, repair=self._repaired(report) if self.repair else None)

    def _read(self, path: Location) -> PoolingModel:
        """Read a model; run it to find the shapes that inference does not."""
        shapes, sources = {**self.shapes}, {}
        network = read_pooling_nodes(path, shapes)
        for each in self.given:
            name = each.name_in(network)
            if each.array is not None and name not in shapes:
                shapes[name], sources[name] = each.array.shape, f"--input {each.source}"
        if sources:
            network = read_pooling_nodes(path, shapes, sources=sources)
        reason = ""
        if network.unknown and self.runners.helpers:
            measured, reason = measured_shapes(path, network, self.runners.helpers[PLAIN])
            if measured:
                found = {name: array.shape for name, array in measured.items()}
                dtypes = {name: array.dtype for name, array in measured.items()}
                again = read_pooling_nodes(path, {**found, **shapes}, dtypes)
                network = replace(again, declared=network.declared, notes=network.notes)
        if network.unknown:
            # What the model says itself may be wrong, and is better than nothing.
            trusted = read_pooling_nodes(path, shapes, recorded=True)
            if len(trusted.unknown) < len(network.unknown):
                note = "shapes that could not be found otherwise are those that the model records"
                network = replace(trusted, declared=network.declared, notes=(*trusted.notes, note))
        if reason:
            # What the runtime says helps more than the question for a shape.
            nodes = (
                replace(each, hint=reason) if each.input_name in network.unknown else each for each in network.nodes
            )
            network = replace(network, nodes=tuple(nodes))
        return network

    def _activations(self, path: Location, network: PoolingModel) -> Mapping[str, Numbers] | str:
        if not self.runners.helpers:
            return "--input runs the model in onnxruntime, which is not installed"
        try:
            return activations(path, network, self.given, self.runners.helpers[PLAIN], self.seed)
        except CannotRunError as error:
            return str(error)

    def _node(self, path: str, node: PoolingNode, real: Mapping[str, Numbers] | str) -> NodeReport:
        layer = None
        try:
            layer = node.layer()
            _check_dtype(node, layer)
            _check_memory(node, layer)
            if is_contrib(node.proto):
                return self._contrib(path, node, layer)
            outcome = self._asked(path, node, layer)
        except CannotRunError as error:
            return NodeReport(node, layer, problem=str(error))
        if self.given:
            try:
                if isinstance(real, str):
                    raise CannotRunError(real)
                outcome = self._asked_really(path, node, layer, real, outcome)
            except CannotRunError as error:
                # What was found on drawn numbers stays found.
                return NodeReport(node, layer, outcome.summaries, outcome.findings, problem=str(error))
        summaries, findings = outcome.summaries, outcome.findings
        others = {name: summary for name, summary in summaries.items() if name not in OWN}
        if others and not any(summary.answered for summary in others.values()):
            name, summary = next(iter(others.items()))
            verb = "crashes on" if summary.findings.get("crashes") else "refuses"
            return NodeReport(node, layer, summaries, findings, problem=f"{name} {verb} it ({summary.reason})")
        return NodeReport(node, layer, summaries, findings, self._raced(node, layer, summaries))

    def _contrib(self, path: str, node: PoolingNode, layer: Layer) -> NodeReport:
        """Ask onnxruntime about an operator of its own, with its optimiser on and off."""
        name = "onnxruntime"
        if name not in self.runners.processes or PLAIN not in self.runners.helpers:
            raise CannotRunError(f"{node.operator} of {node.proto.domain} is an operator of {name}, which is not asked")
        try:
            asked = ask_about(node, self.seed, max(1, TAPS // max(1, taps(layer.axes(node.input_shape)))))
        except ValueError as error:
            raise CannotRunError(str(error)) from error
        exact = self.runners.oracle.ask(asked.twin.model.SerializeToString(), asked.twin.inputs)
        if not exact.given:
            raise CannotRunError(f"the oracle gives no answer ({exact.crash or exact.unsupported})")
        expected = asked.expected(exact)
        planned, version = PlannedCase(asked.case, ORDINARY, True), self.runners.versions[name]
        verdicts, findings = [], list[Finding]()
        for process, how in (
            (self.runners.processes[name], ""),
            (self.runners.helpers[PLAIN], " with its optimiser off"),
        ):
            answer = process.ask(asked.case.model.SerializeToString(), asked.fed)
            verdict = asked.judged(expected, answer)
            verdicts.append((planned, verdict))
            if verdict.kind is Kind.AGREES:
                continue
            if findings and findings[0].verdict == verdict:
                findings[0] = replace(findings[0], cases=2)
                continue
            verdict = replace(verdict, sentence=f"{verdict.sentence}{how}")
            findings.append(
                Finding(
                    path,
                    node.name,
                    node.operator,
                    node.opset,
                    planned,
                    name,
                    version,
                    verdict,
                    expected=Result((asked.rounded(expected),)),
                    actual=answer,
                )
            )
        summary = RuntimeSummary.of(version, verdicts, findings)
        silent = not summary.answered
        problem = f"{name} {'crashes on' if summary.findings.get('crashes') else 'refuses'} it ({summary.reason})"
        return NodeReport(node, layer, {name: summary}, tuple(findings), problem=problem if silent else None)

    def _asked(self, path: str, node: PoolingNode, layer: Layer) -> _NodeResult:
        """Ask about a node, or remember what was answered to one that is alike."""
        proto = NodeProto()
        proto.CopyFrom(node.proto)
        proto.ClearField("name")
        proto.ClearField("doc_string")
        proto.input[:] = [str(bool(name)) for name in proto.input]
        proto.output[:] = [str(bool(name)) for name in proto.output]
        sides = tuple((side.shape, None if side.value is None else side.value.tobytes()) for side in node.sides)
        key = (proto.SerializeToString(deterministic=True), node.opset, node.input_shape, node.dtype, sides)
        if key not in self.known:
            asked = plan_cases(node, layer, self.seed)
            if any(getattr(runtime_of(name), "compiles", False) for name in self.runners.versions):
                asked += plan_gradients(node, layer, self.seed)
            self.known[key] = self._outcome(path, node, asked)
        outcome = self.known[key]
        return replace(
            outcome, findings=tuple(replace(finding, path=path, node=node.name) for finding in outcome.findings)
        )

    def _asked_really(
        self, path: str, node: PoolingNode, layer: Layer, real: Mapping[str, Numbers], outcome: _NodeResult
    ) -> _NodeResult:
        """Ask about the activations that the node has in the network, besides."""
        names = [name for name in node.proto.input if name]
        missing = [name for name in names if name not in real]
        if missing:
            raise CannotRunError(
                f"its input {missing[0]!r} is inside of a subgraph, where activations cannot be read; "
                "validate without --input"
            )
        source = ", ".join(each.source for each in self.given)
        asked = plan_cases(node, layer, self.seed, {name: real[name] for name in names}, source)
        more = self._outcome(path, node, [planned for planned in asked if planned.kind == REAL])
        summaries = {name: summary.with_more(more.summaries[name]) for name, summary in outcome.summaries.items()}
        return _NodeResult(summaries, (*outcome.findings, *more.findings))

    def _outcome(self, path: str, node: PoolingNode, asked: Sequence[PlannedCase]) -> _NodeResult:
        verdicts: dict[str, list[tuple[PlannedCase, Verdict]]] = {name: [] for name in self.runners.versions}
        findings: dict[object, Finding] = {}
        disabled: set[str] = set()
        wrong: set[str] = set()
        for planned in asked:
            for name, expected, actual, verdict in self.runners.compare_all(planned, disabled):
                verdicts[name].append((planned, verdict))
                # Neither the next case that hangs nor other numbers in a result of the wrong shape tell any more.
                if verdict.kind in (Kind.CRASHES, Kind.SHAPE, Kind.DTYPE):
                    disabled.add(name)
                if verdict.kind is Kind.AGREES:
                    continue
                rule = broken_rule(planned.case, expected, verdict, actual)
                if rule is None and planned.special and name in wrong:
                    continue  # the same again, in numbers that say less about it
                if verdict.kind.differs and not planned.special:
                    wrong.add(name)
                # What is broken on ordinary numbers is no news on special ones.
                key = (name, rule, verdict.kind, verdict.kind.differs and rule is None and planned.kind)
                if key in findings:
                    findings[key] = replace(findings[key], cases=findings[key].cases + 1)
                    continue
                version = self.runners.versions[name]
                finding = Finding(
                    path, node.name, node.operator, node.opset, planned, name, version, verdict, rule,
                    expected, actual, upstream=upstream_of(rule, name, planned.case),
                )  # fmt: skip
                findings[key] = replace(finding, remedy=self._remedy(finding)) if self.repair else finding
        return _NodeResult(
            {
                name: RuntimeSummary.of(
                    self.runners.versions[name],
                    pairs,
                    [finding for finding in findings.values() if finding.runtime == name],
                )
                for name, pairs in verdicts.items()
            },
            tuple(sorted(findings.values(), key=lambda finding: list(verdicts).index(finding.runtime))),
        )

    # -----------------------------------------------------------------------------------------------------------------
    # Among others

    def _among_others(self, network: PoolingModel, path: str, report: NodeReport) -> NodeReport:
        """Ask about a node together with what runtimes may fuse it with."""
        if not report.compared or not self.runners.helpers:
            return report
        # What is wrong by itself needs no fusion to be wrong.
        names = [
            name
            for name in self.runners.processes
            if getattr(runtime_of(name), "whole", False)
            and name in report.summaries
            and report.summaries[name].answered
            and not any(report.summaries[name].findings.get(word) for word in ("differs", "crashes"))
        ]
        piece = neighbourhood(network, report.node, self.seed) if names else None
        if piece is None:
            return report
        key = piece.key + repr(names).encode()
        if key not in self.fused:
            self.fused[key] = tuple(self._fused(path, report, piece, names))
        found = tuple(replace(each, path=path, node=report.node.name) for each in self.fused[key])
        if not found:
            return report
        summaries = dict(report.summaries)
        for each in found:
            more = RuntimeSummary(each.version, {str(each.verdict.kind): 1}, {each.counts_as: 1})
            summaries[each.runtime] = summaries[each.runtime].with_more(more)
        return replace(report, summaries=summaries, findings=(*report.findings, *found))

    def _fused(self, path: str, report: NodeReport, piece: Neighbourhood, names: Sequence[str]) -> Iterator[Finding]:
        expected = self._put_together(piece)
        if expected is None:
            return
        pooled, wanted = expected
        content = piece.model.SerializeToString()
        node = report.node
        plain: str | None = None
        for name in names:
            answer = self.runners.processes[name].ask(content, piece.inputs)
            if not answer.given:
                continue  # it is asked about the node alone, and this is no question about poolings
            sentence, where = difference(wanted, answer.outputs)
            if not sentence:
                continue
            if plain is None:
                alone = self.runners.helpers[PLAIN].ask(content, piece.inputs)
                plain = difference(wanted, alone.outputs)[0] if alone.given else "nothing"
            if plain:
                return  # the pieces do not come to what the whole is even without an optimiser
            with_what = self._fusion(name, piece, content)
            kind = Kind.SHAPE if where is None else Kind.VALUE
            yield Finding(
                path, node.name, node.operator, node.opset, pooled, name, self.runners.versions[name],
                Verdict(kind, sentence, where), None, Result(tuple(wanted)), answer,
                fusion=with_what, remedy=self._unfused(name, piece, wanted) if self.repair else "",
            )  # fmt: skip

    def _whole(self, path: Location, network: PoolingModel, report: ModelReport) -> ModelReport:
        """Run the model itself with onnxruntime's optimiser on and off, and look at what its poolings give."""
        if "onnxruntime" not in self.runners.processes or not any(result.compared for result in report.nodes):
            return report
        if any(each.fusion for result in report.nodes for each in result.findings):
            return report  # it is known already what the optimiser does
        try:
            model = load_model(path, weights=True)
            inputs = fed_inputs(network, self.given, self.seed)
            outputs = [each.name for each in model.graph.output]
            own = {name for node in model.graph.node for name in node.output}
            pooled = [each.node.proto.output[0] for each in report.nodes if each.compared and each.node.proto.output]
            exposed = [name for name in dict.fromkeys(pooled) if name in own and name not in outputs]
            process, plain = self.runners.processes["onnxruntime"], self.runners.helpers[PLAIN]
            off = plain.ask(_with_outputs(model, exposed), inputs)
            on = process.ask(_with_outputs(model, []), inputs)
            if off.given and on.given:
                wanted = off.outputs[: len(outputs)]
                sentence, _ = difference(wanted, on.outputs, DEPTH)
                if not sentence:
                    return report
                for result in report.nodes:
                    name = next(iter(result.node.proto.output), "")
                    if name in exposed:
                        # With its result laid open, a pooling cannot be fused with what reads it.
                        alone = process.ask(_with_outputs(model, [name]), inputs)
                        if alone.given and not difference(wanted, alone.outputs[: len(outputs)], DEPTH)[0]:
                            return _fusion_finding(
                                report, result, self.runners.versions["onnxruntime"], sentence, wanted, on
                            )
                note = f"with its optimiser on, onnxruntime gives another output ({sentence}), by no pooling's fault"
                return replace(report, notes=(*report.notes, note))
            if off.given:
                note = f"onnxruntime runs the model with its optimiser off only ({on.crash or on.unsupported})"
                return replace(report, unasked=(*report.unasked, note))
            note = f"onnxruntime does not run the model as a whole ({off.crash or off.unsupported})"
            return replace(report, notes=(*report.notes, note))
        except CannotRunError as error:
            return replace(report, notes=(*report.notes, f"the model was not run as a whole ({error})"))

    def _put_together(self, piece: Neighbourhood) -> tuple[PlannedCase, list[Numbers]] | None:
        """Work out what has to come out of a piece, node by node; None where that cannot be."""
        plain = self.runners.helpers[PLAIN]
        found = dict(piece.inputs)
        if piece.before:
            first = piece.first
            answer = plain.ask(first.SerializeToString(), piece.inputs)
            if not answer.given:
                return None
            found |= dict(zip((each.name for each in first.graph.output), answer.outputs, strict=True))
        source = piece.node.input[0]
        case = Case(
            "among-others",
            single_node(piece.node, piece.opset, {source: found[source]}),
            {source: found[source]},
            f"what {piece.around} and the pooling make of whole numbers together",
        )
        try:
            pooled = function_from_node(piece.node, piece.opset)(found[source])
        except (TypeError, ValueError):
            return None
        found |= dict(zip((name for name in piece.node.output if name), pooled, strict=False))
        if piece.behind:
            last = piece.last(found)
            answer = plain.ask(last.SerializeToString(), piece.fed(found))
            if not answer.given:
                return None
            found |= dict(zip((each.name for each in last.graph.output), answer.outputs, strict=True))
        return PlannedCase(case, ORDINARY, True), [found[name] for name in piece.outputs]

    def _fusion(self, name: str, piece: Neighbourhood, content: bytes) -> str:
        """Say what the pooling is fused with, and what has taken its place where the runtime tells."""
        if name != "onnxruntime":
            return piece.around
        answer = self.runners.helpers[FUSIONS].ask(content, piece.inputs)
        if not answer.given:
            return piece.around
        before = {node.op_type for node in (*piece.before, piece.node, *piece.behind)}
        new = [each for each in json.loads(answer.outputs[0].tobytes()) if each not in before]
        made = next((each for each in new if "Pool" in each), ", ".join(dict.fromkeys(new)))
        return f"{piece.around} to {made}" if made else piece.around

    def _unfused(self, name: str, piece: Neighbourhood, wanted: Sequence[Numbers]) -> str:
        """Say what makes the runtime come out right, after it has done so."""
        try:
            repaired = make_portable(piece.model, verify=False)
        except (ValueError, VerificationError):
            return ""
        if not repaired.changes:
            return ""
        answer = self.runners.processes[name].ask(repaired.model.SerializeToString(), piece.inputs)
        if not answer.given or difference(wanted, answer.outputs)[0]:
            return ""
        what = ", ".join(dict.fromkeys(change.rule for change in repaired.changes))
        return f"{REPAIR} ({what}); {name} was run again and agrees"

    # -----------------------------------------------------------------------------------------------------------------
    # Remedies

    def _remedy(self, finding: Finding) -> str:
        """Say what makes the runtime answer as the oracle does, after it has done so."""
        case = finding.case
        for option, special_values in (("", "finite"), (" --special-values exact", "exact")):
            try:
                repaired = make_portable(case.model, verify=False, special_values=special_values)
                if repaired.changes:
                    verdict = self._again(finding, repaired.model, case.inputs)
                    if verdict.kind is Kind.AGREES:
                        what = ", ".join(dict.fromkeys(change.rule for change in repaired.changes))
                        return f"{REPAIR}{option} ({what}); {finding.runtime} was run again and agrees"
            except (ValueError, VerificationError):
                continue  # the next remedy may do
        try:
            arrays = [case.inputs[name] for name in case.node.input if name]
            portable = portable_model(case.model, arrays[0].shape, arrays[0].dtype)
            names = [tensor.name for tensor in portable.graph.input]
            if len(names) == len(arrays):
                verdict = self._again(finding, portable, dict(zip(names, arrays, strict=True)))
                if verdict.kind is Kind.AGREES:
                    return (
                        "the graph that pooling.export.to_onnx makes of this pooling with special_values='exact'; "
                        f"{finding.runtime} was run again and agrees"
                    )
        except (TypeError, ValueError, VerificationError):
            pass
        return ""

    def _again(self, finding: Finding, model: ModelProto, inputs: Mapping[str, Numbers]) -> Verdict:
        answer = self.runners.processes[finding.runtime].ask(model.SerializeToString(), inputs)
        return judge(finding.case, finding.expected, answer)

    def _repaired(self, report: ModelReport) -> RepairSummary | None:
        """Repair a model on which runtimes differ, and ask again about the result."""
        before = _countable(report.nodes)
        if not before:
            return None
        count = len({finding.sentence for finding in before})
        try:
            model = read_model("validate", report.path)[0]
            given = {name: tuple(shape) for name, shape in self.shapes.items()}
            inputs = {tensor.name for tensor in model.graph.input}
            result = make_portable(
                model,
                input_shapes={name: shape for name, shape in given.items() if name in inputs},
                folder=Path(report.path).resolve().parent,
            )
        except Exception as error:  # also of models that are broken in ways that onnx itself does not expect
            return RepairSummary((), False, without(error, "make_portable"), count, count)
        changes = tuple(f"{change.node}: {change.rule}" for change in result.changes)
        if not changes and not any(finding.verdict.kind.differs for finding in before):
            return None
        if not changes:
            return RepairSummary((), result.verified, result.why, count, count)
        concerned = {finding.runtime for finding in before}
        runners = replace(
            self.runners,
            processes={name: process for name, process in self.runners.processes.items() if name in concerned},
            versions={name: version for name, version in self.runners.versions.items() if name in concerned},
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, Path(report.path).name)
            save(result.model, path)
            again = _Run(runners, self.shapes, (), 0, self.seed, False, lambda done, total, node: None)
            try:
                (second,) = again.models([path])
            except ValueError as error:
                return RepairSummary(changes, result.verified, str(error), count, count)
        after = _countable(second.nodes)
        left = list(dict.fromkeys(finding.sentence for finding in after))
        if not left:  # where nothing ran, nothing agrees
            problems = [second.problem, *(entry.problem for entry in second.nodes)]
            left = [problem for problem in problems if problem]
        return RepairSummary(changes, result.verified, result.why, count, len(left), tuple(left))

    # -----------------------------------------------------------------------------------------------------------------
    # Times

    def _raced(self, node: PoolingNode, layer: Layer, summaries: Mapping[str, RuntimeSummary]) -> dict[str, Times]:
        """Measure times in this process, of a node that both sides were seen to survive."""
        sides = ("pooling", "onnxruntime")
        if (
            not self.rounds
            or node.operator in WITHOUT_WINDOWS
            or not all(
                name in summaries and summaries[name].answered and not summaries[name].findings.get("crashes")
                for name in sides
            )
        ):
            return {}
        from pooling.onnx_models.session import session

        array = draw(node.input_shape, np.dtype(node.dtype), self.seed, kinds=("normal",), infinities=False)
        (planned, *_) = plan_cases(node, layer, self.seed)
        loaded = session(planned.case.model.SerializeToString(), threads=get_num_threads())
        fed = {node.proto.input[0]: array}
        try:
            return race({"pooling": lambda: layer(array), "onnxruntime": lambda: loaded.run(None, fed)}, self.rounds)
        except Exception as error:
            raise CannotRunError(f"its times cannot be measured ({error})") from error


def _with_outputs(model: ModelProto, names: Sequence[str]) -> bytes:
    """Return a model that gives more tensors."""
    count = len(model.graph.output)
    model.graph.output.extend(ValueInfoProto(name=name) for name in names)
    try:
        return serialised(model)
    finally:
        del model.graph.output[count:]


def _fusion_finding(
    report: ModelReport, result: NodeReport, version: str, sentence: str, wanted: Sequence[Numbers], answer: Result
) -> ModelReport:
    """Add a finding on a pooling without whose fusion the whole model comes out as it should."""
    place = result.node
    shape, dtype = place.input_shape, place.dtype or np.dtype(np.float32)
    case = Case(
        "whole", single_node(place.proto, place.opset, {place.input_name: np.zeros(shape, dtype)}),
        {place.input_name: np.zeros(shape, dtype)}, "the whole model on drawn numbers, optimiser on and off",
    )  # fmt: skip
    finding = Finding(
        report.path, place.name, place.operator, place.opset, PlannedCase(case, ORDINARY, True), "onnxruntime", version,
        Verdict(Kind.VALUE, f"an output of the model is {sentence}"), None, Result(tuple(wanted)), answer,
        fusion="nodes behind it",
    )  # fmt: skip
    summaries = dict(result.summaries)
    summaries["onnxruntime"] = summaries["onnxruntime"].with_more(RuntimeSummary(version, {"value": 1}, {"differs": 1}))
    changed = replace(result, summaries=summaries, findings=(*result.findings, finding))
    return replace(report, nodes=[changed if each is result else each for each in report.nodes])


def _unasked(network: PoolingModel) -> tuple[str, ...]:
    """Say which nodes pool that nobody can be asked about."""
    if not network.foreign:
        return ()
    were = "nodes of other operator sets were" if len(network.foreign) > 1 else "node of other operator sets was"
    shown = ", ".join(network.foreign[:FOREIGN_SHOWN])
    more = f" and {len(network.foreign) - FOREIGN_SHOWN} more" if len(network.foreign) > FOREIGN_SHOWN else ""
    return (f"{len(network.foreign)} pooling {were} not compared: {shown}{more}",)


def _countable(nodes: Sequence[NodeReport]) -> list[Finding]:
    return [finding for node in nodes for finding in node.findings if not finding.special]


def _check_dtype(node: PoolingNode, layer: Layer) -> None:
    if node.dtype is None:
        raise CannotRunError(f"the dtype of its input {node.input_name!r} is not known")
    floats = (*DTYPES, "bfloat16")
    accepted = [name for name in floats if name in OPERATORS[layer.operator].dtypes]
    if node.dtype.name not in accepted:
        raise CannotRunError(f"its input has dtype {node.dtype.name}; compared are {', '.join(accepted)}")


def _check_memory(node: PoolingNode, layer: Layer) -> None:
    """Refuse what would not fit this machine, before anything is allocated."""
    if node.operator in WITHOUT_WINDOWS:
        return
    shapes = (node.input_shape, layer.output_shape(node.input_shape))
    needed = COPIES * sum(math.prod(shape) for shape in shapes) * np.dtype(node.dtype).itemsize
    try:
        present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows does not tell
        return
    if needed > present:
        raise CannotRunError(
            f"comparing input {shapes[0]} with result {shapes[1]} takes about {needed / 2**30:.3g} GiB, and this "
            f"machine has {present / 2**30:.3g} GiB; give a smaller shape with --shape (in Python: shapes=)"
        )


def _versions() -> dict[str, str]:
    return {
        "pooling": __version__,
        "numpy": np.__version__,
        "onnx": onnx_version(),
        "python": platform.python_version(),
    }


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "instruction_set": dispatch.level,
    }


def _processor() -> str:
    """Name the processor as its maker does, where the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
