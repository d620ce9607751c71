"""The doctor against torch on one network: what `test_doctor_models` asserts and docs/make_doctor_models.py counts.

Every function takes one network and returns a record that can be written as JSON; its `differences` say in words what
is not equal.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import math
import random
import re
import resource
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

import pooling.doctor
from pooling.doctor import Examination, Finding, Graph, Network, NetworkError, Stage
from pooling.doctor.analysis.object_footprint import follow_object
from pooling.doctor.lint import RULES, LintContext

from . import doctor_models as models
from .doctor_models import Probe, RealNetwork, Run, Shape

Record = dict[str, Any]
Ends = tuple[int, int, list[tuple[int, bool]]]
"""The number of a map, a cell of it, and columns of the input with whether they reach it."""
OBJECT = 16
OBJECTS = (8, 16, 32, 64, 96)
DIVIDED = 32
"""Columns by which a width is divided where cells are counted: the stride of most networks."""
AT_BORDERS = 4
"""Cells that windows without padding may leave out at the borders of a map."""
TASKS = ("classification", "detection", "segmentation")


LIMIT = 300


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"[:LIMIT]


# ---------------------------------------------------------------------------------------------------------------------
# Reading


def read(network: RealNetwork, *, fvcore: bool = False) -> Record:
    """Read a network at two sizes, and compare shapes, parameters and multiply-adds with those of a run in torch.

    `outcome` is ``"whole"``; ``"fields"`` where all shapes and costs are known but some receptive fields are not;
    ``"data"`` where all is known up to an operator whose result has a size that is data; ``"part"``; ``"refused"``; or
    ``"torch"`` where torch itself does not run the network.
    """
    record: Record = {"outcome": "whole", "sentence": "", "sizes": 0, "shapes": 0, "shapes_equal": 0}
    record |= {"differences": []}
    module = network.on_meta()
    for number, shape in enumerate((network.shape, network.other)):
        try:
            run = models.run_in_torch(module, shape)
        except Exception as error:
            if number:
                _compare_refusals(record, module, shape)
            else:
                record |= {"outcome": "torch", "sentence": _first_line(error)}
            break
        begin = time.process_time()
        try:
            seen = pooling.doctor.read(module, shape)
        except NetworkError as error:
            if number:
                record["differences"].append(f"torch takes {shape}, the doctor does not: {_first_line(error)}")
            else:
                record |= {"outcome": "refused", "sentence": _first_line(error)}
            break
        if not number:
            record["seconds"] = round(time.process_time() - begin, 2)
            record["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            record |= _outcome(seen)
            if record["outcome"] != "data":
                _compare_sums(record, seen, run)
        if record["outcome"] == "data":
            break  # how many boxes there are, and what is made of them, is not known without data
        _compare_shapes(record, seen, run)
    if fvcore and record["outcome"] not in ("torch", "refused"):
        found = models.multiply_adds_of_fvcore(network)
        record["fvcore"] = found in (record["macs"], record["macs"] + record["macs_of_constants"])
        if not record["fvcore"]:
            record["differences"].append(f"multiply-adds {record['macs']}, fvcore {found}")
    return record


def _outcome(network: Network) -> Record:
    unread = next((each for each in network.stages if each.kind == "unknown" or not _has_shape(each)), None)
    if unread is not None:
        # Detectors choose boxes by their scores: how many are left is no matter of shapes.
        outcome = "data" if "depends on data" in unread.note else "part"
        return {"outcome": outcome, "operator": unread.operator, "sentence": f"{unread.name}: {unread.note}"}
    for loss in getattr(network, "losses", ()):
        return {"outcome": "fields", "operator": loss.operator, "sentence": f"{loss.stage}: {loss.why}"}
    return {}


def _has_shape(stage: Stage) -> bool:
    return bool(stage.output_shape) or stage.kind != "unknown"


def _compare_refusals(record: Record, module: nn.Module, shape: Shape) -> None:
    """A size that torch refuses must be refused, or be a finding."""
    try:
        seen = pooling.doctor.read_graph(module, shape).infer(shape)
    except NetworkError:
        return
    record["differences"].append(f"torch refuses {shape}, the doctor reads it at {seen.input_shape}")


def _compare_sums(record: Record, network: Network, run: Run) -> None:
    record["macs"], record["parameters"] = network.macs, network.parameters
    record["parameters_equal"] = network.parameters == run.parameters
    if not record["parameters_equal"]:
        record["differences"].append(
            f"parameters {network.parameters}, torch {run.parameters} of which {run.parameters_read} are read"
        )
    record["macs_of_constants"] = run.multiply_adds_of_constants
    # Products in which no data takes part, such as the projection of a position table, may be worked out beforehand.
    record["macs_equal"] = network.macs in (run.multiply_adds, run.multiply_adds + run.multiply_adds_of_constants)
    if not record["macs_equal"]:
        record["differences"].append(
            f"multiply-adds {network.macs}, torch {run.multiply_adds} and {run.multiply_adds_of_constants} of constants"
        )


def _compare_shapes(record: Record, network: Network, run: Run) -> None:
    record["sizes"] += 1
    for words, asked in (("Conv", run.convolutions), ("ConvTranspose", run.transposed), ("pooling", run.poolings)):
        found = [each.output_shape for each in network.stages if _is(each, words)]
        same = sum(a == b for a, b in zip(found, asked, strict=False))
        record["shapes"] += max(len(asked), len(found))
        record["shapes_equal"] += same
        if found != asked:
            record["differences"].append(f"{words}: {len(found)} stages, {len(asked)} calls, {same} of the same shape")
    by_module = _shapes_by_module(network)
    for name, shapes in run.modules.items():
        for shape in shapes:
            record["shapes"] += 1
            if shape in by_module.get(name, ()):
                record["shapes_equal"] += 1
            else:
                record["differences"].append(f"{name or 'the whole'}: no stage has its shape {shape}")


def _is(stage: Stage, words: str) -> bool:
    return stage.kind == "pooling" and stage.layer is not None if words == "pooling" else stage.operator == words


def path_of(stage: Stage) -> str:
    """Return the path of the module that a stage belongs to: a stage has its name where it is the only one in it."""
    path, slash, _ = stage.name.rpartition("/")
    return "" if path == "forward" else path if slash else stage.name


def _shapes_by_module(network: Network) -> dict[str, set[Shape]]:
    """Return the shapes of all stages by the module that they are in, and by those around it."""
    found: dict[str, set[Shape]] = {}
    for stage in network.stages:
        path = path_of(stage)
        parts = path.split(".") if path else []
        for depth in range(len(parts) + 1):
            found.setdefault(".".join(parts[:depth]), set()).add(stage.output_shape)
    return found


def strides(network: RealNetwork) -> Record:
    """Compare the effective strides of timm's features with those that timm declares."""
    found = models.feature_strides(network.name.partition(":")[2])
    if found is None:
        return {"outcome": "none"}
    features, declared = found
    fields = [each.receptive_field for each in _outputs(pooling.doctor.read(features.on_meta(), features.shape))]
    steps = [None if each is None else each.stride for each in fields]
    equal = steps == [(each,) * 2 for each in declared]
    words = [None if each is None else "x".join(map(str, each)) for each in steps]
    return {"outcome": "read", "equal": equal, "differences": [] if equal else [f"strides {words}, timm {declared}"]}


