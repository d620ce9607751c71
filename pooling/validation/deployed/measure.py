"""Measure what released runtimes make of what is exported: ``python -m pooling.validation.deployed.measure``.

Wheels of the releases are installed side by side into folders of their own, where they stay (``build/runtimes`` by
default), and each is asked in a process of its own. The answers become ``table.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from pooling.export import deployed
from pooling.export.deployed import ANSWERS
from pooling.export.graph_builder import OpsetError
from pooling.export.verification import Opened, Verification, VerificationError
from pooling.onnx_models.session import narrowed, session, widened
from pooling.validation.runners.base import Unsupported
from pooling.validation.runners.onnxruntime import OnnxRuntimeRuntime, reason
from pooling.validation.runners.openvino import OpenVino
from pooling.validation.runners.processes import Limits, RuntimeProcess

from .probes import Probe, form_probes, layer_probes

__all__ = [
    "Answers",
    "ask",
    "content_of",
    "folder_of",
    "install",
    "made_in",
    "main",
    "merged",
    "newest_opset",
    "opened_in",
    "processes",
]

Array = NDArray[Any]
Answers = dict[tuple[str, str, str, int], tuple[str, str]]
"""By kind of form, form, level and opset: the answer, and its detail."""

RELEASES = {
    "onnxruntime": (
        *("1.17.3", "1.18.1", "1.19.2", "1.20.1", "1.21.1", "1.22.1", "1.23.2", "1.24.4"),
        *("1.25.1", "1.26.0", "1.27.0", "1.28.0", "1.29.0", "1.30.0", "1.31.1", "1.32.0"),
    ),
    "openvino": ("2024.0.0", "2024.6.0", "2025.4.1", "2026.4.1"),
}
"""The last patch of every minor release of onnxruntime since 1.17, and releases of openvino."""
BEFORE_NUMPY_2 = {"onnxruntime": (1, 19), "openvino": (2024, 4)}
"""Releases before these were built for NumPy 1."""
NUMPY_1 = "numpy==1.26.4"
OPSETS = {
    "onnxruntime": (7, 8, 10, 11, 12, 13, 16, 18, 19, 21, 22, 23, 24, 25),
    "openvino": (11, 13, 16, 19, 22),  # it takes long to compile a model
}
"""Opsets that bring other versions of the operators that are written; what is between is as the one before."""
OPSETS_OF_LAYERS = (7, 13, 16, 18, 19, 22)
RELEASES_OF_LAYERS = ("1.17.3", "1.19.2", "1.21.1", "1.23.2", "1.26.0", "1.28.0", "1.32.0", "2024.6.0", "2026.4.1")
"""Opsets and releases in which all layers are asked about, of which there are many: those where forms change."""
SEVERITY = {"right": 0, "refused": 1, "shape": 2, "numbers": 3}
LIMITS = Limits(seconds=60)


# ----------------------------------------------------------------------------------------------------------
# Releases in folders


def folder_of(requirement: str, root: Path) -> Path:
    """Return the folder of a release, such as ``onnxruntime==1.17.3``."""
    return root / requirement.replace("==", "-")


def install(requirement: str, root: Path) -> Path:
    """Install a release into its folder, unless it is there.

    Raises
    ------
    subprocess.CalledProcessError
        If pip does not find it.
    """
    folder = folder_of(requirement, root)
    if not folder.exists():
        draft = folder.with_name(f"{folder.name}.part")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"]
        subprocess.run([*command, str(draft), requirement], check=True)
        draft.rename(folder)
    return folder


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3])


def _folders(runtime: str, version: str, root: Path) -> list[str]:
    needed = [f"{runtime}=={version}"]
    if _numbers(version) < BEFORE_NUMPY_2[runtime]:
        needed.append(NUMPY_1)
    return [str(install(each, root)) for each in needed]


# ----------------------------------------------------------------------------------------------------------
# Runtimes at a level of optimisation; each keeps the last model that it has loaded


class DefaultLevel(OnnxRuntimeRuntime):
    """onnxruntime with its graph optimisation, as it is by default."""

    level = "default"
    _model = b""
    _session: Any = None

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Load and run a model."""
        try:
            if model != self._model:
                self._session = session(model, threads=self.threads, level=self.level)
                self._model = model
            results: Sequence[Array] = self._session.run(None, dict(inputs))
        except Exception as error:  # its exceptions have no public base class
            raise Unsupported(reason(error)) from error
        return results


