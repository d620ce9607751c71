"""D6 and the effective receptive field, against torch; and silence where nothing is known."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from pooling.doctor import Examination, Finding, NetworkError, Stage, examine, read, read_graph
from pooling.doctor.analysis.effective_field import effective_fields, narrowest_fields
from pooling.doctor.report.json import as_dict
from pooling.doctor.report.page import page
from pooling.doctor.what_if import parse_changes, what_if


def of(examination: Examination, code: str) -> list[Finding]:
    return [finding for finding in examination.findings if finding.code == code]


def found(code: str, layers: Any, size: int | tuple[int, ...] = 32, **settings: Any) -> list[Finding]:
    sizes = (size, size) if isinstance(size, int) else size
    return of(examine(layers, (1, 3, *sizes), **settings), code)


def options(finding: Finding) -> list[list[str]]:
    return [changes for fix in finding.fixes if (changes := re.findall(r"--set '([^']+)'", fix))]


# ---------------------------------------------------------------------------------------------------------------------
# D601: layers that cannot add context

CHAIN = "conv3x4/2@a conv3x4/2@b conv3x4/2@c conv3x4@d conv3x4@e conv3x4@f"


def seen_by_the_middle(layers: int, size: int) -> int:
    """Return how many rows of the input the middle cell depends on behind so many layers of the chain, in torch."""
    torch = pytest.importorskip("torch")
    strides = (2, 2, 2, 1, 1, 1)[:layers]
    image = torch.ones(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    map = image
    for stride in strides:
        map = torch.nn.functional.conv2d(map, torch.ones(1, 1, 3, 3, dtype=torch.float64), None, stride, 1)
    map[0, 0, map.shape[2] // 2, map.shape[3] // 2].backward()
    assert image.grad is not None
    return int((image.grad[0, 0] != 0).any(1).sum())


@pytest.mark.parametrize("size", [16, 24, 32, 40, 48, 64])
def test_layers_without_new_context_are_those_whose_input_sees_the_image_in_torch(size: int) -> None:
    """The field of a middle cell reaches both borders of a large image of as many pixels as the field has."""
    fields = [1, *(seen_by_the_middle(layers, 256) for layers in range(1, 6))]
    idle = [name for name, field in zip("abcdef", fields, strict=True) if field >= size]
    findings = found("D601", f"{CHAIN} global fc10", size)
    assert [each.stage for each in findings] == idle[:1]
    if idle:
        count = re.search(r"this and (\d+) later", findings[0].message)
        assert (int(count[1]) + 1 if count else 1) == len(idle)


def test_the_shares_are_those_of_the_layers() -> None:
    result = examine(f"{CHAIN} global fc10", (1, 3, 16, 16))
    (finding,) = of(result, "D601")
    network = result.network
    names = "defgh"["defgh".index(finding.stage) : 3]
    weights = sum(network.stage(name).parameters for name in names) / network.parameters
    macs = sum(network.stage(name).macs for name in names) / network.macs
    told = [int(each) for each in re.findall(r"(\d+) % of the (?:parameters|multiply-adds)", finding.message)]
    assert told == [round(100 * weights), round(100 * macs)]


def test_a_shortcut_keeps_a_path_with_a_narrow_field() -> None:
    chain = "conv3x4@a " + " ".join(f"conv3x4@m{number}" for number in range(20)) + " conv3x4@z"
    skip = "conv3x4@a " + " ".join(f"conv3x4@m{number}" for number in range(20)) + " add+a conv3x4@z"
    assert found("D601", f"{chain} global fc10", 16)[0].stage == "m7"
    behind = examine(f"{skip} global fc10", (1, 3, 16, 16))
    assert narrowest_fields(behind.network)["add1"] == (3, 3)
    count = re.search(r"this and (\d+) later", of(behind, "D601")[0].message)
    assert count is not None
    assert int(count[1]) + 1 == 13  # of m7 to m19; z reads a map that has a narrow path


def test_an_axis_that_is_not_seen_whole_is_context() -> None:
    assert found("D601", f"{CHAIN} global fc10", (16, 16))
    assert not found("D601", f"{CHAIN} global fc10", (16, 200))


def test_networks_that_localise_are_not_told_to_leave_layers_out() -> None:
    """Layers behind the whole field make grids for large objects in SSD; the study is one of classifiers."""
    assert not found("D601", CHAIN, 16)
    assert found("D601", f"{CHAIN} global fc10", 16, task="classification")
    assert not found("D601", f"{CHAIN} global fc10", 16, task="detection")


def test_weights_that_an_earlier_layer_shares_are_not_blamed() -> None:
    onnx = pytest.importorskip("onnx")
    text = """
        <ir_version: 8, opset_import: ["": 18]>
        g (float[1, 1, 5, 5] x) => (float[1, 1, 1, 1] y)
        <float[1, 1, 5, 5] a = {ones}, float[1, 1, 5, 5] b = {ones}> {
            p = Conv <pads = [2, 2, 2, 2]> (x, a)
            q = Conv <pads = [2, 2, 2, 2]> (p, SECOND)
            y = GlobalAveragePool (q)
        }""".replace("{ones}", f"{{{', '.join('1' * 25)}}}")
    assert of(examine(onnx.parser.parse_model(text.replace("SECOND", "b"))), "D601")
    assert not of(examine(onnx.parser.parse_model(text.replace("SECOND", "a"))), "D601")


def test_a_larger_input_that_is_advised_leaves_none() -> None:
    (finding,) = found("D601", f"{CHAIN} global fc10", 16)
    size = re.search(r"such as (\d+)×(\d+)", finding.fixes[0])
    assert size is not None
    assert not found("D601", f"{CHAIN} global fc10", (int(size[1]), int(size[2])))


def test_a_stride_that_is_advised_leaves_fewer() -> None:
    layers = "conv3x64/2@stem conv3x64/2 conv3x128/2 conv3x128 conv3 conv3x128 global fc10"
    result = examine(layers, (1, 3, 32, 32))
    (changes,) = options(of(result, "D601")[0])
    assert not of(what_if(result, parse_changes(result.network, changes)).after, "D601")


def test_kernels_of_one_and_global_poolings_are_not_blamed() -> None:
    assert not found("D601", "conv33x4@a conv1x4 conv1x4 global fc10", 16)


# ---------------------------------------------------------------------------------------------------------------------
# D602: checkerboard


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 6, 8])
def test_overlap_is_uneven_where_it_is_in_torch(kernel: int, stride: int, dilation: int) -> None:
    torch = pytest.importorskip("torch")
    ones, weight = torch.ones(1, 1, 60, 60), torch.ones(1, 1, kernel, kernel)
    result = torch.nn.functional.conv_transpose2d(ones, weight, stride=stride, dilation=dilation)
    reach = dilation * (kernel - 1) + 1
    inner = result[0, 0, reach : -reach - stride, reach : -reach - stride]
    findings = found("D602", f"conv3x4 deconv{kernel}/{stride}d{dilation}@up conv3x4", 8)
    assert bool(findings) == (float(inner.min()) != float(inner.max()))
    if findings:
        least, most = re.search(r"sums of (\d+) to (\d+) taps", findings[0].message).groups()  # type: ignore[union-attr]
        assert (int(least), int(most)) == (int(inner.min()), int(inner.max()))


@pytest.mark.parametrize("word", ["deconv3/2", "deconv3/2p1", "deconv5/2p2", "deconv5/3", "deconv2/3", "deconv7/4p1:2"])
def test_a_kernel_that_is_advised_overlaps_evenly_and_keeps_the_size(word: str) -> None:
    before = examine(f"conv3x4 {word}@up conv3x4", (1, 3, 8, 8))
    (changes,) = options(of(before, "D602")[0])
    after = what_if(before, parse_changes(before.network, changes)).after
    assert not of(after, "D602")
    assert after.network.stage("up").output_shape == before.network.stage("up").output_shape


def test_a_kernel_is_advised_for_weights_of_a_model_as_well() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        g (float[1, 1, 8, 8] x) => (float[1, 1, 16, 16] y)
        <float[1, 1, 3, 3] w = {1, 1, 1, 1, 1, 1, 1, 1, 1}> {
            y = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]> (x, w)
        }""")
    before = examine(model)
    (changes,) = options(of(before, "D602")[0])
    after = what_if(before, parse_changes(before.network, changes)).after
    assert not of(after, "D602")
    assert after.network.outputs == before.network.outputs