def _outputs(network: Network) -> list[Stage]:
    stages = {stage.name: stage for stage in network.stages}
    return [stages[name] for name in network.outputs if name in stages]


# ---------------------------------------------------------------------------------------------------------------------
# Receptive fields

WIDE: Shape = (1, 3, 64, 704)
"""Wide, so that fields end within the input on one axis, and low, so that it is quick."""


def fields(network: RealNetwork, shape: Shape = WIDE) -> Record:
    """Compare the receptive fields of the outputs of a network with gradients, and with what NaN reaches."""
    record: Record = {"outcome": "read", "maps": 0, "gradients": 0, "context": 0, "perturbed": 0, "differences": []}
    module = network.on_meta()
    if not models.works_in_torch(module, shape):
        return record | {"outcome": "torch"}
    asked = models.probe(models.positive(network.with_weights()), shape)
    stages = _outputs(pooling.doctor.read(module, shape))
    if [each.output_shape for each in stages] != [tuple(each.shape) for each in asked.outputs]:
        return record | {"outcome": "outputs differ"}
    columns: list[Ends] = []
    for number, (stage, result) in enumerate(zip(stages, asked.outputs, strict=True)):
        field = stage.receptive_field
        if field is None or not field.uniform or stage.spatial[-1] != result.dim() - 1:
            continue  # of maps with their columns last
        record["maps"] += 1
        cell = result.shape[-1] // 2
        seen = asked.columns(result, cell)
        centre = field.offset[-1] + cell * field.stride[-1]
        first, last = int(centre - Fraction(field.size[-1] - 1, 2)), int(centre + Fraction(field.size[-1] - 1, 2))
        if field.context:
            record["context"] += 1
            if seen != set(range(shape[-1])) and not _sees_by_nan(network, shape, number, cell):
                record["differences"].append(f"{stage.name}: context, but {len(seen)} columns have a gradient")
            continue
        inside = first >= 0 and last < shape[-1]
        expected = max(first, 0), min(last, shape[-1] - 1)
        if (min(seen), max(seen)) == expected:
            record["gradients"] += 1
        else:
            record["differences"].append(
                f"{stage.name}: gradients at {min(seen)} to {max(seen)}, the doctor {expected} for cell {cell}"
            )
        if inside:
            ends = [(first, True), (last, True), (first - 1, False), (last + 1, False)]
            columns.append((number, cell, [each for each in ends if 0 <= each[0] < shape[-1]]))
    if columns:
        _perturb(record, network, shape, columns, stages)
    return record


