"""What a call is remembered by: plain values that nobody can change, each argument read once."""

from __future__ import annotations

import enum
import pickle
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import _core
from pooling.arguments import plain

X = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
GRAD = {2: np.ones((1, 2, 2, 2), np.float32), 1: np.ones((1, 2, 4, 4), np.float32)}


class Changing:
    """An integer that may change its mind, and says that it equals everything."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 2


class LyingInt(int):
    """A subclass of int whose hash and equality are those of 2."""

    def __eq__(self, other: object) -> bool:
        return other == 2

    def __hash__(self) -> int:
        return hash(2)


class LyingWord(str):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("channels_first")


class Kernel(enum.IntEnum):
    ONE = 1
    TWO = 2


class Order(enum.StrEnum):
    LAST = "channels_last"


Pair = namedtuple("Pair", "height width")


def sizes(kernel: Any) -> tuple[int, ...]:
    """The spatial sizes that come of a kernel, the same forward, with indices, in a norm and backward."""
    result = pooling.max_pool2d(X, kernel)
    assert pooling.max_pool2d(X, kernel, return_indices=True)[1].shape == result.shape
    assert pooling.lp_pool2d(X, 2, kernel).shape == result.shape
    assert pooling.avg_pool2d_backward(np.ones_like(result), X, kernel).shape == X.shape
    return result.shape[2:]


@pytest.mark.parametrize("wrap", [lambda k: k, lambda k: (k, k), lambda k: [k, k], lambda k: Pair(k, k)])
def test_an_object_is_asked_anew_each_time(wrap: Any) -> None:
    kernel = Changing(2)
    argument = wrap(kernel)
    assert sizes(argument) == (2, 2)
    kernel.value = 1
    assert sizes(argument) == (4, 4)
    kernel.value = 2
    assert sizes(argument) == (2, 2)


def test_sequences_and_arrays_are_asked_anew_each_time() -> None:
    kernel, array, scalar = [2, 2], np.array([2, 2]), np.array(2)
    nested = [[1, 1], [1, 1]]
    assert sizes(kernel) == sizes(array) == sizes(scalar) == (2, 2)
    assert pooling.max_pool2d(X, 3, 1, nested).shape == (1, 2, 4, 4)
    kernel[0] = array[0] = 1
    scalar[...] = 1
    nested[0][0] = 0
    assert sizes(kernel) == sizes(array) == (4, 2)
    assert sizes(scalar) == (4, 4)
    assert pooling.max_pool2d(X, 3, 1, nested).shape == (1, 2, 3, 4)  # type: ignore[arg-type]


def test_an_object_is_asked_once_in_a_call() -> None:
    class Counting:
        def __init__(self) -> None:
            self.asked = 0

        def __index__(self) -> int:
            self.asked += 1
            return 2 if self.asked == 1 else 10**6

    assert pooling.max_pool2d(X, Counting()).shape == (1, 2, 2, 2)  # type: ignore[call-overload]
    assert pooling.max_pool2d(X, (Counting(), Counting())).shape == (1, 2, 2, 2)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "good", [(1, 2), Pair(1, 2), [1, 2], np.array([1, 2]), (np.int64(1), 2), (Kernel.ONE, Kernel.TWO)]
)
def test_what_equals_a_good_argument_is_not_taken_for_it(good: Any) -> None:
    assert sizes(good) == (4, 2)
    for bad in ((True, 2), Pair(True, 2), [True, 2], (1.0, 2), Pair(1.0, 2), np.array([1.0, 2]), (np.True_, 2)):
        with pytest.raises(TypeError) as error:
            pooling.max_pool2d(X, bad)
        assert f"kernel_size={bad!r}" in str(error.value)
    for flag in (1, 0, 1.0, None):
        pooling.max_pool2d(X, good, ceil_mode=True)
        pooling.max_pool2d(X, good, ceil_mode=False)
        with pytest.raises(TypeError):
            pooling.max_pool2d(X, good, ceil_mode=flag)  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            pooling.max_pool2d(X, good, ceil_mode=Changing(1))  # type: ignore[call-overload]


def test_hashes_and_equality_that_lie_change_nothing() -> None:
    assert sizes(2) == (2, 2)
    assert sizes(LyingInt(1)) == sizes((LyingInt(1), LyingInt(1))) == (4, 4)
    last = np.ascontiguousarray(np.moveaxis(X, 1, -1))
    assert pooling.max_pool2d(last, 2).shape == (1, 4, 2, 1)
    for word in (LyingWord("channels_last"), Order.LAST, np.str_("channels_last")):
        assert pooling.max_pool2d(last, 2, layout=word).shape == (1, 2, 2, 2)  # type: ignore[call-overload]
    with pytest.raises(ValueError):
        pooling.max_pool2d(last, 2, layout=LyingWord("channels"))  # type: ignore[call-overload]


def test_numbers_of_every_kind_mean_what_they_equal() -> None:
    for kind in (np.int8, np.uint8, np.int32, np.uint64, np.int64, Kernel, LyingInt):
        assert sizes(kind(2)) == (2, 2)
        assert sizes(kind(1)) == (4, 4)
    expected = pooling.avg_pool2d(X, 2, divisor_override=2)
    for divisor in (2.0, np.float32(2), np.float64(2), np.int64(2), np.float16(2)):
        np.testing.assert_array_equal(pooling.avg_pool2d(X, 2, divisor_override=divisor), expected)  # type: ignore[arg-type]
    for divisor in (np.nan, 0.0, -0.0, 0, np.float32("nan")):
        for _ in range(2):
            with pytest.raises(ValueError):
                pooling.avg_pool2d(X, 2, divisor_override=divisor)  # type: ignore[arg-type]
    for divisor in (True, np.True_, "2", (2.0,)):
        with pytest.raises(TypeError):
            pooling.avg_pool2d(X, 2, divisor_override=divisor)  # type: ignore[arg-type]


def test_keys_are_made_of_plain_values_only() -> None:
    def key(*arguments: Any) -> Any:
        return _core.signature("max_pool2d", X, arguments)

    for value in (Changing(2), LyingInt(2), LyingWord("a"), Kernel.TWO, Pair(1, 2), np.array([1, 2]), np.array(2), 1j):
        for argument in (value, (value, 1), [1, value], ((value,),)):
            with pytest.raises(TypeError):
                key(argument)
    with pytest.raises(TypeError):
        key((((1,),),))
    distinct = [2, 2.0, True, 1, 1.0, "1", None, (1,), (True,), (1.0,), ((1,),), (None,), (), ("1",)]
    assert len({key(value) for value in distinct}) == len(distinct)
    assert key([1, 2], np.int64(3)) == key((1, 2), 3)


def test_plain_reads_an_argument_once() -> None:
    class Sequence(list):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 10**9

    assert plain(Sequence([Kernel.TWO, np.int8(3)])) == (2, 3)
    assert type(plain(Kernel.TWO)) is int
    assert type(plain(Order.LAST)) is str
    assert type(plain(np.float64(0.5))) is float
    assert plain(np.True_) is True
    deep: list[Any] = []
    deep.append(deep)
    assert isinstance(plain(deep), tuple)
    with pytest.raises(TypeError):
        pooling.max_pool2d(X, deep)


@pytest.mark.parametrize(
    "other",
    [
        lambda array: pickle.loads(pickle.dumps(array)),
        lambda array: array.astype(np.longlong),
        lambda array: array.view(np.dtype(np.int64, metadata={"from": "elsewhere"})),
    ],
    ids=["unpickled", "longlong", "metadata"],
)
def test_a_dtype_may_be_another_object_than_that_of_numpy(other: Any) -> None:
    pooled, indices = pooling.max_pool2d(X, 2, return_indices=True)
    expected = pooling.max_pool2d_backward(GRAD[2], X, 2, indices=indices)
    given = other(indices)
    assert given.dtype == np.int64
    assert given.dtype is not indices.dtype
    for _ in range(2):
        np.testing.assert_array_equal(pooling.max_pool2d_backward(GRAD[2], X, 2, indices=given), expected)
        np.testing.assert_array_equal(pooling.max_unpool2d(pooled, given, 2), pooling.max_unpool2d(pooled, indices, 2))
        bad = given.copy()
        bad[0, 1, 1, 0] = 16
        with pytest.raises(ValueError, match=r"indices\[0, 1, 1, 0\] is 16"):
            pooling.max_pool2d_backward(GRAD[2], X, 2, indices=bad)


def test_arrays_that_were_unpickled_are_pooled_like_others() -> None:
    x, gradient, out = (pickle.loads(pickle.dumps(each)) for each in (X, GRAD[2], np.empty_like(X)))
    assert x.dtype is not X.dtype
    for _ in range(2):
        np.testing.assert_array_equal(pooling.max_pool2d(x, 2), pooling.max_pool2d(X, 2))
        for name in ("max_pool2d_backward", "avg_pool2d_backward"):
            backward = getattr(pooling, name)
            assert backward(gradient, x, 2, out=out) is out
            np.testing.assert_array_equal(out, backward(GRAD[2], X, 2))
