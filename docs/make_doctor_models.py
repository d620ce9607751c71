"""Hold the doctor against torch on real networks: ``python docs/make_doctor_models.py`` writes docs/doctor-models.md.

It needs torch, torchvision, timm, ultralytics, segmentation-models-pytorch, fvcore and onnxscript, and takes hours for
all models of timm. Each question about each network is asked in a process of its own, with a limit of time and of
memory, and its answer is appended to build/doctor-models.jsonl: what is there is not asked again, so that it can be
stopped and started. An answer holds a digest of the code of the doctor and of this proof, and `--again` asks again what
other code answered. `--page` writes the page from what is there.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import importlib
import itertools
import json
import os
import pkgutil
import platform
import random
import re
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

import pooling.doctor  # noqa: E402
from pooling.files import write_whole  # noqa: E402
from pooling.reporting.formats import joined  # noqa: E402
from tests import doctor_models as models  # noqa: E402
from tests import doctor_proof as proof  # noqa: E402

PAGE = Path(__file__).with_name("doctor-models.md")
RESULTS = ROOT / "build" / "doctor-models.jsonl"
SECONDS = 120
MEGABYTES = 10_000
Record = dict[str, Any]
Task = tuple[str, str, Callable[[], Record]]
T = TypeVar("T")
TIMED = "resnet152"
"""The network of which time and memory have a line of their own."""

# ---------------------------------------------------------------------------------------------------------------------
# Which doctor answers


@functools.cache
def state_of_code() -> str:
    """Load all of the doctor, so that a change of a file during a run changes nothing; return a digest of the code."""
    for module in pkgutil.walk_packages(pooling.doctor.__path__, "pooling.doctor."):
        importlib.import_module(module.name)
    files = [*sorted(Path(pooling.doctor.__path__[0]).rglob("*.py")), Path(models.__file__), Path(proof.__file__)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]


# ---------------------------------------------------------------------------------------------------------------------
# What is asked


def tasks(parts: set[str]) -> Iterator[Task]:
    """Yield every question: its kind, the network, and what answers it."""
    sample = models.timm_names(models.SAMPLE)
    # The largest come last.
    rest_of_names = set(models.timm_names()) - set(sample)
    names = [*sample, *sorted(rest_of_names, key=lambda name: (is_giant(name), random.Random(name).random()))]
    others = [*models.torchvision_networks(), *models.ultralytics_networks(), *models.smp_networks()]
    small = [models.timm_network(name) for name in models.SMALL]
    first = _in_turns([models.timm_network(name) for name in sample], others, small)
    rest = [models.timm_network(name) for name in names if name not in {*sample, *models.SMALL}]
    counted = {each.name for each in small}
    asked: dict[str, list[Task]] = {
        "read": [
            ("read", name, functools.partial(proof.read, each, fvcore=name in counted))
            for name, each in {each.name: each for each in [*first, *rest]}.items()
        ],
        "strides": [("strides", f"timm:{name}", functools.partial(_strides, name)) for name in names],
        "fields": [
            ("fields", f"timm:{name}", functools.partial(_fields, name)) for name in (*models.SMALL, *models.MORE)
        ],
    }
    more = [models.timm_network(name) for name in models.MORE]
    images = [each for each in models.one_of_each(models.torchvision_networks()) if len(each.shape) == 4]
    # Of a detector of torchvision it depends on data what comes out.
    other = [each for each in [*models.smp_networks(), *images] if not each.needs_values]
    exported = list(_in_turns(small, other, models.ultralytics_networks()))
    for kind, networks, question in (
        ("sizes", [models.timm_network(TIMED), *small, *more], proof.sizes),
        ("unread", [*small, *more], functools.partial(proof.unread, shape=models.ODD)),
        ("export", exported, functools.partial(proof.export, dynamo=False)),
        ("dynamo", exported, functools.partial(proof.export, dynamo=True)),
    ):
        asked[kind] = [(kind, each.name, functools.partial(question, each)) for each in networks]
    asked["warnings"] = list(
        _in_turns(
            [("warnings", each.name, functools.partial(proof.judge_warnings, each)) for each in small],
            [_judged(each) for each in _in_turns(other, models.ultralytics_networks())],
            [_judged(each, models.ODD) for each in small],
            [_judged(each) for each in more],
        )
    )
    # In turns, so that a run that is stopped has some of everything.
    yield from _in_turns(*(asked[kind] for kind in PARTS if kind in parts))


def _in_turns(*lists: Sequence[T]) -> Iterator[T]:
    """Yield the first of each list, then the second of each, until all are through."""
    for row in itertools.zip_longest(*lists):
        yield from (each for each in row if each is not None)


def _judged(network: models.RealNetwork, shape: models.Shape | None = None) -> Task:
    """Return the question whether warnings for an object of a size that the name draws are true."""
    pixels = proof.object_size(network.name)
    at = "" if shape is None else f" at {shape[-2]}x{shape[-1]}"
    judge = functools.partial(proof.judge_warnings, network, shape, pixels)
    return "warnings", f"{network.name}{at}, {pixels} pixels", judge


GIANT = re.compile("giant|gigantic|huge|enormous|_7b|so400m|xxlarge")


def is_giant(name: str) -> bool:
    """Whether the name of a model of timm says that it has hundreds of millions of parameters."""
    return GIANT.search(name) is not None


def _strides(name: str) -> Record:
    return proof.strides(models.timm_network(name))


def _fields(name: str) -> Record:
    return proof.fields(models.timm_network(name, features_only=True))


PARTS = ("read", "strides", "fields", "sizes", "warnings", "unread", "export", "dynamo")


def in_a_process(work: Callable[[], Record], seconds: int, megabytes: int) -> Record:
    """Run work in a forked process, which has the libraries loaded already; say so if it takes too much."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        begin = time.process_time()
        try:
            record = work()
        except MemoryError:
            record = {"outcome": "memory"}
        except BaseException as error:
            record = {"outcome": "crash", "sentence": f"{type(error).__name__}: {error}"[:300]}
        record["cpu"] = round(time.process_time() - begin, 1)
        with contextlib.suppress(OSError):
            os.write(send, json.dumps(record, default=str).encode())
        os._exit(0)
    os.close(send)
    answer = b""
    while part := os.read(receive, 1 << 16):
        answer += part
    os.close(receive)
    os.waitpid(child, 0)
    return json.loads(answer) if answer else {"outcome": "time", "sentence": f"not done in {seconds} s of one core"}


