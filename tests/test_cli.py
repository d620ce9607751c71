"""The command ``pooling``: arguments, streams, files and exit codes."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import pooling
from pooling import cli
from pooling.dispatch import kernels
from pooling.validation.runners.processes import RuntimeProcess
from pooling.validation.runners.results import Result

QUICK = ("--runtimes", "pooling,onnxruntime")
"""Those that are installed everywhere, and take no time to start."""


def write_model(path: Path, shape: list[int | str]) -> str:
    node = helper.make_node("MaxPool", ["x"], ["y"], "stage", kernel_shape=[2, 2], strides=[2, 2])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in (("x", shape), ("y", None)))
    model = helper.make_model(helper.make_graph([node], "model", [x], [y]), opset_imports=[helper.make_opsetid("", 18)])
    path.write_bytes(model.SerializeToString())
    return str(path)


@pytest.fixture
def model(tmp_path: Path) -> str:
    return write_model(tmp_path / "net.onnx", [1, 8, 16, 16])


@pytest.fixture
def wrong_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let onnxruntime get one element wrong."""
    original: Callable[..., Result] = RuntimeProcess.ask

    def ask(self: RuntimeProcess, model: bytes, inputs: Any) -> Result:
        answer = original(self, model, inputs)
        if self.runtime != "onnxruntime":
            return answer
        results = [np.array(result) for result in answer.outputs]
        results[0].flat[0] = np.float32(12345)
        return Result(results)

    monkeypatch.setattr(RuntimeProcess, "ask", ask)


