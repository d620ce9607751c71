"""Hostile and careless use of the commands: no file is lost, nothing ends in a traceback, nothing is left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from pooling import cli

MODEL = """<ir_version: 8, opset_import: ["": 17]> g (float[1, 3, 8, 8] x) => (float[N, C, H, W] y)
{ y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (x) }"""
QUICK = ("--rounds", "0", "--runtimes", "pooling")
COMMANDS: dict[str, tuple[str, ...]] = {
    "doctor": ("doctor", "m.onnx", "--fail-on", "never"),
    "validate": ("validate", "m.onnx", *QUICK),
    "repair": ("repair", "m.onnx"),
}
OUTPUTS = [
    *(("doctor", option) for option in ("--json", "--html", "--figure")),
    *(("validate", option) for option in ("--json", "--html", "--junit")),
    *(("repair", option) for option in ("-o", "--json")),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model in it, in which the command runs."""
    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def start(*arguments: str, before: str = "", **options: Any) -> subprocess.Popen[str]:
    code = f"import sys\n{before}\nfrom pooling.cli import main\nsys.exit(main({list(arguments)!r}))"
    return subprocess.Popen([sys.executable, "-c", code], text=True, **options)


def run(*arguments: str, **options: Any) -> tuple[int, str, str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with start(*arguments, **pipes) as process:
        out, err = process.communicate(timeout=300)
        return process.returncode, out or "", err or ""


# ---------------------------------------------------------------------------------------------------------------------
# Outputs that are inputs


@pytest.mark.parametrize("how", ["name", "path", "link", "hard link", "link to the folder"])
@pytest.mark.parametrize(("command", "option"), OUTPUTS)
def test_a_model_is_not_written_over(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, option: str, how: str
) -> None:
    names: dict[str, Callable[[], str]] = {
        "name": lambda: "m.onnx",
        "path": lambda: str(folder / "m.onnx"),
        "link": lambda: [os.symlink("m.onnx", "link.png"), "link.png"][1],
        "hard link": lambda: [os.link("m.onnx", "other.png"), "other.png"][1],
        "link to the folder": lambda: [os.symlink(folder, "here"), "here/m.onnx"][1],
    }
    name = names[how]()
    before = contents(folder)
    assert cli.main([*COMMANDS[command], option, name]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    written = f"{option} {name}"
    assert shown.err == (
        f"pooling {command}: {written} is m.onnx, which is read; name another file, or add --force to write over it\n"
    )
    assert contents(folder) == before


@pytest.mark.parametrize(("command", "option"), [("doctor", "--json"), ("repair", "-o")])
def test_force_writes_over_a_model(folder: Path, command: str, option: str) -> None:
    before = contents(folder)
    assert cli.main([*COMMANDS[command], option, "m.onnx", "--force"]) == 0
    assert contents(folder)["m.onnx"] != before["m.onnx"]


@pytest.mark.parametrize("option", ["--image", "--versus", "--layers"])
def test_nothing_else_that_is_read_is_written_over(
    folder: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    (folder / "other").write_text("conv3x8 pool2")
    network = [] if option == "--layers" else ["m.onnx"]
    assert cli.main(["doctor", *network, option, "other", "--json", "other"]) == 2
    assert "--json other is other, which is read; name another file" in capsys.readouterr().err
    assert (folder / "other").read_text() == "conv3x8 pool2"


@pytest.mark.parametrize("text", ["x.npy", "x=x.npy"])
def test_an_array_that_goes_into_the_model_is_not_written_over(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (folder / "x.npy").write_bytes(b"array")
    assert cli.main([*COMMANDS["validate"], "--input", text, "--json", "x.npy"]) == 2
    assert "--json x.npy is x.npy, which is read" in capsys.readouterr().err
    assert (folder / "x.npy").read_bytes() == b"array"


@pytest.mark.parametrize("where", ["initializer", "branch", "constant"])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_data_of_a_model_is_not_written_over(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, where: str
) -> None:
    model = onnx.load("m.onnx")
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights")
    inner = onnx.helper.make_graph([], "inner", [], [], [tensor])
    if where == "initializer":
        model.graph.initializer.append(tensor)
    elif where == "branch":
        model.graph.node.append(onnx.helper.make_node("If", ["c"], ["i"], then_branch=inner, else_branch=inner))
    else:
        model.graph.node.append(onnx.helper.make_node("Constant", [], ["c"], value=tensor))
    onnx.save(model, "m.onnx")
    (folder / "weights").write_bytes(b"data")
    assert cli.main([*COMMANDS[command], "--json", "weights"]) == 2
    assert "--json weights holds data of m.onnx; name another file" in capsys.readouterr().err
    assert (folder / "weights").read_bytes() == b"data"


@pytest.mark.parametrize(
    ("command", "outputs"),
    [
        ("doctor", ("--html", "page", "--json", "./page")),
        ("doctor", ("--json", "a.svg", "--figure", "A.svg")),
        ("validate", ("--json", "r", "--junit", "r")),
        ("repair", ("-o", "r.onnx", "--json", "r.onnx")),
        ("repair", ("-o", "old", "--json", "hard", "--force")),
    ],
)
def test_two_outputs_are_two_files(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, outputs: tuple[str, ...]
) -> None:
    (folder / "old").write_text("old")
    (folder / "hard").hardlink_to(folder / "old")
    before = contents(folder)
    assert cli.main([*COMMANDS[command], *outputs]) == 2
    assert "is the same file as" in capsys.readouterr().err
    assert contents(folder) == before


def test_one_device_takes_two_outputs(folder: Path) -> None:
    assert cli.main([*COMMANDS["doctor"], "--json", "/dev/null", "--html", "/dev/null"]) == 0


@pytest.mark.parametrize(
    ("name", "sentence"), [("", "the name of the file is empty; give one"), ("-", "'-' is no file; write /dev/stdout")]
)
@pytest.mark.parametrize(("command", "option"), OUTPUTS)
def test_names_that_name_no_file(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, option: str, name: str, sentence: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(
            [*COMMANDS[command], f"{option}={name}" if option.startswith("--") else option, *[name][: option == "-o"]]
        )
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------
# Nothing ends in a traceback


@pytest.mark.parametrize(
    "error",
    ["RuntimeError('one\\ntwo \\x1b[31m')", "MemoryError()", "RecursionError('deep')", "ImportError('no libx')"],
)
def test_what_nobody_foresaw_is_a_sentence_and_a_file(folder: Path, error: str, tmp_path: Path) -> None:
    before = f"import pooling.config\ndef fail(*a): raise {error}\npooling.config.show_config = fail"
    code, out, err = run("info", before=before, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert (code, out) == (2, "")
    assert re.match(r"pooling info: an unforeseen error: \w+Error", err)
    assert err.count("\n") == 1
    assert "\x1b" not in err
    (path,) = re.findall(r"its traceback, which is in (\S+)$", err.strip())
    assert Path(path).parent == tmp_path
    assert "Traceback (most recent call last)" in Path(path).read_text()
    assert error.partition("(")[0] in Path(path).read_text()


def test_a_module_of_ours_that_is_missing_is_not_foreseen() -> None:
    code, _, err = run("validate", "net.onnx", before="sys.modules['pooling.validation'] = None")
    assert code == 2
    assert "unforeseen error: ModuleNotFoundError" in err
    Path(err.split()[-1]).unlink()


def test_a_file_for_the_traceback_need_not_be_had() -> None:
    before = (
        "import pooling.config, tempfile\ndef fail(*a, **b): raise OSError(28, 'No space left on device')\n"
        "pooling.config.show_config = lambda: 1 / 0\ntempfile.mkstemp = fail"
    )
    code, _, err = run("info", before=before)
    assert code == 2
    assert err == (
        "pooling info: an unforeseen error: ZeroDivisionError (division by zero); its traceback cannot be kept "
        "(No space left on device)\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [*COMMANDS.values(), ("info",), (), ("--help",), ("--version",)])
def test_output_that_is_full(folder: Path, arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        code, _, err = run(*arguments, stdout=full)
    assert code == 2
    name = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    spoken = " ".join(filter(None, ("pooling", name)))
    assert err == f"{spoken}: standard output cannot be written (No space left on device)\n"


@pytest.mark.parametrize("arguments", [*COMMANDS.values(), ("info",), ("--help",)])
def test_a_reader_that_leaves_is_no_reason_to_complain(folder: Path, arguments: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    code, _, err = run(*arguments, stdout=write)
    os.close(write)
    assert (code, err) == (2, "")


def test_files_are_written_although_nobody_reads_the_table(folder: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    for command, option in OUTPUTS:
        run(*COMMANDS[command], option, "written.svg", stdout=write)
        (folder / "written.svg").unlink()
    os.close(write)


@pytest.mark.parametrize("arguments", [*COMMANDS.values(), ("info",)])
def test_no_standard_output_at_all(folder: Path, arguments: tuple[str, ...]) -> None:
    code, _, err = run(*arguments, before="import os; os.close(1); sys.stdout = None", stdout=None)
    assert (code, err) == (0, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_named_with_the_file(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = contents(folder)
    options = [option for name, option in OUTPUTS if name == command]
    for option in options:
        assert cli.main([*COMMANDS[command], option, "out.svg"]) == 2
        (said,) = capsys.readouterr().err.splitlines()
        assert "out.svg cannot be " in said
        assert "No space left on device" in said
        assert contents(folder) == before


@pytest.mark.parametrize("name", ["\x1b[31m.onnx", "\u202egnp.onnx", "new\nline.onnx", "\udcff.onnx", "m" * 5000])
@pytest.mark.parametrize("command", ["doctor", "validate", "repair"])
def test_signs_in_names_stay_signs(folder: Path, name: str, command: str) -> None:
    # A name that is no text comes in as a process gets it.
    code, out, err = run(command, name, "--json", "out.json")
    assert code == 2
    said = (out + err).removesuffix("\n")
    assert name not in said or name.isprintable()
    assert said.replace("\n", "").isprintable()
    code, out, err = run(command, "m.onnx", name + "\x1b", "--unheard\x1b[31m")
    assert code == 2
    assert err.replace("\n", "").isprintable()


TRICK = "a\x1b]0;t\x07\x1b[2J\nforged\rb\u202e\x9b1A[bold]"
TRICKY = {
    "is repaired": "pool = MaxPool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (x)",
    "is left": "s = Shape (x) pool = MaxPool <kernel_shape = [2, 2], strides = [4, 4], ceil_mode = 1> (x)",
    "is foreign": 'p = other.MaxPoolLike <words = "trick"> (x) pool = AveragePool <kernel_shape = [3, 3]> (p)',
    "reads nothing": "pool = MaxPool <kernel_shape = [3, 3]> (nowhere)",
    "has no such attribute": "pool = MaxPool <kernel_shape = [3, 3], trick = 1> (x)",
    "has no such word": 'pool = MaxPool <kernel_shape = [3, 3], auto_pad = "trick"> (x)',
    "has a norm": "pool = GlobalLpPool <p = 7> (x)",
    "is too large": f"s = Constant <value_ints = [{1 << 40}]> () c = ConstantOfShape (s) pool = Add (x, c)",
}


def tricky(text: str) -> onnx.ModelProto:
    """A model whose every name plays tricks with the terminal."""
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17, "other": 1]> g (float[1, 3, H, W] x) => (float[N, C, H, W] pool) '
        f"{{ {text} }}"
    )

    def named(name: str) -> str:
        return f"{name}{TRICK}" if name else name

    model.graph.name = named(model.graph.name)
    for info in (*model.graph.input, *model.graph.output):
        info.name = named(info.name)
        for size in info.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = named(size.dim_param)
    for entry in model.opset_import:
        entry.domain = named(entry.domain)
    for node in model.graph.node:
        node.name, node.domain = named(f"n{node.output[0]}"), named(node.domain)
        node.input[:], node.output[:] = map(named, node.input), map(named, node.output)
        if node.domain:
            node.op_type = named(node.op_type)
        for each in node.attribute:
            each.name = each.name.replace("trick", TRICK)
            each.s = each.s.replace(b"trick", TRICK.encode())
    return model


@pytest.mark.parametrize("case", TRICKY)
@pytest.mark.parametrize("command", [*COMMANDS, "doctor --all", "doctor --set"])
def test_names_cannot_play_tricks_with_the_terminal(
    case: str, command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "m.onnx").write_bytes(tricky(TRICKY[case]).SerializeToString())
    (folder / f"{TRICK}.onnx").write_bytes((folder / "m.onnx").read_bytes())
    word, *more = command.split()
    more = [*more, f"npool{TRICK}.stride=1"] if "--set" in more else more
    size = ["--input-shape", "1x3x9x9"] if word == "doctor" else ["--shape", f"x{TRICK}=1x3x9x9"]
    for name in ("m.onnx", f"{TRICK}.onnx"):
        for sizes in ([], size):
            cli.main([word, name, *COMMANDS[word][2:], *more, *sizes])
            shown = capsys.readouterr()
            for stream in (shown.out, shown.err):
                assert stream.replace("\n", "").isprintable(), ascii(stream)
                assert not any(line.lstrip().startswith("forged") for line in stream.splitlines())
            assert shown.out + shown.err


@pytest.mark.parametrize("command", COMMANDS)
def test_lines_in_a_pipe_end_where_they_end(folder: Path, command: str) -> None:
    _, out, _ = run(*COMMANDS[command])
    assert out
    assert [line for line in out.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_ascii_is_enough(folder: Path, command: str) -> None:
    code, out, err = run(*COMMANDS[command], env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (code, err) == (0, "")
    assert out.isascii()
    assert "?" not in out.replace("?x", "")


# ---------------------------------------------------------------------------------------------------------------------
# Signals


ENDLESS = """<ir_version: 8, opset_import: ["": 17]> g (float[1,2,7,7] x) => (float[N,C,H,W] y) {
    m = Constant<value=int64 {9223372036854775807}>() c = Constant<value=bool {1}>()
    z = Loop(m, c, x) <body = b (int64 i, bool k, float[1,2,7,7] v) => (bool l, float[1,2,7,7] w) {
        l = Identity(k) w = Relu(v)
    }>
    y = MaxPool<kernel_shape=[2,2],strides=[2,2],ceil_mode=1>(z)
}"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_repair_is_stopped_while_the_model_runs(folder: Path, number: signal.Signals) -> None:
    pytest.importorskip("onnxruntime")
    onnx.save(onnx.parser.parse_model(ENDLESS), folder / "endless.onnx")
    before = contents(folder)
    # The handler is told of the run, so that nothing depends on how long importing takes; a run would take a minute.
    told = (
        "import pooling.export.repair.proof as proof\n"
        "late = proof._terminate_late\n"
        "proof.LONGEST_RUN = 100000.0\n"
        "proof._terminate_late = lambda *words: (print('runs', flush=True), late(*words))"
    )
    with start(
        "repair", "endless.onnx", "-o", "out.onnx", before=told, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=300)
    said = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
    assert (process.returncode, err) == (2, f"pooling repair: {said}\n")
    assert contents(folder) == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("size", ["0", "-3", "abc", "", "²", "9" * 40])
def test_sizes_of_terminals_that_are_none(folder: Path, command: str, size: str) -> None:
    plain = run(*COMMANDS[command], env={k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")})
    code, out, err = run(*COMMANDS[command], env={**os.environ, "COLUMNS": size, "LINES": size})
    assert (code, err) == (plain[0], "")
    assert len(out) > 100
    if not size.startswith("9"):
        lines = [[re.sub(r"\d[\d.]*", "", line) for line in text.splitlines()] for text in (out, plain[1])]
        assert lines[0] == lines[1]  # but for times


def test_links_in_a_circle_are_no_place_to_write_to(folder: Path) -> None:
    os.symlink("b.onnx", "a.onnx")
    os.symlink("a.onnx", "b.onnx")
    for option in ("-o", "--json"):
        code, _, err = run("repair", "m.onnx", option, "a.onnx")
        assert code == 2
        assert err.count("\n") == 1
        assert "Too many levels of symbolic links" in err
    assert run("repair", "a.onnx")[0] == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_stopped_command_leaves_nothing_behind(folder: Path, number: signal.Signals, tmp_path_factory: Any) -> None:
    """The runtime never answers, so that the command is stopped while its processes and folders are there."""
    scratch = tmp_path_factory.mktemp("scratch")
    (folder / "sleeping.py").write_text(
        "import os, time, pathlib\n"
        "from pooling.validation.runners.base import Runtime as Base\n"
        "class Runtime(Base):\n"
        "    name = 'sleeping'\n"
        "    def version(self): return '1'\n"
        "    def run(self, model, inputs):\n"
        "        child = os.fork()\n"
        "        if child == 0:\n"
        "            while True: time.sleep(1)\n"
        f"        pathlib.Path({str(folder)!r}, 'pids').write_text(f'{{os.getpid()}} {{child}}')\n"
        "        while True: time.sleep(1)\n"
    )
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": str(folder)}
    arguments = ("validate", "m.onnx", "--rounds", "0", "--runtimes", "sleeping:Runtime")
    with start(*arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        pids = wait_for_pids(folder / "pids", process)
        assert list(scratch.iterdir()) != []
        process.send_signal(number)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    said = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
    assert err == f"pooling validate: {said}\n"
    assert list(scratch.iterdir()) == []
    assert_all_gone(pids)


def test_processes_notice_when_the_command_is_killed(folder: Path, tmp_path_factory: Any) -> None:
    """The process of a runtime, which is busy without looking at anything, and what it forked."""
    test_code = (
        "import os, pathlib\n"
        "from pooling.validation.runners.base import Runtime as Base\n"
        "class Runtime(Base):\n"
        "    name = 'busy'\n"
        "    def version(self): return '1'\n"
        "    def run(self, model, inputs):\n"
        "        child = os.fork()\n"
        "        if child:\n"
        f"            pathlib.Path({str(folder)!r}, 'pids').write_text(f'{{os.getpid()}} {{child}}')\n"
        "        sum(range(10 ** 12))\n"  # one call that lets no other thread run
    )
    (folder / "busy.py").write_text(test_code)
    environment = {**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("scratch")), "PYTHONPATH": str(folder)}
    arguments = ("validate", "m.onnx", "--rounds", "0", "--runtimes", "busy:Runtime")
    with start(*arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        pids = wait_for_pids(folder / "pids", process)
        process.kill()
    assert_all_gone(pids)


def wait_for_pids(path: Path, process: subprocess.Popen[str]) -> list[int]:
    while process.poll() is None:
        if path.exists() and len(numbers := path.read_text().split()) == 2:
            return [int(number) for number in numbers]
        time.sleep(0.05)
    raise AssertionError(f"the runtime was not started: {process.communicate()}")


def assert_all_gone(pids: list[int]) -> None:
    """Wait for processes to be gone; those that nobody has collected yet are."""
    for _ in range(200):
        if not any(map(alive, pids)):
            return
        time.sleep(0.05)
    left = [pid for pid in pids if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    raise AssertionError(f"{left} of {pids} are still running")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
