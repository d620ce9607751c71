"""Shift sensitivity against numbers that can be worked out by hand, and against a slow twin."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pooling
from pooling.doctor import Network, examine, read
from pooling.doctor.analysis.antialias import replacement
from pooling.doctor.analysis.picture import built_in, fitted
from pooling.doctor.analysis.shift import StageShift, blurred, sensitivity, shift_sensitivity
from tests.conftest import Array

SHAPE = (1, 3, 64, 64)


def network_of(*layers: pooling.Layer, shape: tuple[int, ...] = SHAPE) -> Network:
    return read(pooling.Sequential(*layers), shape)


def only(network: Network, **arguments: Any) -> StageShift:
    (found,) = shift_sensitivity(network, **arguments)
    return found


def stripes(*columns: float, cells: int = 65) -> Array:
    """Make a map of columns that repeat."""
    row = np.resize(np.array(columns, np.float64), cells)
    return np.tile(row, (9, 1))[np.newaxis, np.newaxis]


BOARD = np.indices((33, 33)).sum(axis=0)[np.newaxis, np.newaxis] % 2.0


def max_pool(map: Array) -> Array:
    return pooling.max_pool2d(map, 2)


def avg_pool(map: Array) -> Array:
    return pooling.avg_pool2d(map, 2)


def every_second(map: Array) -> Array:
    return map[..., ::2, ::2]


# --- by hand ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", [max_pool, avg_pool, every_second])
def test_a_constant_map_does_not_change(pool: Any) -> None:
    assert sensitivity(pool, np.full((1, 2, 9, 11), 0.3), (2, 2)) == 0


@pytest.mark.parametrize("pool", [max_pool, avg_pool, every_second])
def test_a_ramp_moves_along(pool: Any) -> None:
    # Of what rises evenly, the cell between two cells is their mean.
    ramp = np.add.outer(3.0 * np.arange(33), np.arange(33))[np.newaxis, np.newaxis]
    assert sensitivity(pool, ramp, (2, 2)) == pytest.approx(0, abs=1e-12)


def test_of_a_checkerboard_sampling_sees_the_other_colour() -> None:
    assert sensitivity(every_second, BOARD, (2, 2)) == pytest.approx(math.sqrt(2))


def test_of_a_checkerboard_every_window_holds_both_colours() -> None:
    assert sensitivity(max_pool, BOARD, (2, 2)) == 0
    assert sensitivity(avg_pool, BOARD, (2, 2)) == 0


def test_stripes_two_pixels_wide() -> None:
    # Maxima are 0 1 0 1 ..., and 1 1 1 1 ... after the move; half way between 0 and 1 lies 1/2, which is 1/2 from 1.
    # Three quarters of both together are 1, so that their variance is 3/16: 1/2 / sqrt(2 * 3/16).
    assert sensitivity(max_pool, stripes(0, 0, 1, 1), (1, 2)) == pytest.approx(math.sqrt(2 / 3))
    # Means are 0 1 0 1 ..., and 1/2 everywhere after the move, as expected.
    assert sensitivity(avg_pool, stripes(0, 0, 1, 1), (1, 2)) == 0
    # Blurred by 1 2 1, they are 1/4 3/4 before and 3/4 1/4 after the move.
    assert sensitivity(lambda map: blurred(map, (1, 3), (1, 2)), stripes(0, 0, 1, 1), (1, 2)) == pytest.approx(
        math.sqrt(1 / 2)
    )


def test_axes_without_a_stride_say_nothing() -> None:
    assert sensitivity(lambda map: map[..., ::2], stripes(0, 1), (1, 2)) == pytest.approx(math.sqrt(2))
    assert sensitivity(lambda map: map[..., ::2, :], stripes(0, 1), (2, 1)) == 0
    assert sensitivity(lambda map: map, stripes(0, 1), (1, 1)) == 0
    # The mean of both.
    assert sensitivity(every_second, stripes(0, 1), (2, 2)) == pytest.approx(math.sqrt(2) / 2)


@given(st.integers(0, 99), st.sampled_from([max_pool, avg_pool, every_second]))
def test_neither_brightness_nor_contrast_matters(seed: int, pool: Any) -> None:
    picture = np.random.default_rng(seed).random((1, 1, 12, 13))
    value = sensitivity(pool, picture, (2, 2))
    assert 0 < value < math.sqrt(2)
    assert sensitivity(pool, 5 * picture + 100, (2, 2)) == pytest.approx(value)


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_the_slow_twin(kernel: int, stride: int) -> None:
    picture = np.random.default_rng(kernel).random((11, 12))

    found = []
    for axis in (0, 1):
        cropped = [picture[:-1], picture[1:]] if axis == 0 else [picture[:, :-1], picture[:, 1:]]
        maps = []
        for part in cropped:
            rows, columns = ((size - kernel) // stride + 1 for size in part.shape)
            cells = {
                (y, x): part[y * stride : y * stride + kernel, x * stride : x * stride + kernel].max()
                for y in range(rows)
                for x in range(columns)
            }
            maps.append(cells)
        first, moved = maps
        squares = []
        for y, x in first:
            neighbour = (y + 1, x) if axis == 0 else (y, x + 1)
            if neighbour in first:
                expected = first[y, x] * (1 - 1 / stride) + first[neighbour] / stride
                squares.append((moved[y, x] - expected) ** 2)
        values = [*first.values(), *moved.values()]
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        found.append(math.sqrt(sum(squares) / len(squares)) / math.sqrt(2 * variance))
    layer = pooling.MaxPool2d(kernel, stride)
    assert sensitivity(layer, picture[np.newaxis, np.newaxis], (stride, stride)) == pytest.approx(sum(found) / 2)


# --- blurring -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("taps", "stride"), [((3, 3), (2, 2)), ((5, 3), (3, 1)), ((1, 7), (1, 4))])
def test_blurred_is_blur_pool(taps: tuple[int, int], stride: tuple[int, int]) -> None:
    map = np.random.default_rng(0).random((2, 3, 13, 14))
    np.testing.assert_allclose(
        blurred(map, taps, stride), pooling.blur_pool2d(map, taps, stride, padding=0), rtol=1e-12
    )


def test_blurred_in_other_dimensions() -> None:
    row = np.array([[[0.0, 0.0, 4.0, 0.0, 8.0]]])
    np.testing.assert_array_equal(blurred(row, (3,), (2,)), [[[1.0, 3.0]]])
    cube = np.zeros((1, 1, 3, 3, 3))
    cube[0, 0, 1, 1, 1] = 64
    np.testing.assert_array_equal(blurred(cube, (3, 3, 3), (1, 1, 1)), [[[[[8.0]]]]])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "layer",
    [
        pooling.MaxPool2d(2),
        pooling.MaxPool2d(3, 2, 1),
        pooling.MaxPool2d(3, 2, dilation=2),
        pooling.MaxPool2d(4, (4, 2)),
        pooling.MinPool2d(2),
        pooling.AvgPool2d(2),
        pooling.AvgPool2d(3, 2),
        pooling.AvgPool2d(4),
        pooling.LPPool2d(2, 2),
        pooling.MaxPool2d(1, 2),
    ],
    ids=repr,
)
def test_blurring_changes_less(layer: pooling.Layer, seed: int) -> None:
    found = only(network_of(layer), seed=seed)
    assert found.value is not None
    assert found.antialiased is not None
    assert found.antialiased < found.value


def test_the_numbers_that_are_shown() -> None:
    # The guide and the page show these for the picture that is made with seed 0.
    found = [
        only(network_of(layer)) for layer in (pooling.MaxPool2d(2), pooling.MaxPool2d(3, 2, 1), pooling.AvgPool2d(2))
    ]
    assert [round(each.value or 0, 3) for each in found] == [0.152, 0.129, 0.099]
    assert [round(each.antialiased or 0, 3) for each in found] == [0.055, 0.045, 0.064]
    assert [each.remedy for each in found] == [
        "MaxBlurPool2d(2, stride=2)",
        "MaxBlurPool2d(3, stride=2, padding=1)",
        "BlurPool2d(3, stride=2)",
    ]


@pytest.mark.parametrize(
    "layer",
    [pooling.MaxPool2d(2), pooling.MaxPool2d(3, (2, 1)), pooling.AvgPool2d(3, 2), pooling.AvgPool2d(4)],
    ids=repr,
)
def test_the_remedy_changes_less(layer: pooling.Layer) -> None:
    found = only(network_of(layer))
    remedy = typed(found.remedy)
    picture = built_in((96, 96))[np.newaxis, np.newaxis]
    strides = [axis.stride for axis in layer.axes((1, 1, 96, 96))]
    assert sensitivity(remedy, picture, strides) < sensitivity(layer, picture, strides)


# --- what to use instead ------------------------------------------------------------------------------------


def typed(words: str) -> pooling.Layer:
    """Make the layer that some words name, from what is written there and nothing else."""
    (call,) = re.findall(r"\w*BlurPool2d\(.*?\)(?= before| behind|$)", words)
    layer = eval(call, {name: getattr(pooling, name) for name in ("BlurPool2d", "MaxBlurPool2d")})
    assert isinstance(layer, pooling.Layer)
    return layer


def advised_shape(layer: pooling.Layer, words: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the output shape when one does what the words say with a layer."""
    blur, arguments = typed(words), {**layer.arguments, "stride": 1}
    if words.endswith(" behind it"):
        padding = re.search(r"^stride=1 and padding=(.*), and ", words)
        if padding is not None:
            arguments["padding"] = eval(padding[1])
        return blur.output_shape(type(layer)(**arguments).output_shape(shape))
    if " before it, and stride=1" in words:
        return type(layer)(**arguments).output_shape(blur.output_shape(shape))
    return blur.output_shape(shape)