class DisabledLevel(DefaultLevel):
    """onnxruntime without graph optimisation."""

    level = "disabled"


class CompiledOnce(OpenVino):
    """openvino, told to keep float32 as it is."""

    _model = b""
    _compiled: Any = None

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Read, compile and run a model."""
        import openvino

        if any(array.dtype.name == "bfloat16" for array in inputs.values()):
            raise Unsupported("its Python interface takes no arrays of bfloat16")
        if model != self._model:
            core: Any = openvino.Core()
            settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": self.threads}
            self._compiled = core.compile_model(core.read_model(model), "CPU", settings)
            self._model = model
        # An input that no node reads, as that which gives a gradient its shape, is none there.
        read = {name for each in self._compiled.inputs for name in each.names}
        results = self._compiled({name: array for name, array in inputs.items() if name in read})
        return [np.array(results[number]) for number in range(len(results))]


ADAPTERS = {
    ("onnxruntime", "default"): DefaultLevel,
    ("onnxruntime", "disabled"): DisabledLevel,
    ("openvino", "default"): CompiledOnce,
}


@contextmanager
def processes(runtime: str, level: str, folders: Sequence[str]) -> Iterator[RuntimeProcess]:
    """Start the process of a release in these folders, or of the one that is installed, at a level of `LEVELS`."""
    # Where this is the command, the module has another name.
    name = f"pooling.validation.deployed.measure:{ADAPTERS[runtime, level].__name__}"
    with RuntimeProcess(name, LIMITS, folders=folders) as process:
        yield process


def opened_in(process: RuntimeProcess) -> Opened:
    """Return what loads models in the runtime of a process."""

    def opened(model: onnx.ModelProto) -> Any:
        content, names = model.SerializeToString(), [value.name for value in model.graph.output]

        def run(arrays: dict[str, Array]) -> dict[str, Array]:
            fed, narrow = widened(arrays)
            answer = process.ask(content, fed)
            if not answer.given:
                said = answer.unsupported or answer.crash or ""
                raise VerificationError(f"{process.runtime} does not run this model ({said})", "refused", said)
            return narrowed(dict(zip(names, answer.outputs, strict=True)), narrow)

        return run

    return opened


def ask(process: RuntimeProcess, verification: Verification) -> tuple[str, str]:
    """Have a runtime run a model on all that it is verified with; return one of `ANSWERS`, and its detail."""
    try:
        verification(opened_in(process))
    except VerificationError as error:
        return error.fault, error.detail
    return "right", ""


# ----------------------------------------------------------------------------------------------------------
# One release


PROBES = {"forms": form_probes, "layers": layer_probes}
"""In this order, since layers are exported by what is known of forms."""


@cache
def _probes(kind: str) -> list[Probe]:
    return list(PROBES[kind]())


@cache
def made_in(probe: Probe, opset: int) -> tuple[onnx.ModelProto, Verification] | None:
    """Make the model of a probe in an opset, and what verifies it; None where the opset lacks what it takes."""
    try:
        return probe.make(opset)
    except OpsetError:
        return None


def newest_opset(process: RuntimeProcess) -> int:
    """Find the newest opset that a runtime reads."""
    newest = 0
    for opset in range(7, onnx.defs.onnx_opset_version() + 1):
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
        graph = helper.make_graph(
            [helper.make_node("Abs", ["x"], ["y"])],
            "g",
            [value],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        )
        imports = [helper.make_opsetid("", opset)]
        model = helper.make_model(
            graph, opset_imports=imports, ir_version=max(4, helper.find_min_ir_version_for(imports))
        )
        if process.ask(model.SerializeToString(), {"x": np.ones(1, np.float32)}).given:
            newest = opset
    return newest


def measure(
    kind: str, runtime: str, version: str, root: Path, opsets: Sequence[int], pattern: str
) -> tuple[str, str, int, Answers]:
    """Ask one release about everything; return it with the newest opset that it reads and its answers."""
    folders = _folders(runtime, version, root)
    answers: Answers = {}
    newest = 0
    for name, level in ADAPTERS:
        if name != runtime:
            continue
        with processes(runtime, level, folders) as process:
            newest = newest_opset(process)
            for probe in _probes(kind):
                if not re.search(pattern, probe.form):
                    continue
                for opset in opsets or OPSETS[runtime]:
                    if kind == "layers" and not opsets and opset not in OPSETS_OF_LAYERS:
                        continue
                    made = made_in(probe, opset) if opset <= newest else None
                    if made is None:
                        continue
                    key = kind, probe.form, level, opset
                    answer = ask(process, made[1])
                    if key not in answers or SEVERITY[answer[0]] > SEVERITY[answers[key][0]]:
                        answers[key] = answer
    return runtime, version, newest, answers


# ----------------------------------------------------------------------------------------------------------
# The table


def content_of(measured: Iterable[tuple[str, str, int, Answers]]) -> dict[str, Any]:
    """Put the answers of all releases together: rows of what has the same answer in a row of opsets."""
    found = sorted(measured, key=lambda each: (each[0], _numbers(each[1])))
    newest: dict[str, dict[str, int]] = {}
    tables: dict[str, dict[str, dict[tuple[Any, ...], tuple[list[str], str]]]] = {"forms": {}, "layers": {}}
    for runtime, version, opset, answers in found:
        newest.setdefault(runtime, {})[version] = opset
        by_form: dict[tuple[str, str], dict[str, dict[int, tuple[str, str]]]] = {}
        for (kind, form, level, number), answer in answers.items():
            by_form.setdefault((kind, form), {}).setdefault(level, {})[number] = answer
        for (kind, form), levels in by_form.items():
            alike: dict[tuple[tuple[int, str], ...], list[str]] = {}
            for level, each in levels.items():
                alike.setdefault(tuple((number, each[number][0]) for number in sorted(each)), []).append(level)
            for pairs, names in alike.items():
                for word in dict.fromkeys(answer for _, answer in pairs):
                    numbers = _written([number for number, answer in pairs if answer == word])
                    details = (levels[names[0]][number][1] for number, answer in pairs if answer == word)
                    key = (runtime, word, numbers, tuple(names))
                    versions, _ = tables[kind].setdefault(form, {}).setdefault(key, ([], next(details)))
                    versions.append(version)
    opsets = {runtime: list(numbers) for runtime, numbers in OPSETS.items()}
    return {
        "newest_opsets": newest,
        "opsets": opsets,
        **{
            kind: {
                form: [
                    {
                        "runtime": runtime,
                        "answer": word,
                        **({"detail": detail} if detail else {}),
                        "opsets": numbers,
                        "levels": list(levels),
                        "versions": versions,
                    }
                    for (runtime, word, numbers, levels), (versions, detail) in rows.items()
                ]
                for form, rows in sorted(forms.items())
            }
            for kind, forms in tables.items()
        },
    }


def merged(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Put what a part of the questions gave into a table; what a release answered to a form takes the old place."""
    result: dict[str, Any] = {"newest_opsets": {}, "opsets": after["opsets"], **{kind: {} for kind in PROBES}}
    for table in (before, after):
        for runtime, opsets in table.get("newest_opsets", {}).items():
            known = result["newest_opsets"].setdefault(runtime, {})
            known.update(opsets)
            result["newest_opsets"][runtime] = dict(sorted(known.items(), key=lambda pair: _numbers(pair[0])))
    for kind in PROBES:
        forms = {**before.get(kind, {}), **after[kind]}
        for form in sorted(forms):
            new = {(row["runtime"], version) for row in after[kind].get(form, []) for version in row["versions"]}
            kept = []
            for row in before.get(kind, {}).get(form, []):
                versions = [version for version in row["versions"] if (row["runtime"], version) not in new]
                if versions:
                    kept.append({**row, "versions": versions})
            result[kind][form] = _together([*kept, *after[kind].get(form, [])])
    return result