def _sees_by_nan(network: RealNetwork, shape: Shape, number: int, cell: int) -> bool:
    """Whether NaN in the first column of the input, and in the last, reach a cell of a map.

    This asks the network as it is: gradients are taken without normalisations, and pass no softmax of equal numbers.
    """
    reached = models.changed_by_nan(network.with_weights(), shape, (0, shape[-1] - 1))[number]
    return bool(reached[:, cell].all())


def _perturb(
    record: Record,
    network: RealNetwork,
    shape: Shape,
    columns: list[tuple[int, int, list[tuple[int, bool]]]],
    stages: list[Stage],
) -> None:
    """Put NaN where a field ends and beside it."""
    module = network.with_weights()
    places = [column for _, _, ends in columns for column, _ in ends]
    reached = models.changed_by_nan(module, shape, places)
    row = 0
    for number, cell, ends in columns:
        for column, expected in ends:
            record["perturbed"] += 1
            if bool(reached[number][row, cell]) is not expected:
                word = "does not reach" if expected else "reaches"
                record["differences"].append(f"{stages[number].name}: NaN in column {column} {word} cell {cell}")
            row += 1


def unread(network: RealNetwork, shape: Shape) -> Record:
    """Compare the rows and columns at the end of the input that nothing reads with the mask of a gradient."""
    module = network.on_meta()
    if not models.works_in_torch(module, shape):
        return {"outcome": "torch", "differences": []}
    mask = models.probe(models.positive(network.with_weights()), shape).read_places()
    truth = [_unread_end(mask.any(1)), _unread_end(mask.any(0))]
    said = unread_ends(_said_unread(module, shape))
    notices = [
        bool(count)
        and models.notices_nan(
            network.with_weights(), shape, {2 + axis: range(shape[2 + axis] - count, shape[2 + axis])}
        )
        for axis, count in enumerate(truth)
    ]
    record: Record = {"outcome": "read", "truth": truth, "said": said, "differences": []}
    if truth != said:
        record["differences"].append(f"{truth} rows and columns have no gradient, the doctor says {said}")
    if any(notices):
        record["differences"].append("NaN there is noticed, so the gradient is no truth")
    return record


def _unread_end(read: torch.Tensor) -> int:
    places = read.nonzero().flatten().tolist()
    return len(read) - 1 - max(places) if places else len(read)


def _said_unread(module: nn.Module, shape: Shape) -> list[str]:
    """Return what D101 says; the other rules and the search for sizes take longer and say nothing of it."""
    graph = pooling.doctor.read_graph(module, shape)
    network = graph.infer(shape)
    objects = follow_object(network, (OBJECT,) * len(network.spatial))
    return [each.message for each in RULES["D101"].look(LintContext(graph, network, objects, (), None))]


