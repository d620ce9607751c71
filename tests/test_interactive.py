"""The page docs/interactive/pooling.html in a browser: it shows what the library returns, and everybody can use it."""

from __future__ import annotations

import html
import json
import math
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pooling
from pooling.doctor import read
from pooling.geometry import adaptive_axes, pool_axes

PAGE = Path(__file__).parent.parent / "docs" / "interactive" / "pooling.html"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHES = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync", "hide-scrollbars"),
    *("disable-background-networking", "disable-component-update", "force-device-scale-factor=1"),
)

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


def browse(folder: Path, address: str, *switches: str) -> str:
    """Open an address in a new browser and return what it prints."""
    assert CHROMIUM is not None
    profile = folder / f"profile{len(list(folder.iterdir()))}"
    command = [CHROMIUM, *(f"--{switch}" for switch in (*SWITCHES, f"user-data-dir={profile}", *switches)), address]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def ask(folder: Path, script: str, fragment: str = "", width: int | None = None) -> Any:
    """Open the page, run a script behind its own, and return what it returns; a page that makes a fault fails.

    Of a given width it is a frame: a window has a least width.
    """
    head = "<script>window.faults = []; addEventListener('error', event => faults.push(event.message));"
    head += "addEventListener('securitypolicyviolation', event => faults.push(event.blockedURI));</script>"
    tail = f"const answer = (() => {{ {script} }})();"
    tail += "parent.document.body.append(element('pre', {id: 'answer'}, JSON.stringify({answer, faults})));"
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("<title>") == text.count("</body>") == 1
    text = text.replace("<title>", f"{head}<title>").replace("</body>", f"<script>{tail}</script></body>")
    if width is not None:
        frame = f'<iframe width="{width}" height="800" style="border: 0" srcdoc="{html.escape(text)}"></iframe>'
        text = f"<!DOCTYPE html><html><body>{frame}</body></html>"
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    dom = browse(folder, path.as_uri() + fragment, "window-size=1700,900", "dump-dom")
    said = json.loads(html.unescape(re.findall(r'<pre id="answer">(.*?)</pre>', dom, re.DOTALL)[0]))
    assert said["faults"] == []
    return said["answer"]


# What the page shows, read from its elements.
SHOWN = """
const list = (selector, read) => [...document.querySelectorAll(selector)].map(read);
const place = cell => [Number(cell.dataset.row), Number(cell.dataset.column)];
const shown = () => ({
  sizes: byId("sizes").textContent,
  refused: byId("refused").hidden ? null : byId("refused").textContent,
  code: byId("code").textContent,
  formulas: list(".formula", code => code.textContent),
  unread: byId("unread").textContent,
  told: byId("told").textContent,
  input: list("#input .cell.input", cell => [...place(cell), cell.dataset.value]),
  padding: list("#input .cell.padding", place),
  beyond: list("#input .cell.beyond", place),
  dropped: list("#input .cell.dropped", place),
  output: list("#output .output", cell => [...place(cell), cell.dataset.value, Number(cell.dataset.index)]),
  text: list("#output .output text", text => text.textContent),
  at: list("#output .output.at", place),
  tabbable: list("#output .output[tabindex='0']", place),
  taps: list("#input .tap", place),
  chosen: list("#input .chosen", place),
  bars: list("#input .bar", bar => Number(bar.dataset.axis)),
  layers: list("#fields tbody tr", row => [...row.children].map(cell => cell.textContent)),
  fragment: fragmentOf(page.settings),
});
"""