def test_how_grave_that_is_depends_on_the_task() -> None:
    layers = "conv3x4/2 deconv3/2 conv3x4"
    assert [each.severity for each in found("D602", layers)] == ["note"]
    assert [each.severity for each in found("D602", layers, task="segmentation")] == ["warning"]


def test_unpooling_is_no_transposed_convolution() -> None:
    import pooling

    network = pooling.Sequential(pooling.MaxPool2d(3, stride=2))
    assert not of(examine(network, (1, 3, 9, 9)), "D602")


# ---------------------------------------------------------------------------------------------------------------------
# D603: maps that meet at some sizes only

UNET = (
    "conv3x4@a pool2 conv3x4@b pool2 conv3x4@c pool2 conv3x4 deconv2/2x4|c conv3x4 deconv2/2x4|b conv3x4 "
    "deconv2/2x4|a conv3x4"
)


def unet(torch: Any, size: int, change: str = "") -> tuple[bool, list[tuple[int, int]]]:
    """Run a U-Net of sizes alone in torch; return whether it works, and by how much maps were cropped or padded."""
    functional = torch.nn.functional
    maps, map, changed = [], torch.zeros(1, 1, size, size), []
    for _ in range(3):
        maps.append(map)
        map = functional.max_pool2d(map, 2)
    for level, skip in zip((1, 2, 3), reversed(maps), strict=True):
        map = functional.conv_transpose2d(map, torch.ones(1, 1, 2, 2), stride=2)
        more = skip.shape[2] - map.shape[2]
        if more and change:
            changed.append((level, more))
        if more and change == "crop":
            skip = skip[:, :, :-more, :-more]
        if more and change == "pad":
            map = functional.pad(map, (0, more, 0, more))
        try:
            torch.cat([map, skip], 1)
        except RuntimeError:
            return False, changed
        map = map + skip
    return True, changed


