"""What a validation found, as objects and as JSON."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from pooling.files import write_whole
from pooling.geometry import Axis
from pooling.layers import Layer

from .comparison import Comparison
from .race import Times
from .stages import Stage

__all__ = ["ModelReport", "Report", "StageReport"]

SCHEMA = "pooling-validation/1"
DISTURBED = 2.0
"""A median so many times the fastest call is the work of something else on the machine."""


@dataclass(frozen=True)
class StageReport:
    """What came of one stage.

    Attributes
    ----------
    stage : Stage
        The node and its place.
    layer : Layer or None
        What computes it here; None where that could not be found out.
    comparison : Comparison or None
        None where the stage could not be compared.
    times : dict of str to Times
        Of ``"pooling"`` and ``"onnxruntime"``; empty where nothing was measured.
    problem : str or None
        Why the stage could not be compared, as a sentence's end.
    """

    stage: Stage
    layer: Layer | None = None
    comparison: Comparison | None = None
    times: dict[str, Times] = field(default_factory=dict)
    problem: str | None = None

    @property
    def windows(self) -> tuple[Axis, ...] | None:
        """The windows on each spatial axis, where the node says something about them and they are known."""
        if self.layer is None or "kernel_size" not in self.layer.arguments:
            return None
        return self.layer.axes(self.stage.input_shape)

    @property
    def output_shape(self) -> tuple[int, ...] | None:
        """The shape of the result, where the layer is known."""
        return None if self.layer is None else self.layer.output_shape(self.stage.input_shape)

    @property
    def speedup(self) -> float | None:
        """How many times as long onnxruntime takes."""
        return self.times["onnxruntime"].median / self.times["pooling"].median if self.times else None

    @property
    def finding(self) -> str | None:
        """What is wrong with the stage, whether it differs or could not be compared."""
        return self.problem or (self.comparison.finding if self.comparison else None)


@dataclass(frozen=True)
class ModelReport:
    """What came of one model.

    Attributes
    ----------
    path : str
        As it was given.
    stages : list of StageReport
        In the order of the nodes.
    problem : str or None
        Why the model could not be read.
    """

    path: str
    stages: list[StageReport]
    problem: str | None = None

    @property
    def name(self) -> str:
        """The file's name without folder and ending."""
        return Path(self.path).stem


