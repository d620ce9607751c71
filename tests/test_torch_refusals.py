"""Wrong arguments where nothing is computed: of tensors without data, and in compiled functions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

from pooling.torch import functional as F  # noqa: E402
from pooling.torch.operators import FUNCTIONS  # noqa: E402

GOOD: dict[str, Any] = {"kernel_size": 2, "output_size": 3, "norm_type": 3.0}
WRONG: dict[str, tuple[Any, ...]] = {
    "kernel_size": (0, -1, 9, (2, 2, 2, 2), 2.5),
    "stride": (0, -1),
    "padding": (1, 2, 5, -1, "sam", (1, 2, 3, 4, 5)),
    "dilation": (0, 8, 2**62),
    "ceil_mode": (True,),
    "count_include_pad": (False,),
    "output_size": (0, -1, 20),
    "norm_type": (0, -1.0, math.nan, math.inf),
    "p": (0, -1.0, math.nan, math.inf),
    "eps": (-1.0, math.nan, 0.0),
    "divisor_override": (0, math.nan, -2, math.inf),
    "nan": ("skip", "ignore"),
    "padding_mode": ("wrap", "zeros", "replicate"),
}
"""Values of which some are refused: which, the CPU tells."""
DTYPES = (torch.float16, torch.float64, torch.int32, torch.uint8, torch.bool, torch.complex64)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def outcome(call: Callable[[], Any]) -> tuple[Any, ...]:
    """Return what a call gives, without its elements: shapes and dtypes, or the kind of its error."""
    try:
        found = call()
    except (TypeError, ValueError) as error:
        return (type(error).__name__,)
    results = found if isinstance(found, tuple) else (found,)
    return tuple((tuple(each.shape), each.dtype) for each in results)


def same(call: Callable[[Any], Any], x: Any) -> tuple[Any, ...]:
    """Check that a call of a tensor of the CPU ends as that of one without data, and return how."""
    expected = outcome(lambda: call(x))
    assert outcome(lambda: call(x.to("meta"))) == expected
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(x)
        assert outcome(lambda: call(fake)) == expected
    return expected


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_are_refused_without_data_too(name: str) -> None:
    function = FUNCTIONS[name]
    n = function.dimensions or 2
    good = {each: GOOD[each] for each in function.names if each in GOOD}
    ends = []
    for shape in ((2, 3, *[8] * n), (3, *[8] * n) if function.dimensions else (2, 3, *[8] * n), (2, 3, *[1] * n)):
        for argument in function.names:
            for value in WRONG[argument]:
                given = {**good, argument: value}
                ends.append(same(lambda x, given=given: getattr(F, name)(x, **given), torch.ones(shape)))
                if function.operator.indices:
                    call = {**given, "return_indices": True}
                    ends.append(same(lambda x, call=call: getattr(F, name)(x, **call), torch.ones(shape)))
    tensors = [torch.ones((2, 3, *[8] * n)).to(dtype) for dtype in DTYPES]
    tensors += [torch.ones(shape) for shape in ((8,), (1, 1, 2, 3, *[8] * n))]
    ends += [same(lambda x: getattr(F, name)(x, **good), x) for x in tensors]
    kinds = [each[0] for each in ends]
    assert "ValueError" in kinds
    assert "TypeError" in kinds
    assert any(isinstance(each, tuple) for each in kinds)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_unpooling_is_refused_without_data_too(n: int) -> None:
    x, size = torch.rand(2, 3, *[4] * n), [8] * n
    good = torch.zeros(x.shape, dtype=torch.int64)
    ends = []
    for indices in (good, good.float(), good.int(), good[:1], good[..., :2], good[0]):
        for output_size in (None, size, [1] * n, [0] * n, [8] * (n + 3)):

            def call(each: Any, indices: Any = indices, output_size: Any = output_size) -> Any:
                places = indices.to("meta") if each.is_meta else indices
                return getattr(F, f"max_unpool{n}d")(each, places, 2, output_size=output_size)

            expected = outcome(lambda: call(x))
            assert outcome(lambda: call(x.to("meta"))) == expected, (indices.shape, indices.dtype, output_size)
            ends.append(expected)
    assert {len(each) and each[0] for each in ends} > {"ValueError", "TypeError"}


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("lead", [(2, 3), (3,)])
def test_random_windows_are_refused_without_data_too(n: int, lead: tuple[int, ...]) -> None:
    x = torch.rand(*lead, *[8] * n)
    batch = lead if len(lead) == 2 else (1, *lead)
    ends = []
    for shape in ((*batch, n), (*batch, n + 1), (5, 3, n), (*batch,)):
        for size in (3, 7, 8, 0, 20):
            samples = torch.full(shape, 0.5)

            def call(each: Any, samples: Any = samples, size: int = size) -> Any:
                drawn = samples.to("meta") if each.is_meta else samples
                return getattr(F, f"fractional_max_pool{n}d")(each, 2, output_size=size, _random_samples=drawn)

            expected = outcome(lambda: call(x))
            assert outcome(lambda: call(x.to("meta"))) == expected, (shape, size)
            ends.append(expected[0])
    assert "ValueError" in ends
    assert any(isinstance(each, tuple) for each in ends)


def test_gradients_are_refused_without_data_too() -> None:
    x = torch.rand(2, 3, 8, 8)
    good = [[2, 2], [2, 2], [0, 0, 0, 0], [1, 1], False, "propagate"]
    call = torch.ops.pooling.max_pool2d_backward.default
    indices = F.max_pool2d(x, 2, return_indices=True)[1]
    for grad, places in (
        (torch.ones(2, 3, 4, 4), indices),
        (torch.ones(2, 3, 4, 4), None),
        (torch.ones(2, 3, 4, 5), indices),
        (torch.ones(1, 3, 4, 4), indices),
        (torch.ones(2, 3, 4, 4).double(), indices),
        (torch.ones(2, 3, 4, 4), indices.float()),
        (torch.ones(2, 3, 4, 4), indices[:, :2]),
    ):
        expected = outcome(lambda grad=grad, places=places: call(grad, x, places, *good))
        meta = [None if each is None else each.to("meta") for each in (grad, x, places)]
        assert outcome(lambda meta=meta: call(*meta, *good)) == expected, (grad.shape, places is None)


def test_large_tensors_without_data_take_no_memory() -> None:
    x = torch.empty(2**20, 2**10, 512, 512, device="meta", requires_grad=True)
    F.max_pool2d(x, 3, 2, 1).sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape


COMPILED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "padding": (lambda x: F.max_pool2d(x, 2, padding=5), "max_pool2d: padding="),
    "kernel": (lambda x: F.avg_pool2d(x, 0), "avg_pool2d: kernel_size=0 must be at least 1"),
    "window": (lambda x: F.max_pool2d(x, 9), "max_pool2d: "),
    "word": (lambda x: F.max_pool2d(x, 2, nan="skip"), "max_pool2d: nan='skip'"),
    "divisor": (lambda x: F.avg_pool2d(x, 2, divisor_override=0), "avg_pool2d: divisor_override=0"),
    "power": (lambda x: F.lp_pool2d(x, -1.0, 2), "lp_pool2d: norm_type=-1.0"),
    "kind": (lambda x: F.max_pool2d(x, "2"), "max_pool2d: kernel_size='2'"),  # type: ignore[arg-type]
    "sizes": (lambda x: F.adaptive_avg_pool2d(x, (0, 3)), "adaptive_avg_pool2d: output_size="),
    "axes": (lambda x: F.max_pool3d(x[0, 0], 2), "max_pool3d: input "),
    "pairs": (lambda x: F.max_pool2d(x, 2, padding=[(1, 1, 1), (0, 0)]), "max_pool2d: padding="),  # type: ignore[list-item]
    "unpooling": (lambda x: F.max_unpool2d(x, x.long(), 0), "max_unpool2d: kernel_size=0"),
    "fractions": (lambda x: F.fractional_max_pool2d(x, 2, output_size=9), "fractional_max_pool2d: "),
}


@pytest.mark.parametrize("what", COMPILED)
def test_the_compiler_says_what_is_wrong(what: str) -> None:
    net, sentence = COMPILED[what]
    x = torch.rand(1, 2, 8, 8)
    with pytest.raises((TypeError, ValueError)) as eager:
        net(x)
    assert str(eager.value).startswith(sentence)
    with pytest.raises(Exception) as caught:
        torch.compile(net, fullgraph=True, backend="eager")(x)
    assert sentence in str(caught.value)
