"""The tree of blocks and the memory of maps: against torchinfo, and against brute force."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pooling import cli
from pooling.doctor import Network, Stage, examine, read
from pooling.doctor.analysis.memory import live_bytes, memory_of
from pooling.doctor.analysis.tree import DEEPEST, Block, block_path, tree_of
from pooling.doctor.report.json import as_dict
from pooling.doctor.report.page import page
from pooling.doctor.report.tree import print_tree

MODULES = "conv3x8@stem conv3x8/2@body.0.a conv3x8@body.0.b conv3x16/2@body.1.a conv3x16@body.1.b global@pool fc10@head"


def blocks(root: Block) -> dict[str, Block]:
    return {block.path: block for _, block in root.walk()}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("layer1.0.conv1", ("layer1", "0", "conv1")),
        ("/layer1/layer1.0/conv1/Conv", ("layer1", "0", "conv1", "Conv")),
        ("layer1.0.conv1/Conv", ("layer1", "0", "conv1", "Conv")),
        ("/m/model.22/cv2.0/cv2.0.2/Conv", ("m", "model", "22", "cv2", "0", "2", "Conv")),
        ("/layer1/layer10/Conv", ("layer1", "layer10", "Conv")),
        ("node_Conv_388", ("node_Conv_388",)),
        ("stem", ("stem",)),
        ("///", ("///",)),
        ("..", ("..",)),
        ("", ("",)),
    ],
)
def test_names_are_paths_of_modules(name: str, path: tuple[str, ...]) -> None:
    assert block_path(name) == path


def test_a_name_of_many_parts_is_cut() -> None:
    path = block_path("a." * 100_000 + "b")
    assert len(path) == DEEPEST
    assert sum(len(part.split(".")) for part in path) == 100_001


def test_blocks_hold_what_their_names_say() -> None:
    root = tree_of(read(MODULES, (1, 3, 32, 32)), 4 * 3 * 32 * 32)
    found = blocks(root)
    assert [child.name for child in root.children] == ["stem", "body", "pool", "head"]
    assert found["body"].kind == "2 blocks"
    assert [stage.name for stage in found["body.1"].stages] == ["body.1.a", "body.1.b"]
    assert found["body"].output_shape == (1, 16, 8, 8)
    assert found["body.0"].parameters == 2 * (8 * 8 * 9 + 8)
    assert found["body.0"].macs == 2 * 8 * 8 * 9 * 16 * 16
    assert found["body.0"].training_bytes == 2 * 4 * 8 * 16 * 16


def test_numbers_of_blocks_add_up_at_every_level() -> None:
    network = read(MODULES, (1, 3, 32, 32))
    root = tree_of(network, 4 * 3 * 32 * 32)
    assert (root.parameters, root.macs) == (network.parameters, network.macs)
    assert root.training_bytes == network.output_bytes + 4 * 3 * 32 * 32
    assert root.stages == network.stages
    for _, block in root.walk():
        if block.children:
            for name in ("parameters", "macs", "training_bytes"):
                assert getattr(block, name) == sum(getattr(child, name) for child in block.children)
            assert block.inference_bytes == max(child.inference_bytes for child in block.children)


def test_a_module_that_holds_one_stage_is_one_line() -> None:
    pytest.importorskip("onnx")
    import onnx

    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        g (float[1, 1, 8, 8] x) => (float[1, 1, 8, 8] y) { a = Relu (x)  b = Relu (a)  y = Sigmoid (b) }""")
    for node, name in zip(model.graph.node, ("/m/m.0/act/Relu", "/m/m.1/act/Relu", "/Sigmoid"), strict=True):
        node.name = name
    root = examine(model).tree
    assert [(level, block.name, block.kind) for level, block in root.walk()] == [
        (1, "m", "2 blocks"),
        (2, "0.act", "Relu"),
        (2, "1.act", "Relu"),
        (1, "Sigmoid", "Sigmoid"),
    ]