def random_fragments(count: int) -> Iterator[str]:
    """Yield settings of all kinds: one number for both axes, one for each, pairs, names, and what is refused."""
    rng = random.Random(20)

    def sizes(most: int) -> str:
        return ",".join(str(rng.randint(1, most)) for _ in range(rng.choice((1, 2))))

    def padding() -> str:
        pairs = ",".join(f"{rng.randint(0, 3)}:{rng.randint(0, 3)}" for _ in range(2))
        return rng.choice((str(rng.randint(0, 2)), f"{rng.randint(0, 3)},1", pairs, "same_upper", "same_lower", "0"))

    for number in range(count):
        operator = ("max", "avg", "adaptive_max", "avg", "max", "adaptive_avg")[number % 6]
        settings = {
            "op": operator,
            "input": sizes(14),
            "kernel_size": sizes(5),
            "stride": sizes(5),
            "padding": padding(),
            "dilation": rng.choice(("1", sizes(4))),
            "ceil_mode": rng.randint(0, 1),
            "count_include_pad": rng.randint(0, 1),
            "output_size": sizes(12),
            "values": rng.choice(("random", "signed", "counting", "ones", "dot")),
            "seed": rng.randint(0, 10**9),
            "at": f"{rng.randint(0, 9)},{rng.randint(0, 9)}",
        }
        yield "&".join(f"{key}={value}" for key, value in settings.items())


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    # The window that counts on two rules at once: one too many, and one that touches cells behind the padding.
    chosen = [
        "op=max&input=5&kernel_size=2&stride=3&padding=1&ceil_mode=1",
        "op=avg&input=6&kernel_size=3&stride=2&padding=1&ceil_mode=1&values=ones&at=3,3",
        "op=avg&input=2&kernel_size=2&stride=1&padding=3&dilation=4&count_include_pad=0",
        "op=max&input=2&kernel_size=2&stride=1&padding=3&dilation=4",
        "op=adaptive_avg&input=24,1&output_size=24,7",
        "op=avg&input=24&kernel_size=9&stride=1&padding=9&dilation=4",
    ]
    fragments = [*chosen, *random_fragments(240)]
    script = f"{SHOWN} return {json.dumps(fragments)}.map(each => {{ load(each); return shown(); }});"
    answers = ask(tmp_path_factory.mktemp("shown"), script)
    assert len(answers) == len(fragments)
    return [answer | {"asked": asked} for asked, answer in zip(fragments, answers, strict=True)]


def map_of(answer: dict[str, Any]) -> NDArray[np.float64]:
    rows, columns = answer["input"][-1][:2]
    return np.array([float(value) for *_, value in answer["input"]]).reshape(1, 1, rows + 1, columns + 1)


def call(answer: dict[str, Any], x: NDArray[np.float64], *more: str) -> Any:
    """Call the library as the page says that it is called, with more arguments."""
    return eval(", ".join([answer["code"].removesuffix(")"), *more]) + ")", {"pooling": pooling, "x": x})