@dataclass(frozen=True)
class Report:
    """What came of all models.

    Attributes
    ----------
    models : list of ModelReport
        In the order given.
    versions, machine, settings : dict
        What was compared, where, and how.
    """

    models: list[ModelReport]
    versions: dict[str, str]
    machine: dict[str, Any]
    settings: dict[str, Any]

    @property
    def stages(self) -> list[StageReport]:
        """The stages of all models."""
        return [stage for model in self.models for stage in model.stages]

    @property
    def differing(self) -> list[StageReport]:
        """Stages with a difference that rounding does not explain."""
        return [stage for stage in self.stages if stage.comparison and not stage.comparison.agrees]

    @property
    def not_run(self) -> list[StageReport]:
        """Stages that could not be compared."""
        return [stage for stage in self.stages if stage.problem]

    @property
    def unread(self) -> list[ModelReport]:
        """Models that could not be read."""
        return [model for model in self.models if model.problem]

    @property
    def speedups(self) -> list[float]:
        """How many times as long onnxruntime takes, for each stage that was timed."""
        return [stage.speedup for stage in self.stages if stage.speedup is not None]

    @property
    def geometric_mean_speedup(self) -> float | None:
        """The geometric mean of `speedups`, where there are any."""
        return geometric_mean(self.speedups) if self.speedups else None

    @property
    def disturbed(self) -> bool:
        """Whether something else kept the machine so busy that the times mean little."""
        timed = [stage.times.values() for stage in self.stages if stage.times]
        unsteady = [any(times.median > DISTURBED * times.fastest for times in both) for both in timed]
        return sum(unsteady) > len(unsteady) / 4

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Where something is wrong, and what: models that were not read, stages that differ or did not run."""
        found = []
        for model in self.models:
            if model.problem:
                found.append((model.path, model.problem))
            found += [
                (f"{model.path}: {stage.stage.operator} {stage.stage.name}", stage.finding)
                for stage in model.stages
                if stage.finding
            ]
        return found

    @property
    def exit_code(self) -> int:
        """What a command should return: 0 all agree, 1 something differs, 2 something could not be run.

        A difference counts for more than what could not be run. Times do not count.
        """
        if self.differing:
            return 1
        return 2 if self.not_run or self.unread else 0

    def summary(self) -> str:
        """Return the outcome in one sentence."""
        compared = [stage for stage in self.stages if stage.comparison]
        networks = sum(any(stage.comparison for stage in model.stages) for model in self.models)
        if not compared:
            found = "nothing could be compared" if self.not_run or self.unread else "there is no pooling to compare"
            return f"{found} in {_count(len(self.models), 'model')}"
        if self.differing:
            outcome = f"{len(self.differing)} differ{'s' if len(self.differing) == 1 else ''}"
        else:
            rounded = any(stage.comparison and stage.comparison.largest_difference for stage in compared)
            outcome = "all equal, averages up to rounding" if rounded else "all equal"
        parts = [f"{_count(len(compared), 'stage')} of {_count(networks, 'network')}: {outcome}"]
        mean = self.geometric_mean_speedup
        if mean is not None:
            slower = sum(speedup < 1 for speedup in self.speedups)
            pace = f"{mean:.1f}x faster" if mean >= 1 else f"{1 / mean:.1f}x slower"
            parts.append(f"{pace} than onnxruntime in the geometric mean, {slower if slower else 'none'} slower")
        missing = [_count(len(self.not_run), "stage")] if self.not_run else []
        missing += [_count(len(self.unread), "model")] if self.unread else []
        if missing:
            parts.append(f"{' and '.join(missing)} could not be run")
        return "; ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as what JSON knows.

        Returns
        -------
        dict
            The keys and their types stay as they are as long as ``schema`` does; new ones may be added.

            - ``schema`` : ``"pooling-validation/1"``
            - ``versions`` : of ``pooling``, ``numpy``, ``onnx``, ``onnxruntime``, ``python``
            - ``machine`` : ``system``, ``processor``, ``cores`` (that the process may use), ``instruction_set``
            - ``settings`` : ``threads``, ``rounds``, ``seed``, ``shapes``
            - ``models`` : list of

              - ``path``, ``problem`` (a sentence, or null)
              - ``stages`` : list of

                - ``name``, ``operator``, ``opset``
                - ``verdict`` : ``"equal"``, ``"differs"`` or ``"not run"``; ``problem`` : a sentence, or null
                - ``input_shape`` (sizes, names where they are not known), ``output_shape``, ``layer``: or null
                - ``elements``, ``unexplained``, ``largest_difference`` (null where infinite), ``share_of_bound``: or
                  null where nothing was compared
                - ``seconds`` : ``{"pooling": {"median": ..., "fastest": ...}, "onnxruntime": ...}``, empty where
                  nothing was measured

            - ``summary`` : ``stages``, ``equal``, ``differ``, ``not_run``, ``models_not_read``,
              ``geometric_mean_speedup`` (or null), ``slower`` (stages), ``disturbed``, ``sentence``
        """
        return {
            "schema": SCHEMA,
            "versions": self.versions,
            "machine": self.machine,
            "settings": self.settings,
            "models": [
                {
                    "path": model.path,
                    "problem": model.problem,
                    "stages": [_stage_as_dict(stage) for stage in model.stages],
                }
                for model in self.models
            ],
            "summary": {
                "stages": len(self.stages),
                "equal": len(self.stages) - len(self.differing) - len(self.not_run),
                "differ": len(self.differing),
                "not_run": len(self.not_run),
                "models_not_read": len(self.unread),
                "geometric_mean_speedup": self.geometric_mean_speedup,
                "slower": sum(speedup < 1 for speedup in self.speedups),
                "disturbed": self.disturbed,
                "sentence": self.summary(),
            },
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `as_dict` to a JSON file, whole or not at all.

        Raises
        ------
        OSError
            If the file cannot be written; a file that was there before is still there then.
        """
        write_whole(path, json.dumps(self.as_dict(), indent=2, allow_nan=False) + "\n")


def _stage_as_dict(report: StageReport) -> dict[str, Any]:
    stage, comparison = report.stage, report.comparison
    verdict = "not run" if comparison is None else "equal" if comparison.agrees else "differs"
    return {
        "name": stage.name,
        "operator": stage.operator,
        "opset": stage.opset,
        "verdict": verdict,
        "problem": report.finding,
        "input_shape": None if stage.shape is None else list(stage.shape),
        "output_shape": None if report.output_shape is None else list(report.output_shape),
        "layer": None if report.layer is None else repr(report.layer),
        "elements": comparison and comparison.elements,
        "unexplained": comparison and comparison.unexplained,
        "largest_difference": comparison and _finite(comparison.largest_difference),
        "share_of_bound": comparison and comparison.share_of_bound,
        "seconds": {name: asdict(times) for name, times in report.times.items()},
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