def test_a_stage_that_is_a_module_too_is_in_that_module() -> None:
    network = read("conv3x8@a conv3x8@a.b conv3x8@c", (1, 3, 8, 8))
    root = tree_of(network, 0)
    assert [child.name for child in root.children] == ["a", "c"]
    assert [child.path for child in root.children[0].children] == ["a", "a.b"]


# ---------------------------------------------------------------------------------------------------------------------
# Memory


def stage(name: str, inputs: tuple[str, ...], size: int) -> Stage:
    return Stage(name, "Any", "elementwise", inputs, (1, size), (1, size), output_bytes=size)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_alive_is_what_somebody_still_reads(seed: int) -> None:
    draw = random.Random(seed)
    names = ["input"]
    stages = []
    for number in range(draw.randint(1, 12)):
        read_from = tuple(draw.sample(names, draw.randint(1, min(3, len(names)))))
        stages.append(stage(f"s{number}", read_from, draw.randint(1, 100)))
        names.append(f"s{number}")
    outputs = tuple(draw.sample(names[1:], draw.randint(1, len(stages))))
    network = Network("n", "input", (1, 50), tuple(stages), outputs)
    sizes = {"input": 50} | {each.name: each.output_bytes for each in stages}

    expected = {}
    for now, each in enumerate(stages):
        written = ["input", *(other.name for other in stages[: now + 1])]
        alive = {
            name
            for name in written
            if name == each.name or name in outputs or any(name in later.inputs for later in stages[now:])
        }
        expected[each.name] = sum(sizes[name] for name in alive)
    assert live_bytes(network, 50) == expected
    memory = memory_of(network, 50)
    assert memory.inference == max(expected.values()) == expected[memory.peak]
    assert memory.training == sum(sizes.values())


def test_a_skip_connection_keeps_its_map_alive() -> None:
    without = memory_of(read("conv3x8@a conv3x8@b conv3x8@c", (1, 8, 4, 4)), 512)
    with_skip = memory_of(read("conv3x8@a conv3x8@b conv3x8+a@c", (1, 8, 4, 4)), 512)
    assert (without.inference, with_skip.inference) == (1024, 1536)


def test_a_network_without_stages_has_its_input() -> None:
    assert memory_of(Network("n", "input", (1, 3), (), ()), 12).inference == 12


# ---------------------------------------------------------------------------------------------------------------------
# What torchinfo says


def test_shapes_and_parameters_are_those_of_torchinfo() -> None:
    torch = pytest.importorskip("torch")
    torchinfo = pytest.importorskip("torchinfo")
    pytest.importorskip("onnx")

    class Residual(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, channels: int, stride: int) -> None:
            super().__init__()
            self.conv1 = torch.nn.Conv2d(channels, 2 * channels, 3, stride, 1)
            self.relu = torch.nn.ReLU()
            self.conv2 = torch.nn.Conv2d(2 * channels, 2 * channels, 3, 1, 1)
            self.short = torch.nn.Conv2d(channels, 2 * channels, 1, stride)

        def forward(self, x: Any) -> Any:
            return torch.relu(self.conv2(self.relu(self.conv1(x))) + self.short(x))

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.stem = torch.nn.Conv2d(3, 8, 7, 2, 3)
            self.layer1 = torch.nn.Sequential(Residual(8, 1), Residual(16, 2))
            self.layer2 = torch.nn.Sequential(Residual(32, 2))
            self.fc = torch.nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            return self.fc(self.layer2(self.layer1(self.stem(x))).mean((2, 3)))

    net = Net().eval()
    file = io.BytesIO()
    torch.onnx.export(net, torch.zeros(1, 3, 64, 64), file, dynamo=False)
    tree = examine(file.getvalue()).tree
    found = blocks(tree) | {"fc": tree.children[-1]}  # a single stage goes by the name of its node
    told = torchinfo.summary(net, (1, 3, 64, 64), depth=9, verbose=0)
    modules = {id(module): name for name, module in net.named_modules()}
    compared = 0
    for layer in told.summary_list:
        name = modules.get(layer.layer_id, "")
        block = found.get(name) or found.get(f"{name}.0")
        if not name or block is None:
            continue
        assert block.output_shape == tuple(layer.output_size), name
        assert block.parameters == sum(each.numel() for each in net.get_submodule(name).parameters()), name
        assert block.parameters == layer.num_params, name
        compared += 1
    assert compared >= 4
    assert tree.parameters == told.total_params


