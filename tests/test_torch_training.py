"""Training with patched networks, and beside whatever PyTorch starts: workers, processes, threads of its own."""

from __future__ import annotations

import functools
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pooling

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from pooling.torch import functional as F  # noqa: E402
from pooling.torch import patch as patch_where_worth  # noqa: E402
from pooling.torch import patched as patched_where_worth  # noqa: E402
from pooling.torch import unpatch, worth  # noqa: E402

T = torch.nn.functional
# Networks of tests are small.
patch = functools.partial(patch_where_worth, always=True)
patched = functools.partial(patched_where_worth, always=True)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Let PyTorch use one thread: where the machine is busy, its calls wait for the others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.LPPool2d(2, 2), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def volumes() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv3d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(4, 4, 3, padding=1), nn.AvgPool3d(2),
        nn.AdaptiveMaxPool3d(1), nn.Flatten(), nn.Linear(4, 4),
    )  # fmt: skip


def batch(step: int, shape: tuple[int, ...] = (8, 3, 16, 16)) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(shape, generator=generator), torch.randint(4, shape[:1], generator=generator)


def losses(
    model: nn.Module,
    steps: int = 12,
    shape: tuple[int, ...] = (8, 3, 16, 16),
    change: Callable[[Any], Any] = lambda x: x,
    autocast: bool = False,
    run: Callable[[Any, Any], Any] = lambda model, x: model(x),
) -> list[float]:
    optimiser = torch.optim.SGD(model.parameters(), 0.05)
    found = []
    for step in range(steps):
        x, wanted = batch(step, shape)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = T.cross_entropy(run(model, change(x)), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    return found


def both(make: Callable[[], nn.Module] = network, **given: Any) -> tuple[list[float], list[float]]:
    model = make()
    assert len(patch(model).replaced) >= 3
    return losses(model, **given), losses(make(), **given)


# --- the same losses -------------------------------------------------------------------------------------------------


def test_maps() -> None:
    mine, theirs = both()
    np.testing.assert_allclose(mine, theirs, rtol=1e-5)
    assert theirs[0] != theirs[-1]


def test_losses_are_equal_to_the_bit_where_poolings_are() -> None:
    def make() -> nn.Module:
        torch.manual_seed(2)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1),
            nn.MaxPool2d(2), nn.ReLU(inplace=True), nn.AdaptiveMaxPool2d(1), nn.MaxPool2d(1), nn.Flatten(),
            nn.Linear(8, 4),
        )  # fmt: skip

    mine, theirs = both(make)
    assert mine == theirs


def test_what_is_worth_it_is_computed_here_and_the_rest_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> nn.Module:
        torch.manual_seed(2)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 4, 3, padding=1),
            nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4),
        )  # fmt: skip

    shapes = []
    pool = F.pool

    def seen(name: str, input: Any, *rest: Any) -> Any:
        shapes.append(tuple(input.shape))
        return pool(name, input, *rest)

    monkeypatch.setattr(F, "pool", seen)
    monkeypatch.setitem(worth.LEAST, "max_pool2d", (100_000, 100_000, None, None))
    model = make()
    report = patch_where_worth(model)
    assert [each.name for each in report.replaced] == ["2", "4"]
    assert [each.name for each in report.left] == ["5"]
    mine = losses(model, 3, (8, 3, 32, 32))
    assert shapes == [(8, 16, 32, 32)] * 3
    np.testing.assert_allclose(mine, losses(make(), 3, (8, 3, 32, 32)), rtol=1e-5)


def test_volumes() -> None:
    mine, theirs = both(volumes, shape=(4, 3, 8, 8, 8))
    np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_channels_last() -> None:
    def last(x: Any) -> Any:
        return x.to(memory_format=torch.channels_last)

    mine, theirs = both(lambda: network().to(memory_format=torch.channels_last), change=last)
    np.testing.assert_allclose(mine, theirs, rtol=1e-5)


@pytest.mark.parametrize(("make", "shape"), [(network, (8, 3, 16, 16)), (volumes, (4, 3, 8, 8, 8))])
def test_autocast(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    mine, theirs = both(make, shape=shape, autocast=True)
    np.testing.assert_allclose(mine, theirs, rtol=0.02)  # bfloat16 has 8 bits


def test_double_precision_is_equal_to_the_last_digits() -> None:
    mine, theirs = both(lambda: network().double(), change=lambda x: x.double())
    np.testing.assert_allclose(mine, theirs, rtol=1e-13)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpoints(reentrant: bool) -> None:
    def run(model: Any, x: Any) -> Any:
        x = checkpoint(model[:7], x.requires_grad_(), use_reentrant=reentrant)
        return model[7:](x)

    mine, theirs = both(run=run)
    np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_checkpoints_of_functional_calls() -> None:
    # The block is over when the checkpoint is computed again, by PyTorch: both give the same.
    x = torch.randn(2, 3, 9, 9, requires_grad=True)
    with patched():
        y = checkpoint(lambda x: T.max_pool2d(x * 2, 3, 2, 1), x, use_reentrant=False)
    (found,) = torch.autograd.grad(y.sum(), x)
    (expected,) = torch.autograd.grad(T.max_pool2d(x * 2, 3, 2, 1).sum(), x)
    assert torch.equal(found, expected)


def test_patched_and_unpatched_in_the_middle_of_training() -> None:
    model = network()
    first = losses(model, 6)
    patch(model)
    second = losses(model, 6)
    unpatch(model)
    other = network()
    np.testing.assert_allclose(first + second, losses(other, 6) + losses(other, 6), rtol=1e-5)


def test_a_patched_network_under_the_compiler() -> None:
    torch._dynamo.reset()

    def compiled() -> Any:
        model = network()
        patch(model)
        return torch.compile(model, backend="aot_eager", fullgraph=True)

    np.testing.assert_allclose(losses(compiled(), 4), losses(network(), 4), rtol=1e-5)


# --- threads ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch_threads() -> Any:
    before = torch.get_num_threads(), pooling.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before[0])
    pooling.set_num_threads(before[1])


