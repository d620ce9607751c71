"""What exports are made of, beside the operators themselves: values and indices, and in other runtimes."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import pooling.torch  # noqa: E402
from pooling.torch import functional as F  # noqa: E402
from pooling.torch.operators import FUNCTIONS, UNPOOLING, Function  # noqa: E402

TABLE = pooling.torch.decompositions()
CHOICES: dict[str, list[Any]] = {
    "ceil_mode": [False, True],
    "count_include_pad": [True, False],
    "divisor_override": [None, 5.0],
    "norm_type": [2.0, 3.5, float("inf")],
    "p": [2.0, 3.5],
    "eps": [0.25],
    "nan": ["propagate", "ignore"],
    "padding_mode": ["reflect", "replicate", "zeros"],
}


def cases(function: Function) -> list[list[Any]]:
    n = function.dimensions or 2
    choices = CHOICES | {
        "kernel_size": [[3] * n, [2, 4, 3][:n]],
        "stride": [[2] * n],
        "padding": [[0] * 2 * n, [1] * 2 * n, [1, 0] * n],
        "dilation": [[1] * n, [2] * n],
        "output_size": [[1] * n, [4] * n, [-1] * n],
    }
    every = [list(each) for each in itertools.product(*(choices[name] for name in function.names))]
    return random.Random(0).sample(every, min(len(every), 24))


def tensor(function: Function, seed: int) -> Any:
    torch.manual_seed(seed)
    return torch.randn(2, 3, *[9, 10, 11][: function.dimensions or 2], dtype=torch.float64)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_results_are_those_of_the_operator(function: Function) -> None:
    done = 0
    for seed, arguments in enumerate(cases(function)):
        x = tensor(function, seed)
        if "ignore" in arguments:
            x.masked_fill_(torch.rand_like(x) < 0.4, float("nan"))
        try:
            expected = function.pool(x, *arguments)
        except ValueError:
            continue  # padding that no function takes
        found = TABLE[function.pool](x, *arguments)
        torch.testing.assert_close(found, expected, equal_nan=True)
        done += 1
    assert done >= min(3, len(cases(function)))


@pytest.mark.parametrize(
    "function", [each for each in FUNCTIONS.values() if each.operator.indices], ids=lambda f: f.name
)
def test_indices_are_those_of_the_operator(function: Function) -> None:
    done = 0
    for seed, arguments in enumerate(cases(function)):
        x = tensor(function, seed)
        try:
            expected = function.pool_with_indices(x, *arguments)
        except ValueError:
            continue
        try:
            found = TABLE[function.pool_with_indices](x, *arguments)
        except ValueError as error:
            assert "has no equivalent in operators of PyTorch" in str(error)  # noqa: PT017
            assert function.operator.windows == "adaptive" or "ignore" in arguments
            continue
        torch.testing.assert_close(found, expected)
        done += 1
    assert done or function.operator.windows == "adaptive"


@pytest.mark.parametrize("name", UNPOOLING)
def test_unpooling(name: str) -> None:
    n = UNPOOLING[name]
    x = torch.randn(2, 3, *[6] * n)
    values, indices = getattr(F, f"max_pool{n}d")(x, 2, return_indices=True)
    operator = getattr(torch.ops.pooling, name).default
    assert torch.equal(TABLE[operator](values, indices, [6] * n), operator(values, indices, [6] * n))


# --- in other runtimes -----------------------------------------------------------------------------------------------


class Net(torch.nn.Module):
    """Every family, with what only `pooling` has."""

    def forward(self, x: Any) -> Any:
        values, indices = F.max_pool2d(x, 2, return_indices=True)
        x = F.max_unpool2d(values, indices, 2)
        x = F.max_pool2d(x, 3, 2, padding="same") + F.min_pool2d(x, 3, 2, 1)
        x = F.avg_pool2d(x, 2, 1, [(0, 1), (1, 0)], count_include_pad=False) + F.avg_pool2d(x, 3, 1, 1)
        x = F.blur_pool2d(x, stride=1) + F.lp_pool2d(x, 3, 3, 1, padding=1)
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        return F.adaptive_max_pool2d(x, 1).flatten(1) + F.gem_pool2d(x).flatten(1) + F.global_avg_pool(x).flatten(1)


@pytest.mark.parametrize("open_sizes", [False, True])
def test_exported_to_onnx_in_standard_operators(open_sizes: bool) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    x = torch.rand(2, 3, 20, 24)
    sizes = ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},) if open_sizes else None
    program = torch.onnx.export(Net().eval(), (x,), dynamo=True, verbose=False, dynamic_shapes=sizes)
    assert {node.domain for node in program.model.graph} == {""}
    assert not program.model.functions
    session = runtime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for each in [x, torch.rand(2, 3, 26, 18)] if open_sizes else [x]:
        (found,) = session.run(None, {session.get_inputs()[0].name: each.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), Net()(each))


SEARCHES: dict[str, tuple[int, Any]] = {
    "ceil_mode": (2, lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True, return_indices=True)),
    "ceil_mode and padding": (2, lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True, return_indices=True)),
    "padding that differs at the ends": (2, lambda x: F.max_pool2d(x, 3, 2, [(0, 1), (1, 0)], return_indices=True)),
    "same": (2, lambda x: F.min_pool2d(x, 3, 2, "same", return_indices=True)),
    "one axis": (1, lambda x: F.max_pool1d(x, 3, 2, ceil_mode=True, return_indices=True)),
    "three axes": (3, lambda x: F.max_pool3d(x, 3, 2, ceil_mode=True, return_indices=True)),
}


@pytest.mark.parametrize("what", SEARCHES)
def test_indices_of_windows_beyond_the_map_are_exported_with_open_sizes(what: str) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    n, search = SEARCHES[what]

    class Search(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return search(x)

    sizes = ({2 + axis: torch.export.Dim.DYNAMIC for axis in range(n)},)
    program = torch.onnx.export(
        Search(), (torch.rand(1, 2, *[9] * n),), dynamo=True, verbose=False, dynamic_shapes=sizes
    )
    session = runtime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for size in (9, 10, 12):
        x = torch.randn(1, 2, *[size + axis for axis in range(n)])
        values, indices = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        expected = search(x)
        assert torch.equal(torch.from_numpy(values), expected[0])
        assert torch.equal(torch.from_numpy(indices), expected[1])


def test_an_exported_program_has_operators_of_torch_alone() -> None:
    x = torch.rand(2, 3, 20, 24)
    program = torch.export.export(Net(), (x,))
    assert any("pooling." in str(node.target) for node in program.graph.nodes)
    program = program.run_decompositions(TABLE)
    assert not any("pooling." in str(node.target) for node in program.graph.nodes)
    torch.testing.assert_close(program.module()(x), Net()(x))


def test_windows_that_depend_on_an_open_size_are_refused() -> None:
    class Adaptive(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return F.adaptive_avg_pool2d(x, 5)

    program = torch.export.export(
        Adaptive(), (torch.rand(1, 2, 9, 9),), dynamic_shapes=({2: torch.export.Dim.DYNAMIC},)
    )
    with pytest.raises(Exception, match="windows that depend on a size of the input that is open"):
        program.run_decompositions(TABLE)