def run(*arguments: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, after some lines of Python."""
    code = f"import sys\n{before}\nfrom pooling.cli import main\nsys.exit(main({list(arguments)!r}))"
    clean = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        check=False,
        encoding="utf-8",
    )


def test_each_command_says_what_it_has_written(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, options in (
        (["validate", *QUICK, model, "--rounds", "0"], ("--json", "--html", "--junit")),
        (["repair", model], ("-o", "--json")),
        (["doctor", model], ("--html", "--json")),
        (["conformance", "--runtimes", "pooling"], ("--json",)),
        (["export", "MaxPool2d(2)", "--shape", "N,3,8,8"], ("-o",)),
    ):
        files = [tmp_path / f"{number}{option.strip('-')}" for number, option in enumerate(options)]
        given = [word for pair in zip(options, map(str, files), strict=True) for word in pair]
        cli.main([*command, *given])
        lines = capsys.readouterr().out.splitlines()
        assert sorted(lines[-len(files) :]) == sorted(f"written to {path}" for path in files)
        assert all(path.is_file() for path in files)
        # And nothing of the kind where nothing was asked for.
        if command[0] not in ("conformance", "export"):
            cli.main(command)
            assert "written to" not in capsys.readouterr().out
        assert cli.main(["doctor", model, "--json", os.devnull]) in (0, 1)
        assert "written to" not in capsys.readouterr().out


def test_all_equal_is_0(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["validate", *QUICK, model, "--rounds", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"pooling {pooling.__version__} (")
    assert any(line.split()[:3] == ["stage", "MaxPool", "2×2"] for line in lines)
    assert lines[1].startswith("1 pooling node of 1 model: all equal; on NaN, infinities or extreme numbers ")


@pytest.mark.usefixtures("wrong_runtime")
def test_a_difference_is_1(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["validate", *QUICK, model, "--rounds", "0"]) == 1
    assert capsys.readouterr().out.splitlines()[1].startswith("1 pooling node of 1 model: 1 differs")


@pytest.mark.parametrize(
    ("fail_on", "code"), [("special", 1), ("refuses,crashes", 0), ("never", 0), ("differs,special", 1)]
)
def test_what_counts_can_be_chosen(model: str, fail_on: str, code: int) -> None:
    assert cli.main(["validate", *QUICK, model, "--rounds", "0", "--fail-on", fail_on]) == code


@pytest.mark.parametrize("behind", ["", "Relu", "GlobalAveragePool"])
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool", "LpPool"])
def test_every_command_says_the_same_of_windows_that_find_no_place(
    operator: str, behind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # onnxruntime runs this, and gives a map without cells.
    nodes = [helper.make_node(operator, ["x"], ["p"], "stage", kernel_shape=[3, 3])]
    nodes += [helper.make_node(behind, ["p"], ["q"], "behind")] if behind else []
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        for name, dims in (("x", [1, 3, 2, 2]), (nodes[-1].output[0], None))
    )
    graph = helper.make_graph(nodes, "small", [x], [y])
    model, out = tmp_path / "small.onnx", tmp_path / "out.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    why = (
        "kernel_size=(3, 3) finds no window on axis H: the effective kernel size is 3 and the padded input 0 + 2 + 0 = "
        "2; the smallest input that works is 3"
    )
    for command in (
        ["validate", *QUICK, "--rounds", "0", str(model)],
        ["repair", str(model), "-o", str(out)],
        ["doctor", str(model)],
    ):
        assert cli.main(command) == 2, command
        captured = capsys.readouterr()
        said = " ".join((captured.out + captured.err).split())
        assert why in said, command
        assert "224" not in said
        assert ", verified" not in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["net.onnx", "--fail-on", "never,differs"], "--fail-on never stands alone; leave it out, or everything else"),
        (
            ["net.onnx", "--fail-on", "always"],
            "fail_on='always' is none of differs, special, refuses, crashes; use some of these, or none",
        ),
        (["net.onnx", "--limit-seconds", "0"], "limit_seconds=0.0 must be positive"),
        (["net.onnx", "--limit-seconds", "nan"], "limit_seconds=nan must be positive"),
        (["net.onnx", "--limit-memory", "-1"], "limit_memory=-1 must be positive, in GiB"),
        (["net.onnx", "--limit-memory", "inf"], "--limit-memory inf must be a number of GiB, such as 8"),
        (["net.onnx", "--runtimes", "module:Missing"], "runtimes='module:Missing' cannot be loaded (ModuleNotFoundErr"),
        (["net.onnx", "--input", "no.npy"], "--input no.npy cannot be read ([Errno 2] No such file or directory: "),
    ],
)
def test_options_that_make_no_sense_are_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["validate", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"pooling validate: {sentence}")


@pytest.mark.parametrize("kind", ["html", "junit"])
def test_reports_are_written_as_asked(model: str, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "report"
    assert cli.main(["validate", *QUICK, model, "--rounds", "0", f"--{kind}", str(target)]) == 0
    assert "nan-propagates" in target.read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", "report"}


def test_slower_is_no_difference(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pooling.validation import validator
    from pooling.validation.benchmark import Times

    times = {"pooling": Times(1.0, 1.0), "onnxruntime": Times(1e-6, 1e-6)}
    monkeypatch.setattr(validator, "race", lambda contestants, rounds: times)
    assert cli.main(["validate", *QUICK, model]) == 0


def test_a_missing_model_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["validate", str(tmp_path / "no.onnx")]) == 2
    assert f"{tmp_path / 'no.onnx'}: it cannot be read (No such file or directory)" in capsys.readouterr().out


def test_what_is_taken_for_open_sizes_is_said_until_they_are_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_model(tmp_path / "open.onnx", ["N", 8, "H", "W"])
    assert cli.main(["validate", *QUICK, path, "--rounds", "0"]) == 0
    said = capsys.readouterr().out
    assert "1×8×224×224 → 112×112" in said
    assert (
        "open: the input 'x' leaves sizes open (Nx8xHxW) and is taken as 1x8x224x224; give another with "
        "--shape x=1x8x224x224 (in Python: shapes=)\n"
    ) in said
    assert cli.main(["validate", *QUICK, path, "--rounds", "0", "--shape", "x=2x8x16x16"]) == 0
    said = capsys.readouterr().out
    assert "2×8×16×16 → 8×8" in said
    assert "open" not in said.replace("open\n", "")


def test_a_shape_for_nobody_is_2(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["validate", *QUICK, model, "--shape", "data=1x8x16x16"]) == 2
    assert capsys.readouterr().err == (
        "pooling validate: no model has a tensor named 'data'; name an input as the model names it\n"
    )


@pytest.mark.parametrize("text", ["1x8x16x16", "x=", "x=1,8,16", "x=axb", "x=1x-8", "=1x2"])
def test_a_shape_is_a_name_and_sizes(model: str, capsys: pytest.CaptureFixture[str], text: str) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["validate", *QUICK, model, "--shape", text])
    assert caught.value.code == 2
    assert f"{text!r} must be a name and sizes, such as data=1x3x224x224" in capsys.readouterr().err


def test_names_may_hold_any_sign(tmp_path: Path) -> None:
    assert cli.shared.named_shape("gpu_0/data=x=1x3") == ("gpu_0/data=x", (1, 3))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rounds", "-1"], "rounds=-1 must be at least 0"),
        (["--seed", "-1"], "seed=-1 must be at least 0"),
        (["--threads", "0"], "threads=0 must be at least 1"),
    ],
)
def test_numbers_out_of_range_are_2(
    model: str, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert cli.main(["validate", *QUICK, model, *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert all(
        name in shown.out
        for name in ("validate", "repair", "doctor", "export", "conformance", "node-tests", "bench", "info")
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["unheard"],
        ["export"],
        ["validate"],
        ["validate", "a.onnx", "--unheard"],
        ["conformance", "a.onnx"],
        ["conformance", "--junit", "a.xml"],
        ["conformance", "--input", "a.npy"],
        ["node-tests"],
        ["export", "MaxPool2d(2)", "--shape", "1,3,8,8"],
        ["export", "MaxPool2d(2)", "-o", "a.onnx"],
    ],
)
def test_arguments_that_make_no_sense_are_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("pooling")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["doctor", "a.onnx", "--bogus"], "pooling doctor: it has no option --bogus; pooling doctor --help has"),
        (["doctor", "a.onnx", "--obect=3"], "pooling doctor: it has no option --obect; do you mean --object?;"),
        (["--bogus"], "pooling: it has no option --bogus; pooling --help has all options"),
        (["info", "more"], "pooling info: it has no further argument more; pooling info --help has all options"),
    ],
)
def test_an_argument_that_is_not_known_is_told_in_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    (found,) = capsys.readouterr().err.splitlines()
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--limit-seconds", "0"], "limit_seconds=0.0 must be positive"),
        (["--runtimes", "abacus"], "runtimes='abacus' is none of pooling, oracle, portable"),
        (["--seed", "-1"], "seed=-1 must be at least 0"),
        (["--json", "no/folder/a.json"], "--json no/folder/a.json: there is no folder no/folder"),
    ],
)
def test_options_of_conformance_that_make_no_sense_are_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["conformance", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"pooling conformance: {sentence}")


def test_every_command_has_a_file_an_example_and_its_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main([])
    commands = re.findall(r"^    ([a-z][a-z-]+)\b", capsys.readouterr().out.partition("options:")[0], re.MULTILINE)
    files = {path.stem.replace("_", "-") for path in Path(cli.__file__).parent.glob("*.py")}
    assert set(commands) == files - {"--init--", "bench-torch", "schemas", "shared"}
    for command in commands:
        with pytest.raises(SystemExit) as caught:
            cli.main([command, "--help"])
        assert caught.value.code == 0
        said = " ".join(capsys.readouterr().out.split())
        assert command == "info" or "Exit code: 0" in said, command


def test_json_is_written_beside_the_table(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "report.json"
    assert (
        cli.main(["validate", *QUICK, model, "--rounds", "0", "--seed", "4", "--threads", "1", "--json", str(target)])
        == 0
    )
    found = json.loads(target.read_text(encoding="utf-8"))
    assert found["summary"]["sentence"] == capsys.readouterr().out.splitlines()[1]
    assert {name: found["settings"][name] for name in ("threads", "rounds", "seed", "shapes", "fail_on")} == {
        "threads": 1,
        "rounds": 0,
        "seed": 4,
        "shapes": {},
        "fail_on": ["differs"],
    }


def test_json_into_no_folder_is_refused_before_anything_runs(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "missing" / "report.json"
    assert cli.main(["validate", *QUICK, model, "--json", str(target)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"pooling validate: --json {target}: there is no folder {target.parent}\n"


def test_json_that_cannot_be_written_is_2(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["validate", *QUICK, model, "--rounds", "0", "--json", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert "all equal" in captured.out
    assert captured.err == f"pooling validate: --json {tmp_path} cannot be written (Is a directory)\n"


def test_interruption_is_2_and_no_traceback(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RuntimeProcess, "ask", interrupt)
    assert cli.main(["validate", *QUICK, model]) == 2
    said = capsys.readouterr()
    assert said.err == "pooling validate: interrupted\n"
    assert "it was stopped before 1 of 1 nodes were looked at" in " ".join(said.out.split())


@pytest.mark.parametrize("attributes", [{}, {"ceil_mode": 1}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "NO_SUCH"}])
def test_a_repair_is_the_same_in_terminal_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, attributes: dict[str, Any]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    names = ["x", "a", "b"]
    nodes = [
        helper.make_node("MaxPool", [source], [result], f"n{result}", kernel_shape=[3, 3], strides=[2, 2], **attributes)
        for source, result in itertools.pairwise(names)
    ]
    x, b = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, *size])
        for name, size in (("x", (16, 14)), ("b", (None, None)))
    )
    path, out = tmp_path / "net.onnx", tmp_path / "out.json"
    imports = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [b]), opset_imports=imports, ir_version=8), path)
    code = cli.main(["repair", str(path), "-o", str(tmp_path / "fixed.onnx"), "--json", str(out)])
    said = capsys.readouterr()
    if not out.exists():  # refused
        assert (code, said.out) == (2, "")
        assert said.err.count("\n") == 1
        return
    written = json.loads(out.read_text(encoding="utf-8"))
    lines = said.out.splitlines()
    count = len(written["changes"])
    assert (count > 0) == bool(attributes)
    proof = "verified" if written["verified"] else "not verified"
    told = f"net.onnx: {count} change{'' if count == 1 else 's'}, {proof}: {written['why']}"
    assert told in lines
    rows = [line.split() for line in lines if line.split()[:1] in (["na"], ["nb"])]
    assert [row[:2] for row in rows] == [[each["node"], each["rule"]] for each in written["changes"]]
    for each, row in zip(written["changes"], rows, strict=True):
        assert " ".join(f"{each['was']} {each['became']}".split()) == " ".join(row[2:])
    for kind, key in (("skipped", "skipped"), ("omitted", "omitted")):
        assert [f"{kind}: {each['node']}: {each['was']}: {each['reason']}" for each in written[key]] == [
            line for line in lines if line.startswith(f"{kind}: ")
        ]
    assert (f"written to {written['output']}" in lines) == (written["output"] is not None)
    assert (code == 0) == (written["verified"] and not written["skipped"])


@pytest.mark.parametrize("imported", ["pooling", "numpy", "pooling.cli"])
def test_an_interrupt_while_the_command_is_imported_leaves_no_traceback(imported: str) -> None:
    code = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {imported!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from _ndpooling import main
main()
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert process.returncode == -signal.SIGINT  # 130 to a shell
    assert process.stderr == ""


INTERRUPTS = """
import os, signal, sys
signal.signal(signal.SIGINT, getattr(signal, os.environ["HANDLER"]))
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["IMPORTED"]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
"""
"""A sitecustomize that interrupts Python at an import."""


@pytest.mark.parametrize("how", [["-m", "pooling"], ["-mpooling"], ["-bm", "pooling"], ["-Xutf8", "-bmpooling"]])
@pytest.mark.parametrize("imported", ["pooling._version", "numpy", "pooling.cli"])
def test_an_interrupt_while_python_m_is_imported_leaves_no_traceback(
    tmp_path: Path, how: list[str], imported: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTS)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "IMPORTED": imported, "HANDLER": "default_int_handler"}
    process = subprocess.run(
        [sys.executable, *how, "info"], env=environment, capture_output=True, check=False, text=True
    )
    assert process.returncode == -signal.SIGINT
    assert (process.stdout, process.stderr) == ("", "")
    environment["HANDLER"] = "SIG_IGN"  # as nohup has it
    process = subprocess.run(
        [sys.executable, *how, "info"], env=environment, capture_output=True, check=True, text=True
    )
    assert process.stdout.startswith("pooling ")
    assert process.stderr == ""


def test_programs_that_import_the_package_keep_their_interrupts(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text("import signal, pooling\nprint(signal.getsignal(signal.SIGINT).__name__)\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for how in (["-m", "theirs"], ["-m", "theirs", "-m", "pooling"], ["-c", "import theirs"]):
        process = subprocess.run(
            [sys.executable, *how], env=environment, capture_output=True, check=True, text=True, cwd=tmp_path
        )
        assert process.stdout == "default_int_handler\n"


@pytest.mark.parametrize("handler", ["default_int_handler", "SIG_IGN"])
def test_the_command_itself_handles_interrupts_as_before(handler: str) -> None:
    code = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.{handler})
sys.argv = ["pooling", "info"]
from _ndpooling import main
main()
print(signal.getsignal(signal.SIGINT) is signal.{handler})
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert process.stdout.splitlines()[-1] == "True"


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "rich"])
def test_what_is_not_installed_is_named_with_the_remedy(model: str, missing: str) -> None:
    process = run("validate", *QUICK, model, before=f"sys.modules[{missing!r}] = None")
    assert process.returncode == 2
    assert process.stderr == (
        f'pooling validate: this needs {missing}, which is not installed; run pip install "ndpooling[onnx,cli]"\n'
    )


def test_the_command_line_itself_needs_nothing_heavy() -> None:
    heavy = ["onnx", "onnxruntime", "rich", "pooling.validation"]
    process = run("info", before=f"import atexit; atexit.register(lambda: print(*set({heavy}) & set(sys.modules)))")
    assert process.returncode == 0
    assert process.stdout.splitlines()[-1] == ""


def test_output_into_a_pipe_is_plain_and_as_wide_as_a_page(model: str) -> None:
    process = run("validate", *QUICK, model, "--rounds", "1")
    assert process.returncode == 0
    assert process.stderr == ""
    assert "\x1b" not in process.stdout
    assert "onnxruntime" in process.stdout.splitlines()[3]


def test_columns_are_obeyed(model: str) -> None:
    process = run("validate", *QUICK, model, "--rounds", "1", COLUMNS="60")
    header, _, row = process.stdout.splitlines()[3:6]
    assert max(len(header), len(row)) <= 60
    assert "onnxruntime" not in header


def test_output_that_has_no_letters_for_it_is_still_output(model: str) -> None:
    process = run("validate", *QUICK, model, "--rounds", "0", PYTHONIOENCODING="ascii")
    assert process.returncode == 0
    assert "1x8x16x16 > 8x8" in process.stdout


def test_info_is_show_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    shown = capsys.readouterr().out
    pooling.show_config()
    assert shown == capsys.readouterr().out
    assert f", onnx {onnx.__version__}, onnxruntime " in shown
    for kind, strategies in kernels.STRATEGIES.items():
        assert f"    {kind.replace('_', ' ')}: " in shown
        assert f" {', '.join(strategies)}\n" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"pooling {pooling.__version__}\n"


def test_python_m_pooling_is_the_same_command() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "pooling", "--version"], capture_output=True, check=True, encoding="utf-8"
    )
    assert process.stdout == f"pooling {pooling.__version__}\n"


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["validate", "--help"])
    text = capsys.readouterr().out
    assert set(re.findall(r"--\w+", text)) >= {
        *("--shape", "--threads", "--rounds", "--seed", "--json", "--html", "--junit", "--runtimes", "--input"),
        *("--fail", "--limit"),
    }
    assert "0 all is well, 1 something was found that --fail-on names, 2 something could not be run" in " ".join(
        text.split()
    )


def test_several_models_are_one_report(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_model(tmp_path / "other.onnx", [1, 2, 6, 6])
    assert cli.main(["validate", *QUICK, model, other, "--rounds", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("2 pooling nodes of 2 models: all equal")


def test_the_models_in_these_tests_are_models(model: str) -> None:
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(onnx.load(model)))