@pytest.mark.parametrize(
    ("layer", "size", "words"),
    [
        (pooling.MaxPool2d(3, 2, 1), 112, "MaxBlurPool2d(3, stride=2, padding=1)"),
        (pooling.MaxPool2d(2), 112, "MaxBlurPool2d(2, stride=2)"),
        (pooling.MaxPool2d(2, ceil_mode=True), 7, "MaxBlurPool2d(2, stride=2, padding=((0, 1), (0, 1)))"),
        (pooling.MaxPool2d(2, ceil_mode=True), 8, "MaxBlurPool2d(2, stride=2)"),
        (pooling.MaxPool2d(3), 112, "MaxBlurPool2d(3, stride=3, blur_kernel_size=5)"),
        (pooling.MaxPool2d((3, 2), (2, 1)), 112, "MaxBlurPool2d((3, 2), stride=(2, 1), blur_kernel_size=(3, 1))"),
        (pooling.MaxPool2d(3, 2, "same"), 112, "MaxBlurPool2d(3, stride=2, padding=((0, 1), (0, 1)))"),
        (pooling.MaxPool2d(3, 2, 1, dilation=2), 112, "stride=1, and BlurPool2d(3, stride=2) behind it"),
        (
            pooling.MinPool2d(3, 2, ceil_mode=True),
            112,
            "stride=1 and padding=((0, 1), (0, 1)), and BlurPool2d(3, stride=2) behind it",
        ),
        (pooling.AvgPool2d(2), 113, "BlurPool2d(3, stride=2, padding=((1, 0), (1, 0)))"),
        (pooling.AvgPool2d(3, 2, 1), 112, "BlurPool2d(5, stride=2)"),
        (pooling.MaxPool2d(1, 2), 113, "BlurPool2d(3, stride=2) before it, and stride=1"),
    ],
    ids=repr,
)
def test_both_sentences_name_one_layer(layer: pooling.Layer, size: int, words: str) -> None:
    shape = (1, 3, size, size)
    examination = examine(pooling.Sequential(layer), shape)
    (shift,) = examination.shifts
    assert shift.remedy == words
    assert advised_shape(layer, words, shape) == layer.output_shape(shape)
    said = [fix for finding in examination.findings if finding.code == "D401" for fix in finding.fixes]
    if isinstance(layer, pooling.MaxPool2d) and layer != pooling.MaxPool2d(1, 2):
        assert said[0] == f"blur between the maximum and the stride (no weights, same output size): {words}"