def ask(arguments: argparse.Namespace) -> None:
    """Ask what has not been asked yet."""
    state = state_of_code()
    known = {
        (record["kind"], record["name"])
        for record in results()
        if record.get("code") == state or not is_wanted_again(record, arguments.again)
    }
    wanted = [task for task in tasks(set(arguments.parts)) if re.search(arguments.only, task[1])]
    todo = [task for task in wanted if task[:2] not in known]
    todo = todo[arguments.share[0] - 1 :: arguments.share[1]][: arguments.limit]
    RESULTS.parent.mkdir(exist_ok=True)
    begin = time.monotonic()
    for number, (kind, name, work) in enumerate(todo):
        if arguments.minutes and time.monotonic() - begin > 60 * arguments.minutes:
            print(
                f"stopped after {arguments.minutes} minutes; {len(todo) - number} questions are left", file=sys.stderr
            )
            return
        record = {"kind": kind, "name": name, "code": state, **in_a_process(work, SECONDS, MEGABYTES)}
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        print(
            f"{number + 1}/{len(todo)} {kind} {name}: {record['outcome']} {record.get('differences', '')}",
            file=sys.stderr,
        )


def is_wanted_again(record: Record, words: list[str] | None) -> bool:
    """Whether `--again` with some words asks for an answer: no words ask for all."""
    if words is None:
        return False
    open_ = bool(record.get("differences") or record.get("undecided"))
    return not words or record["outcome"] in words or ("different" in words and open_)


def results() -> list[Record]:
    """Return the answers; of a question that was asked twice, the last."""
    if not RESULTS.exists():
        return []
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    found = {(record["kind"], record["name"]): record for record in map(json.loads, lines)}
    return list(found.values())


# ---------------------------------------------------------------------------------------------------------------------
# The page

HEAD = """\
<!-- Made by docs/make_doctor_models.py. -->

# The doctor on real networks

`python docs/make_doctor_models.py` builds real networks with random weights, examines each as an `nn.Module` and as the
file that an exporter of torch makes of it, and compares what the doctor says with what torch does.
Versions: {versions}.
Of {answers:,} answers, {current:,} are of the code as it is, and the others of states before it (`--again` asks again).
`tests/test_doctor_models.py` repeats it for {sample} networks of timm and a part of the rest.

How each line is checked:

- *read to the end*: every stage has its shape, its parameters and its multiply-adds; *with all receptive fields*: no
  finding D901 at all.
- *shapes*: those of every convolution and pooling, call by call, and of what every module returns, on tensors without
  data, at two sizes. A size that torch refuses must be refused.
- *parameters*: `sum(p.numel())` of the module. *Multiply-adds*: convolutions and products of matrices in which data
  takes part, by the formulas of `torch.utils.flop_counter`; and fvcore's `conv`, `linear` and products of matrices.
- *effective strides*: `feature_info.reduction()` of every model of timm with `features_only=True`.
- *receptive fields*: columns of the input with a gradient, of the middle cell of each feature map, with positive
  weights and without activations and normalisations, in float64; and whether NaN in the outermost column of the field,
  and in the next one, reaches the cell of the network as it is.
- *rows and columns that nothing reads*: the mask of the gradient of all outputs, and whether NaN there is noticed.
- *input sizes*: every size around the smallest, the given and the largest is tried in torch.
- *warnings*: each is decided by a gradient, a perturbation or by counting in torch, for each task and for objects of
  {objects} pixels, at the size that a network is made for and at {odd}. What is said at one stage with one code for two
  tasks counts once.

| | result | to reach |
|---|---|---|
"""