def _together(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Make one row of those that differ in their releases only."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        key = json.dumps([row[name] for name in ("runtime", "answer", "opsets", "levels")])
        known = found.setdefault(key, {**row, "versions": []})
        known["versions"] = sorted({*known["versions"], *row["versions"]}, key=_numbers)
    return list(found.values())


def _written(numbers: Sequence[int]) -> str:
    """Write ``7-11, 13``."""
    runs = []
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        opsets = [number for _, number in run]
        runs.append(f"{opsets[0]}-{opsets[-1]}" if len(opsets) > 1 else str(opsets[0]))
    return ", ".join(runs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m pooling.validation.deployed.measure", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/runtimes"), help="where releases are installed")
    parser.add_argument("--only", default="", help="runtimes or releases, separated by commas, such as onnxruntime")
    parser.add_argument("--kinds", default=",".join(PROBES), help="forms, layers, or both")
    parser.add_argument("--opsets", default="", help="opsets, separated by commas")
    parser.add_argument("--forms", default="", help="regular expression of the forms to ask about")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="releases that are asked at a time")
    parser.add_argument("--output", type=Path, default=Path(deployed.__file__).with_name("table.json"))
    options = parser.parse_args(arguments)
    wanted = [word for word in options.only.split(",") if word]
    releases = [
        (runtime, version)
        for runtime, versions in RELEASES.items()
        for version in versions
        if not wanted or {runtime, version, f"{runtime}=={version}"} & set(wanted)
    ]
    opsets = [int(number) for number in options.opsets.split(",") if number]
    options.folder.mkdir(parents=True, exist_ok=True)
    for runtime, version in releases:
        print(f"installing {runtime} {version}", file=sys.stderr)
        _folders(runtime, version, options.folder)
    partial_run = bool(options.forms or wanted or opsets or options.kinds != ",".join(PROBES))
    before = json.loads(options.output.read_text(encoding="utf-8")) if partial_run and options.output.exists() else {}
    measured: list[tuple[str, str, int, Answers]] = []
    for kind in PROBES:
        if kind in options.kinds.split(","):
            ask_all = partial(measure, kind, root=options.folder.resolve(), opsets=opsets, pattern=options.forms)
            asked = [each for each in releases if kind == "forms" or wanted or each[1] in RELEASES_OF_LAYERS]
            measured += _progress(kind, ask_all, asked, options.jobs)
            content = merged(before, content_of(measured))
            options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _progress(
    kind: str,
    ask_all: Callable[[str, str], tuple[str, str, int, Answers]],
    releases: Sequence[tuple[str, str]],
    jobs: int,
) -> Iterator[tuple[str, str, int, Answers]]:
    """Ask releases, some at a time, and say how far it is."""
    with ProcessPoolExecutor(jobs) as pool:
        waiting = [pool.submit(ask_all, *release) for release in releases]
        for done, future in enumerate(as_completed(waiting), start=1):
            runtime, version, newest, answers = future.result()
            counts = Counter(answer for answer, _ in answers.values())
            said = ", ".join(f"{counts[answer]} {answer}" for answer in ANSWERS)
            print(
                f"{kind}, {done} of {len(releases)}: {runtime} {version}, which reads opset {newest}: {said}",
                file=sys.stderr,
                flush=True,
            )
            yield runtime, version, newest, answers


if __name__ == "__main__":
    main()