@st.composite
def strided(draw: st.DrawFn) -> tuple[pooling.Layer, tuple[int, ...]]:
    """Draw a pooling with a stride, and a shape that it can pool."""
    two = st.tuples
    kernel, stride = (draw(two(*[st.integers(1, most)] * 2)) for most in (6, 4))
    dilation = draw(st.sampled_from([1, 1, 2]))
    reach = [dilation * (taps - 1) + 1 for taps in kernel]
    padding = draw(two(*[two(*[st.integers(0, cells - 1)] * 2) for cells in reach]))
    sizes = [draw(st.integers(max(1, cells - sum(pad)), 40)) for cells, pad in zip(reach, padding, strict=True)]
    layout = draw(st.sampled_from(["channels_first", "channels_last"]))
    kind = draw(st.sampled_from([pooling.MaxPool2d, pooling.AvgPool2d, pooling.MinPool2d]))
    layer = kind(kernel, stride, padding, dilation=dilation, ceil_mode=draw(st.booleans()), layout=layout)
    return layer, (1, 3, *sizes) if layout == "channels_first" else (1, *sizes, 3)


@given(strided())
def test_what_is_advised_has_the_same_output_size(drawn: tuple[pooling.Layer, tuple[int, ...]]) -> None:
    layer, shape = drawn
    (stage,) = read(pooling.Sequential(layer), shape).stages
    found = replacement(stage)
    assert found.same_size
    assert typed(found.words) == found.layer
    assert advised_shape(layer, found.words, shape) == layer.output_shape(shape)
    # And it pools: no padding that cannot be mirrored, no argument that is none.
    if " it" not in found.words:
        assert typed(found.words)(np.zeros(shape, np.float32)).shape == layer.output_shape(shape)