def page(records: list[Record]) -> str:
    """Return the page."""
    by_kind: dict[str, list[Record]] = {kind: [] for kind in PARTS}
    for record in records:
        by_kind[record["kind"]].append(record)
    versions = ", ".join(_versions())
    rows = [*_rows_of_reading(by_kind["read"]), *_rows_of_checks(by_kind)]
    rows += _row_of_time(by_kind["read"], "time and memory of reading, at one size")
    rows += _row_of_time(by_kind["sizes"], "time and memory of a whole examination")
    timed = [each for each in by_kind["sizes"] if each["name"] == f"timm:{TIMED}"]
    rows += _row_of_time(timed, f"time and memory of a whole examination of {TIMED}", "3 s, 1,000 MB")
    lines = "".join(f"| {what} | {found} | {goal} |\n" for what, found, goal in rows)
    head = HEAD.format(
        versions=versions,
        answers=len(records),
        current=sum(each.get("code") == state_of_code() for each in records),
        sample=models.SAMPLE,
        objects=joined([str(size) for size in proof.OBJECTS]),
        odd="x".join(map(str, models.ODD[-2:])),
    )
    return f"{head}{lines}{_unread_part(by_kind['read'])}{_differences(by_kind)}{_warnings_part(by_kind)}"


LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "ultralytics",
    "segmentation-models-pytorch",
    "fvcore",
    "onnx",
    "onnxscript",
)


def _versions() -> Iterator[str]:
    from importlib.metadata import PackageNotFoundError, version

    yield f"Python {platform.python_version()}"
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            yield f"{name} {version(name)}"


def _of(some: int, whole: int) -> str:
    return f"{some:,} of {whole:,}" + (f" ({100 * some / whole:.1f} %)" if whole else "")


READ = ("whole", "fields", "data")
DONE = (*READ, "part", "refused", "crash", "memory", "time")


def _rows_of_reading(records: list[Record]) -> Iterator[tuple[str, str, str]]:
    for words, start, goal in (
        ("timm, random weights: read to the end", "timm:", "98 %"),
        ("torchvision: read to the end", "torchvision:", "all"),
        ("ultralytics from YAML: read to the end", "ultralytics:", "all"),
        ("segmentation-models-pytorch: read to the end", "smp:", "all"),
    ):
        chosen = [each for each in records if each["name"].startswith(start) and each["outcome"] in DONE]
        whole = [each for each in chosen if each["outcome"] in READ]
        crashed = sum(each["outcome"] == "crash" for each in chosen)
        left = sum(each["outcome"] in ("memory", "time") for each in chosen)
        more = f"; with all receptive fields {sum(each['outcome'] == 'whole' for each in whole):,}"
        data = sum(each["outcome"] == "data" for each in whole)
        more += f"; up to where values choose boxes {data}" if data else ""
        more += f"; crashes {crashed}" if crashed else ""
        more += f"; over a limit of time or memory {left}" if left else ""
        if start == "timm:":
            more += f"; run {len(chosen):,} of {len(models.timm_names()):,} models"
        yield words, _of(len(whole), len(chosen)) + more, goal
    read = [each for each in records if each["outcome"] in (*READ, "part")]
    shapes, equal = (sum(each.get(word, 0) for each in read) for word in ("shapes", "shapes_equal"))
    exact = sum(each.get("shapes") == each.get("shapes_equal") for each in read)
    yield "shapes, two sizes each", f"{_of(equal, shapes)}; all equal in {_of(exact, len(read))} networks", "exactly"
    for words, key in (
        ("parameters", "parameters_equal"),
        ("multiply-adds, `flop_counter`", "macs_equal"),
        ("multiply-adds, fvcore", "fvcore"),
    ):
        asked = [each for each in read if key in each]
        yield words, _of(sum(each[key] for each in asked), len(asked)) + " networks", "equal"


