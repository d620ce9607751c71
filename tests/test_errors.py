"""Every error in words: function, argument as it was written, rule, numbers, axis, remedy; and nothing but errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pooling
from tests.conftest import CORE

X = np.zeros((1, 2, 8, 9), np.float32)
ROW = np.zeros((1, 1, 4), np.float32)
CUBE = np.zeros((1, 1, 4, 4, 4), np.float32)
GRAD = np.zeros((1, 2, 2, 3), np.float32)
WINDOWED = [name for operator in CORE.values() if operator.windows == "sliding" for name in operator.functions]
ALL = [name for operator in CORE.values() for name in operator.functions]


def array_for(function: str) -> np.ndarray[Any, Any]:
    """An input that a function pools, of 8 and more cells on every axis."""
    dimensions = next((n for n in (1, 2, 3) if f"{n}d" in function), 2)
    return np.zeros((1, 2, *range(8, 8 + dimensions)), np.float32)


def call(function: str, **arguments: Any) -> Any:
    """Call any function; what the gradients want in front is given."""
    x = array_for(function)
    if not function.startswith(("global", "adaptive")):
        arguments = {"kernel_size": 3} | arguments
    if not function.endswith("_backward"):
        return getattr(pooling, function)(x, **arguments)
    return getattr(pooling, function)(np.zeros((1,), np.float32), x, **arguments)


def sentence_of(kind: type[Exception], function: Callable[[], Any]) -> str:
    with pytest.raises(kind) as error:
        function()
    assert type(error.value) is kind
    sentence = str(error.value)
    assert "\n" not in sentence
    assert not sentence.endswith(".")
    return sentence


# --- word for word -------------------------------------------------------------------------------------------------

WHOLE = "must be an integer or one integer per spatial axis"
BEYOND = 2**63

SIZES: list[tuple[str, Any, type[Exception], str]] = [
    # argument, value, error, and its sentence behind "max_pool2d: argument=value "
    *[
        entry
        for name in ("kernel_size", "stride", "dilation")
        for entry in (
            (name, 0, ValueError, "must be at least 1 on axis H, not 0"),
            (name, -1, ValueError, "must be at least 1 on axis H, not -1"),
            (name, (2, 0), ValueError, "must be at least 1 on axis W, not 0"),
            (name, [2, -3], ValueError, "must be at least 1 on axis W, not -3"),
        )
    ],
    ("padding", -1, ValueError, "must be at least 0 on axis H, not -1"),
    ("padding", (1, -2), ValueError, "must be at least 0 on axis W, not -2"),
    ("padding", [(1, 0), (0, -2)], ValueError, "must be at least 0 on axis W, not -2"),
    *[
        entry
        for name in ("kernel_size", "stride", "dilation", "padding")
        for entry in (
            (name, BEYOND, ValueError, f"must be at most 2**63 - 1 on axis H, not {BEYOND}"),
            (name, (1, BEYOND), ValueError, f"must be at most 2**63 - 1 on axis W, not {BEYOND}"),
            (name, True, TypeError, f"{WHOLE}, not bool; write it with whole numbers"),
            (name, np.True_, TypeError, f"{WHOLE}, not bool; write it with whole numbers"),
            (name, 2.0, TypeError, f"{WHOLE}, not float; write it with whole numbers"),
            (name, np.float32(2), TypeError, f"{WHOLE}, not float32; write it with whole numbers"),
            (name, np.array(2.0), TypeError, f"{WHOLE}, not ndarray; write it with whole numbers"),
            (name, (2, 2.0), TypeError, f"{WHOLE}, not float; write it with whole numbers"),
            (name, (2, True), TypeError, f"{WHOLE}, not bool; write it with whole numbers"),
            (name, [2, None], TypeError, f"{WHOLE}, not NoneType; write it with whole numbers"),
            (name, {2}, TypeError, f"{WHOLE}, not set; write it with whole numbers"),
            (name, ((1, 0), 2), TypeError, f"{WHOLE}, not tuple; write it with whole numbers"),
            (
                name,
                [2, 2, 2],
                ValueError,
                "must have one entry per spatial axis, 2 and not 3; give one integer for all axes or 2 of them",
            ),
            (
                name,
                (),
                ValueError,
                "must have one entry per spatial axis, 2 and not 0; give one integer for all axes or 2 of them",
            ),
        )
        # An empty stride is the default.
        if not (entry[0] == "stride" and isinstance(entry[1], tuple) and entry[1] == ())
    ],
    ("kernel_size", None, TypeError, f"{WHOLE}, not NoneType; write it with whole numbers"),
    ("dilation", None, TypeError, f"{WHOLE}, not NoneType; write it with whole numbers"),
    ("padding", None, TypeError, f"{WHOLE}, not NoneType; write it with whole numbers"),
    ("kernel_size", "3", TypeError, f"{WHOLE}, not str; write it with whole numbers"),
    *[
        (
            "padding",
            word,
            ValueError,
            f"is not a known name; use 'valid', 'same_upper' (or 'same'), 'same_lower', or numbers{meant}",
        )
        for word, meant in (
            ("SAME", "; for 'SAME' write 'same'"),
            ("SAME_LOWER", "; for 'SAME_LOWER' write 'same_lower'"),
            ("Valid", "; for 'Valid' write 'valid'"),
            ("same-upper", "; for 'same-upper' write 'same_upper'"),
            ("same_uper", "; for 'same_uper' write 'same_upper'"),
            ("mirror", ""),
            ("", ""),
            ("2", ""),
        )
    ],
    (
        "padding",
        (1, 1, 1, 1),
        ValueError,
        "must have one entry per spatial axis, 2 and not 4; write a (begin, end) pair for each axis, "
        "padding=((1, 1), (1, 1))",
    ),
    (
        "padding",
        [1, 2, 3, 4],
        ValueError,
        "must have one entry per spatial axis, 2 and not 4; write a (begin, end) pair for each axis: "
        "padding=((1, 3), (2, 4)) if the order is that of ONNX, all begins before all ends, or ((3, 4), (1, 2)) if it "
        "is that of torch.nn.functional.pad, the last axis first",
    ),
    *[
        (
            "padding",
            pairs,
            ValueError,
            "must have one (begin, end) pair per spatial axis, 2 in all; "
            "give an integer, one per axis or one pair per axis",
        )
        for pairs in (((1, 2, 0), (1, 1)), [(1, 1)] * 3, [[1], [1]])
    ],
    (
        "padding",
        3,
        ValueError,
        "must be smaller than the effective kernel size 3 on axis H; use padding <= 2",
    ),
    (
        "padding",
        (2, 2**62),
        ValueError,
        "must be smaller than the effective kernel size 3 on axis W; use padding <= 2",
    ),
    (
        "padding",
        ((2, 2), (0, 5)),
        ValueError,
        "must be smaller than the effective kernel size 3 on axis W; use padding <= 2",
    ),
    (
        "kernel_size",
        9,
        ValueError,
        "finds no window on axis H: the effective kernel size is 9 and the padded input 0 + 8 + 0 = 8; "
        "the smallest input that works is 9",
    ),
    (
        "kernel_size",
        (2, 12),
        ValueError,
        "finds no window on axis W: the effective kernel size is 12 and the padded input 0 + 9 + 0 = 9; "
        "the smallest input that works is 12",
    ),
    *[
        (
            "kernel_size",
            size,
            ValueError,
            f"makes the effective kernel size {size} on axis H, whose input has 8 cells; use at most 16777216",
        )
        for size in (2**24 + 1, 2**31, 2**32 - 10, 2**62, 2**63 - 1)
    ],
]


@pytest.mark.parametrize(("name", "value", "kind", "rest"), SIZES)
def test_sizes(name: str, value: Any, kind: type[Exception], rest: str) -> None:
    arguments = {"kernel_size": 3} | {name: value}
    sentence = sentence_of(kind, lambda: pooling.max_pool2d(X, **arguments))
    assert sentence == f"max_pool2d: {name}={value!r} {rest}"


# Where a padding is compared with the kernel, the example of all sentences.
def test_padding_of_the_effective_kernel_size() -> None:
    assert sentence_of(ValueError, lambda: pooling.max_pool2d(X, 2, padding=(2, 2))) == (
        "max_pool2d: padding=(2, 2) must be smaller than the effective kernel size 2 on axis H; use padding <= 1"
    )


SENTENCES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    # axes
    (
        lambda: pooling.max_pool1d(ROW, 5),
        ValueError,
        "max_pool1d: kernel_size=5 finds no window on axis L: the effective kernel size is 5 and the padded input "
        "0 + 4 + 0 = 4; the smallest input that works is 5",
    ),
    (
        lambda: pooling.avg_pool3d(CUBE, (2, 5, 2), padding=((0, 0), (0, 0), (1, 0))),
        ValueError,
        "avg_pool3d: kernel_size=(2, 5, 2) finds no window on axis H: the effective kernel size is 5 and the padded "
        "input 0 + 4 + 0 = 4; the smallest input that works is 5",
    ),
    (
        lambda: pooling.max_pool1d(ROW, 3, padding=1, dilation=3),
        ValueError,
        "max_pool1d: kernel_size=3 with dilation=3 finds no window on axis L: the effective kernel size is 7 and the "
        "padded input 1 + 4 + 1 = 6; the smallest input that works is 5",
    ),
    (
        lambda: pooling.max_pool1d(ROW, 7, 3, ceil_mode=True),
        ValueError,
        "max_pool1d: kernel_size=7 finds no window on axis L: the effective kernel size is 7 and the padded input "
        "0 + 4 + 0 = 4; the smallest input that works is 5",
    ),
    *[
        (
            lambda dilation=dilation: pooling.avg_pool2d(X, 3, dilation=dilation),
            ValueError,
            f"avg_pool2d: kernel_size=3 with dilation={dilation} makes the effective kernel size {2 * dilation + 1} on "
            "axis H, whose input has 8 cells; use at most 16777216",
        )
        for dilation in (2**24, 2**31 - 1, 2**32 - 10, 2**62, 2**63 - 1)
    ],
    (
        lambda: pooling.max_pool1d(ROW, 2, padding=(0, 1)),
        ValueError,
        "max_pool1d: padding=(0, 1) must have one entry per spatial axis, 1 and not 2; "
        "write a (begin, end) pair as padding=[(0, 1)]",
    ),
    # axes of size zero
    (
        lambda: pooling.max_pool2d(np.zeros((1, 2, 0, 3), np.float32), 1),
        ValueError,
        "max_pool2d: kernel_size=1 finds no window on axis H: the effective kernel size is 1 and the padded input "
        "0 + 0 + 0 = 0; the smallest input that works is 1",
    ),
    (
        lambda: pooling.avg_pool2d(np.zeros((0, 2, 3, 0), np.float32), 3, padding=2),
        ValueError,
        "avg_pool2d: kernel_size=3 finds no window on axis W: the effective kernel size is 3 and the padded input "
        "2 + 0 + 2 = 4; the smallest input that works is 1",
    ),
    (
        lambda: pooling.global_max_pool(np.zeros((1, 2, 3, 0), np.float32)),
        ValueError,
        "global_max_pool: spatial axis 1 of the input has size 0; global pooling needs at least 1 cell",
    ),
    # ranks
    (
        lambda: pooling.max_pool2d(np.float32(3), 1),
        ValueError,
        "max_pool2d: input of shape () has 0 axes; it must have 4, (N, C, H, W), or 3 without the batch, (C, H, W)",
    ),
    (
        lambda: pooling.max_pool1d(np.zeros(3, np.float32), 1),
        ValueError,
        "max_pool1d: input of shape (3,) has 1 axis; it must have 3, (N, C, L), or 2 without the batch, (C, L); "
        "a single map without channels goes in as input[None] and comes out as result[0]",
    ),
    (
        lambda: pooling.avg_pool3d(np.zeros((1,) * 6, np.float32), 1, layout="channels_last"),
        ValueError,
        "avg_pool3d: input of shape (1, 1, 1, 1, 1, 1) has 6 axes; it must have 5, (N, D, H, W, C), "
        "or 4 without the batch, (D, H, W, C)",
    ),
    (
        lambda: pooling.avg_pool2d_backward(GRAD, np.zeros((1, 2), np.float32), 1),
        ValueError,
        "avg_pool2d_backward: input of shape (1, 2) has 2 axes; it must have 4, (N, C, H, W), "
        "or 3 without the batch, (C, H, W); a single map without channels goes in as input[None] and comes out as "
        "result[0]",
    ),
    (
        lambda: pooling.avg_pool2d(np.zeros((480, 640), np.uint8), 16, layout="channels_last"),
        ValueError,
        "avg_pool2d: input of shape (480, 640) has 2 axes; it must have 4, (N, H, W, C), or 3 without the batch, "
        "(H, W, C); a single map without channels goes in as input[..., None] and comes out as result[..., 0]",
    ),
    *[
        (
            lambda shape=shape: pooling.global_avg_pool(np.zeros(shape, np.float32)),
            ValueError,
            f"global_avg_pool: input of shape {shape} has {len(shape)} {'axis' if len(shape) == 1 else 'axes'}; it "
            "must have 4, (N, C, H, W), 5, (N, C, D, H, W), or with dimensions= one more than the spatial axes, or two",
        )
        for shape in ((), (3,), (1, 2, 3, 4, 5, 6))
    ],
    (
        lambda: pooling.global_max_pool(np.zeros((2, 3), np.float32)),
        ValueError,
        "global_max_pool: input of shape (2, 3) has 2 axes; for one signal (C, L) say dimensions=1, a map without "
        "channels give as input[None], dimensions=2",
    ),
    (
        lambda: pooling.global_lp_pool(np.zeros((3, 8, 8), np.float32)),
        ValueError,
        "global_lp_pool: input of shape (3, 8, 8) has 3 axes, which may be one map (C, H, W) or a batch of signals "
        "(N, C, L); say dimensions=2 or dimensions=1",
    ),
    (
        lambda: pooling.global_avg_pool_backward(GRAD, np.zeros((8, 8, 3), np.float32), layout="channels_last"),
        ValueError,
        "global_avg_pool_backward: input of shape (8, 8, 3) has 3 axes, which may be one map (H, W, C) or a batch of "
        "signals (N, L, C); say dimensions=2 or dimensions=1",
    ),
    (
        lambda: pooling.global_avg_pool(X, dimensions=4),
        ValueError,
        "global_avg_pool: dimensions=4 must be 1, 2 or 3, the number of spatial axes, or None",
    ),
    (
        lambda: pooling.global_avg_pool(X, dimensions=True),
        TypeError,
        "global_avg_pool: dimensions=True must be 1, 2 or 3, the number of spatial axes, or None",
    ),
    (
        lambda: pooling.global_avg_pool(X, dimensions=1),
        ValueError,
        "global_avg_pool: input of shape (1, 2, 8, 9) has 4 axes; it must have 3, (N, C, L), or 2 without the batch, "
        "(C, L)",
    ),
    # what is no array
    (
        lambda: pooling.max_pool2d(np.ma.zeros((1, 2, 8, 9)), 3),
        TypeError,
        "max_pool2d: input is a masked array, whose mask would be ignored; "
        "fill its masked elements with what must not count: input.filled(numpy.nan) and nan='ignore', or for a maximum "
        "the smallest number",
    ),
    (
        lambda: pooling.avg_pool2d_backward(np.ma.zeros((1, 2, 2, 3)), X, 3),
        TypeError,
        "avg_pool2d_backward: grad_output is a masked array, whose mask would be ignored; "
        "fill its masked elements with what must not count: grad_output.filled(numpy.nan) and nan='ignore', or for a "
        "maximum the smallest number",
    ),
    # adaptive sizes
    *[
        (
            lambda size=size: pooling.adaptive_max_pool2d(X, size),
            ValueError,
            f"adaptive_max_pool2d: output_size={size!r} must be at least 1 on axis {axis}, not {bad}",
        )
        for size, axis, bad in ((0, "H", 0), (-3, "H", -3), ((2, 0), "W", 0), ([None, -1], "W", -1))
    ],
    *[
        (
            lambda size=size: pooling.adaptive_avg_pool2d(X, size),
            TypeError,
            f"adaptive_avg_pool2d: output_size={size!r} {WHOLE}, not {kind}; write it with whole numbers",
        )
        for size, kind in ((2.0, "float"), (True, "bool"), ((2, "3"), "str"), ((2, (3,)), "tuple"))
    ],
    (
        lambda: pooling.adaptive_avg_pool2d(X, (2, 2, 2)),
        ValueError,
        "adaptive_avg_pool2d: output_size=(2, 2, 2) must have one entry per spatial axis, 2 and not 3; "
        "give one integer for all axes or 2 of them",
    ),
    (
        lambda: pooling.adaptive_max_pool2d(np.zeros((1, 2, 3, 0), np.float32), 1),
        ValueError,
        "adaptive_max_pool2d: axis W of the input has size 0; adaptive pooling needs at least 1 cell",
    ),
    # integers
    *[
        (
            lambda rounding=rounding: pooling.avg_pool2d(X, 3, rounding=rounding),
            ValueError,
            f"avg_pool2d: rounding={rounding!r} must be one of 'half_even', 'half_up', 'floor', 'trunc'{meant}",
        )
        for rounding, meant in (("nearest", ""), ("", ""), ("HALF_UP", "; for 'HALF_UP' write 'half_up'"))
    ],
    (
        lambda: pooling.global_avg_pool(X, rounding=None),  # type: ignore[arg-type]
        TypeError,
        "global_avg_pool: rounding=None must be a string, not NoneType; use one of 'half_even', 'half_up', 'floor', "
        "'trunc'",
    ),
    # words and flags
    *[
        (
            lambda layout=layout: pooling.max_pool2d(X, 3, layout=layout),
            ValueError,
            f"max_pool2d: layout={layout!r} must be 'channels_first' or 'channels_last'{meant}",
        )
        for layout, meant in (
            ("NCHW", "; for 'NCHW' write 'channels_first'"),
            ("nhwc", "; for 'nhwc' write 'channels_last'"),
            ("channels-last", "; for 'channels-last' write 'channels_last'"),
            ("Channels_first", "; for 'Channels_first' write 'channels_first'"),
            ("", ""),
            ("strided", ""),
        )
    ],
    (
        lambda: pooling.global_avg_pool(X, layout="NHWC"),  # type: ignore[arg-type]
        ValueError,
        "global_avg_pool: layout='NHWC' must be 'channels_first' or 'channels_last'; for 'NHWC' write 'channels_last'",
    ),
    (
        lambda: pooling.max_pool2d(X, 3, layout=None),  # type: ignore[call-overload]
        TypeError,
        "max_pool2d: layout=None must be a string, not NoneType; use 'channels_first' or 'channels_last'",
    ),
    (
        lambda: pooling.max_pool2d(X, 3, layout=["channels_first"]),  # type: ignore[call-overload]
        TypeError,
        "max_pool2d: layout=['channels_first'] must be a string, not list; use 'channels_first' or 'channels_last'",
    ),
    (
        lambda: pooling.max_pool2d(X, 3, nan="skip"),  # type: ignore[call-overload]
        ValueError,
        "max_pool2d: nan='skip' must be 'propagate' or 'ignore'",
    ),
    (
        lambda: pooling.global_max_pool(X, nan=None),  # type: ignore[arg-type]
        TypeError,
        "global_max_pool: nan=None must be a string, not NoneType; use 'propagate' or 'ignore'",
    ),
    (
        lambda: pooling.max_pool2d(X, 3, ceil_mode=1),  # type: ignore[call-overload]
        TypeError,
        "max_pool2d: ceil_mode=1 must be True or False, not int",
    ),
    (
        lambda: pooling.max_pool2d(X, 3, return_indices="yes"),  # type: ignore[call-overload]
        TypeError,
        "max_pool2d: return_indices='yes' must be True or False, not str",
    ),
    (
        lambda: pooling.max_pool2d_backward(GRAD, X, 3, return_indices=0),  # type: ignore[arg-type]
        TypeError,
        "max_pool2d_backward: return_indices=0 must be True or False, not int",
    ),
    (
        lambda: pooling.avg_pool2d(X, 3, count_include_pad=None),  # type: ignore[arg-type]
        TypeError,
        "avg_pool2d: count_include_pad=None must be True or False, not NoneType",
    ),
    # divisors
    *[
        (
            lambda divisor=divisor: pooling.avg_pool2d(X, 3, divisor_override=divisor),
            ValueError,
            f"avg_pool2d: divisor_override={divisor!r} must be finite and not zero; "
            "use None for the number of elements",
        )
        for divisor in (0, -0.0, float("nan"), float("inf"), np.float32(0))
    ],
    (
        lambda: pooling.avg_pool2d(X, 3, divisor_override=10**400),
        ValueError,
        "avg_pool2d: divisor_override=<int of 1329 bits> must be finite and not zero; use None for the number of "
        "elements",
    ),
    *[
        (
            lambda divisor=divisor: pooling.avg_pool1d_backward(ROW, ROW, 1, divisor_override=divisor),
            TypeError,
            f"avg_pool1d_backward: divisor_override={divisor!r} must be a number or None, not {type(divisor).__name__}",
        )
        for divisor in (True, "2", (2,), 1j)
    ],
    # gradients and indices
    (
        lambda: pooling.max_pool2d_backward(np.zeros((1, 2, 3, 3), np.float32), X, 3),
        ValueError,
        "max_pool2d_backward: grad_output has shape (1, 2, 3, 3), but the forward call returns (1, 2, 2, 3) "
        "for input (1, 2, 8, 9)",
    ),
    (
        lambda: pooling.global_avg_pool_backward(np.zeros((1, 2), np.float32), X),
        ValueError,
        "global_avg_pool_backward: grad_output has shape (1, 2), but the forward call returns (1, 2, 1, 1) "
        "for input (1, 2, 8, 9)",
    ),
    (
        lambda: pooling.avg_pool2d_backward(GRAD.astype(np.float64), X, 3),
        TypeError,
        "avg_pool2d_backward: grad_output has dtype float64, the input float32; give both the same",
    ),
    (
        lambda: pooling.max_pool2d_backward(GRAD, X, 3, indices=np.zeros((1, 2, 3, 3), np.int64)),
        ValueError,
        "max_pool2d_backward: indices have shape (1, 2, 3, 3), but the forward call returns (1, 2, 2, 3)",
    ),
    (
        lambda: pooling.max_pool2d_backward(GRAD, X, 3, indices=np.zeros(GRAD.shape)),
        TypeError,
        "max_pool2d_backward: indices have dtype float64; give the int64 indices of the forward call",
    ),
    (
        lambda: pooling.max_pool2d_backward(GRAD, X, 3, indices=np.zeros(GRAD.shape, bool)),
        TypeError,
        "max_pool2d_backward: indices have dtype bool; give the int64 indices of the forward call",
    ),
    (
        lambda: pooling.max_pool2d_backward(GRAD, X, 3, indices=np.full(GRAD.shape, 2**63, np.uint64)),
        ValueError,
        "max_pool2d_backward: indices hold 9223372036854775808, beyond every plane; give those of the forward call",
    ),
    # results that no memory holds
    (
        lambda: pooling.max_pool3d(np.zeros((0, 1, 4, 4, 4), np.float32), 2**24, 1, 2**24 - 1),
        ValueError,
        "max_pool3d: the result would have shape (0, 1, 16777219, 16777219, 16777219) with 8 bytes an element, "
        "more than 64 bits can address; use smaller sizes",
    ),
    (
        lambda: pooling.adaptive_avg_pool2d(np.zeros((1, 0, 4, 4), np.float32), 2**31),
        ValueError,
        "adaptive_avg_pool2d: the result would have shape (1, 0, 2147483648, 2147483648) with 8 bytes an element, "
        "more than 64 bits can address; use smaller sizes",
    ),
    # output_shape
    (
        lambda: pooling.output_shape(5, 2),  # type: ignore[arg-type]
        TypeError,
        "output_shape: input_shape=5 must be a sequence of integers; 5 is of type int",
    ),
    (
        lambda: pooling.output_shape("1, 2, 8, 9", 2),  # type: ignore[arg-type]
        TypeError,
        "output_shape: input_shape='1, 2, 8, 9' must be a sequence of integers; '1, 2, 8, 9' is of type str",
    ),
    (
        lambda: pooling.output_shape((1, 2, 8.0, 9), 2),  # type: ignore[list-item]
        TypeError,
        "output_shape: input_shape=(1, 2, 8.0, 9) must be a sequence of integers; 8.0 is of type float",
    ),
    (
        lambda: pooling.output_shape((1, 2, -8, 9), 2),
        ValueError,
        "output_shape: input_shape=(1, 2, -8, 9) must not have negative sizes",
    ),
    *[
        (
            lambda shape=shape, kernel=kernel: pooling.output_shape(shape, kernel),
            ValueError,
            f"output_shape: input_shape={shape} has {len(shape)} axes; with kernel_size={kernel} it must have 1 to 3 "
            "spatial ones, channels, and a batch unless kernel_size has an entry for each spatial axis",
        )
        for shape, kernel in (
            ((), 2),
            ((1, 2), 2),
            ((1, 2), (2, 2)),
            ((1, 2, 3, 4, 5, 6), 2),
            ((2, 3, 4, 5, 6), (2, 2)),
        )
    ],
    (
        lambda: pooling.output_shape((1, 2, 8, 8), 2, layout="NCHW"),
        ValueError,
        "output_shape: layout='NCHW' must be 'channels_first' or 'channels_last'; for 'NCHW' write 'channels_first'",
    ),
    # threads
    *[
        (
            lambda n=n: pooling.set_num_threads(n),
            ValueError,
            f"set_num_threads: n={n} must be between 1 and 1024; use get_num_threads() to see the default",
        )
        for n in (0, -1, 1025, 2**63)
    ],
    *[
        (
            lambda n=n: pooling.threads(n).__enter__(),
            TypeError,
            f"threads: n={n!r} must be an integer, not {type(n).__name__}",
        )
        for n in (True, 2.0, None, "2")
    ],
]


@pytest.mark.parametrize(("function", "kind", "sentence"), SENTENCES, ids=[text[:60] for _, _, text in SENTENCES])
def test_sentences(function: Callable[[], Any], kind: type[Exception], sentence: str) -> None:
    assert sentence_of(kind, function) == sentence
    # A signature that was once refused is not remembered as a good one.
    assert sentence_of(kind, function) == sentence


# --- every function says its own name ----------------------------------------------------------------------------


@pytest.mark.parametrize("function", [name + end for name in WINDOWED for end in ("", "_backward")])
@pytest.mark.parametrize("name", ["kernel_size", "stride", "dilation", "padding"])
def test_every_function_names_itself_the_argument_and_the_axis(function: str, name: str) -> None:
    bad, least = (-1, 0) if name == "padding" else (0, 1)
    dimensions = int(function.removesuffix("_backward")[-2])
    for place, axis in enumerate({1: "L", 2: "HW", 3: "DHW"}[dimensions]):
        value = tuple(bad if at == place else 1 for at in range(dimensions))
        sentence = sentence_of(ValueError, lambda value=value: call(function, **{name: value}))
        assert sentence == f"{function}: {name}={value!r} must be at least {least} on axis {axis}, not {bad}"


@pytest.mark.parametrize("function", [name + end for name in ALL for end in ("", "_backward")])
@pytest.mark.parametrize(
    "dtype", [object, complex, np.complex64, "U3", "S3", "M8[s]", "m8[s]", [("a", "f4")], np.longdouble]
)
def test_a_dtype_that_is_no_number_to_pool_is_refused_with_those_that_are(function: str, dtype: Any) -> None:
    name = function.removesuffix("_backward")
    operator = next(operator for operator in CORE.values() if name in operator.functions)
    accepted = operator.gradient_dtypes if function.endswith("_backward") else operator.dtypes
    x = np.zeros(array_for(function).shape, dtype)
    arguments = () if function.startswith("global") else (3,)
    arrays = (GRAD, x) if function.endswith("_backward") else (x,)
    sentence = sentence_of(TypeError, lambda: getattr(pooling, function)(*arrays, *arguments))
    assert sentence == f"{function}: input has dtype {x.dtype.name}, which is not accepted; use {', '.join(accepted)}"


@pytest.mark.parametrize("value", [None, "array", {}, [[1.0], [2.0, 3.0]], object()])
def test_what_is_no_array_is_refused(value: Any) -> None:
    sentence = sentence_of(TypeError, lambda: pooling.max_pool2d(value, 3))
    assert sentence.startswith("max_pool2d: input ")


# --- hostile numbers ------------------------------------------------------------------------------------------------

HOSTILE = [
    0,
    -1,
    2**31 - 1,
    2**31,
    2**32 - 10,
    2**32 + 2,
    2**62,
    2**62 + 1,
    2**63 - 1,
    2**63,
    2**64,
    -(2**31),
    -(2**63),
]


def refusal(function: str, **arguments: Any) -> str | None:
    """What a function says against its arguments, if it does."""
    try:
        call(function, **arguments)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("function", WINDOWED)
@pytest.mark.parametrize("name", ["kernel_size", "dilation", "padding"])
@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_number_is_an_error_that_names_it(function: str, name: str, value: int) -> None:
    if (name, value) == ("padding", 0):
        return
    sentence = refusal(function, **{name: value})
    assert sentence is not None
    assert sentence.startswith(f"{function}: ")
    assert f"{name}={value}" in sentence


@pytest.mark.parametrize("function", WINDOWED)
@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_stride_is_an_error_that_names_it_or_leaves_one_window(function: str, value: int) -> None:
    sentence = refusal(function, stride=value)
    if 1 <= value < 2**63:
        assert sentence is None
        assert call(function, stride=value).shape == (1, 2, *(1,) * int(function[-2]))
    else:
        assert sentence is not None
        assert sentence.startswith(f"{function}: stride={value} must be at ")


@given(
    st.sampled_from(WINDOWED),
    st.fixed_dictionaries(
        {"kernel_size": st.sampled_from([1, 2, 3, *HOSTILE])},
        optional={
            "stride": st.sampled_from([1, 2, *HOSTILE]),
            "dilation": st.sampled_from([1, 2, *HOSTILE]),
            "ceil_mode": st.booleans(),
        },
    ),
)
def test_hostile_numbers_together_are_an_error_or_agree_with_output_shape(
    function: str, arguments: dict[str, Any]
) -> None:
    shape = array_for(function).shape
    try:
        expected = pooling.output_shape(shape, **arguments)
    except ValueError:
        assert refusal(function, **arguments) is not None
    else:
        assert call(function, **arguments).shape == expected


@pytest.mark.parametrize("function", ["max_pool1d", "avg_pool1d", "max_pool1d_backward", "avg_pool1d_backward"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 2**60, "stride": 1, "padding": [(2**59, 2**59)]},
        {"kernel_size": 2**40, "stride": 1, "padding": [(2**39, 2**39)]},
        {"kernel_size": 2, "stride": 1, "dilation": 2**40, "padding": [(2**39, 2**39)]},
        {"kernel_size": 2**62, "stride": 2**61, "padding": [(2**61, 2**61)]},
    ],
    ids=["kernel_2**60", "kernel_2**40", "dilation_2**40", "kernel_2**62"],
)
def test_windows_that_are_nearly_all_padding_are_refused_in_words(function: str, arguments: dict[str, Any]) -> None:
    sentence = refusal(function, **arguments)
    assert sentence is not None
    assert sentence.startswith(f"{function}: kernel_size={arguments['kernel_size']}")
    assert sentence.endswith("on axis L, whose input has 8 cells; use at most 16777216")


def test_the_longest_window_that_is_allowed_is_pooled() -> None:
    x = np.array([[[1, 5, 2, 3]]], np.float32)
    far: dict[str, Any] = {"kernel_size": 2, "stride": 2**22, "dilation": 2**24 - 1, "padding": [(2**23, 2**23)]}
    assert pooling.max_pool1d(x, **far).ravel().tolist() == [-np.inf]
    near = far | {"padding": [(2**24 - 2, 1)], "stride": 1}
    assert pooling.max_pool1d(x, **near).ravel().tolist() == [5, 2, 3, -np.inf]
    whole = pooling.max_pool1d(x, 2**24, 2**23, padding=[(2**23, 2**23)])
    assert whole.ravel().tolist() == [5]


# --- equal, but not the same ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "good", "bad"),
    [
        ("max_pool2d", {"kernel_size": 1}, {"kernel_size": True}),
        ("max_pool2d", {"kernel_size": 2}, {"kernel_size": 2.0}),
        ("max_pool2d", {"kernel_size": (1, 2)}, {"kernel_size": (True, 2)}),
        ("max_pool2d", {"kernel_size": (2, 2)}, {"kernel_size": (2.0, 2)}),
        ("max_pool2d", {"padding": 0}, {"padding": False}),
        ("max_pool2d", {"padding": ((1, 1), (0, 1))}, {"padding": ((1, 1), (0, True))}),
        ("max_pool2d", {"ceil_mode": True}, {"ceil_mode": 1}),
        ("max_pool2d", {"ceil_mode": False}, {"ceil_mode": 0}),
        ("max_pool2d", {"return_indices": True}, {"return_indices": 1}),
        ("avg_pool2d", {"count_include_pad": True}, {"count_include_pad": 1}),
        ("avg_pool2d", {"count_include_pad": False}, {"count_include_pad": 0}),
        ("avg_pool2d", {"divisor_override": 1}, {"divisor_override": True}),
        ("avg_pool2d", {"divisor_override": 1.0}, {"divisor_override": True}),
        ("avg_pool2d", {"divisor_override": 2}, {"divisor_override": 2 + 0j}),
        ("adaptive_max_pool2d", {"output_size": 1}, {"output_size": True}),
        ("adaptive_max_pool2d", {"output_size": (1, 2)}, {"output_size": (True, 2)}),
        ("adaptive_avg_pool2d", {"output_size": (None, 2)}, {"output_size": (None, 2.0)}),
    ],
)
def test_what_equals_a_good_argument_of_an_earlier_call_is_refused_all_the_same(
    function: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    for _ in range(2):
        call(function, **good)
        with pytest.raises(TypeError):
            call(function, **bad)


def test_a_very_deep_argument_does_not_end_the_process() -> None:
    deep: tuple[Any, ...] = (2,)
    for _ in range(100_000):
        deep = (deep,)
    assert sentence_of(TypeError, lambda: pooling.max_pool2d(X, deep)) == (
        f"max_pool2d: kernel_size=(((<tuple of 1 entry>,),),) {WHOLE}, not tuple; write it with whole numbers"
    )