@pytest.mark.parametrize("layers", ["conv1/600", "avgpool60/2", "pool600/600"])
def test_a_blur_with_more_taps_than_there_are_is_not_measured_and_promised(layers: str) -> None:
    examination = examine(layers, (1, 3, 4096))
    (shift,) = examination.shifts
    assert (shift.value, shift.remedy) == (None, "")
    assert re.search(r"would have \d+ taps, and a blur has at most 1024$", shift.note)
    assert not any("same output size" in fix for finding in examination.findings for fix in finding.fixes)


def test_what_blurs_already_has_no_remedy() -> None:
    blur = only(network_of(pooling.BlurPool2d()))
    assert blur.value == blur.antialiased == only(network_of(pooling.AvgPool2d(2))).antialiased
    assert (blur.remedy, blur.note) == ("", "blurs already")
    assert only(network_of(pooling.MaxBlurPool2d(3, padding=1))).value == pytest.approx(
        only(network_of(pooling.MaxPool2d(3, 2, 1))).antialiased
    )


# --- which stages -------------------------------------------------------------------------------------------


def test_only_stages_that_downsample_are_measured() -> None:
    network = read("conv3 pool2@a conv3 pool3/1 avgpool2@b conv3/2@c conv1/2@d relu global fc10", SHAPE)
    found = {each.stage: each for each in shift_sensitivity(network)}
    assert list(found) == ["a", "b", "c", "d"]
    assert [name for name, each in found.items() if each.value is None] == ["c"]
    assert found["c"].note == "not measured: what a convolution aliases depends on its weights"
    # One tap takes every second pixel, as a pooling with one tap does.
    assert found["d"].value == only(network_of(pooling.MaxPool2d(1, 2))).value
    assert found["d"].remedy == "BlurPool2d(3, stride=2) before it, and stride=1"


def test_windows_that_are_not_evenly_spaced() -> None:
    assert only(network_of(pooling.AdaptiveAvgPool2d(32))).value == only(network_of(pooling.AvgPool2d(2))).value
    found = shift_sensitivity(network_of(pooling.AdaptiveAvgPool2d(30)))
    assert all(each.value is None for each in found)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(pooling.MaxPool1d(2), (1, 1, 1000)), (pooling.MaxPool3d(2), (1, 1, 16, 16, 16))],
    ids=["1d", "3d"],
)
def test_other_numbers_of_axes(layer: pooling.Layer, shape: tuple[int, ...]) -> None:
    found = only(network_of(layer, shape=shape))
    assert found.value is not None
    assert found.antialiased is not None
    assert 0 < found.antialiased < found.value < 1
    assert found.remedy == "stride=1, and a binomial blur of 3 taps at stride 2 behind it"


def test_one_measurement_serves_equal_stages() -> None:
    found = shift_sensitivity(read("pool2 pool2 pool3/2", SHAPE))
    assert found[0].value == found[1].value != found[2].value


def test_the_seed() -> None:
    network = network_of(pooling.MaxPool2d(2))
    assert shift_sensitivity(network) == shift_sensitivity(network, seed=0)
    assert only(network, seed=1).value != only(network, seed=0).value


# --- pictures -----------------------------------------------------------------------------------------------


def test_a_given_picture() -> None:
    pytest.importorskip("PIL")
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    network = read("pool2@a conv1/2@b", SHAPE)
    pooled, sampled = shift_sensitivity(network, board.astype(np.uint8))
    assert pooled.value == 0
    assert sampled.value == pytest.approx(math.sqrt(2))
    assert [each.value for each in shift_sensitivity(network, np.full((64, 64, 3), 0.25))] == [0, 0]