def _row_of_time(records: list[Record], words: str, goal: str = "") -> Iterator[tuple[str, str, str]]:
    times = sorted(each["seconds"] for each in records if "seconds" in each)
    if not times:
        return
    most = max(each.get("megabytes", 0) for each in records)
    median = f"median {times[len(times) // 2]:.1f} s, at most " if len(times) > 1 else ""
    more = f"; {len(times)} networks" if len(times) > 1 else ""
    yield (
        words,
        f"{median}{times[-1]:.1f} s of one core; {'at most ' if median else ''}{most:,} MB with the libraries{more}",
        goal,
    )


def _rows_of_checks(by_kind: dict[str, list[Record]]) -> Iterator[tuple[str, str, str]]:
    asked = [each for each in by_kind["strides"] if each["outcome"] == "read"]
    failed = sum(each["outcome"] not in ("read", "none") for each in by_kind["strides"])
    said = f"{_of(sum(each['equal'] for each in asked), len(asked))} models with features"
    yield "effective strides, `feature_info`", said + (f"; not done {failed}" if failed else ""), "all"
    asked = [each for each in by_kind["fields"] if each["outcome"] == "read"]
    maps, context, perturbed = (sum(each[word] for each in asked) for word in ("maps", "context", "perturbed"))
    wrong = sum(bool(each["differences"]) for each in asked)
    yield (
        "receptive fields, gradients and NaN",
        f"{_of(len(asked) - wrong, len(asked))} networks: {maps} feature maps, {context} of them context, "
        f"{perturbed} perturbations{_not_done(by_kind['fields'])}",
        "60 networks",
    )
    asked = [each for each in by_kind["unread"] if each["outcome"] == "read"]
    wrong = sum(bool(each["differences"]) for each in asked)
    some = sum(bool(any(each["truth"])) for each in asked)
    yield (
        "rows and columns that nothing reads",
        f"{_of(len(asked) - wrong, len(asked))} networks, {some} of them with such{_not_done(by_kind['unread'])}",
        "60 networks",
    )
    asked = [each for each in by_kind["sizes"] if each["outcome"] == "read"]
    tried, equal = (sum(each[word] for each in asked) for word in ("tried", "equal"))
    right = sum(each["tried"] == each["equal"] for each in asked)
    yield (
        "input sizes that work",
        f"{_of(right, len(asked))} networks; {_of(equal, tried)} sizes{_not_done(by_kind['sizes'])}",
        "60 networks",
    )
    for kind, words in (("export", "TorchScript exporter"), ("dynamo", "dynamo exporter")):
        asked = [each for each in by_kind[kind] if each["outcome"] not in ("exporter", "crash", "memory", "time")]
        whole = sum(each["outcome"] in READ for each in asked)
        same = sum(bool(each.get("same_findings")) for each in asked)
        macs = sum(bool(each.get("macs_equal")) for each in asked)
        refused = sum(each["outcome"] == "exporter" for each in by_kind[kind])
        left = len(by_kind[kind]) - len(asked) - refused
        yield (
            f"{words}: read to the end",
            f"{_of(whole, len(asked))} files; findings as of the module {same}, multiply-adds as of the module {macs}"
            + (f"; refused by the exporter {refused}" if refused else "")
            + (f"; over a limit, or crashes {left}" if left else ""),
            "95 of 100; the same findings",
        )
    true, false, undecided = (
        sum(count for each in by_kind["warnings"] for count in each.get(word, {}).values())
        for word in ("true", "false", "undecided")
    )
    yield (
        "warnings that are false",
        f"{_of(false, true + false)} decided; not decided {undecided}{_not_done(by_kind['warnings'])}",
        "none of 200",
    )


def _not_done(records: list[Record]) -> str:
    """Count the networks without an answer; those that torch does not run at the size that is asked for are none."""
    left = sum(each["outcome"] not in ("read", "torch") for each in records)
    return f"; without an answer {left}" if left else ""