def test_the_threads_are_the_fewest_of_both(torch_threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pooling.torch.team import limited

    function = limited(pooling.get_num_threads)
    for ours, theirs, expected in ((4, 3, 3), (2, 3, 2), (4, 1, 1), (1, 4, 1)):
        pooling.set_num_threads(ours)
        torch_threads(theirs)
        assert function() == expected
        assert pooling.get_num_threads() == ours
        with pooling.threads(2):
            assert function() == min(2, theirs)


def test_no_thread_is_started_where_pytorch_has_one() -> None:
    code = """
        import os
        import torch, pooling
        from pooling import _core
        from pooling.torch import functional as F
        pooling.set_num_threads(4)
        torch.set_num_threads(1)
        x = torch.randn(8, 64, 56, 56, requires_grad=True)
        for name in ("max_pool2d", "avg_pool2d"):
            y = getattr(F, name)(x, 3, 2, 1)
            y.sum().backward()
        alone = len(os.listdir("/proc/self/task"))
        torch.set_num_threads(2)
        F.max_pool2d(x, 3, 2, 1)
        print(alone, len(os.listdir("/proc/self/task")) - alone)
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("threads are counted in /proc")
    alone, more = map(int, run_alone(code).split())
    assert more >= (pooling._core.THREADING == "team")
    # Threads of the interpreter, and those that the import of torch starts.
    assert alone == int(run_alone("import os, torch\ntorch.set_num_threads(1)\nx = torch.randn(9)\n"
                                  "print(len(os.listdir('/proc/self/task')))"))  # fmt: skip


def run_alone(code: str, timeout: int = 120) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_several_threads_of_python_train_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    # Made one after another: they draw from one generator.
    models = [network() for _ in range(4)]
    for model in models:
        patch(model)
    with ThreadPoolExecutor(4) as executor:
        found = list(executor.map(lambda model: losses(model, 5), models))
    expected = losses(network(), 5)
    for each in found:
        np.testing.assert_allclose(each, expected, rtol=1e-5)


# --- processes -------------------------------------------------------------------------------------------------------


WORKERS = """
    import sys
    import torch, pooling
    from torch.utils.data import DataLoader, Dataset
    from pooling.torch import functional as F

    class Pooled(Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, index):
            x = torch.full((16, 64, 64), float(index)).requires_grad_()
            y = F.max_pool2d(x, 3, 2, 1)
            (grad,) = torch.autograd.grad(y.sum(), x)
            return y.detach().amax(), grad.sum(), torch.get_num_threads()

    def expected():
        return [(float(index), 16.0 * 32 * 32) for index in range(8)]

    if __name__ == "__main__":
        # The team of this process is at work before the workers are forked.
        before = F.max_pool2d(torch.randn(8, 64, 56, 56), 3, 2, 1)
        assert before.shape == (8, 64, 28, 28)
        torch.randn(300, 300) @ torch.randn(300, 300)
        loader = DataLoader(
            Pooled(), batch_size=2, num_workers=2, multiprocessing_context=sys.argv[1], persistent_workers=True
        )
        for _ in range(2):
            found = [pair for a, b, threads in loader for pair in zip(a.tolist(), b.tolist())]
            assert found == expected(), found
        assert F.max_pool2d(torch.randn(8, 64, 56, 56), 3, 2, 1).shape == (8, 64, 28, 28)
        print("all right")
"""


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_data_loader(start: str, tmp_path: Any) -> None:
    if start == "fork" and not hasattr(__import__("os"), "fork"):
        pytest.skip("no fork here")
    run_file(tmp_path, WORKERS, start)


def run_file(folder: Any, code: str, *arguments: str) -> None:
    path = folder / "program.py"
    path.write_text(textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, str(path), *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "all right"


PROCESSES = """
    import sys
    import torch
    import torch.multiprocessing as mp
    from torch import nn
    from pooling.torch import functional as F, patch

    def work(rank, model, shared, queue, start):
        if start == "fork":
            # GNU's OpenMP, which PyTorch has, starts no threads in a child that was forked from a process with some.
            torch.set_num_threads(1)
        x = torch.arange(2.0 * 3 * 16 * 16).reshape(2, 3, 16, 16).sin()
        loss = model(x).square().sum()
        loss.backward()
        with torch.no_grad():
            shared += F.max_pool2d(x, 16).flatten()[0]  # in memory of all processes
        queue.put((rank, loss.item()))

    if __name__ == "__main__":
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1))
        F.max_pool2d(torch.randn(8, 64, 56, 56), 3, 2, 1)
        x = torch.arange(2.0 * 3 * 16 * 16).reshape(2, 3, 16, 16).sin()
        expected = model(x).square().sum().item()
        patch(model, always=True)
        model.share_memory()
        context = mp.get_context(sys.argv[1])
        shared, queue = torch.zeros(1).share_memory_(), context.SimpleQueue()
        started = [context.Process(target=work, args=(rank, model, shared, queue, sys.argv[1])) for rank in range(2)]
        for each in started:
            each.start()
            each.join()
        found = sorted(queue.get() for _ in started)
        assert [rank for rank, _ in found] == [0, 1]
        assert all(abs(loss - expected) < 1e-5 for _, loss in found), (found, expected)
        assert shared.item() > 1.9, shared
        print("all right")
