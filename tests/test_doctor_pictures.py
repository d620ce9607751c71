"""The figure and the page: drawn to scale, with every number, without a label upon another, safe with any name."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from pooling.doctor import Examination, Network, examine, read, read_graph
from pooling.doctor.analysis.object_footprint import follow_object
from pooling.doctor.report.page import page, write_page
from pooling.doctor.report.pyramid import MOST_LEVELS, Box, Pyramid, averaged, pyramid
from pooling.doctor.what_if import what_if
from pooling.reporting.html import stylesheet

UP = " ".join(f"deconv2/2@up{depth}|down{depth} conv3 conv3@merged{depth}" for depth in (3, 2, 1, 0))
RESIDUAL = "conv1x256<{0} conv3/{1}p1 conv1@out{2} conv1/{1}x256<{0}@short{2} add<out{2}+short{2}@{2}"

NETWORKS: dict[str, Callable[[], Examination]] = {
    "resnet": lambda: examine(
        "conv7/2p3@stem pool3/2p1@pool "
        + " ".join(RESIDUAL.format(*each) for each in (("pool", 1, "a"), ("a", 2, "b"), ("b", 2, "c"), ("c", 2, "d")))
        + " global<d fc1000",
        task="detection",
    ),
    "unet": lambda: examine(
        " ".join(f"conv3 conv3@down{depth} pool2" for depth in range(4)) + f" conv3 conv3 {UP} conv1x2@mask",
        (1, 1, 256, 256),
    ),
    "vgg": lambda: examine(
        " ".join("conv3 " * count + f"pool2@pool{block}" for block, count in enumerate((2, 2, 3, 3, 3), 1))
        + " conv7p0",
        (1, 3, 227, 227),
    ),
    "audio": lambda: examine("conv10/5p0 " + "conv3/2p0 " * 4 + "conv2/2p0 conv2/2p0", (1, 1, 16000), object_size=400),
    "volume": lambda: examine("conv7/2 pool3/2p1 conv3 conv3/2 conv3/2 conv3/2 global", (1, 3, 16, 112, 112)),
    "small": lambda: examine("conv3 pool2 conv3 pool2", (1, 3, 33, 20)),
    "hostile": lambda: hostile(),
}
NAMES = {
    "a": "W" * 80 + "<b>",
    "b": "$\\frac{1}{2}$\x1b[31m\n",
    "c": '"]]> & <img src=x onerror=alert(1)>',
    "d": "</title></style><script>alert(1)</script>",
}


def hostile() -> Examination:
    """Examine a network whose names mean something to HTML, to mathematics in labels and to terminals."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["1"], NAMES["a"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        helper.make_node("MaxPool", ["1"], ["2"], NAMES["b"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("MaxPool", ["2"], ["3"], NAMES["c"], kernel_shape=[5, 5], strides=[3, 3]),
        helper.make_node("Relu", ["3"], ["4"], NAMES["d"]),
    ]
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("input", (1, 3, 64, 48)), ("4", None))
    ]
    weights = onnx.numpy_helper.from_array(np.zeros((3, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph(nodes, "names", values[:1], values[1:], [weights])
    network = read_graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    name = '<script>alert(1)</script>$x^2$ & "q"\'\ud800'
    return examine(replace(network, name=name, notes=("<i>note</i>",)))


@pytest.fixture(scope="module", params=list(NETWORKS))
def any_examination(request: pytest.FixtureRequest) -> Examination:
    return NETWORKS[request.param]()


@pytest.fixture(scope="module")
def vgg() -> Examination:
    return NETWORKS["vgg"]()


def pyramid_of(examination: Examination) -> Pyramid:
    return pyramid(examination.network, examination.objects)


def levels(network: Network) -> list[tuple[int, ...]]:
    found = pyramid(network, follow_object(network, (8,) * len(network.spatial)))
    return [level.size for level in found.levels]


# --- levels -------------------------------------------------------------------------------------------------


def test_levels_follow_the_way_down_and_up() -> None:
    assert [level.size[0] for level in pyramid_of(NETWORKS["resnet"]()).levels] == [224, 112, 56, 28, 14, 7, 1]
    unet = pyramid_of(NETWORKS["unet"]()).levels
    assert [level.size[0] for level in unet] == [256, 128, 64, 32, 16, 32, 64, 128, 256]
    assert unet[0].stages[0] == "input"
    assert unet[0].stages[-1] == "down0"
    assert unet[-1].stages[0] == "deconv4"
    assert unet[-1].stages[-1] == "mask"


def test_branches_to_one_resolution_are_one_level() -> None:
    network = read("conv3@a conv3/2@b pool3/2p1<a@c conv1<a conv3 conv3/2+b|c pool2", (1, 3, 64, 64))
    assert levels(network) == [(64, 64), (32, 32), (16, 16)]


def test_a_cell_for_all_within_a_network_is_no_level() -> None:
    text = "conv3/2@a global@squeeze conv1 sigmoid@gate conv3<a conv3/2"
    assert levels(read(text, (1, 3, 64, 64))) == [(64, 64), (32, 32), (16, 16)]
    assert levels(read(f"{text} global", (1, 3, 64, 64)))[-1] == (1, 1)


def test_so_many_levels_that_some_are_left_out() -> None:
    result = examine("conv2p0 " * 40, (1, 1, 64, 64))
    found = pyramid(result.network, follow_object(result.network, (8, 8)))
    assert len(found.levels) == MOST_LEVELS
    assert found.left_out == 41 - MOST_LEVELS
    assert f"{41 - MOST_LEVELS} more levels are not drawn" in page(result)


def test_each_level_has_the_numbers_of_its_last_stage(any_examination: Examination) -> None:
    network, objects = any_examination.network, any_examination.objects
    for level in pyramid_of(any_examination).levels[1:]:
        stages = [network.stage(name) for name in level.stages]
        widest = max(stages, key=lambda stage: np.prod(stage.receptive_field.size if stage.receptive_field else 0))
        field = widest.receptive_field
        assert field is not None
        assert level.size == widest.output_size
        assert level.field_size == field.size
        assert level.stride == tuple(map(float, field.stride))
        assert np.isclose(level.field.width, field.size[-1])
        if widest.name in objects.footprints:
            assert level.footprint == tuple(map(float, objects.footprints[widest.name].cells))
        if not level.alone:
            assert np.allclose(np.diff(level.columns), float(field.stride[-1]))
            # Pixel i has its centre at i + 1/2 of the drawing.
            assert level.columns[:2].mean() == float(field.offset[-1]) + 0.5


def test_the_grid_of_a_strided_convolution_begins_before_the_input() -> None:
    network = read("conv3/2", (1, 3, 8, 8))
    (_, level) = pyramid(network, follow_object(network, (2, 2))).levels
    # Windows are centred on pixels 0, 2, 4, 6.
    assert list(level.columns) == [-0.5, 1.5, 3.5, 5.5, 7.5]


def test_what_is_dropped_is_where_it_lies(vgg: Examination) -> None:
    found = pyramid_of(vgg)
    dropped = {level.title: (level.dropped, level.dropped_text) for level in found.levels if level.dropped}
    plane = found.plane
    # 227 = 2 * 113 + 1, and 113 cells of 2 pixels = 2 * 56 cells and one more.
    assert dropped == {
        "113×113": ((Box(0, 226, 227, 227), Box(226, 0, 227, 227)), "drops 1 row, 1 column"),
        "56×56": ((Box(0, 224, 227, 226), Box(224, 0, 226, 227)), "drops 1 row, 1 column"),
    }
    assert plane == Box(0, 0, 227, 227)
    even = examine(vgg.graph, (1, 3, 224, 224))
    assert not any(level.dropped for level in pyramid_of(even).levels)


def test_what_lies_between_windows_everywhere_is_not_marked() -> None:
    found = pyramid_of(examine("conv1/2 conv3", (1, 3, 64, 64)))
    assert not any(level.dropped for level in found.levels)


def test_veils_and_what_is_seen_are_the_input(any_examination: Examination) -> None:
    found = pyramid_of(any_examination)
    for level in found.levels:
        parts = list(level.veils(found.plane))
        seen = level.field.within(found.plane)
        assert seen is not None
        area = sum(part.width * part.height for part in [*parts, seen])
        assert area == pytest.approx(found.plane.width * found.plane.height)
        assert not any(one.within(other) for one, other in combinations([*parts, seen], 2))


def test_shares_of_cells_add_up_to_the_object(any_examination: Examination) -> None:
    found = pyramid_of(any_examination)
    for level in found.levels:
        inside = found.object.within(level.grid)
        area = sum(cell.width * cell.height * share for cell, share in level.covered(found.object))
        assert area == pytest.approx(inside.width * inside.height if inside else 0)


def test_a_level_shows_the_mean_of_each_cell() -> None:
    network = read("pool2 pool2", (1, 3, 8, 12))
    found = pyramid(network, follow_object(network, (2, 2)))
    picture = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    for level, size in zip(found.levels, (1, 2, 4), strict=True):
        means = picture.reshape(8 // size, size, 12 // size, size, 3).mean((1, 3))
        assert np.abs(averaged(level, found.plane, picture) - means).max() <= 0.51
    # Twice the pixels show the same.
    double = picture.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(
        averaged(found.levels[1], found.plane, double), averaged(found.levels[1], found.plane, picture)
    )


def test_cells_beyond_the_input_show_its_border() -> None:
    network = read("conv3p2 conv3p2", (1, 3, 4, 4))
    found = pyramid(network, follow_object(network, (1, 1)))
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    last = found.levels[-1]
    assert last.size == (8, 8)
    np.testing.assert_array_equal(
        averaged(last, found.plane, picture), np.pad(picture, ((2, 2), (2, 2), (0, 0)), "edge")
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("resnet", "An object of 8×8 pixels covers less than two cells at 28×28 and less than one cell at 14×14"),
        (
            "unet",
            "An object of 8×8 pixels covers less than two cells at 32×32 and less than one cell at 16×16, "
            "but 8×8 at the output feature map",
        ),
        ("audio", "An object of 400 samples covers less than two cells at 49"),
        ("small", "An object of 8×8 pixels covers two cells or more at every level"),
        ("hostile", "An object of 8×8 pixels covers less than one cell at 4×3"),
    ],
)
def test_the_verdict(name: str, sentence: str) -> None:
    assert pyramid_of(NETWORKS[name]()).verdict == sentence


# --- the figure ---------------------------------------------------------------------------------------------


def panels(drawing: Any, name: str) -> list[Any]:
    return [axes for axes in drawing.axes if axes.get_gid() == name]


def inches(drawing: Any, axes: Any) -> tuple[float, float]:
    """Return the size of a panel on paper."""
    box, (width, height) = axes.get_position(), drawing.get_size_inches()
    return box.width * width, box.height * height


def span(axes: Any) -> tuple[float, float]:
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    return abs(right - left), abs(top - bottom)


def outlines(axes: Any, colour: str) -> list[Box]:
    from matplotlib.colors import to_hex
    from matplotlib.patches import Rectangle

    return [
        Box(patch.get_x(), patch.get_y(), patch.get_x() + patch.get_width(), patch.get_y() + patch.get_height())
        for patch in axes.patches
        if isinstance(patch, Rectangle)
        and patch.get_facecolor()[3] == 0
        and to_hex(patch.get_edgecolor()) == colour.lower()
    ]


@pytest.fixture(scope="module")
def drawing(any_examination: Examination) -> Any:
    pytest.importorskip("matplotlib")
    from pooling.doctor.report.figure import figure

    return figure(any_examination, picture="levels")


def test_maps_are_drawn_with_cells_of_one_size(any_examination: Examination, drawing: Any) -> None:
    found = pyramid_of(any_examination)
    maps = panels(drawing, "map")
    assert len(maps) == len(found.levels)
    sides = set()
    for level, axes in zip(found.levels, maps, strict=True):
        width, height = inches(drawing, axes)
        rows, columns = level.plane
        sides.add(round(width / columns, 9))
        if found.dimensions > 1:
            sides.add(round(height / rows, 9))
        # The window is the grid, whole.
        assert span(axes) == pytest.approx((level.grid.width, level.grid.height))
    assert len(sides) == 1


def test_panels_of_a_row_have_one_scale_and_square_pixels(any_examination: Examination, drawing: Any) -> None:
    found = pyramid_of(any_examination)
    rows = {"input": found.plane} | ({"loupe": found.loupe} if found.loupe != found.plane else {})
    assert {axes.get_gid() for axes in drawing.axes} == {"map", *rows}
    for name, window in rows.items():
        for axes in panels(drawing, name):
            assert axes.get_xlim() == (window.left, window.right)
            assert axes.get_ylim() == (window.bottom, window.top)
        scales = {
            tuple(round(size / length, 9) for size, length in zip(inches(drawing, axes), span(axes), strict=True))
            for axes in panels(drawing, name)
        }
        ((across, down),) = scales
        if found.dimensions > 1:
            assert across == pytest.approx(down)


def test_object_cell_and_field_have_their_sizes(any_examination: Examination, drawing: Any) -> None:
    pytest.importorskip("matplotlib")
    from pooling.doctor.report.figure import FIELD, OBJECT

    found = pyramid_of(any_examination)
    for name in ("input", "loupe") if found.loupe != found.plane else ("input",):
        for level, axes in zip(found.levels, panels(drawing, name), strict=True):
            assert outlines(axes, OBJECT) == [found.object]
            assert outlines(axes, FIELD) == [level.field, level.cell]
    assert found.object.width == min(any_examination.object_size[-1], found.plane.width)


def test_grids_are_drawn_where_they_can_be_seen(any_examination: Examination, drawing: Any) -> None:
    from matplotlib.collections import LineCollection

    found = pyramid_of(any_examination)
    name = "loupe" if found.loupe != found.plane else "input"
    seen = 0
    for level, axes in zip(found.levels, panels(drawing, name), strict=True):
        lines = [each for each in axes.collections if isinstance(each, LineCollection)]
        apart = 72 * inches(drawing, axes)[0] / span(axes)[0] * float(np.diff(level.columns).min())
        assert bool(lines) == (apart >= 3)
        if lines:
            seen += 1
            np.testing.assert_allclose([segment[0][0] for segment in lines[0].get_segments()], level.columns)
        if found.dimensions > 1 and lines:
            np.testing.assert_allclose([segment[0][1] for segment in lines[1].get_segments()], level.rows)
    assert seen >= len(found.levels) / 3


def test_dropped_rows_and_columns_are_hatched(any_examination: Examination, drawing: Any) -> None:
    found = pyramid_of(any_examination)
    for level, axes in zip(found.levels, panels(drawing, "input"), strict=True):
        hatched = [patch for patch in axes.patches if patch.get_hatch()]
        places = [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in hatched]
        assert places == [(part.left, part.top, part.width, part.height) for part in level.dropped]


def test_no_label_lies_on_another(any_examination: Examination, drawing: Any) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(drawing).get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in drawing.texts]
    boxes += [(axes.get_gid(), axes.get_window_extent(renderer)) for axes in drawing.axes]
    boxes += [("legend", legend.get_window_extent(renderer)) for legend in drawing.legends]
    assert len(boxes) > 3 * len(drawing.axes) / 2
    page = drawing.bbox
    for words, box in boxes:
        assert box.x0 >= page.x0, words
        assert box.x1 <= page.x1, words
        assert box.y0 >= page.y0, words
        assert box.y1 <= page.y1, words
    for (words, box), (others, other) in combinations(boxes, 2):
        apart = box.x1 <= other.x0 or other.x1 <= box.x0 or box.y1 <= other.y0 or other.y1 <= box.y0
        assert apart, (words, others)


def test_labels_tell_the_numbers(vgg: Examination) -> None:
    pytest.importorskip("matplotlib")
    from pooling.doctor.report.figure import figure

    words = [text.get_text() for text in figure(vgg, picture="levels").texts]
    assert words[0] == "layers: input 1×3×227×227"
    for text in ("227×227", "7×7", "1 cell = 32×32 px", "RF 212×212 px", "0.25×0.25 cells", "drops 1 row, 1 column"):
        assert text in words


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
@pytest.mark.parametrize("picture", ["network", "levels"])
def test_files(kind: str, picture: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from pooling.doctor.report.figure import save_figure

    examination = NETWORKS["small"]()
    first, second = tmp_path / f"first.{kind}", tmp_path / f"second.{kind.upper()}"
    save_figure(examination, first, picture=picture)
    save_figure(examination, second, picture=picture)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])
    assert sorted(os.listdir(tmp_path)) == [first.name, second.name]


def test_svg_of_hostile_names(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from pooling.doctor.report.figure import save_figure

    save_figure(hostile(), tmp_path / "figure.svg", picture="levels")
    root = ElementTree.parse(tmp_path / "figure.svg").getroot()
    assert {element.tag.rpartition("}")[2] for element in root.iter()}.isdisjoint({"script", "img", "b", "a"})
    words = "".join(root.itertext())
    assert "<script>alert(1)</script>$x" in words
    assert '"]]> & <img src=x onerror=alert(1)>' in words


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from pooling.doctor.report.figure import save_figure

    path = tmp_path / "figure.png"
    path.write_text("as it was")
    examination = NETWORKS["small"]()
    for arguments, reason in (
        (
            (examination, tmp_path / "figure.gif"),
            f"figure={str(tmp_path / 'figure.gif')!r} must end in .png, .svg or .pdf",
        ),
        (
            (examine("conv3", (1, 1, 10**8)), path),
            "layers has maps with 100000000 cells on an axis, which is too many to be drawn; "
            "use an input with which there are at most 4194304",
        ),
        (
            (NETWORKS["audio"](), path, np.zeros((4, 4))),
            "image can be shown for networks with two spatial axes, not 1; leave it out",
        ),
    ):
        with pytest.raises(ValueError) as error:
            save_figure(*arguments)
        assert str(error.value) == f"doctor: {reason}"
    with pytest.raises(OSError, match="No such file"):
        save_figure(examination, tmp_path / "nowhere" / "figure.png")
    assert path.read_text() == "as it was"
    assert os.listdir(tmp_path) == ["figure.png"]


def test_a_picture_under_the_grids() -> None:
    pytest.importorskip("matplotlib")
    from pooling.doctor.report.figure import figure

    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    examination = NETWORKS["resnet"]()
    found = pyramid_of(examination)
    drawing = figure(examination, picture, picture="levels")
    for name in ("map", "input", "loupe"):
        for level, axes in zip(found.levels, panels(drawing, name), strict=True):
            (image,) = axes.images
            np.testing.assert_array_equal(image.get_array(), averaged(level, found.plane, picture))
            grid = level.grid
            assert image.get_extent() == [grid.left, grid.right, grid.bottom, grid.top]
            assert image.get_interpolation() == "nearest"
            # Adding a picture must not change what the panel shows.
            assert axes.get_xlim() == (
                {"map": grid, "input": found.plane, "loupe": found.loupe}[name].left,
                axes.get_xlim()[1],
            )
    # The picture of the examination itself is the default.
    with_own = figure(examine(examination.graph, image=picture), picture="levels")
    np.testing.assert_array_equal(
        panels(with_own, "input")[2].images[0].get_array(), panels(drawing, "input")[2].images[0].get_array()
    )


# --- the page -----------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """Collects the elements and the text of a page, and sees to it that every element is closed."""

    VOID = frozenset({"meta", "br", "link", "img", "wbr"})

    def __init__(self, text: str, *, drawing: bool = False) -> None:
        super().__init__()
        # The first picture, from left to right, has tests of its own.
        text = text if drawing else re.sub(r"<section class=drawn>.*?</section>", "", text, flags=re.DOTALL)
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_page_needs_nothing_else(any_examination: Examination) -> None:
    text = page(any_examination)
    elements = Elements(text, drawing=True)
    assert text.startswith("<!DOCTYPE html>")
    known = "html head meta title style body main header h1 h2 h3 p dl dd dt div section ul ol li span strong b i small"
    known += " code table thead tbody tr th td br wbr article figure figcaption footer svg rect path defs pattern"
    known += " text desc image"
    assert {tag for tag, _ in elements.found} <= set(known.split())
    for tag, attributes in elements.found:
        assert {"src", "action", "srcset"}.isdisjoint(attributes)
        assert (attributes.get("href") or "data:image/png;base64,").startswith("data:image/png;base64,")
        assert "href" not in attributes or tag == "image"
        assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in stylesheet()
    assert "@import" not in stylesheet()
    policy = [attributes["content"] for tag, attributes in elements.found if "http-equiv" in attributes]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    identifiers = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)


def test_the_page_tells_every_number(any_examination: Examination) -> None:
    from pooling.reporting.formats import by
    from pooling.signs import printable

    text = Elements(page(any_examination)).text
    found = pyramid_of(any_examination)
    assert f"{found.verdict}." in text
    for level in found.levels:
        for words in (level.title, level.cell_text, level.field_text, level.object_text, level.dropped_text):
            assert words in text
    for stage in any_examination.network.stages:
        if stage.kind == "elementwise":
            continue
        assert printable(" ".join(stage.name.split())) in " ".join(text.split()) or "\n" in stage.name
        assert by(stage.output_shape) in text
        if stage.kind in ("convolution", "pooling"):
            assert all(axis.formula in text for axis in stage.axes if axis.output_size != axis.input_size)
    for finding in any_examination.findings:
        assert finding.code in text
        assert all(printable(fix).split()[0] in text for fix in finding.fixes)
    for shift in any_examination.shifts:
        assert (shift.note if shift.value is None else f"{shift.value:.3f} {shift.antialiased:.3f}") in text
    for sizes in any_examination.sizes:
        assert f"{sizes.axes} {sizes.given} {sizes.smallest}" in text


def attribute_box(attributes: dict[str, str | None]) -> tuple[float, ...]:
    return tuple(float(attributes[name] or "") for name in ("x", "y", "width", "height"))


def test_the_page_is_drawn_to_scale(any_examination: Examination) -> None:
    found = pyramid_of(any_examination)
    panels: list[tuple[list[float], list[tuple[str, tuple[float, ...]]]]] = []
    for tag, attributes in Elements(page(any_examination)).found:
        if tag == "svg":
            view = [float(number) for number in (attributes["viewbox"] or "").split()]
            panels.append((view, []))
            aspect = float((attributes["style"] or "").removeprefix("aspect-ratio:"))
            assert found.dimensions == 1 or aspect == pytest.approx(view[2] / view[3], rel=1e-3)
        elif tag == "rect" and "x" in attributes:
            panels[-1][1].append((attributes.get("class") or "", attribute_box(attributes)))
    # The maps of a signal are drawn by the strips of the first drawing only.
    mapped = found.dimensions > 1
    each = mapped + (2 if found.loupe != found.plane else 1)
    assert len(panels) == each * len(found.levels)

    def box(name: Box) -> tuple[float, ...]:
        return pytest.approx((name.left, name.top, name.width, name.height), abs=1e-3)  # type: ignore[return-value]

    cells = set()
    for number, level in enumerate(found.levels):
        inputs = panels[each * number : each * (number + 1)]
        if mapped:
            view, rectangles = inputs.pop(0)
            edge = next(place for kind, place in rectangles if kind == "edge")
            assert edge == box(level.grid)
            # What a cell takes of the width of the panel.
            cells.add(round(edge[2] / view[2] / level.plane[1], 5))
        for window, (view, rectangles) in zip((found.plane, found.loupe), inputs, strict=False):
            assert view == box(window)
            places = dict(rectangles)
            assert places["object"] == box(found.object)
            assert places["cell"] == box(level.cell)
            assert places["field"] == box(level.field)
    assert len(cells) == mapped


def test_dropped_rows_and_columns_are_hatched_on_the_page(vgg: Examination) -> None:
    hatched = [
        attribute_box(attributes)
        for tag, attributes in Elements(page(vgg)).found
        if "hatch" in (attributes.get("fill") or "")
    ]
    assert hatched == [(0, 226, 227, 1), (226, 0, 1, 227), (0, 224, 227, 2), (224, 0, 2, 227)]


def test_hostile_names_are_words_on_the_page() -> None:
    text = page(hostile())
    # Long names in tables have places where they may break.
    words = "".join(Elements(text).text.split())
    for name in ('<script>alert(1)</script>$x^2$ & "q"\'', NAMES["a"], NAMES["c"], NAMES["d"], "<i>note</i>"):
        assert "".join(name.split()) in words
    assert "<script" not in text
    assert "<img" not in text
    assert "\x1b" not in text
    assert text.encode("utf-8")


def test_a_picture_is_embedded_once_for_each_level() -> None:
    images = pytest.importorskip("PIL.Image")
    import base64
    import io

    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    examination = NETWORKS["resnet"]()
    found = pyramid_of(examination)
    elements = Elements(page(examination, picture))
    embedded = [attributes for tag, attributes in elements.found if tag == "image"]
    assert len(embedded) == len(found.levels)
    for level, attributes in zip(found.levels, embedded, strict=True):
        kind, _, data = (attributes["href"] or "").partition(",")
        assert kind == "data:image/png;base64"
        shown = np.asarray(images.open(io.BytesIO(base64.b64decode(data))))
        np.testing.assert_array_equal(shown, averaged(level, found.plane, picture))
        grid = level.grid
        assert attribute_box(attributes) == pytest.approx((grid.left, grid.top, grid.width, grid.height), abs=1e-3)
    used = [attributes["href"] for tag, attributes in elements.found if tag == "use"]
    assert used == [f"#{attributes['id']}" for attributes in embedded for _ in range(3)]


def test_a_veil_covers_what_the_cell_does_not_see() -> None:
    pytest.importorskip("PIL")
    elements = Elements(page(examine("conv3 pool2 conv3", (1, 3, 32, 32)), np.zeros((32, 32))))
    veils = [attributes["d"] for tag, attributes in elements.found if attributes.get("class") == "veil"]
    # Pixel 15 sees its neighbours. Cell 7 of the next level begins at pixel 14, ends at 16 and sees 8 pixels.
    assert veils == ["M0 0H32V32H0ZM14 14H17V17H14Z", "M0 0H32V32H0ZM11 11H19V19H11Z"]
    assert {attributes.get("fill-rule") for _, attributes in elements.found if attributes.get("class") == "veil"} == {
        "evenodd"
    }


def test_what_if_stands_beside_it(vgg: Examination) -> None:
    comparison = what_if(vgg, {"pool1": {"stride": 1, "padding": ((0, 1), (0, 1))}})
    text = Elements(page(vgg, what_if=comparison)).text
    assert "What if pool1.stride = 1" in text
    assert "pool1 1×3×113×113 → 1×3×227×227" in text
    assert "No longer: D401 note at pool1: a strided maximum aliases." in text
    after = pyramid_of(comparison.after)
    assert f"{after.verdict}." in text


def test_a_size_that_does_not_work_is_said_first() -> None:
    examination = examine("conv3 pool2 pool2 pool2", (1, 3, 4, 4))
    assert examination.failure is not None
    text = Elements(page(examination)).text
    assert "Does not work at 1×3×4×4." in text
    assert text.index("Does not work") < text.index("Where the resolution goes")


def test_networks_without_a_map() -> None:
    assert "too many to be drawn" in Elements(page(examine("conv3", (1, 1, 10**8)))).text


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    examination = NETWORKS["small"]()
    write_page(examination, path)
    written = path.read_text(encoding="utf-8")
    assert written == page(examination)
    with pytest.raises(ValueError, match="is not a file"):
        write_page(examination, path, tmp_path / "missing.png")
    with pytest.raises(OSError, match="No such file"):
        write_page(examination, tmp_path / "nowhere" / "page.html")
    assert path.read_text(encoding="utf-8") == written
    assert os.listdir(tmp_path) == ["page.html"]


def test_the_page_needs_no_library(run_python: Callable[..., str]) -> None:
    code = """
import sys
for name in ("matplotlib", "PIL", "onnx", "rich"):
    sys.modules[name] = None
from pooling.doctor import examine
from pooling.doctor.report.page import page
print(len(page(examine("conv3 pool2 conv3 pool2", (1, 3, 33, 33)))))
"""
    assert int(run_python("-c", code)) > 10_000


@pytest.mark.parametrize(
    ("module", "missing"), [("pooling.doctor.report.page", "jinja2"), ("pooling.doctor.report.json", "msgspec")]
)
def test_a_report_says_which_extra_it_needs(module: str, missing: str, run_python: Callable[..., str]) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None
try:
    import {module}
except ModuleNotFoundError as error:
    print(error)
"""
    said = run_python("-c", code).strip()
    assert said.endswith(f'needs {missing}, which is not installed; run pip install "ndpooling[cli]"')


@pytest.mark.parametrize(
    ("missing", "option", "extra"),
    [
        ("matplotlib", "--figure", "pictures"),
        ("PIL", "--html", "pictures"),
        ("jinja2", "--html", "onnx,cli"),
        ("msgspec", "--json", "onnx,cli"),
    ],
)
def test_the_command_line_says_what_is_missing(
    missing: str,
    option: str,
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("rich")
    from pooling.cli import main

    monkeypatch.setitem(sys.modules, missing, None)
    (tmp_path / "photo.png").touch()
    arguments = ["--image", str(tmp_path / "photo.png")] if missing == "PIL" else []
    path = tmp_path / ("figure.png" if option == "--figure" else "page.html")
    code = main(["doctor", "--layers", "conv3 conv3", "--input-shape", "1x3x8x8", option, str(path), *arguments])
    assert code == 2
    sentence = f'this needs {missing}, which is not installed; run pip install "ndpooling[{extra}]"'
    assert sentence in capsys.readouterr().err
    assert not path.exists()


def luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_in_both_themes(theme: int) -> None:
    # The contrast that WCAG 2 asks for small text, 4.5.
    blocks = re.findall(r":root \{(.*?)\}", stylesheet(), re.DOTALL)
    assert len(blocks) == 2
    colours = dict(re.findall(r"--([\w-]+): (#\w+)", blocks[theme]))
    names = ("ink", "muted", "link", "object", "field", "drop", "error", "warning", "crash", "fine", "note")
    pairs = [(name, ground) for name in names for ground in ("ground", "card")]
    pairs += [(name, f"{name}-back") for name in ("fine", "error", "warning", "crash")]
    pairs += [("ink", each) for each in ("fine-back", "error-back", "warning-back", "window", "hatch")]
    for name, ground in pairs:
        light, dark = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)


# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009),
# severity 1, on linear RGB.
DEFICIENCIES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_differ_for_everybody(deficiency: str) -> None:
    pytest.importorskip("matplotlib")
    from pooling.doctor.report.figure import DROPPED, FIELD, OBJECT

    def seen(colour: str) -> Any:
        parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        mixed = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1)
        # CIELAB, in which distances are about as large as they look.
        xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ mixed
        root = np.cbrt(xyz / np.array([0.9505, 1, 1.089]))
        return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])

    for one, other in combinations((OBJECT, FIELD, DROPPED), 2):
        assert np.linalg.norm(seen(one) - seen(other)) > 20, (one, other)


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_the_page(tmp_path: Path) -> None:
    images = pytest.importorskip("PIL.Image")
    examination = hostile()
    write_page(examination, tmp_path / "page.html", np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8))
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-quic", "--hide-scrollbars"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,1600", (tmp_path / "page.html").as_uri()]
    dom = subprocess.run([*command, "--dump-dom"], capture_output=True, text=True, timeout=120, check=True).stdout
    shown = Elements(dom)
    assert "script" not in {tag for tag, _ in shown.found}
    assert "img" not in {tag for tag, _ in shown.found}
    for words in (
        pyramid_of(examination).verdict,
        "4×3",
        "RF 21×21 px",
        "0.67×0.67 cells",
        "drops 2 rows, 1 column",
    ):
        assert words in shown.text
    # Long names are on two lines.
    assert "".join(NAMES["d"].split()) in "".join(shown.text.split())
    subprocess.run([*command, f"--screenshot={tmp_path / 'page.png'}"], capture_output=True, timeout=120, check=True)
    picture = np.asarray(images.open(tmp_path / "page.png").convert("RGB")).astype(int)
    assert picture.shape == (1600, 1280, 3)

    def pixels(colour: str) -> int:
        wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        return int((np.abs(picture - wanted).max(axis=2) < 12).sum())

    # The object, the field and what is dropped are on the screen in their colours.
    light = dict(re.findall(r"--(\w+): (#\w+)", re.findall(r":root \{(.*?)\}", stylesheet(), re.DOTALL)[0]))
    for name in ("object", "field", "drop"):
        assert pixels(light[name]) > 100, name


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_table_of_stages_fits_a_page_of_1200_pixels(tmp_path: Path) -> None:
    way = "model/features/denseblock/denselayer"
    layers = f"conv7x64/2p3@{way}_0/conv_0 pool3/2p1@{way}_0/pool_0 conv3x128@{way}_1/conv_1 conv3x256/2@{'l' * 70}"
    path = tmp_path / "page.html"
    write_page(examine(layers, (1, 3, 222, 333)), path)
    text = path.read_text(encoding="utf-8")
    assert "denselayer_<wbr>0/<wbr>conv_<wbr>0</th>" in text
    measured = "[...document.querySelectorAll('.wide')].map(each => each.scrollWidth - each.clientWidth)"
    narrowest = "Math.min(...[...document.querySelectorAll('th.name')].map(each => each.clientWidth))"
    text = re.sub(r"<meta http-equiv=.*?>", "", text)  # which lets no script run
    path.write_text(f"{text}<script>document.title = JSON.stringify([{measured}, {narrowest}])</script>")
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-quic", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,1600", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    hidden, width = json.loads(re.findall("<title>(.*?)</title>", dom)[0])
    assert len(hidden) == 5  # heads, input sizes, shifts, blocks, stages
    assert set(hidden) == {0}
    assert width >= 140


# --- what is easily overlooked --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet", "vgg", "unet"])
def test_the_marked_cell_of_a_coarse_level_holds_the_object(name: str) -> None:
    found = pyramid_of(NETWORKS[name]())
    coarse = [level for level in found.levels if min(level.stride) > found.object.width and not level.alone]
    assert coarse or name == "unet"
    for level in coarse:
        inside = found.object.within(level.cell)
        assert inside is not None
        # More than a corner of it: where borders of cells do not meet, not all of it on each level.
        assert inside.width * inside.height > 0.5 * found.object.width * found.object.height
    left, right = found.object.left, found.plane.right - found.object.right
    assert abs(left - right) <= 2 * max((max(level.stride) for level in coarse), default=1)


@pytest.mark.parametrize(
    ("layers", "fine"),
    [
        ("conv3 pool2", True),
        ("conv3 pool2 pool2 pool2", False),
        ("conv3@a pool2 pool2 pool2 up8+a", True),
    ],
)
def test_good_news_have_a_colour_of_their_own(layers: str, fine: bool) -> None:
    examination = examine(layers, (1, 3, 64, 64))
    assert pyramid_of(examination).is_fine is fine
    elements = Elements(page(examination))
    (verdict,) = [one for _, one in elements.found if "verdict" in (one.get("class") or "").split()]
    assert verdict["class"].split() == ["verdict", *["fine"] * fine]


def test_a_map_too_small_to_be_seen_is_pointed_out() -> None:
    examination = examine("conv3 pool2 pool32 global", (1, 3, 128, 128))
    drawn = pyramid_of(examination)
    tiny = [level.size for level in drawn.levels if drawn.is_tiny(level)]
    assert tiny == [(2, 2), (1, 1)]  # of 128: 64 is half of it
    elements = Elements(page(examination))
    assert sum(one.get("class") == "tiny" for _, one in elements.found) == len(tiny)
    assert elements.text.count("map (a dot)") == len(tiny)