# ---------------------------------------------------------------------------------------------------------------------
# The command, JSON and the page


def printed(network: str, depth: int, width: int = 100) -> list[str]:
    output = io.StringIO()
    print_tree(examine(network, (1, 3, 32, 32)), Console(file=output, width=width), depth)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_the_depth_is_that_of_the_modules() -> None:
    shallow, deep = printed(MODULES, 1), printed(MODULES, 3)
    assert [line.split()[0] for line in shallow[1:6]] == ["stem", "body", "pool", "head", "total"]
    assert [line.split()[0] for line in deep[1:7]] == ["stem", "body", "0", "a", "b", "1"]
    assert deep[4].startswith("    a")
    totals = [next(line.split() for line in lines if line.startswith("total")) for lines in (shallow, deep)]
    assert totals[0] == totals[1]
    assert "no modules" not in " ".join(deep)
    assert "no modules" in " ".join(printed("conv3x8 conv3x8", 3))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_the_tree_fits_the_terminal(width: int) -> None:
    assert max(map(len, printed(MODULES, 3, width))) <= width


def test_the_command_prints_the_tree(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    arguments = ["doctor", "--layers", MODULES, "--input-shape", "32", "--object", "8", "--fail-on", "never"]
    assert cli.main([*arguments, "--tree", "--depth", "2", "--json", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:3] == ["body", "2", "blocks"] for line in lines)
    assert not any(line.split()[:1] == ["a"] for line in lines)
    tree = json.loads(path.read_text())["tree"]
    assert [child["name"] for child in tree["children"]] == ["stem", "body", "pool", "head"]
    assert [child["stage"] for child in tree["children"][1]["children"][0]["children"]] == ["body.0.a", "body.0.b"]


@pytest.mark.parametrize("depth", ["0", "-1", "x", "", "1e3", "99999999999"])
def test_a_depth_that_is_none_is_refused(depth: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        cli.main(["doctor", "--layers", "conv3", "--tree", f"--depth={depth}"])
    assert error.value.code == 2
    assert "must be a number of levels" in capsys.readouterr().err


def test_a_depth_without_a_tree_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--layers", "conv3", "--depth", "2"]) == 2
    assert "--depth is for --tree" in capsys.readouterr().err


def test_the_page_has_the_tree_where_there_are_modules() -> None:
    assert "<h2>Blocks</h2>" in page(examine(MODULES, (1, 3, 32, 32)))
    assert "<h2>Blocks</h2>" not in page(examine("conv3x8 conv3x8", (1, 3, 32, 32)))


def test_stages_that_were_not_understood_make_lower_bounds() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18, "org.example": 1]>
        g (float[1, 1, 8, 8] x) => (float[1, 1, 8, 8] y) { a = Relu (x)  y = org.example.Odd (a) }""")
    for node, name in zip(model.graph.node, ("m.0.act", "m.1.act"), strict=True):
        node.name = name
    result = examine(model)
    assert [block.known for _, block in result.tree.walk()] == [False, True, False]
    assert as_dict(result)["tree"]["known"] is False
    assert any("≥" in line for line in _tree_of(result))


def _tree_of(result: Any) -> list[str]:
    output = io.StringIO()
    print_tree(result, Console(file=output, width=100), 3)
    return output.getvalue().splitlines()