def unread_ends(messages: Sequence[str]) -> list[int]:
    """Return how many rows and columns at the end the messages of D101 say that nothing reads."""
    found = [0, 0]
    for message in messages:
        for axis, noun in enumerate(("row", "column")):
            for first, last, size in re.findall(rf"{noun}s? (\d+)(?: to (\d+))? of (\d+)", message):
                if int(last or first) + 1 == int(size):
                    found[axis] = int(last or first) - int(first) + 1
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Input sizes


def sizes(network: RealNetwork, count: int = 48) -> Record:
    """Compare the input sizes that work with those that torch takes: around the smallest, the given and the largest."""
    module = network.on_meta()
    begin = time.process_time()
    examination = pooling.doctor.examine(module, network.shape)
    seconds = round(time.process_time() - begin, 2)
    record: Record = {"outcome": "read", "tried": 0, "equal": 0, "differences": []}
    record |= {"seconds": seconds, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
    if not examination.sizes:
        return record | {"outcome": "not said"}
    for number, each in enumerate(examination.sizes):
        together = len(examination.sizes) == 1
        places = [axis for place, axis in enumerate(examination.network.spatial) if together or place == number]
        if each.smallest is None:
            continue
        tried = {*range(max(1, each.smallest - 4), each.smallest + count), *range(each.given - 3, each.given + 4)}
        if each.largest is not None:
            tried |= set(range(each.largest, each.largest + 4))
        for size in sorted(each for each in tried if each > 0):
            shape = tuple(size if axis in places else old for axis, old in enumerate(network.shape))
            said = each.smallest <= size and (each.largest is None or size <= each.largest) and size in each.working
            record["tried"] += 1
            if models.works_in_torch(module, shape) is said:
                record["equal"] += 1
            elif len(record["differences"]) < 3:
                record["differences"].append(f"{shape}: the doctor says {said}, torch {not said}")
    return record


# ---------------------------------------------------------------------------------------------------------------------
# Exports


def export(network: RealNetwork, *, dynamo: bool) -> Record:
    """Export a network, and compare what is said of the file with what is said of the module."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "model.onnx")
        try:
            _export(network, path, dynamo=dynamo)
        except Exception as error:
            return {"outcome": "exporter", "sentence": _first_line(error)}
        try:
            of_file = pooling.doctor.examine(path, network.shape)
        except NetworkError as error:
            return {"outcome": "refused", "sentence": _first_line(error), "differences": []}
        of_module = pooling.doctor.examine(network.on_meta(), network.shape)
    record: Record = {"outcome": "whole", "differences": [], **_outcome(of_file.network)}
    record["macs_equal"] = of_file.network.macs == of_module.network.macs
    if not record["macs_equal"]:
        record["differences"].append(f"multiply-adds {of_file.network.macs}, of the module {of_module.network.macs}")
    found = [
        Counter(each.code for each in examination.findings if _is_of_both(each)) for examination in (of_file, of_module)
    ]
    record["same_findings"] = found[0] == found[1]
    if not record["same_findings"]:
        more, less = found[0] - found[1], found[1] - found[0]
        record["differences"].append(f"findings of the file alone {dict(more)}, of the module alone {dict(less)}")
    return record


def _export(network: RealNetwork, path: Path, *, dynamo: bool) -> None:
    x = torch.zeros(network.shape)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        if dynamo:
            torch.onnx.export(network.on_cpu(), (x,), str(path), dynamo=True, verbose=False, optimize=True)
        else:
            torch.onnx.export(network.on_cpu(), (x,), str(path), dynamo=False, opset_version=17)


def _is_of_both(finding: Finding) -> bool:
    """Whether a finding can be the same of a module and of a file: sizes and opsets are declared in files alone."""
    return not finding.code.startswith(("D104", "D3", "D9"))


# ---------------------------------------------------------------------------------------------------------------------
# Warnings


def object_size(name: str) -> int:
    """Draw the size of the object that is followed by the name of a network, so that warnings differ."""
    return random.Random(name).choice(OBJECTS)


def judge_warnings(network: RealNetwork, shape: Shape | None = None, pixels: int = OBJECT) -> Record:
    """Decide of each warning, for every task, whether it is true, by gradients, perturbations and counting in torch."""
    shape = network.shape if shape is None else shape
    if not models.works_in_torch(network.on_meta(), shape):
        return {"outcome": "torch", "differences": []}
    record: Record = {"outcome": "read", "true": {}, "false": {}, "undecided": {}, "differences": []}
    asked: Probe | None = None
    run: Run | None = None
    seen: set[tuple[str, str]] = set()
    module = network.on_meta()
    graph = _remembering(pooling.doctor.read_graph(module, shape))
    for task in TASKS:
        examination = pooling.doctor.examine(graph, shape, object_size=pixels, task=task)
        for finding in examination.findings:
            key = finding.code, finding.stage  # for another task, the same is said in other words
            if finding.severity == "note" or key in seen:
                continue
            seen.add(key)
            try:
                if asked is None or run is None:
                    asked = models.probe(models.positive(network.with_weights()), shape)
                    run = models.run_in_torch(module, shape)
                verdict = Judge(network, examination, asked, run, shape)(finding)
            except Exception as error:  # a judge that cannot decide is no judge
                verdict = None
                record.setdefault("errors", []).append(f"{finding.code} {finding.stage}: {_first_line(error)}")
            word = {True: "true", False: "false", None: "undecided"}[verdict]
            record[word][finding.code] = record[word].get(finding.code, 0) + 1
            if verdict is None:
                record.setdefault("open", []).append(f"{finding.code} {finding.stage}")
            if verdict is False:
                record["differences"].append(f"{task}: {finding.code} {finding.stage}: {finding.message}")
    return record


def _remembering(graph: Graph) -> Graph:
    """Let a graph of a module keep what it finds at a size: most of it is asked for again for the next task."""
    runner: Any = getattr(graph, "runner", None)
    if runner is None:
        return graph
    networks: dict[str, Network | NetworkError] = {}
    find = runner.network

    def network(shape: Shape, changes: Any) -> Network:
        key = repr((shape, sorted(changes.items())))
        if key not in networks:
            try:
                networks[key] = find(shape, changes)
            except NetworkError as error:
                networks[key] = error
        found = networks[key]
        if isinstance(found, NetworkError):
            raise found
        return found

    runner.windows, runner.network = functools.cache(runner.windows), network
    return graph


class Judge:
    """Decides whether a warning is true, without the doctor's arithmetic; None where it cannot."""

    def __init__(self, network: RealNetwork, examination: Examination, asked: Probe, run: Run, shape: Shape) -> None:
        self.network, self.examination, self.asked, self.run, self.shape = network, examination, asked, run, shape
        self.stages = {stage.name: stage for stage in examination.network.stages}
        self.object = min(examination.object_size)
        self.modules = dict(network.on_meta().named_modules(remove_duplicate=False))

    def __call__(self, finding: Finding) -> bool | None:
        """Return whether a warning is true."""
        judge = getattr(self, f"_{finding.code.lower()}", None)
        return None if judge is None else judge(finding)

    def _module(self, name: str) -> nn.Module | None:
        return self.modules.get(path_of(self.stages[name])) if name in self.stages else None

    def _map(self, name: str) -> torch.Tensor | None:
        """Return what the module of a stage gave, if that is of the stage's shape."""
        if name not in self.stages:
            return None
        found = self.asked.results.get(path_of(self.stages[name]), ())
        return next((each for each in found if tuple(each.shape) == self.stages[name].output_shape), None)

    @functools.cached_property
    def _even(self) -> Probe:
        """The network at a width that its strides divide, where the number of cells says how large they are."""
        return self._at_width(-(-self.shape[-1] // DIVIDED) * DIVIDED) or self.asked

    @functools.cached_property
    def _wider(self) -> Probe | None:
        """The network at a larger width: how many cells are more says how large they are, whatever borders lose."""
        return self._at_width(self._even.x.shape[-1] + 4 * DIVIDED)

    def _at_width(self, width: int) -> Probe | None:
        shape = (*self.shape[:-1], width)
        if shape == self.shape:
            return self.asked
        if not models.works_in_torch(self.network.on_meta(), shape):
            return None
        return models.probe(models.positive(self.network.with_weights()), shape)

    def _cells_at(self, probe: Probe, name: str, most: int) -> int | None:
        """Count the cells that a map tells apart along the last axis, exactly up to a number; else any larger one.

        A map has no more than its columns; one that was upsampled has as many as its rank.
        """
        stage, shape = self.stages[name], tuple(probe.x.shape)
        path, dimensions = path_of(stage), len(stage.output_shape)
        found = next(
            (
                each
                for each in probe.results.get(path, ())
                # Of several maps, the one with as many channels.
                if each.dim() == dimensions and (dimensions != 4 or each.shape[1] == stage.output_shape[1])
            ),
            None,
        )
        given = probe.given.get(path)
        if found is None and given is not None and given.dim() == 3:
            found = given  # what is made inside a module tells no more places apart than what the module reads
        if found is None:
            return None
        if found.dim() == 3 and len(shape) == 4:
            # A list of places, of which some stand for no pixels: as many as there can be in a row of a square.
            columns = math.isqrt(max(found.shape[1:]))
            if math.isqrt(min(found.shape[1:])) < most <= columns:
                return None  # and it is not known which of the axes has the places
        elif len(stage.spatial) == 2:
            columns = found.shape[stage.spatial[-1]]
        else:
            return None
        if columns < most or found.dim() != 4:
            return columns
        low = (*shape[:-2], 64, shape[-1])
        taken = low if models.works_in_torch(self.network.on_meta(), low) else shape
        return models.resolved_cells(self.network, taken, path, columns, most)

    def _resolves_less(self, limit: Fraction) -> bool | None:
        """Whether all that leaves the network is read from maps whose cells are larger than so many columns."""
        heads = self.examination.objects.heads
        if not heads or not self._blind_behind(heads):
            return False if heads else None
        for name in heads:
            coarser = self._is_coarser(name, limit)
            if not coarser:
                return coarser
        return True

    def _is_coarser(self, name: str, limit: Fraction) -> bool | None:
        """Whether the cells of a map are larger than so many columns."""
        width = self._even.x.shape[-1]
        found = self._cells_at(self._even, name, math.ceil(width / limit))
        if found is None:
            return None
        if found * limit >= width:
            return False
        if (found + AT_BORDERS) * limit < width:
            return True
        if self._wider is None:
            return None
        wider = self._wider.x.shape[-1]
        more = self._cells_at(self._wider, name, math.ceil(wider / limit) + AT_BORDERS)
        if more is None:
            return None
        return more <= found or Fraction(wider - width, more - found) > limit

    def _blind_behind(self, names: Sequence[str]) -> bool:
        """Whether nothing that leaves the network depends on the input once the results of some stages are given."""
        module = self.network.with_weights()
        paths = {path_of(self.stages[name]) for name in names}
        if "" in paths:
            return True

        def replace(path: str, _: Any, result: Any) -> Any:
            return _ones_like(result) if path in paths else None

        with torch.no_grad(), models.watched(module, replace):
            results = [models.tensors_of(module(torch.rand(self.shape))) for _ in range(2)]
        return all(bool(torch.equal(a, b)) for a, b in zip(*results, strict=True))

    def _d101(self, finding: Finding) -> bool:
        mask = self.asked.read_places()
        unread = {2: _unread_end(mask.any(1)), 3: _unread_end(mask.any(0))}
        places = {axis: range(self.shape[axis] - count, self.shape[axis]) for axis, count in unread.items() if count}
        return bool(places) and not any(
            models.notices_nan(self.network.with_weights(), self.shape, {axis: each}) for axis, each in places.items()
        )

    def _d105(self, finding: Finding) -> bool | None:
        module, given = self._module(finding.stage), self.asked.given.get(path_of(self.stages[finding.stage]))
        if given is None or not isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
            return None
        kernel = module.kernel_size if isinstance(module.kernel_size, tuple) else (module.kernel_size,) * 2
        dilation: Any = getattr(module, "dilation", 1)
        padding: Any = module.padding
        ones = torch.ones(1, 1, *given.shape[-2:], dtype=torch.float64)
        windows = torch.ones(1, 1, *kernel, dtype=torch.float64)
        taps = nn.functional.conv2d(ones, windows, None, module.stride, padding, dilation)
        return float(taps.max()) < 0.5 * math.prod(kernel)

    def _d201(self, finding: Finding) -> bool | None:
        return self._resolves_less(Fraction(self.object))

    def _d202(self, finding: Finding) -> bool | None:
        fewer, enough = self._resolves_less(Fraction(self.object, 2)), self._resolves_less(Fraction(self.object))
        return None if fewer is None or enough is None else fewer and not enough

    def _d203(self, finding: Finding) -> bool | None:
        found = self._map(finding.stage)
        if found is None:
            # No module gives it: then whether the last map of any module sees less.
            every = (each for given in self.asked.results.values() for each in given)
            found = next(reversed([each for each in every if each.dim() == 4 and each.shape[-1] > 1]), None)
        if found is None or not found.requires_grad:
            return None
        seen = self.asked.columns(found, found.shape[-1] // 2)
        return max(seen) - min(seen) + 1 < self.object

    def _d304(self, finding: Finding) -> bool:
        """The windows that torch takes differ in size, by their gradients."""
        stage = self.stages[finding.stage]
        for axis in stage.axes:
            x = torch.rand(1, 1, axis.input_size, dtype=torch.float64, requires_grad=True)
            result = nn.functional.adaptive_avg_pool1d(x, axis.output_size)
            windows = [torch.autograd.grad(each, x, retain_graph=True)[0] != 0 for each in result.flatten()]
            if len({int(each.sum()) for each in windows}) > 1 or bool((torch.stack(windows).sum(0) > 1).any()):
                return True
        return False

    def _d402(self, finding: Finding) -> bool | None:
        given = self.asked.given.get(path_of(self.stages[finding.stage]))
        if given is None or not given.requires_grad or given.dim() != 4:
            return None
        return not bool(self.asked.read_places(given).all())

    def _d501(self, finding: Finding) -> bool:
        """The last convolution or pooling within a tenth of the multiply-adds gives a quarter of the columns."""
        limit = self.run.multiply_adds / 10
        maps = [shape for macs, shape in self.run.steps if macs <= limit and len(shape) == 4 and shape[-1] > 1]
        return bool(maps) and maps[-1][-1] * 4 <= self.shape[-1] + 4

    def _d502(self, finding: Finding) -> bool:
        """Nothing that leaves the network depends on where things are, once this stage has one cell."""
        return self._blind_behind([finding.stage])

    def _d503(self, finding: Finding) -> bool | None:
        return self._resolves_less(Fraction(8))

    def _d504(self, finding: Finding) -> bool | None:
        module, given = self._module(finding.stage), self.asked.given.get(path_of(self.stages[finding.stage]))
        if not isinstance(module, nn.Linear) or given is None:
            return None
        last = [shape for _, shape in self.run.steps if len(shape) == 4 and shape[-1] > 1]
        share = module.weight.numel() / self.run.parameters
        return share > 0.45 and bool(last) and module.in_features == math.prod(last[-1][1:])

    def _d602(self, finding: Finding) -> bool | None:
        """The cells of the result of a transposed convolution of ones are sums of different numbers of taps."""
        module = self._module(finding.stage)
        if not isinstance(module, nn.ConvTranspose2d):
            return None
        ones = torch.ones(1, 1, 16, 16, dtype=torch.float64)
        taps = nn.functional.conv_transpose2d(
            ones,
            torch.ones(1, 1, *module.kernel_size, dtype=torch.float64),
            stride=module.stride,
            dilation=module.dilation,
        )
        rows, columns = (size // 3 for size in taps.shape[-2:])
        inner = taps[0, 0, rows : 2 * rows, columns : 2 * columns]
        return bool(inner.max() != inner.min())

    # D901 says what is not known, and nothing about the network.


def _ones_like(result: Any) -> Any:
    return pytree.tree_map(lambda each: torch.ones_like(each) if isinstance(each, torch.Tensor) else each, result)


def totals(records: list[Record], word: str) -> Iterator[tuple[str, int]]:
    """Add up a counter of several records."""
    found: Counter[str] = Counter()
    for record in records:
        found.update(record.get(word, {}))
    yield from sorted(found.items())
