"""`pooling.torch.functional` on the samples with which PyTorch tests its own pooling."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
methods = pytest.importorskip("torch.testing._internal.common_methods_invocations")

from pooling.torch import functional as F  # noqa: E402

SAMPLES = 16
"""Of each operator and dtype, drawn at random where there are more."""
NAMES = [f"{kind}pool{n}d" for n in (1, 2, 3) for kind in ("max_", "avg_", "adaptive_max_", "adaptive_avg_", "max_un")]
NAMES += ["fractional_max_pool2d", "fractional_max_pool3d"]
OPERATORS = {
    each.name.rpartition(".")[2] + each.variant_test_name: each
    for each in methods.op_db
    if each.name.rpartition(".")[2] in NAMES and each.name.startswith("nn.functional")
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_all_poolings_of_torch_are_there() -> None:
    assert {each.name.rpartition(".")[2] for each in OPERATORS.values()} == set(NAMES)
    # Those of norms take magnitudes here, and are compared in tests of norms.
    assert all(hasattr(F, name) for name in [*NAMES, "lp_pool1d", "lp_pool2d", "lp_pool3d"])


def outcome(function: Any, sample: Any, dtype: Any, narrow: Any = None) -> tuple[tuple[Any, ...], Any]:
    x = sample.input.detach().to(dtype).requires_grad_()
    given = [
        each.to(dtype) if isinstance(each, torch.Tensor) and each.is_floating_point() else each for each in sample.args
    ]
    found = function(x, *given, **sample.kwargs)
    results = found if isinstance(found, tuple) else (found,)
    torch.manual_seed(1)
    grad = torch.randn(results[0].shape, dtype=torch.float64).to(narrow or dtype).to(dtype)
    (gradient,) = torch.autograd.grad(results[0], x, grad)
    return results, gradient


def is_comparable(name: str, sample: Any) -> bool:
    """Tell whether a sample is one that PyTorch has a rule for, too."""
    if "unpool" in name:
        # Of equal indices one element stays here, which alone has a gradient.
        return all(len(set(plane)) == len(plane) for plane in sample.args[0].flatten(0, 1).flatten(1).tolist())
    samples = sample.kwargs.get("_random_samples")
    return samples is None or bool(((samples >= 0) & (samples < 1)).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", OPERATORS)
def test_results_and_gradients_are_those_of_torch(name: str, dtype: Any) -> None:
    operator = OPERATORS[name]
    function = getattr(F, operator.name.rpartition(".")[2])
    if "fractional" in name:

        def ours(*given: Any, **keywords: Any) -> Any:
            # As the sampler does for PyTorch's.
            torch.manual_seed(42)
            return function(*given, **keywords)
    else:
        ours = function
    if dtype not in operator.dtypes:
        pytest.skip("torch does not have it")
    made = operator.sample_inputs("cpu", torch.float64 if dtype.itemsize > 2 else dtype)
    samples = [each for each in made if is_comparable(name, each)]
    assert samples or name.startswith("max_unpool")
    for sample in random.Random(0).sample(samples, min(SAMPLES, len(samples))):
        found, gradient = outcome(ours, sample, dtype)
        expected, of_torch = outcome(operator.op, sample, dtype)
        assert [each.stride() for each in found] == [each.stride() for each in expected]
        if dtype.itemsize == 2 and "fractional" not in name:
            # PyTorch sums in half precision.
            expected, of_torch = outcome(operator.op, sample, torch.float64, dtype)
        halves = {"rtol": 0.02, "atol": 0.02} if dtype.itemsize == 2 and "fractional" in name else {}
        for mine, its in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, its.to(mine.dtype))
        torch.testing.assert_close(gradient, of_torch.to(dtype), **halves)


@pytest.mark.parametrize("name", OPERATORS)
def test_what_torch_refuses_is_refused_in_a_sentence(name: str) -> None:
    operator = OPERATORS[name]
    if operator.error_inputs_func is None:
        pytest.skip("torch has no samples")
    function = getattr(F, operator.name.rpartition(".")[2])
    accepted = []
    for each in operator.error_inputs("cpu"):
        sample = each.sample_input
        try:
            function(sample.input, *sample.args, **sample.kwargs)
        except (TypeError, ValueError) as error:
            assert str(error).startswith(f"{operator.name.rpartition('.')[2]}: ")  # noqa: PT017
        else:
            accepted.append((tuple(sample.input.shape), sample.args, sample.kwargs))
    # Maps without channels are pooled to maps without channels, and padding may be more than half of a window.
    assert all(0 in shape or "padding" in keywords for shape, _, keywords in accepted), accepted
