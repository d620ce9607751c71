"""Every fix that names options works, does what it says, and is offered only where it applies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from pooling.doctor import Examination, Finding, examine
from pooling.doctor.network.network import NetworkError
from pooling.doctor.what_if import parse_changes, what_if


def resnet(block: str) -> str:
    """Write a ResNet of four stages with two blocks each as a list of layers."""
    words, last = ["conv7x16/2p3@stem pool3/2p1@pool"], "pool"
    for stage in range(4):
        for number in range(2):
            name = f"{stage}{number}"
            step = 2 if stage and not number else 1
            if step == 2:
                words.append(block.format(name, step))
                words.append(f"conv1x16/2<{last}+last{name}@sum{name} relu@out{name}")
            else:
                words.append(block.format(name, step).replace(f"@last{name}", f"+{last}@sum{name} relu@out{name}"))
            last = f"out{name}"
    return " ".join(words)


BASIC = "conv3/{1}@first{0} relu conv3@last{0}"
V1 = "conv1/{1}@first{0} relu conv3@middle{0} relu conv1@last{0}"
BRANCHES = "conv3x8/2@a{0} conv1x8/2<{1}+a{0}@sum{0} relu@out{0}"
REPVGG = "conv3x8@start " + " ".join(BRANCHES.format(n, "start" if not n else f"out{n - 1}") for n in range(4))
UNET = (
    "conv3x8@a pool2@p1 conv3x16@b pool2@p2 conv3x32@c pool2@p3 conv3x64@d up2|c conv3x32 up2|b conv3x16 up2|a conv3x8"
)
FPN = "conv3x8/2@c1 conv3/2@c2 conv3/2@c3 conv3/2@c4 up2@u conv1<c3+u@m3 up2@v conv1<c2+v conv3"
DEEPLAB = "conv3x8/2 conv3/2 conv3/2 conv3/2 conv3d2 conv3d4 up16"
SQUEEZENET = (
    "conv3x64/2p0 pool3/2c conv1x16@s conv1x64@e conv3x64<s|e pool3/2c conv1x32@t conv1x128@f conv3x128<t|f conv1x10"
)
M5 = "conv80x32/16p0 pool4 conv3x32p0 pool4 conv3x64p0 pool4 conv3x64p0 pool4"
RESNET_D = "conv3x8@a conv3x16/2@b avgpool2<a conv1x16@c+b conv3x16"

NETWORKS: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    (resnet(BASIC), (1, 3, 64, 64), {"task": "detection"}),
    (resnet(BASIC), (1, 3, 65, 65), {"object_size": 16}),
    (resnet(V1), (1, 3, 64, 64), {"task": "segmentation"}),
    (REPVGG, (1, 3, 64, 64), {"task": "detection"}),
    (UNET, (1, 3, 64, 64), {"task": "segmentation", "object_size": 4}),
    (UNET, (1, 3, 70, 70), {}),
    (FPN, (1, 3, 64, 64), {"task": "detection", "object_size": 2}),
    (DEEPLAB, (1, 3, 64, 64), {"task": "segmentation"}),
    (SQUEEZENET, (1, 3, 64, 64), {}),
    (M5, (1, 1, 8000), {"object_size": 16, "task": "classification"}),
    (RESNET_D, (1, 3, 32, 32), {}),
    ("conv3x8/2 conv3/2 conv3/2 conv3/2", (1, 3, 64, 64), {"object_size": 4}),
    ("conv3x8@a pool2@b conv3/2@c conv5/2@d conv3,5@e pool3/2p1@f", (1, 3, 64, 48), {"object_size": (8, 6)}),
    ("conv3x8/2p0 pool2 conv3 pool2", (1, 3, 8, 39, 41), {"task": "detection"}),
    ("conv3x8 avgpool3/2p1c conv3 avgpool3/2p1c", (1, 3, 33, 33), {}),
    ("pool3 conv1x8/2 conv3x8 conv1/3", (1, 3, 40, 41), {}),
]


def options(finding: Finding) -> Iterator[list[str]]:
    for fix in finding.fixes:
        if changes := re.findall(r"--set '([^']+)'", fix):
            yield changes


@pytest.mark.parametrize(("layers", "shape", "settings"), NETWORKS)
def test_every_option_of_every_fix_works(layers: str, shape: tuple[int, ...], settings: dict[str, Any]) -> None:
    result = examine(layers, shape, **settings)
    tried = 0
    for finding in result.findings:
        for changes in options(finding):
            after = what_if(result, parse_changes(result.network, changes)).after
            assert after.failure is None
            tried += 1
    assert tried or not {"D101", "D201", "D202"} & {each.code for each in result.findings}


def of(layers: Any, shape: tuple[int, ...], code: str, **settings: Any) -> tuple[Examination, list[Finding]]:
    result = examine(layers, shape, **settings)
    return result, [each for each in result.findings if each.code == code]


# ---------------------------------------------------------------------------------------------------------------------
# Parallel paths


def test_both_paths_of_a_shortcut_change_together() -> None:
    result, (finding,) = of(resnet(BASIC), (1, 3, 64, 64), "D201", task="detection")
    last = next(fix for fix in finding.fixes if fix.startswith("take the stride out of the last step"))
    (changes,) = [re.findall(r"--set '([^']+)'", last)]
    assert {"first30.stride=1"} < set(changes)
    shortcut = next(
        each.split(".")[0] for each in changes if each.endswith("stride=1") and not each.startswith("first")
    )
    assert result.network.stage(shortcut).axes[0].kernel_size == 1
    after = what_if(result, parse_changes(result.network, changes)).after
    old, new = (each.network.stage("out31").receptive_field for each in (result, after))
    assert old is not None
    assert new is not None
    assert new.size == old.size
    assert max(new.stride) == max(old.stride) / 2
    with pytest.raises(NetworkError):
        result.graph.edited({"first30": {"stride": 1}}).infer((1, 3, 64, 64))


def test_of_two_branches_the_stride_leaves_both() -> None:
    _, (finding,) = of(REPVGG, (1, 3, 64, 64), "D201", task="detection")
    assert finding.fixes[0].startswith("reduce early downsampling: --set 'a0.stride=1' --set 'conv1.stride=1' leaves")


def test_what_does_not_work_is_not_offered() -> None:
    # The maps of a feature pyramid meet no longer without the stride of one of its steps.
    _, (finding,) = of(FPN, (1, 3, 64, 64), "D201", task="detection", object_size=2)
    assert not any("c4.stride" in fix for fix in finding.fixes)


def test_an_average_that_every_runtime_rounds_alike_needs_no_ceil_mode() -> None:
    result, (finding,) = of("conv3x8 avgpool3/2p1c@pool", (1, 3, 33, 33), "D301")
    (changes,) = options(finding)
    assert changes == ["pool.ceil_mode=false"]
    after = what_if(result, parse_changes(result.network, changes)).after
    assert after.network.stage("pool").output_shape == result.network.stage("pool").output_shape
    assert not [each for each in after.findings if each.code == "D301"]


# ---------------------------------------------------------------------------------------------------------------------
# D101


@pytest.mark.parametrize(("layers", "size"), [("pool3@p conv3", 17), ("conv3x8/2p0@p conv3", 18), ("avgpool7@p", 9)])
def test_what_reads_more_leaves_less_unread(layers: str, size: int) -> None:
    result, (finding,) = of(layers, (1, 3, size, size), "D101")
    tried = list(options(finding))
    assert tried
    for changes in tried:
        after = what_if(result, parse_changes(result.network, changes)).after
        assert not [each for each in after.findings if each.code == "D101"], changes


# ---------------------------------------------------------------------------------------------------------------------
# D402


def test_branches_that_are_one_convolution_skip_nothing() -> None:
    _, found = of(REPVGG, (1, 3, 64, 64), "D402")
    assert not found


def test_a_stride_moves_into_the_next_convolution_where_there_is_one() -> None:
    result, found = of(resnet(V1), (1, 3, 64, 64), "D402")
    steps = {each.stage: list(options(each)) for each in found}
    assert steps["first10"] == [["first10.stride=1", "middle10.stride=2"]]
    shortcuts = [each for name, each in steps.items() if not name.startswith("first")]
    assert len(shortcuts) == 3
    assert not any(shortcuts)
    after = what_if(result, {"first10": {"stride": 1}, "middle10": {"stride": 2}}).after
    assert after.network.stage("out10").output_shape == result.network.stage("out10").output_shape
    assert not after.of_stage("first10")


# ---------------------------------------------------------------------------------------------------------------------
# D506


def test_upsampling_alone_is_no_misaligned_branch() -> None:
    result, found = of(FPN, (1, 3, 64, 64), "D506")
    assert any(
        stage.receptive_field is not None and not stage.receptive_field.aligned for stage in result.network.stages
    )
    assert not found


@pytest.mark.parametrize("layers", [RESNET_D, "conv3x8@a conv2p0:1@b+a", "conv3x8@a conv4p1:2@b conv3@c+a"])
def test_centred_windows_align_the_branches(layers: str) -> None:
    result, (finding,) = of(layers, (1, 3, 32, 32), "D506")
    tried = list(options(finding))
    assert tried
    for changes in tried:
        after = what_if(result, parse_changes(result.network, changes)).after
        field = after.network.stage(finding.stage).receptive_field
        assert field is not None
        assert field.aligned


# ---------------------------------------------------------------------------------------------------------------------
# Fixed inputs and patches

FIXED = """
<ir_version: 8, opset_import: ["": 17]>
g (float[1, 3, SIZE] x) => (float[A, B, C, D] y) <float[4, 3, 3, 3] w> {
    a = Conv <strides = [2, 2]> (x, w)
    y = Relu (a)
}"""


def test_other_sizes_of_a_declared_input_need_another_export() -> None:
    onnx = pytest.importorskip("onnx")

    def model(size: str) -> Any:
        made = onnx.parser.parse_model(FIXED.replace("SIZE", size).replace(" <float[4, 3, 3, 3] w>", ""))
        made.graph.initializer.append(onnx.helper.make_tensor("w", 1, [4, 3, 3, 3], [1.0] * 108))
        return made

    result = examine(model("16, 16"))
    assert result.declared == "1×3×16×16"
    (finding,) = [each for each in result.findings if each.code == "D101"]
    assert finding.fixes[0].startswith("export with dynamic axes, and use an input of size 15 or 17")
    free = examine(model("H, W"), (1, 3, 16, 16))
    assert free.declared == ""
    (finding,) = [each for each in free.findings if each.code == "D101"]
    assert finding.fixes[0].startswith("use an input of size 15 or 17")
    # Onnxruntime holds a declared size, whatever the nodes would do.
    runtime = pytest.importorskip("onnxruntime")
    np = pytest.importorskip("numpy")
    session = runtime.InferenceSession(model("16, 16").SerializeToString())
    with pytest.raises(Exception, match="invalid dimensions"):
        session.run(None, {"x": np.zeros((1, 3, 17, 17), np.float32)})


def test_a_fixed_shape_is_told_of_the_nodes() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["": 17]>
    g (float[1, 8, 8, 8] x) => (float[1, 128] y) <int64[2] shape = {1, 128}> {
        p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        y = Reshape (p, shape)
    }""")
    (finding,) = [each for each in examine(model).findings if each.code == "D104"]
    assert finding.message.startswith(
        "the input is declared fixed at 1×8×8×8, and runtimes refuse other sizes; its nodes would work with 8 to 9 on "
        "H and W only"
    )
    assert finding.fixes[0].startswith("export with dynamic axes")
    assert not any("global pooling" in fix for fix in finding.fixes)