@pytest.mark.parametrize("size", range(32, 57))
def test_what_meets_in_torch_meets(size: int) -> None:
    torch = pytest.importorskip("torch")
    (finding,) = found("D603", UNET, size)
    assert "multiples of 8" in finding.message
    # At a size that works, the finding is about the next one that does not.
    works, _ = unet(torch, size)
    assert works == (size % 8 == 0)
    told = size + 1 if works else size
    assert f"1×3×{told}×{told}" in finding.message
    (padded,) = re.findall(rf"pad the input at its end, from {told}×{told} to (\d+)×\1", finding.fixes[0])
    assert unet(torch, int(padded))[0]
    for change in ("crop", "pad"):
        works, changed = unet(torch, told, change)
        assert works
        (fix,) = [fix for fix in finding.fixes if f"{change} the " in fix and "map at its end" in fix]
        sizes = [
            (int(level), int(rows))
            for rows, level in re.findall(r"by (\d+) rows? and \d+ columns? before cat(\d)", fix)
        ]
        assert sizes == changed


def test_axes_are_told_apart() -> None:
    (finding,) = found("D603", UNET, (64, 37))
    assert "multiples of 8" in finding.message
    crop = next(fix for fix in finding.fixes if "crop the larger" in fix)
    assert "1 column before cat1" in crop
    assert "row" not in crop


@pytest.mark.parametrize(
    "layers",
    [
        "conv3x4 pool2 conv3x4 deconv2/2 conv3x4",  # no skip
        "conv3x4@a conv3x4 conv3x4+a",  # no pooling
        "conv3x4/2@a conv3x4 conv3x4+a",
        "conv3x4@x conv3x4/2 conv3x4 conv1x4/2<x add<conv2+conv3",  # both paths round alike
    ],
)
def test_networks_of_any_size_have_nothing_to_tell(layers: str) -> None:
    for size in (32, 33):
        assert not found("D603", layers, size)


def test_a_model_of_one_size_is_not_told_of_others() -> None:
    onnx = pytest.importorskip("onnx")
    text = """
        <ir_version: 8, opset_import: ["": 18]>
        g (float[1, 1, {0}, {0}] x) => (float[1, 1, {0}, {0}] y)
        <float[4] scales = {{1.0, 1.0, 2.0, 2.0}}> {{
            small = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
            large = Resize <mode = "nearest"> (small, , scales)
            y = Add (x, large)
        }}"""
    assert not of(examine(onnx.parser.parse_model(text.format(8))), "D603")
    (finding,) = of(examine(onnx.parser.parse_model(text.format("S")), (1, 1, 8, 8)), "D603")
    assert any("crop the larger map at its end: at this size x by 1 row and 1 column" in fix for fix in finding.fixes)


# ---------------------------------------------------------------------------------------------------------------------
# Where nothing is known

UNKNOWN = """
<ir_version: 8, opset_import: ["": 18, "org.example": 1]>
g (float[1, 1, 16, 16] x) => (float[1, 1, 1, 1] y)
<float[1, 1, 3, 3] w = {1, 1, 1, 1, 1, 1, 1, 1, 1}, float[1, 1, 33, 33] large, float[4] scales = {1.0, 1.0, 2.0, 2.0}> {
    first = Conv <pads = [16, 16, 16, 16]> (x, large)
    lost = org.example.Odd (first)
    behind = Conv <pads = [1, 1, 1, 1]> (lost, w)
    small = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (behind)
    up = Resize <mode = "nearest"> (small, , scales)
    sum = Add (up, lost)
    y = GlobalAveragePool (sum)
}"""


