"""One network in its process: ``python -m pooling.benchmark.networks.measure LIBRARY:MODEL``.

Reads a setting as JSON from each line of standard input (`batch`, `threads`, `seconds`, `rounds`), and answers with a
line of JSON: shares and times of an inference and of a training step, before and after `pooling.torch.patch`, or why it
``cannot`` be measured. The two are measured in turns, in one process, with the same weights.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import json
import math
import os
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import pooling
from pooling.signs import first_line
from pooling.torch import patch, unpatch

from .listing import NETWORKS, STEPS, Network

__all__ = ["KINDS", "DifferentError", "build", "declare_operators", "measure", "shares_of"]

SEED = 2026
TURN = 0.1
"""Seconds that a turn takes at least."""
WARM = 2
"""Steps before the first that counts, of those that take less than `SLOW` seconds; else one."""
SLOW = 1.0
TOLERANCE = 2e-3
"""How far outputs and gradients may lie apart, by the largest: rounding of a whole network in float32."""
DOUBLE_TOLERANCE = 1e-9
"""The same in float64, in which every difference that is not one of rounding is as large as in float32."""
KINDS: Mapping[str, re.Pattern[str]] = {
    kind: re.compile(pattern, re.IGNORECASE)
    for kind, pattern in {
        "pooling": r"pool",
        "convolution": r"conv",
        "normalisation": r"_norm|(batch|layer|group)norm",
        "activation": r"relu|hardswish|hardsigmoid|hardtanh|silu|gelu|sigmoid|tanh|softmax|clamp|threshold",
        "matrix product": r"linear|addmm|matmul|bmm|::mm\b|attention|einsum",
        "concatenation": r"::cat\b|catbackward",
        "optimizer": r"optimizer",
    }.items()
}
"""Kinds of work, each by the names of its events in a profile, gradients included; the first that fits."""
OTHER = "other"
LONGEST = 300
"""Signs of a reason that are kept."""
PROFILED = 5
"""Steps that are profiled at most."""


class DifferentError(Exception):
    """The patched network gives something else."""


def build(network: Network) -> nn.Module:
    """Make a network with random weights.

    Raises
    ------
    ModuleNotFoundError
        If its library is not installed.
    """
    torch.manual_seed(SEED)
    if network.library != "pooling":
        declare_operators()  # timm imports torchvision
    if network.library == "timm":
        timm: Any = importlib.import_module("timm")
        made: nn.Module = timm.create_model(network.model, pretrained=False)
    elif network.library == "torchvision":
        models: Any = importlib.import_module("torchvision.models")
        options: dict[str, Any] = {"weights": None}
        if network.model in models.list_models(module=models.segmentation):
            options["weights_backbone"] = None
        if network.model in ("googlenet", "inception_v3"):
            options |= {"aux_logits": False, "init_weights": False}
        made = models.get_model(network.model, **options)
    else:
        made = getattr(importlib.import_module(f"{__package__}.modules"), network.model)()
    return made


_KEPT: list[Any] = []
"""Operators live as long as the library that declares them."""


def declare_operators() -> None:
    """Declare what torchvision describes when it is imported, where its compiled part belongs to another torch."""
    with contextlib.suppress(RuntimeError):
        libraries: Any = torch.library
        library = libraries.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, name):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)


def measure(
    network: Network, batch: int, threads: int, *, seconds: float = 6.0, rounds: int = 3, model: nn.Module | None = None
) -> dict[str, Any]:
    """Measure a network.

    Parameters
    ----------
    network : Network
        Of the listing.
    batch, threads : int
        Samples of a step, and threads of torch and of `pooling`.
    seconds : float
        For the turns of an inference, and again for those of a training step.
    rounds : int
        Rounds at least, whatever time they take; in each, both sides have one turn.
    model : torch.nn.Module, optional
        The network, where it was made already.

    Returns
    -------
    dict
        ``inference`` and ``training``, each with ``torch`` and ``pooling`` (median seconds of a step), ``ratios``
        (torch by pooling, of each round) and ``shares`` (of each kind of work in the time of a step, for ``torch`` and
        ``pooling``); ``replaced`` and ``left`` (modules), ``difference`` (the largest of outputs and gradients, by the
        largest of them).

    Raises
    ------
    DifferentError
        If outputs or gradients differ by more than rounding.
    """
    torch.set_num_threads(threads)
    pooling.set_num_threads(threads)
    model = build(network) if model is None else model
    x = torch.randn((batch, *network.shape), generator=torch.Generator().manual_seed(SEED))
    report = patch(model)
    unpatch(model)
    difference = _difference(model, x)
    if not difference <= TOLERANCE:
        _check_double(model, x, difference)
    found: dict[str, Any] = {
        "replaced": len(report.replaced), "left": len(report.left), "difference": difference,
    }  # fmt: skip
    for kind, step in zip(STEPS, (_inference(model, x), _training(model, x)), strict=True):
        model.train(kind == "training")
        try:
            found[kind] = _in_turns(model, step, seconds, rounds)
        except ValueError as error:  # such as that of a batch norm of one value
            found[kind] = {"cannot": f"{type(error).__name__}: {first_line(error)}"[:LONGEST]}
    return found


def first_of(result: Any) -> Tensor:
    """Return the first tensor of what a network returns."""
    while not isinstance(result, Tensor):
        result = next(iter(result.values())) if isinstance(result, Mapping) else result[0]
    return result


def _inference(model: nn.Module, x: Tensor) -> Callable[[], object]:
    def step() -> object:
        with torch.inference_mode():
            return model(x)

    return step


def _training(model: nn.Module, x: Tensor) -> Callable[[], object]:
    # Small enough that the weights stay what they are, however many steps there are.
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)

    def step() -> object:
        optimizer.zero_grad()
        loss: Any = first_of(model(x)).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def _check_double(model: nn.Module, x: Tensor, difference: float) -> None:
    """Tell rounding that a deep network magnifies from a wrong result, by computing again in float64."""
    found = _difference(copy.deepcopy(model).double(), x.double())
    if not found <= DOUBLE_TOLERANCE:
        raise DifferentError(
            f"results differ by {difference:.2g} of the largest after patch, and in float64 by {found:.2g}"
        )


def _difference(model: nn.Module, x: Tensor) -> float:
    """Return how far outputs and gradients lie apart, by the largest, with what is random switched off."""
    model.eval()
    weights = [each for each in model.parameters() if each.requires_grad][:1]
    sides = []
    for change in (unpatch, patch):
        change(model)
        result = first_of(model(x))
        sides.append([result.detach(), *torch.autograd.grad(result.square().mean(), weights)])
    unpatch(model)
    pairs = zip(*sides, strict=True)
    return max(float((one - other).abs().max()) / (float(one.abs().max()) or 1.0) for one, other in pairs)


def _in_turns(model: nn.Module, step: Callable[[], object], seconds: float, rounds: int) -> dict[str, Any]:
    """Time a step before and after `patch`, in turns."""
    shares, counts = {}, {}
    sides: dict[str, Callable[[nn.Module], object]] = {"torch": unpatch, "pooling": patch}
    for side, change in sides.items():
        change(model)
        took = _seconds(step)
        if took < SLOW:
            took = [_seconds(step) for _ in range(WARM)][-1]
        counts[side] = max(1, math.ceil(TURN / max(took, 1e-6)))
        shares[side] = shares_of(step, min(PROFILED, counts[side]))
    times: dict[str, list[float]] = {side: [] for side in sides}
    begin = time.perf_counter()
    count = max(counts.values())
    while len(times["torch"]) < rounds or time.perf_counter() - begin < seconds:
        order = list(sides) if len(times["torch"]) % 2 else list(reversed(sides))
        for side in order:
            sides[side](model)
            times[side].append(_seconds(step, count))
    unpatch(model)
    return {
        **{side: statistics.median(each) for side, each in times.items()},
        "ratios": [round(one / other, 4) for one, other in zip(times["torch"], times["pooling"], strict=True)],
        "shares": shares,
    }


def _seconds(step: Callable[[], object], count: int = 1) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - begin) / count


def shares_of(step: Callable[[], object], count: int = 1) -> dict[str, float]:
    """Profile a step, so many times: the share of each kind of work in the time of all operators, the largest first.

    An event of ``torch.profiler`` counts as what calls it: an adaptive mean of one cell calls ``aten::mean``, which is
    then pooling. What a network computes as a plain mean is none.
    """
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(count):
            step()
    spent: Counter[str] = Counter()
    for event in profile.events():
        spent[_kind_of(event)] += event.self_cpu_time_total
    total = sum(spent.values()) or 1
    return {kind: round(part / total, 4) for kind, part in spent.most_common()}


def _kind_of(event: Any) -> str:
    """Return the kind of the outermost event around one that has any."""
    found = OTHER
    while event is not None:
        found = next((kind for kind, pattern in KINDS.items() if pattern.search(event.name)), found)
        event = event.cpu_parent
    return found


def _serve(name: str) -> None:
    """Answer line by line."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # What libraries print is no answer.
    channel = os.dup(1)
    os.dup2(2, 1)
    network = next(each for each in NETWORKS if each.name == name)
    model: nn.Module | None = None
    with os.fdopen(channel, "w", encoding="utf-8") as answers:
        for line in sys.stdin:
            try:
                model = model or build(network)
                answer = measure(network, **json.loads(line), model=model)
            except Exception as error:  # whatever a library makes of it
                answer = {"cannot": f"{type(error).__name__}: {first_line(error)}"[:LONGEST]}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
