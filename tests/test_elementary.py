"""Power and logarithm of the kernels: how far from exact ones, and the special cases of C99."""

from __future__ import annotations

import math
import re
from decimal import Context, Decimal
from pathlib import Path

import numpy as np
import pytest

from pooling.dispatch import kernels
from tests.conftest import Array, assert_same

NAN, INF = math.nan, math.inf
EXACT = Context(prec=60, Emax=10**9, Emin=-(10**9))
PYX = Path(__file__).parent.parent / "pyx"


def power(x: Array, p: float) -> Array:
    result = np.empty_like(x)
    kernels.powers(x, result, p)
    return result


def logarithm(x: Array) -> Array:
    result = np.empty_like(x)
    kernels.logarithms(x, result)
    return result


def units(found: Array, exact: list[Decimal]) -> float:
    """Largest distance in units in the last place, which denormals have no finer ones of."""
    worst = 0.0
    for value, truth in zip(found.tolist(), exact, strict=True):
        unit = Decimal(math.ulp(float(truth)))
        worst = max(worst, float(EXACT.divide(abs(EXACT.subtract(Decimal(value), truth)), unit)))
    return worst


def bases(count: int, seed: int) -> Array:
    random = np.random.default_rng(seed)
    near = 1 + random.standard_normal(count) * 2.0 ** random.integers(-52, -1, count)
    anywhere = np.exp(random.uniform(-700, 700, count))
    usual = random.random(count) * 4
    tiny = random.integers(1, 2**52, count) * 5e-324
    edges = np.sqrt(2) * 2.0 ** random.integers(-5, 5, count) * (1 + random.integers(-3, 4, count) * 2.0**-52)
    return np.concatenate([near[near > 0], anywhere, usual, tiny, edges])


@pytest.mark.parametrize("p", [2.5, 3.0, 1 / 3, 0.5, 1e-3, -1.75, 7.0, 30.0, 1.0000001, 0.1, 123.456, -0.9])
def test_powers_are_within_eight_tenths_of_a_unit(p: float) -> None:
    x = bases(200, 1)
    exact = [EXACT.exp(EXACT.multiply(Decimal(p), EXACT.ln(Decimal(v)))) for v in x.tolist()]
    fits = np.array([Decimal("5e-324") < truth < Decimal("1.7e308") for truth in exact])
    truths = [truth for truth, fit in zip(exact, fits, strict=True) if fit]
    found = power(x[fits], p)
    normal = np.array([truth > Decimal("2.3e-308") for truth in truths])
    assert units(found[normal], [truth for truth, is_normal in zip(truths, normal, strict=True) if is_normal]) < 0.8
    # Denormal results are rounded twice.
    assert units(found, truths) < 1.1


def test_powers_near_the_ends_of_double() -> None:
    for p in (700.0, -1000.0, 44.0, 1e5, -1e9):
        ends = np.array([709.7, 700.0, 300.0, -300.0, -700.0, -708.3])
        x = np.exp(ends / p)
        exact = [EXACT.exp(EXACT.multiply(Decimal(p), EXACT.ln(Decimal(v)))) for v in x.tolist()]
        assert units(power(x, p), exact) < 0.8


def test_whole_powers_that_double_can_hold_are_exact() -> None:
    x = np.arange(1, 2000, dtype=np.float64)
    for p in (2, 3, 4):
        np.testing.assert_array_equal(power(x, p), [float(int(v) ** p) for v in x])
    np.testing.assert_array_equal(power(x * x, 0.5), x)
    np.testing.assert_array_equal(power(2.0 ** np.arange(-500.0, 500), 2.0), 2.0 ** np.arange(-1000.0, 1000, 2))


def test_powers_that_fit_no_double() -> None:
    assert power(np.array([1e200, 1e-200, 10.0, 0.1]), 2.0).tolist() == [INF, 0, 100, 0.1**2]
    assert power(np.array([2.0, 0.5, 1 + 2.0**-52, 1.0]), 1e300).tolist() == [INF, 0, INF, 1]
    assert power(np.array([2.0, 0.5, 1 + 2.0**-52, 1.0]), -1e300).tolist() == [0, INF, 0, 1]


def test_logarithms_are_within_a_half_unit_and_a_hundredth() -> None:
    x = bases(1000, 2)
    assert units(logarithm(x), [EXACT.ln(Decimal(v)) for v in x.tolist()]) < 0.51


def test_special_cases_are_those_of_c99() -> None:
    values = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1e300, -1e300, 2.0**53 + 2, INF, -INF, NAN, 5e-324]
    x = np.array(values)
    with np.errstate(all="ignore"):
        for p in values:
            # With an array of exponents NumPy asks the C library; of 0.5 alone it makes a square root.
            found, expected = power(x, p), np.power(x, np.full_like(x, p))
            special = ~np.isfinite(expected) | np.isin(expected, [0, 1, -1])
            assert_same(found[special], expected[special])
            np.testing.assert_array_equal(np.signbit(found[~np.isnan(found)]), np.signbit(expected[~np.isnan(found)]))
            np.testing.assert_allclose(found, expected, rtol=1e-15)
        assert_same(logarithm(x), np.log(x))


def test_no_kernel_calls_what_a_c_library_rounds_as_it_likes() -> None:
    """The square root is exact everywhere, and so is what rounds to whole numbers or moves bits."""
    exact = {"INFINITY", "NAN", "copysign", "fabs", "isinf", "sqrt"}
    exact |= {"floor", "floorf", "rint", "rintf", "trunc", "truncf"}
    for path in sorted(PYX.rglob("*.p*")):
        for names in re.findall(r"from libc\.math cimport \(?([^)\n]+)", path.read_text()):
            assert set(re.split(r"[,\s]+", names)) <= exact, path.name
    module = Path(kernels.__file__).read_bytes()
    imported = set(module.split(b"\0"))
    if b"__asan_init" in imported:
        pytest.skip("a build under sanitizers has the names of all that they watch")
    assert not imported & {b"pow", b"log", b"exp", b"powf", b"logf", b"expf", b"log2", b"exp2", b"fma", b"cbrt"}
