"""What is taken for sizes that a model leaves open."""

from __future__ import annotations

import pytest

from pooling.open_sizes import TRIED, filled, hinted_sizes, spread


def test_sizes_are_tried_in_their_order() -> None:
    assert TRIED == (224, 256, 320, 512, 640, 128, 64, 32, 1024, 16384)
    assert [*filled(("N", "C", "H", "W"))] == [(1, 3, size, size) for size in TRIED]
    assert next(filled(("N", "C", "D", "H", "W"))) == (1, 3, 224, 224, 224)
    assert [*filled(("N", "C", "L"))][-1] == (1, 3, 16384)


@pytest.mark.parametrize(
    ("shape", "last", "first_trial"),
    [
        ((), False, ()),
        (("N",), False, (1,)),
        (("N", "T"), False, (1, 224)),
        (("N", "T"), True, (1, 224)),
        (("N", "C", "L"), False, (1, 3, 224)),
        (("N", "L", "C"), True, (1, 224, 3)),
        (("N", "H", "W", "C"), True, (1, 224, 224, 3)),
        ((2, 5, 7, "W"), False, (2, 5, 7, 224)),
        ((2, 5, "W", 7), True, (2, 5, 224, 7)),
        (("N", 3, 8, 9), False, (1, 3, 8, 9)),
    ],
)
def test_only_what_is_open_is_filled(shape: tuple[int | str, ...], last: bool, first_trial: tuple[int, ...]) -> None:
    assert next(filled(shape, channels_last=last)) == first_trial


def test_no_shape_is_tried_twice() -> None:
    assert [*filled((2, 3, 8, 8))] == [(2, 3, 8, 8)]
    assert [*filled(("N", "C", "H", "W"), [(224, 224), (256,)])] == [(1, 3, size, size) for size in TRIED]


def test_hints_come_first_if_they_are_for_as_many_axes_or_for_all() -> None:
    trials = [*filled(("N", "C", "H", "W"), [(48, 64), (7,), (1, 2, 3), ()])]
    assert trials == [(1, 3, 48, 64), (1, 3, 7, 7), *((1, 3, size, size) for size in TRIED)]
    assert [*filled(("N", "H", "W", "C"), [(48, 64)], channels_last=True)][:2] == [(1, 48, 64, 3), (1, 224, 224, 3)]
    assert next(filled(("N", "C", "D", "H", "W"), [(48, 64), (4, 5, 6)])) == (1, 3, 4, 5, 6)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("640", (640,)),
        ("[480, 640]", (480, 640)),
        ("(20, 30, 40)", (20, 30, 40)),
        # Batch and channels, in front of the sizes or behind them.
        ("1x3x300x400", (300, 400)),
        ("1x300x400x3", (300, 400)),
        ("1,1,300,400", (300, 400)),
        ("1,300,400,1", (300, 400)),
        ("8x3x20x30x40", (20, 30, 40)),
        ("8x20x30x40x3", (20, 30, 40)),
        ("3, 300, 400", (300, 400)),
        ("1, 300, 400", (300, 400)),
        ("7, 300, 400", (7, 300, 400)),
        ("4", (4,)),
        ("65536", (65536,)),
    ],
)
def test_sizes_that_metadata_tell(text: str, sizes: tuple[int, ...]) -> None:
    assert hinted_sizes({"imgsz": text}) == [sizes]


@pytest.mark.parametrize("text", ["", "none", "3", "3, 640", "0", "65537", "640, 65537", "1, 3, 300"])
def test_numbers_that_are_no_sizes(text: str) -> None:
    assert hinted_sizes({"imgsz": text}) == []


def test_keys_of_metadata() -> None:
    named = [
        "imgsz",
        "image_size",
        "input_shape",
        "IN_SIZE",
        "tile_height",
        "cropWidth",
        "patch_sz",
        "resolution",
        "Resolution",
    ]
    assert hinted_sizes({name: str(100 + number) for number, name in enumerate(named)}) == [
        (100 + number,) for number in range(len(named))
    ]
    assert hinted_sizes(dict.fromkeys(["stride", "my_imgsz", "imgsz2", "size", "names", "batch_size"], "640")) == []
    assert hinted_sizes({"imgsz": "640", "stride": "32", "input_size": "640", "tile_size": "96"}) == [(640,), (96,)]


def test_other_inputs_have_the_sizes_of_the_same_names() -> None:
    assert spread(("N", 3, "H"), (2, 3, 5), ("N", "H", "K")) == (2, 5, "K")
    # Without a name that is known, a batch is 1; other sizes stay open.
    assert spread(("N", "H"), (2, 5), ("M", "W", "H", 7)) == (1, "W", 5, 7)
    assert spread((2, 3), (2, 3), (4, "M")) == (4, "M")
    assert spread((), (), ()) == ()
    with pytest.raises(ValueError):
        spread(("N",), (1, 2), ())


def test_channels_last_is_passed_by_name() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        next(filled(("N", "C"), (), True))  # type: ignore[misc]