def test_nothing_is_said_of_what_lies_behind_an_unknown_operator() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model(UNKNOWN.replace("float[1, 1, 33, 33] large,", ""))
    large = onnx.helper.make_tensor("large", onnx.TensorProto.FLOAT, (1, 1, 33, 33), [1.0] * 33 * 33)
    model.graph.initializer.append(large)
    result = examine(model)
    assert result.network.unknown
    assert not [each for each in result.findings if each.code.startswith("D6")]
    known = {stage.name for stage in result.network.stages if stage.receptive_field is not None}
    assert set(result.effective_fields) <= known
    assert set(narrowest_fields(result.network)) <= known | {result.network.input_name}
    assert len(result.effective_fields) == 1  # the first convolution alone
    replaced = onnx.parser.parse_model(
        UNKNOWN.replace("float[1, 1, 33, 33] large,", "").replace("org.example.Odd", "Relu")
    )
    replaced.graph.initializer.append(large)
    assert [each.stage for each in of(examine(replaced), "D601")], "the same network has it where all is known"


def test_a_merge_with_an_unknown_path_has_no_narrowest_field() -> None:
    network = read("conv3x4@a conv3x4@b add+a@sum conv3x4@c", (1, 3, 16, 16))
    stages = tuple(
        Stage(**{**vars(stage), "receptive_field": None}) if stage.name == "b" else stage for stage in network.stages
    )
    lost = type(network)(**{**vars(network), "stages": stages})
    assert {"sum", "c"}.isdisjoint(narrowest_fields(lost))
    assert {"sum", "c"}.isdisjoint(effective_fields(lost))


# ---------------------------------------------------------------------------------------------------------------------
# The effective receptive field

CHAINS = {
    "one": [("conv", 7, 1, 1)],
    "five": [("conv", 3, 1, 1)] * 5,
    "strides": [("conv", 3, 2, 1), ("conv", 5, 1, 1), ("conv", 3, 2, 1), ("conv", 3, 1, 1)],
    "dilated": [("conv", 3, 1, 1), ("conv", 3, 1, 2), ("conv", 3, 1, 4)],
    "maxima": [("conv", 5, 1, 1), ("max", 3, 2, 1), ("conv", 3, 1, 1), ("max", 2, 2, 1), ("conv", 3, 1, 1)],
    "means": [("conv", 3, 1, 1), ("mean", 4, 4, 1), ("conv", 5, 1, 1)],
    "transposed": [("conv", 3, 2, 1), ("conv", 3, 2, 1), ("up", 4, 2, 1), ("conv", 3, 1, 1)],
}
CHANNELS, DRAWS, LENGTH = 16, 50, 128