"""


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_of_pytorch(start: str, tmp_path: Any) -> None:
    if start == "fork" and not hasattr(__import__("os"), "fork"):
        pytest.skip("no fork here")
    run_file(tmp_path, PROCESSES, start)


DISTRIBUTED = """
    import os
    import sys
    import torch
    import torch.distributed as dist
    import torch.multiprocessing as mp
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel
    from pooling.torch import patch

    def make():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
            nn.Linear(4, 2),
        )

    def steps(model, parts):
        optimiser = torch.optim.SGD(model.parameters(), 0.1)
        for step in range(4):
            x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(step))
            optimiser.zero_grad()
            # The mean of the processes' means is the mean of the batch.
            model(x[parts]).square().mean().backward()
            optimiser.step()

    def work(rank, address, results):
        torch.set_num_threads(1)
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
        model = make()
        patch(model, always=True)
        parallel = DistributedDataParallel(model)
        steps(parallel, slice(2 * rank, 2 * rank + 2))
        assert patch(parallel, always=True).before == 3
        torch.save(model.state_dict(), os.path.join(results, str(rank)))
        dist.destroy_process_group()

    if __name__ == "__main__":
        folder = sys.argv[1]
        mp.spawn(work, args=(f"file://{folder}/meeting", folder), nprocs=2)
        expected = make()
        steps(expected, slice(0, 4))
        for rank in range(2):
            for name, value in torch.load(os.path.join(folder, str(rank))).items():
                torch.testing.assert_close(value, expected.state_dict()[name], rtol=1e-5, atol=1e-6)
        print("all right")
"""


def test_two_processes_that_train_one_network(tmp_path: Any) -> None:
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    run_file(tmp_path, DISTRIBUTED, str(tmp_path))


def test_gradients_go_on_where_a_forked_child_begins(tmp_path: Any) -> None:
    # The graph was made in the parent; its gradient is computed in a child, whose team is its own.
    if not hasattr(__import__("os"), "fork"):
        pytest.skip("no fork here")
    code = """
        import os
        import torch
        from pooling.torch import functional as F
        x = torch.randn(4, 64, 56, 56, requires_grad=True)
        y = F.avg_pool2d(F.max_pool2d(x, 3, 2, 1), 2).sum()
        child = os.fork()
        torch.set_num_threads(1)
        (grad,) = torch.autograd.grad(y, x, retain_graph=True)
        if not child:
            os._exit(int(abs(grad.sum().item() - 4 * 64 * 14 * 14) > 1))
        assert os.waitpid(child, 0)[1] == 0
        print("all right")
    """
    run_file(tmp_path, code)


INTERRUPTED = """
    import os
    import signal
    import sys
    import threading
    import time
    import torch
    from torch import nn
    from pooling.torch import patch, unpatch

    model = nn.Sequential(nn.AvgPool2d(31, 1, 15), nn.MaxPool2d(31, 1, 15))
    patch(model, always=True)
    torch.set_num_threads(2)
    x = torch.randn(4, 16, 256, 256, requires_grad=True)
    y = model(x)  # threads are there, and so is a graph

    def work():
        if sys.argv[1] == "forward":
            return model(x)
        return torch.autograd.grad(y.sum(), x, retain_graph=True)

    for _ in range(3):
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        begin = time.monotonic()
        try:
            while time.monotonic() < begin + 60:
                work()
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("it was not interrupted")
    small = torch.randn(1, 2, 40, 40, requires_grad=True)
    found = model(small)
    (grad,) = torch.autograd.grad(found.sum(), small)
    assert unpatch(model) == 2
    expected = model(small)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(grad, torch.autograd.grad(expected.sum(), small)[0])
    print("all right")
"""


@pytest.mark.parametrize("what", ["forward", "gradient"])
def test_training_can_be_interrupted_and_goes_on(what: str, tmp_path: Any) -> None:
    run_file(tmp_path, INTERRUPTED, what)