def _unread_part(records: list[Record]) -> str:
    rest = [each for each in records if each["outcome"] not in ("whole", "torch")]
    text = "\n## What is not read, and by which operator\n\n"
    if not rest:
        return text + "Nothing.\n"
    groups: dict[tuple[str, str], list[str]] = {}
    for each in rest:
        what = each.get("operator") or each.get("sentence", "")[:120]
        groups.setdefault((each["outcome"], what), []).append(each["name"])
    words = {
        "fields": "receptive fields not followed behind",
        "data": "the size is data from here on:", "part": "not known", "refused": "refused", "crash": "crash",
        "memory": "over the limit of memory", "time": "over the limit of time",
    }  # fmt: skip
    text += "| | networks | |\n|---|---:|---|\n"
    for (outcome, what), names in sorted(groups.items(), key=lambda item: -len(item[1])):
        shown = ", ".join(f"`{name}`" for name in sorted(names)[:4]) + (", ..." if len(names) > 4 else "")
        text += f"| {words[outcome]} {_cell(what)} | {len(names)} | {shown} |\n"
    cannot = [each for each in records if each["outcome"] == "torch"]
    if cannot:
        text += f"\nNot counted, because torch does not run them on tensors without data: {len(cannot)} networks ("
        text += ", ".join(f"`{each['name']}`" for each in cannot[:12]) + (", ..." if len(cannot) > 12 else "") + ").\n"
    return text


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _differences(by_kind: dict[str, list[Record]]) -> str:
    text = "\n## What is not equal\n\n"
    rows = [
        (kind, each["name"], each["differences"])
        for kind in PARTS
        if kind != "warnings"
        for each in by_kind[kind]
        if each.get("differences")
    ]
    rows += [
        (kind, each["name"], [each.get("sentence") or each["outcome"]])
        for kind in PARTS
        if kind not in ("read", "export", "dynamo")
        for each in by_kind[kind]
        if each["outcome"] not in ("read", "torch", "none")
    ]
    if not rows:
        return text + "Nothing.\n"
    text += "| | network | the first difference | more |\n|---|---|---|---:|\n"
    for kind, name, found in rows[:SHOWN]:
        text += f"| {kind} | `{name}` | {_cell(found[0][:200])} | {len(found) - 1} |\n"
    return text + (f"\nAnd {len(rows) - SHOWN} more networks.\n" if len(rows) > SHOWN else "")


SHOWN = 80
BEFORE = {"D101": (11, 5), "D105": (23, 0), "D203": (4, 4), "D301": (10, 9), "D502": (4, 4), "others": (7, 0)}
"""Warnings of the version before on 95 exported files, and how many of them were false."""


def _warnings_part(by_kind: dict[str, list[Record]]) -> str:
    records = by_kind["warnings"]
    count = {word: Counter(dict(proof.totals(records, word))) for word in ("true", "false", "undecided")}
    codes = sorted({*count["true"], *count["false"], *count["undecided"]})
    text = "\n## Warnings\n\n"
    judged = sum(each["outcome"] == "read" for each in records)
    text += f"On {judged} networks and sizes, for detection, segmentation and classification:\n\n"
    text += "| code | true | false | not decided |\n|---|---:|---:|---:|\n"
    for code in codes:
        text += f"| {code} | {count['true'][code]} | {count['false'][code]} | {count['undecided'][code]} |\n"
    text += f"| all | {count['true'].total()} | {count['false'].total()} | {count['undecided'].total()} |\n"
    for each in records:
        for difference in each.get("differences", []):
            text += f"\n- false: `{each['name']}`, {difference}"
        if each.get("open"):
            text += f"\n- not decided: `{each['name']}`, {', '.join(each['open'])}"
    text += "\n\nBefore this version, 95 exported files of 79 networks, each with one task, had 59 warnings:\n\n"
    text += "| code | said | false |\n|---|---:|---:|\n"
    for code, (said, false) in BEFORE.items():
        text += f"| {code} | {said} | {false} |\n"
    said, false = (sum(each[place] for each in BEFORE.values()) for place in (0, 1))
    return text + f"| all | {said} | {false} |\n"


def main() -> int:
    """Ask, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="questions to ask")
    parser.add_argument("--only", default="", metavar="REGEX", help="networks whose name has it, such as ^smp:")
    parser.add_argument("--limit", type=int, help="ask at most so many")
    parser.add_argument("--minutes", type=float, help="stop asking after so long")
    parser.add_argument(
        "--share", type=lambda text: tuple(map(int, text.split("/"))), default=(1, 1), help="1/2 and 2/2 share the work"
    )
    parser.add_argument(
        "--again",
        nargs="*",
        metavar="OUTCOME",
        help="ask again what another state of the code answered: all, or what had one of these outcomes; "
        "'different' is what was not equal or not decided",
    )
    pages = parser.add_mutually_exclusive_group()
    pages.add_argument("--page", action="store_true", help="only write the page from what is there")
    pages.add_argument("--no-page", action="store_true", help="only ask")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # a process that has used more cannot be forked
    if not arguments.page:
        ask(arguments)
    if not arguments.no_page:
        write_whole(PAGE, page(results()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