@pytest.mark.parametrize("name", CHAINS)
def test_the_variance_is_that_of_gradients_of_random_networks(name: str) -> None:
    """The second moment of squared gradients of a middle cell around their mean, over random weights (Luo et al.)."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    words, total = [], np.zeros(LENGTH)
    for kind, kernel, stride, dilation in CHAINS[name]:
        word = {"conv": "conv", "max": "maxpool", "mean": "avgpool", "up": "deconv"}[kind]
        padding = f"p{kernel // 2}" if kind == "max" else "p1" if kind == "up" else ""
        words.append(f"{word}{kernel}/{stride}{padding}d{dilation}".removesuffix("d1"))
    generator = torch.Generator().manual_seed(0)
    for _ in range(DRAWS):
        image = torch.randn(1, CHANNELS, LENGTH, generator=generator, dtype=torch.float64, requires_grad=True)
        map = image
        for kind, kernel, stride, dilation in CHAINS[name]:
            if kind == "max":
                map = functional.max_pool1d(map, kernel, stride, kernel // 2)
            elif kind == "mean":
                map = functional.avg_pool1d(map, kernel, stride)
            else:
                weight = torch.randn(CHANNELS, CHANNELS, kernel, generator=generator, dtype=torch.float64)
                weight = weight / (CHANNELS * kernel) ** 0.5
                if kind == "up":
                    map = functional.conv_transpose1d(map, weight, None, stride, 1)
                else:
                    map = functional.conv1d(map, weight, None, stride, dilation * (kernel - 1) // 2, 1 * dilation)
        (
            map[0, :, map.shape[2] // 2] * torch.randn(map.shape[1], generator=generator, dtype=torch.float64)
        ).sum().backward()
        assert image.grad is not None
        total += (image.grad[0] ** 2).sum(0).numpy()
    places = np.arange(LENGTH)
    mean = (places * total).sum() / total.sum()
    measured = ((places - mean) ** 2 * total).sum() / total.sum()
    network = read(" ".join(words), (1, CHANNELS, LENGTH))
    field = effective_fields(network)[network.stages[-1].name]
    assert field.deviation[0] ** 2 == pytest.approx(measured, rel=0.1)
    theoretical = network.stages[-1].receptive_field
    assert theoretical is not None
    assert int(np.count_nonzero(total)) <= theoretical.size[0]
    # 95 % of the mass lies within: never more than the field, and a Gaussian's share where layers are many.
    inside = total[abs(places - mean) <= max(field.size[0] / 2, 0.5)].sum() / total.sum()
    assert inside > 0.9


def test_of_paths_that_meet_the_widest_counts() -> None:
    network = read("conv3x4@a conv3x4@b conv3x4 conv3x4+b@sum conv3x4@c", (1, 3, 64, 64))
    fields = effective_fields(network)
    step = 8 / 12
    assert fields["sum"].deviation[0] ** 2 == pytest.approx(4 * step)
    assert fields["c"].deviation[0] ** 2 == pytest.approx(5 * step)
    assert narrowest_fields(network)["sum"] == (5, 5)


def test_the_effective_field_is_within_the_theoretical_one() -> None:
    for layers in ("conv1x4@z", "conv3x4@z", "conv7x4/2 conv3x4/2@z", "conv3x4/2 up2@z", "conv3x4 global@z"):
        network = read(layers, (1, 3, 32, 32))
        field, whole = effective_fields(network)["z"], network.stage("z").receptive_field
        assert whole is not None
        assert all(1 <= each <= most for each, most in zip(field.size, whole.size, strict=True))


def test_a_blur_is_narrower_than_a_mean_of_as_many_taps() -> None:
    pytest.importorskip("numpy")
    import pooling

    def deviation(layer: Any) -> float:
        network = read(layer, (1, 3, 32, 32))
        return effective_fields(network)[network.stages[-1].name].deviation[0]

    weights = np.asarray([1, 4, 6, 4, 1]) ** 2
    spread = (weights * np.asarray([4, 1, 0, 1, 4])).sum() / weights.sum()
    assert deviation(pooling.BlurPool2d(5, stride=1)) ** 2 == pytest.approx(spread)
    assert deviation(pooling.AvgPool2d(5, stride=1)) ** 2 == pytest.approx(2)
    assert deviation(pooling.MaxBlurPool2d(3, stride=2)) ** 2 == pytest.approx(8 / 12 + 1 / 3)


def test_squeeze_and_excitation_does_not_widen_the_field() -> None:
    network = read("conv3x8@a global conv1x8+a@sum conv3x8@b", (1, 3, 32, 32))
    assert network.stage("sum").receptive_field.context  # type: ignore[union-attr]
    assert effective_fields(network)["sum"] == effective_fields(network)["a"]


def test_page_and_json_have_the_effective_field() -> None:
    result = examine("conv3x4@a conv3x4 conv3x4 conv3x4 conv3x4@e", (1, 3, 32, 32))
    told = {stage["name"]: stage["effective_field"] for stage in as_dict(result)["stages"]}
    assert told["e"]["deviation"] == pytest.approx([(5 * 8 / 12) ** 0.5] * 2)
    assert told["e"]["size"] == pytest.approx([4 * (5 * 8 / 12) ** 0.5] * 2)
    assert told["a"]["size"] == [3, 3]
    assert "<th class=n>ERF</th>" in page(result)


def test_changes_that_fixes_name_are_taken_by_the_graph() -> None:
    """Every ``--set`` of D6 on networks of many kinds can be inferred."""
    for layers in (CHAIN, f"{CHAIN} global fc10", UNET, "conv3x4/2 deconv3/2@u conv3x4 deconv5/3"):
        result = examine(layers, (1, 3, 32, 32))
        for finding in result.findings:
            for changes in options(finding) if finding.code.startswith("D6") else []:
                try:
                    read_graph(layers).edited(parse_changes(result.network, changes)).infer((1, 3, 32, 32))
                except NetworkError as error:
                    pytest.fail(f"{finding.code} {changes}: {error}")