def test_the_examination_measures_on_its_picture() -> None:
    pytest.importorskip("PIL")
    assert examine("conv3 pool2", SHAPE, image=np.zeros((8, 8))).shifts[0].value == 0
    assert examine("conv3 pool2", SHAPE).shifts[0].value == only(network_of(pooling.MaxPool2d(2))).value


def test_a_picture_too_small_for_the_windows() -> None:
    pytest.importorskip("PIL")
    found = only(read("pool9/8", (1, 3, 40, 40)), image=np.zeros((40, 40)))
    assert found.value is None
    assert found.note == "not measured: the picture of 40×40 is too small for its windows"


def test_pictures_are_cut_around_their_centre() -> None:
    pytest.importorskip("PIL")
    wide = np.zeros((4, 10), np.uint8)
    wide[:, 3:7] = np.arange(16).reshape(4, 4)
    np.testing.assert_array_equal(fitted(wide, (4, 4))[..., 0], np.arange(16).reshape(4, 4))
    assert fitted(wide, (8, 8)).shape == (8, 8, 3)
    np.testing.assert_array_equal(fitted(wide / 255, (4, 4)), fitted(wide, (4, 4)))
    colours = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    np.testing.assert_array_equal(fitted(colours, (5, 6)), colours)


def test_picture_files(tmp_path: Path) -> None:
    images = pytest.importorskip("PIL.Image")
    colours = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    images.fromarray(colours).save(tmp_path / "colours.png")
    np.testing.assert_array_equal(fitted(tmp_path / "colours.png", (5, 6)), colours)
    images.fromarray(colours[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(fitted(str(tmp_path / "grey.png"), (5, 6)), np.repeat(colours[..., :1], 3, axis=2))


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"BM" + b"\xff" * 100],
    ids=["empty", "text", "png", "bmp"],
)
def test_hostile_picture_files(content: bytes, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        fitted(path, (8, 8))
    assert str(error.value).startswith(f"doctor: image={str(path)!r} cannot be read as a picture (")


def test_pictures_that_are_none(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    with pytest.raises(ValueError) as error:
        fitted(tmp_path, (8, 8))
    assert str(error.value) == f"doctor: image={str(tmp_path)!r} is not a file; give a picture such as photo.png"
    with pytest.raises(TypeError) as error_of_kind:
        fitted(3, (8, 8))  # type: ignore[arg-type]
    assert str(error_of_kind.value) == "doctor: image must be a path or a NumPy array, not int"
    for array, reason in (
        (
            np.zeros((2, 2, 4)),
            "image has shape (2, 2, 4) and dtype float64; it must be (H, W) or (H, W, 3), of numbers",
        ),
        (np.full((2, 2), np.nan), "image holds NaN or infinity; it must hold finite numbers"),
        (
            np.full((2, 2), 300),
            "image holds numbers from 300 to 300; they must be whole ones from 0 to 255, or floats from 0 to 1",
        ),
    ):
        with pytest.raises(ValueError) as error:
            fitted(array, (8, 8))
        assert str(error.value) == f"doctor: {reason}"
    with pytest.raises(ValueError) as error:
        shift_sensitivity(read("pool2", (1, 1, 64)), np.zeros((8, 8)))
    assert str(error.value) == "doctor: image can be shown for networks with two spatial axes, not 1; leave it out"


def test_the_built_in_picture() -> None:
    picture = built_in((128, 128))
    assert picture.min() == 0
    assert picture.max() == 1
    np.testing.assert_array_equal(picture, built_in((128, 128), seed=0))
    # The amplitude falls with frequency about as in photographs, by 1/f.
    amplitude = np.abs(np.fft.fft2(picture - picture.mean()))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    bands = [amplitude[(frequency >= low) & (frequency < 2 * low)].mean() for low in (1 / 64, 1 / 32, 1 / 16, 1 / 8)]
    slopes = np.diff(np.log2(bands))
    assert ((slopes < -0.7) & (slopes > -1.5)).all()
    # And there are edges: a tenth of the pixels differ from their neighbours by much more than the others do.
    steps = np.abs(np.diff(picture, axis=1))
    assert steps.max() > 8 * np.median(steps)