def accepted(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [answer for answer in shown if answer["refused"] is None]
    assert len(found) > 100
    return found


def reading(answer: dict[str, Any]) -> NDArray[np.bool_]:
    """Which output of the library changes with which cell of the input: (outputs, rows, columns)."""
    rows, columns = map_of(answer).shape[2:]
    single = np.eye(rows * columns).reshape(-1, 1, rows, columns)
    with np.errstate(invalid="ignore"):
        pooled = call(answer, single)
    return (pooled.reshape(rows * columns, -1).T > 0).reshape(-1, rows, columns)


def tuples(places: list[list[int]]) -> set[tuple[int, int]]:
    return {(row, column) for row, column in places}


# --- sizes, values, cells -----------------------------------------------------------------------------------


def test_values_indices_and_sizes_are_those_of_the_library(shown: list[dict[str, Any]]) -> None:
    for answer in accepted(shown):
        x = map_of(answer)
        expected = call(answer, x)
        rows, columns = expected.shape[2:]
        size, result = answer["sizes"].split(" → ")
        assert size == f"{x.shape[2]} × {x.shape[3]}", answer["asked"]
        assert result == f"{rows} × {columns}", answer["asked"]
        assert [tuple(each[:2]) for each in answer["output"]] == list(np.ndindex(rows, columns))
        values = np.array([float(each[2]) for each in answer["output"]]).reshape(rows, columns)
        np.testing.assert_allclose(values, expected[0, 0], rtol=1e-14, err_msg=answer["asked"])
        if "max" in answer["code"]:
            _, indices = call(answer, x, "return_indices=True")
            assert [each[3] for each in answer["output"]] == indices.ravel().tolist(), answer["asked"]


def test_what_the_library_refuses_is_refused_in_its_words(shown: list[dict[str, Any]]) -> None:
    refused = [answer for answer in shown if answer["refused"] is not None]
    assert len(refused) > 20
    for answer in refused:
        with pytest.raises(ValueError) as error:
            call(answer, map_of(answer))
        assert str(error.value).partition(": ")[2] == answer["refused"], answer["asked"]
        assert answer["sizes"].endswith("→ nothing")
        assert answer["output"] == answer["taps"] == answer["dropped"] == answer["formulas"] == []
    assert any("finds no window" in answer["refused"] for answer in refused)
    assert any("must be smaller than" in answer["refused"] for answer in refused)


def test_cells_that_no_window_reads_are_marked_and_counted(shown: list[dict[str, Any]]) -> None:
    some = 0
    for answer in accepted(shown):
        read_by_any = reading(answer).any(axis=0)
        assert tuples(answer["dropped"]) == {*zip(*np.nonzero(~read_by_any), strict=True)}, answer["asked"]
        count = int((~read_by_any).sum())
        some += count > 0
        if count:
            assert answer["unread"].startswith(f"{count} of {read_by_any.size} cell"), answer["asked"]
        else:
            assert answer["unread"] == "Every cell of the input is read."
    assert some > 30


def test_the_selected_window_is_marked_with_its_cells_outside_of_the_input(shown: list[dict[str, Any]]) -> None:
    outside = 0
    for answer in accepted(shown):
        ((row, column),) = answer["at"]
        assert answer["tabbable"] == answer["at"]
        rows, columns = map_of(answer).shape[2:]
        number = row * (answer["output"][-1][1] + 1) + column
        taps = tuples(answer["taps"])
        inside = {(y, x) for y, x in taps if 0 <= y < rows and 0 <= x < columns}
        assert inside == {*zip(*np.nonzero(reading(answer)[number]), strict=True)}, answer["asked"]
        windows = [axis.window(place) for axis, place in zip(axes_of(answer), (row, column), strict=True)]
        assert taps == {(y, x) for y in windows[0] for x in windows[1]}, answer["asked"]
        assert tuples(answer["padding"]).isdisjoint(tuples(answer["beyond"]))
        assert taps - inside <= tuples(answer["padding"]) | tuples(answer["beyond"])
        outside += taps != inside
        index = answer["output"][number][3]
        assert answer["chosen"] == ([list(divmod(index, columns))] if index >= 0 else []), answer["asked"]
    assert outside > 20


def axes_of(answer: dict[str, Any]) -> Any:
    """Return the axes of the package's geometry for the call that the page shows."""

    class Geometry:
        def __getattr__(self, name: str) -> Any:
            return adaptive if name.startswith("adaptive") else regular

    def adaptive(size: tuple[int, ...], output_size: Any) -> Any:
        return adaptive_axes(size, output_size)

    def regular(size: tuple[int, ...], count_include_pad: bool = True, **arguments: Any) -> Any:
        return pool_axes(size, **arguments)

    return eval(answer["code"], {"pooling": Geometry(), "x": map_of(answer).shape[2:]})


def test_padding_and_what_ceil_mode_touches_are_drawn(shown: list[dict[str, Any]]) -> None:
    touched = 0
    for answer in accepted(shown):
        rows, columns = axes_of(answer)
        declared = {
            (y, x)
            for y in range(-rows.pad_begin, rows.input_size + rows.pad_end)
            for x in range(-columns.pad_begin, columns.input_size + columns.pad_end)
        }
        inside = {(y, x) for y in range(rows.input_size) for x in range(columns.input_size)}
        everything = {
            (y, x)
            for y in range(-rows.pad_begin, rows.input_size + rows.pad_end + rows.ceil_overhang)
            for x in range(-columns.pad_begin, columns.input_size + columns.pad_end + columns.ceil_overhang)
        }
        assert {(y, x) for y, x, _ in answer["input"]} == inside, answer["asked"]
        assert tuples(answer["padding"]) == declared - inside, answer["asked"]
        assert tuples(answer["beyond"]) == everything - declared, answer["asked"]
        assert [answer["bars"].count(axis) for axis in (0, 1)] == [rows.output_size, columns.output_size]
        touched += everything != declared
    assert touched > 10


def test_formulas_are_right_with_the_numbers_put_in(shown: list[dict[str, Any]]) -> None:
    dropped = 0
    for answer in accepted(shown):
        texts = answer["formulas"] * (2 if len(answer["formulas"]) == 1 else 1)
        for axis, text in zip(axes_of(answer), texts, strict=True):
            if answer["code"].startswith("pooling.adaptive"):
                assert text.startswith(f"{axis.output_size} window")
                numbers = f"{axis.input_size} / {axis.output_size}"
                assert f"from floor(o · {numbers}) to ceil((o + 1) · {numbers})" in text
                continue
            formula, _, remark = text.partition("; ")
            functions = {"floor": math.floor, "ceil": math.ceil}
            *parts, result = (
                eval(part.replace("−", "-").replace("·", "*"), functions) for part in formula.split(" = ")
            )
            assert parts == [result] * 2, text
            begin, size, end = axis.pad_begin, axis.input_size, axis.pad_end
            assert f"(({size} + {begin} + {end} − {axis.dilation} · ({axis.kernel_size} − 1) − 1)" in text
            assert ("ceil(" in text) == ("ceil_mode=True" in answer["code"])
            assert result - axis.output_size == bool(remark), text
            if remark:
                dropped += 1
                assert remark.endswith(f"and is dropped: {axis.output_size}")
            assert formula.count(f" / {axis.stride})") == 2
    assert dropped > 3


def test_the_text_under_the_pictures_has_the_numbers_of_the_window(shown: list[dict[str, Any]]) -> None:
    sums = 0
    for answer in accepted(shown):
        ((row, column),) = answer["at"]
        told = answer["told"].replace("−", "-")
        value = next(float(each[2]) for each in answer["output"] if each[:2] == [row, column])
        assert told.startswith(f"Output at row {row}, column {column} reads ")
        if not math.isfinite(value):
            assert ("NaN" if math.isnan(value) else "-∞") in told
            continue
        cells = {(y, x): float(number) for y, x, number in answer["input"]}
        taken = [cells[y, x] for y, x in answer["taps"] if (y, x) in cells]
        if len(taken) > 30:
            assert f"({len(taken)} numbers)" in told
            continue
        if found := re.search(r"max\((.*?)\) = (-?[\d.]+)", told):
            assert [float(each) for each in found[1].split(", ")] == taken, told
            assert float(found[2]) == value
        else:
            found = re.search(r"\((-?\d[^)]*)\) / (\d+) = (-?[\d.]+)\.", told)
            assert found is not None, told
            assert eval(found[1]) == sum(taken), told
            assert eval(found[1]) / int(found[2]) == pytest.approx(value), told
            assert float(found[3].rstrip(".")) == pytest.approx(value, abs=0.051), told
        sums += 1
    assert sums > 100


# --- several layers, links ----------------------------------------------------------------------------------


def test_receptive_fields_of_several_layers_are_those_of_the_doctor(
    shown: list[dict[str, Any]], tmp_path: Path
) -> None:
    layers = ["3|2|1|1|", "2|2|0|1|", "3|1|1|2|", "5,2|1,3|2,0|1,2|", "3|2|0|1|c", "2|3|1|1|c", "3|2|same_upper|1|"]
    fragments, texts = [], []
    for layer in layers:
        kernel, stride, padding, dilation, ceil = layer.split("|")
        fragments.append(
            f"op=max&kernel_size={kernel}&stride={stride}&padding={padding}&dilation={dilation}"
            f"&ceil_mode={len(ceil)}&layers=5&network=997"
        )
        texts.append(f"pool{kernel}/{stride}p{padding.removesuffix('_upper')}d{dilation}{ceil}")
    script = f"{SHOWN} return {json.dumps(fragments)}.map(each => {{ load(each); return shown().layers; }});"
    for text, (first, *rows) in zip(texts, ask(tmp_path, script), strict=True):
        network = read(" ".join([text] * 5), (1, 1, 997, 997))
        assert first == ["input", "997 × 997", "1 × 1", "1 × 1", "8 × 8 cells"]
        assert len(rows) == 5
        stages = [stage for stage in network.stages if stage.receptive_field is not None][-5:]
        for number, (stage, row) in enumerate(zip(stages, rows, strict=True), 1):
            field = stage.receptive_field
            assert field is not None
            sizes = [" × ".join(map(str, each)) for each in (stage.output_size, field.stride, field.size)]
            assert row[:4] == [str(number), *sizes], text
            covered = [float(each) for each in row[4].removesuffix(" cells").split(" × ")]
            assert covered == pytest.approx([8 / float(step) for step in field.stride], abs=0.005)


def test_a_link_brings_back_what_it_was_made_of(shown: list[dict[str, Any]], tmp_path: Path) -> None:
    fragments = [answer["fragment"] for answer in shown]
    script = f"{SHOWN} return {json.dumps(fragments)}.map(each => {{ load(each); return shown(); }});"
    for before, after in zip(shown, ask(tmp_path, script), strict=True):
        assert after == {key: value for key, value in before.items() if key != "asked"}


@needs_browser
def test_the_page_opens_with_what_its_address_names(tmp_path: Path) -> None:
    fragment = "#op=avg&input=6,9&kernel_size=2,3&stride=2,3&padding=0:1,1:0&count_include_pad=0&at=1,2"
    answer = ask(tmp_path, f"{SHOWN} return shown();", fragment)
    assert answer["code"] == (
        "pooling.avg_pool2d(x, kernel_size=(2, 3), stride=(2, 3), padding=[(0, 1), (1, 0)], count_include_pad=False)"
    )
    assert answer["sizes"] == "6 × 9 → 3 × 3"
    assert answer["at"] == [[1, 2]]


@needs_browser
@pytest.mark.parametrize(
    "fragment",
    [
        "",
        "#",
        "#%",
        "#op=<img src=x onerror=alert(1)>&values=<b>&padding=<i>",
        "#input=,&kernel_size=1,2,3&stride=-1&dilation=1e3&padding=1:2:3&at=x&seed=-1&layers=0x3&network=",
        "#op=constructor&values=__proto__&ceil_mode=2",
    ],
)
def test_what_an_address_names_badly_is_the_default(fragment: str, tmp_path: Path) -> None:
    script = f"{SHOWN} const now = shown(); load(''); return [now, shown()];"
    now, default = ask(tmp_path, script, fragment)
    assert now == default


@needs_browser
def test_numbers_beyond_the_sliders_are_the_last_of_the_sliders(tmp_path: Path) -> None:
    answer = ask(tmp_path, f"{SHOWN} return shown();", "#op=max&input=0,999999999&kernel_size=77&padding=5&dilation=0")
    assert answer["fragment"].startswith("op=max&input=1,24&kernel_size=9&stride=2&padding=5&dilation=1&")


# --- use ----------------------------------------------------------------------------------------------------


@needs_browser
def test_every_control_sets_what_it_names(tmp_path: Path) -> None:
    script = """
    const set = (id, value) => {
      const control = byId(id), shown = control.offsetParent !== null;
      if (control.type === "checkbox") control.checked = value; else control.value = value;
      control.dispatchEvent(new Event("input", { bubbles: true }));
      return shown && !control.disabled;
    };
    const answers = [];
    const step = (...pairs) => answers.push([pairs.every(pair => set(...pair)), fragmentOf(page.settings)]);
    load("");
    step(["input-rows", 9], ["kernel_size-rows", 4], ["stride-rows", 3], ["padding-rows", 1], ["dilation-rows", 2]);
    step(["apart", true], ["input-columns", 12], ["padding-columns", 2], ["stride-rows", 1]);
    step(["sides", true], ["padding_end-rows", 0]);
    step(["ceil_mode", true], ["values", "ones"]);
    step(["sides", false]);
    step(["apart", false]);
    step(["mode", "same_lower"]);
    document.querySelector("[value=adaptive_avg]").checked = true;
    document.querySelector("[value=adaptive_avg]").dispatchEvent(new Event("input", { bubbles: true }));
    step(["output_size-rows", 5]);
    document.querySelector("[value=avg]").checked = true;
    document.querySelector("[value=avg]").dispatchEvent(new Event("input", { bubbles: true }));
    step(["count_include_pad", false], ["layers", 2], ["network", 64]);
    step(["values", "random"]);
    byId("again").click();
    answers.push([true, fragmentOf(page.settings)]);
    return answers;
    """
    answers = ask(tmp_path, script)
    assert [usable for usable, _ in answers] == [True] * len(answers)
    end = "values=ones&seed=1&at=0,0&layers=3&network=224"
    few = "values=ones&seed=1&at=0,0&layers=2&network=64"
    assert [fragment for _, fragment in answers] == [
        "op=max&input=9&kernel_size=4&stride=3&padding=1&dilation=2&ceil_mode=0&" + end.replace("ones", "random"),
        "op=max&input=9,12&kernel_size=4&stride=1,3&padding=1,2&dilation=2&ceil_mode=0&"
        + end.replace("ones", "random"),
        "op=max&input=9,12&kernel_size=4&stride=1,3&padding=1:0,2&dilation=2&ceil_mode=0&"
        + end.replace("ones", "random"),
        f"op=max&input=9,12&kernel_size=4&stride=1,3&padding=1:0,2&dilation=2&ceil_mode=1&{end}",
        f"op=max&input=9,12&kernel_size=4&stride=1,3&padding=1,2&dilation=2&ceil_mode=1&{end}",
        f"op=max&input=9&kernel_size=4&stride=1&padding=1&dilation=2&ceil_mode=1&{end}",
        f"op=max&input=9&kernel_size=4&stride=1&padding=same_lower&dilation=2&ceil_mode=1&{end}",
        "op=adaptive_avg&input=9&output_size=5&values=ones&seed=1&at=0,0",
        f"op=avg&input=9&kernel_size=4&stride=1&padding=same_lower&dilation=2&ceil_mode=1&count_include_pad=0&{few}",
        "op=avg&input=9&kernel_size=4&stride=1&padding=same_lower&dilation=2&ceil_mode=1&count_include_pad=0&"
        + few.replace("ones", "random"),
        "op=avg&input=9&kernel_size=4&stride=1&padding=same_lower&dilation=2&ceil_mode=1&count_include_pad=0&"
        + few.replace("ones&seed=1", "random&seed=2"),
    ]


@needs_browser
def test_keys_and_pointers_move_over_the_output(tmp_path: Path) -> None:
    script = f"""{SHOWN}
    load("op=max&input=9,12&kernel_size=3&stride=3");
    const focused = () => document.activeElement.matches(".output") ? place(document.activeElement) : null;
    const answers = [];
    const told = () => byId("told").textContent.match(/row (\\d+), column (\\d+)/).slice(1);
    const tell = () => answers.push([shown().at[0], focused(), told()]);
    const press = (key, ctrlKey = false) => {{
      const how = {{ key, ctrlKey, bubbles: true, cancelable: true }};
      document.activeElement.dispatchEvent(new KeyboardEvent("keydown", how));
      tell();
    }};
    document.querySelector("#output .output[tabindex='0']").focus();
    const keys = "ArrowRight ArrowDown End ArrowRight Home ArrowUp ArrowUp PageDown PageUp";
    keys.split(" ").forEach(key => press(key));
    press("End", true);
    press("Home", true);
    const over = (y, x, name) => {{
      const cell = document.querySelectorAll("#output .output")[y * 4 + x];
      cell.dispatchEvent(new PointerEvent(name, {{ bubbles: true }}));
      tell();
    }};
    over(1, 3, "pointerover");
    over(2, 1, "click");
    const slider = byId("stride-rows");
    slider.value = 4;
    slider.dispatchEvent(new Event("input", {{ bubbles: true }}));
    tell();
    return answers;
    """
    answers = ask(tmp_path, script)
    places = [[0, 1], [1, 1], [1, 3], [1, 3], [1, 0], [0, 0], [0, 0], [2, 0], [0, 0], [2, 3], [0, 0]]
    # The pointer does not take the focus, a click does; and it stays in a grid that became smaller.
    expected = [[place, place] for place in places] + [[[1, 3], [0, 0]], [[2, 1], [2, 1]], [[1, 1], [1, 1]]]
    assert [answer[:2] for answer in answers] == expected
    assert [list(map(int, answer[2])) for answer in answers] == [place for place, _ in expected]


@needs_browser
def test_everything_has_a_name(tmp_path: Path) -> None:
    script = """
    load("op=avg&input=7,8&kernel_size=3&padding=1:0,1");
    const labels = control => [...control.labels || []].map(each => each.textContent).join("");
    const named = control => control.getAttribute("aria-label") || labels(control) || control.textContent.trim();
    const controls = [...document.querySelectorAll("input, select, button, a, svg[role], [role=gridcell], nav, form")];
    const ids = [...document.querySelectorAll("[id]")].map(each => each.id);
    const names = controls.filter(each => each.checkVisibility()).map(named);
    const used = [...document.querySelectorAll("[for], [aria-labelledby], [aria-describedby]")].flatMap(each =>
      ["for", "aria-labelledby", "aria-describedby"].map(name => each.getAttribute(name)).filter(Boolean));
    const unnamed = controls.filter(each => !named(each)).map(each => each.outerHTML);
    const headings = [...document.querySelectorAll("h1, h2, h3")].map(each => each.tagName);
    return [unnamed, names, ids, used, document.documentElement.lang, headings];
    """
    unnamed, names, ids, used, language, headings = ask(tmp_path, script)
    assert unnamed == []
    assert {"kernel_size, rows", "kernel_size, columns", "padding at the end, rows", "input size, columns"} <= set(
        names
    )
    assert len(ids) == len(set(ids))
    assert set(used) <= set(ids)
    assert language == "en"
    assert headings == ["H1", "H2"]


# --- looks --------------------------------------------------------------------------------------------------

MANY = (
    "op=max&input=8&kernel_size=3&stride=2",
    "op=avg&input=24&kernel_size=9&stride=1&padding=9:8,8:7&dilation=4",
    "op=adaptive_avg&input=24,23&output_size=24,7",
    "op=avg&input=24,1&kernel_size=9,1&stride=1&padding=2,0&ceil_mode=1&values=signed",
    "op=max&input=3&kernel_size=9&stride=1&dilation=4",
)


@needs_browser
@pytest.mark.parametrize("width", [360, 900, 1600])
def test_nothing_is_wider_than_the_screen(width: int, tmp_path: Path) -> None:
    script = f"""{SHOWN}
    return {json.dumps(MANY)}.map(each => {{
      load(each);
      const isWide = each => each.checkVisibility() && each.getBoundingClientRect().right > innerWidth + 1;
      const wide = [...document.querySelectorAll("body *")].filter(each => !each.closest("table") && isWide(each));
      const svg = document.querySelector("#input svg"), cell = svg.querySelector(".cell rect").getBoundingClientRect();
      const font = svg.classList.contains("tiny") ? null : 15 * cell.width / 40;
      const names = wide.map(each => each.outerHTML.slice(0, 80));
      return [innerWidth, document.documentElement.scrollWidth, names, cell.width, font];
    }});
    """
    for fragment, (inner, scrolled, wide, cell, font) in zip(MANY, ask(tmp_path, script, width=width), strict=True):
        assert inner == width
        assert wide == [], fragment
        assert scrolled <= width, fragment
        assert cell >= 4
        assert font is None or font >= 7


def colours(text: str) -> list[dict[str, str]]:
    """Return the colours of the light and of the dark scheme."""
    return [dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in re.findall(r":root \{(.*?)\}", text, re.DOTALL)]


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_colours_are_those_of_the_other_pages_and_can_be_told_apart() -> None:
    pytest.importorskip("jinja2")
    from pooling.reporting.html import stylesheet

    schemes = colours(PAGE.read_text(encoding="utf-8"))
    assert len(schemes) == 2
    for own, common in zip(schemes, colours(stylesheet()), strict=True):
        assert own.items() <= common.items()
        for ink, ground in (
            *(("ink", ground) for ground in ("ground", "card", "window", "error-back")),
            *(("muted", ground) for ground in ("ground", "card", "hatch")),
            *(("link", ground) for ground in ("ground", "card")),
        ):
            assert contrast(own[ink], own[ground]) >= 4.5, (ink, ground)
        for line, ground in (
            *(("window-line", ground) for ground in ("ground", "window")),
            *(("drop", "ground"), ("fine", "window"), ("link", "card")),
        ):
            assert contrast(own[line], own[ground]) >= 3, (line, ground)


def test_the_page_is_one_file_that_fetches_nothing() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert set(re.findall(r"https?://[^\s\"'<>]+", text)) == {"http://www.w3.org/2000/svg"}
    assert (
        re.findall(r"<(?:link|img|iframe|object|embed)\b|\bsrc=|@import|\bfetch\(|XMLHttpRequest|import\(", text) == []
    )
    assert set(re.findall(r"url\(([^)]*)\)", text)) == {"#padded", "#padded-window", "#dropped"}


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_shows_window_padding_and_dropped_cells(scheme: str, tmp_path: Path) -> None:
    images = pytest.importorskip("PIL.Image")
    address = f"{PAGE.as_uri()}#op=max&input=9&kernel_size=3&stride=3&padding=1&at=0,1"
    dark = ["blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    browse(tmp_path, address, "window-size=1200,900", *dark, f"screenshot={tmp_path / 'page.png'}")
    picture = np.asarray(images.open(tmp_path / "page.png").convert("RGB")).astype(int)
    own = colours(PAGE.read_text(encoding="utf-8"))[scheme == "dark"]

    def pixels(colour: str) -> int:
        wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        return int((np.abs(picture - wanted).max(axis=2) < 12).sum())

    for name in ("window", "window-line", "hatch", "fine", "ink", "drop"):
        assert pixels(own[name]) > 100, name