def attention(side: int = 32) -> Any:
    """Make a network of patches that attention works on."""
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model(
        """
    <ir_version: 8, opset_import: ["": 17]>
    g (float[1, 3, SIDE, SIDE] x) => (float[1, COUNT, 8] y) <int64[3] shape = {1, 8, COUNT}> {
        patches = Conv <kernel_shape = [8, 8], strides = [8, 8]> (x, w)
        flat = Reshape (patches, shape)
        tokens = Transpose <perm = [0, 2, 1]> (flat)
        scores = MatMul (tokens, flat)
        weights = Softmax <axis = 2> (scores)
        y = MatMul (weights, tokens)
    }""".replace("SIDE", str(side)).replace("COUNT", str((side // 8) ** 2))
    )
    model.graph.initializer.append(onnx.helper.make_tensor("w", 1, [8, 3, 8, 8], [1.0] * (8 * 3 * 64)))
    return model


@pytest.mark.parametrize("task", ["detection", "classification", None])
def test_a_patch_is_a_token_and_no_lost_object(task: str | None) -> None:
    small = [each for each in examine(attention(), object_size=4, task=task).findings if each.code in ("D201", "D202")]
    assert [(each.code, each.severity) for each in small] in ([], [("D201", "note")])
    for each in small:
        assert "token" in each.message
        assert "cannot be resolved" not in each.message
    enough = examine(attention(), object_size=12, task=task)
    assert not [each for each in enough.findings if each.code in ("D201", "D202")]


def test_patches_are_no_early_loss() -> None:
    # Nearly all multiply-adds are those of attention, behind a stride of 8.
    result = examine(attention(512), object_size=4, task="detection")
    first = result.network.stages[0]
    assert first.macs < result.network.macs / 10
    assert not [each for each in result.findings if each.code == "D501"]


# ---------------------------------------------------------------------------------------------------------------------
# D301: what runtimes do


@pytest.mark.parametrize(("operator", "counted"), [("MaxPool", 0), ("AveragePool", 0), ("AveragePool", 1)])
def test_ceil_mode_is_a_warning_exactly_where_runtimes_disagree(operator: str, counted: int) -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    openvino, torch, np = (pytest.importorskip(name) for name in ("openvino", "torch", "numpy"))
    core = openvino.Core()
    functional = torch.nn.functional
    both = {True: 0, False: 0}
    for size in (5, 8):
        for kernel, stride, padding in ((3, 2, 0), (3, 2, 1), (3, 3, 1)):
            more = {"count_include_pad": counted} if operator == "AveragePool" else {}
            node = onnx.helper.make_node(
                operator,
                ["x"],
                ["y"],
                "pool",
                kernel_shape=[kernel],
                strides=[stride],
                pads=[padding] * 2,
                ceil_mode=1,
                **more,
            )
            graph = onnx.helper.make_graph(
                [node],
                "g",
                [onnx.helper.make_tensor_value_info("x", 1, [1, 1, size])],
                [onnx.helper.make_tensor_value_info("y", 1, None)],
            )
            model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
            image = (np.random.default_rng(size).standard_normal((1, 1, size)) - 5).astype(np.float32)
            pool = functional.max_pool1d if operator == "MaxPool" else functional.avg_pool1d
            last = {"count_include_pad": bool(counted)} if operator == "AveragePool" else {}
            results = [
                runtime.InferenceSession(model.SerializeToString()).run(None, {"x": image})[0],
                next(iter(core.compile_model(core.read_model(model.SerializeToString()), "CPU")(image).values())),
                pool(torch.from_numpy(image), kernel, stride, padding, ceil_mode=True, **last).numpy(),
            ]
            first = results[0]
            agree = all(each.shape == first.shape and np.allclose(each, first, rtol=1e-5) for each in results)
            inferred = onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape.dim[2].dim_value
            agree = agree and inferred == first.shape[2]
            warned = any(each.code == "D301" and each.severity == "warning" for each in examine(model).findings)
            assert warned is not agree, (size, kernel, stride, padding)
            both[warned] += 1
    assert all(both.values())
