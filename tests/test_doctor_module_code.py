"""What the code of modules does beside layers: values, cards, threads, scripts, state, hooks. Against torch itself."""

import copy
import json
import random
import threading

import numpy as np
import pytest

from pooling import cli
from pooling.doctor import NetworkError, examine, read

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
flop_counter = pytest.importorskip("torch.utils.flop_counter")

SHAPE = (1, 3, 32, 32)


class Two(nn.Module):
    """Two convolutions, and what a function makes of them."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        self.c = nn.Conv2d(3, 8, 3, padding=1)
        self.d = nn.Conv2d(8, 8, 3, padding=1)
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def truth(module):
    """Run a module for real: its results, and its multiply-adds."""
    module = copy.deepcopy(module).eval()
    with torch.no_grad(), flop_counter.FlopCounterMode(display=False) as counter:
        result = module(torch.zeros(SHAPE))
    return [tuple(each.shape) for each in torch.utils._pytree.tree_leaves(result)], counter.get_total_flops() // 2


def check(module):
    """Compare results, multiply-adds and parameters with those of torch."""
    network = read(module, SHAPE)
    shapes, macs = truth(module)
    assert [network.stage(name).output_shape for name in network.outputs] == shapes
    assert network.macs == macs
    assert network.parameters == sum(each.numel() for each in module.parameters())
    assert network.complete
    return network


# ---------------------------------------------------------------------------------------------------------------------
# What is followed


@torch.jit.script
def scripted(x: torch.Tensor):
    return F.max_pool2d(torch.relu(x), 2) + x.shape[0]


class Clamped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(0)


def in_place(m, x):
    x.mul_(2)
    x[:, 0] = 0
    return m.d(m.c(x))


def remembers(m, x):
    m.count += 1
    m.last = m.c(x)
    m.seen.append(m.count)
    m.running = m.running * 0.9 + m.last.mean()
    return m.d(m.last)


def logs(m, x):
    y = m.c(x)
    print(f"mean {y.mean():.3f}", y)
    return m.d(y)


def under_autocast(m, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return m.d(m.c(x))


FOLLOWED = {
    "shared": lambda: Two(lambda m, x: m.d(m.d(m.c(x)))),
    "scripted function": lambda: Two(lambda m, x: m.d(scripted(m.c(x)))),
    "scripted part": lambda: Two(lambda m, x: m.d(m.part(m.c(x))), part=torch.jit.script(nn.Conv2d(8, 8, 3, 2))),
    "traced part": lambda: Two(
        lambda m, x: m.d(m.part(m.c(x))), part=torch.jit.trace(nn.Conv2d(8, 8, 3, 2), torch.zeros(1, 8, 9, 9))
    ),
    "function of autograd": lambda: Two(lambda m, x: m.d(Clamped.apply(m.c(x)))),
    "mutates its input": lambda: Two(in_place),
    "remembers": lambda: Two(remembers, count=0, seen=[], running=torch.zeros(())),
    "logs": lambda: Two(logs),
    "autocast": lambda: Two(under_autocast),
    "list of results": lambda: Two(lambda m, x: {"a": [m.c(x)], "b": (m.d(m.c(x)),)}),
    "fx": lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())),
    "no weights": lambda: nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(2)),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", FOLLOWED)
def test_followed_to_the_end(name):
    check(FOLLOWED[name]())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types(dtype):
    network = read(Two(lambda m, x: m.d(m.c(x))).to(dtype), SHAPE)
    assert network.macs == truth(Two(lambda m, x: m.d(m.c(x))))[1]
    assert network.stage("c").output_bytes == 8 * 32 * 32 * dtype.itemsize


def test_modules_of_inference_tensors_and_without_memory():
    with torch.inference_mode():
        check(Two(lambda m, x: m.d(m.c(x))))
    with torch.device("meta"):
        module = Two(lambda m, x: m.d(m.c(x)))
    assert read(module, SHAPE).macs == truth(Two(lambda m, x: m.d(m.c(x))))[1]


def test_a_hook_that_changes_the_result():
    module = Two(lambda m, x: m.d(m.c(x)))
    module.c.register_forward_hook(lambda _, __, result: F.max_pool2d(result, 2))
    assert check(module).stage("d").output_shape == (1, 8, 16, 16)


@pytest.mark.parametrize("wrapped", ["function", "part"])
def test_functions_for_the_compiler_run_as_they_are(wrapped):
    pytest.importorskip("torch._dynamo")
    relu = torch.compile(lambda x: torch.relu(x) * 2, fullgraph=True)
    if wrapped == "function":
        network = read(Two(lambda m, x: m.d(relu(m.c(x)))), SHAPE)
        assert [stage.operator for stage in network.stages] == ["Conv", "Relu", "Mul", "Conv"]
    else:
        network = read(nn.Sequential(torch.compile(nn.Sequential(nn.Conv2d(3, 8, 3)))), SHAPE)
        assert [stage.name for stage in network.stages] == ["0.0"]


def test_modules_for_a_card():
    def forward(m, x):
        y = m.c(x.cuda()) + torch.zeros(1, device="cuda") + torch.ones(8, 1, 1, device=torch.device("cuda", 0))
        return m.d(y.to("cuda:0").to(torch.device("cuda")).to(0))

    network = read(Two(forward), SHAPE)
    assert network.macs == truth(Two(lambda m, x: m.d(m.c(x))))[1]
    assert network.complete


def test_modules_that_cannot_be_copied_as_a_whole(tmp_path):
    with open(tmp_path / "log", "w") as log:
        module = Two(
            lambda m, x: m.d(m.c(x)), lock=threading.Lock(), log=log, kept=[torch.ones(2, requires_grad=True) * 2]
        )
        network = read(module, SHAPE)
    assert network.parameters == 8 * 27 + 8 + 8 * 72 + 8
    assert isinstance(module.c.weight, nn.Parameter)
    assert module.c.weight.device.type == "cpu"


def test_a_module_before_its_quantisation():
    quantisation = pytest.importorskip("torch.ao.quantization")
    module = nn.Sequential(quantisation.QuantStub(), nn.Conv2d(3, 8, 3), nn.ReLU(), quantisation.DeQuantStub())
    module.qconfig = quantisation.get_default_qat_qconfig("fbgemm")
    quantisation.prepare_qat(module.train(), inplace=True)
    before = copy.deepcopy(module.state_dict())
    network = read(module, SHAPE)
    assert network.complete
    assert [stage.output_shape for stage in network.stages if stage.operator == "Conv"] == [(1, 8, 30, 30)]
    assert all(torch.equal(before[key], each) for key, each in module.state_dict().items())


# ---------------------------------------------------------------------------------------------------------------------
# What stays as it is


def test_nothing_of_a_module_in_training_is_changed():
    def forward(m, x):
        m.steps += 1
        if random.random() < 2 and np.random.rand() < 2:  # noqa: NPY002 - both take one
            x = x + torch.rand(1)
        m.seen.append(m.steps)
        m.counted.add_(1)
        return m.dropout(m.norm(m.d(m.c(x))))

    module = Two(
        forward, norm=nn.BatchNorm2d(8), dropout=nn.Dropout(), steps=0, seen=[], counted=nn.Buffer(torch.zeros(3))
    )
    module.train()
    module.c.eval()
    before = copy.deepcopy(module.state_dict())
    modes = [each.training for each in module.modules()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002 - what code has
    examine(module, SHAPE)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert np.array_equal(states[2], np.random.get_state()[1])  # noqa: NPY002
    assert [each.training for each in module.modules()] == modes
    assert (module.steps, module.seen) == (0, [])
    after = module.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_what_a_module_prints_is_not_shown(capsys):
    examine(Two(logs), SHAPE)
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------------------------------------------------------------
# Where it ends


library = torch.library.Library("pooling_test", "DEF")
library.define("only_on_cpu(Tensor x) -> Tensor")
library.impl("only_on_cpu", lambda x: x * 2, "CPU")


@torch.library.custom_op("pooling_test::without_fake", mutates_args=())
def without_fake(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@torch.library.custom_op("pooling_test::with_fake", mutates_args=())
def with_fake(x: torch.Tensor) -> torch.Tensor:
    return x[..., ::2, ::2].clone()


@with_fake.register_fake
def _(x):
    return x[..., ::2, ::2].clone()


def in_threads(m, x):
    found = []
    thread = threading.Thread(target=lambda: found.append(m.d(m.c(x))))
    thread.start()
    thread.join()
    return found[0]


def by_gradient(m, x):
    y = m.c(x)
    return m.d(torch.autograd.grad(y.sum(), x)[0])


ENDS = {
    "Tensor.numpy": lambda m, x: m.d(torch.from_numpy(m.c(x).numpy())),
    "Tensor.numpy ": lambda m, x: m.d(torch.as_tensor(np.tanh(m.c(x).detach().cpu()))),
    "Tensor.tolist": lambda m, x: m.d(m.c(x) * sum(m.c(x).flatten().tolist())),
    "torch.autograd.grad": by_gradient,
    "pooling_test.only_on_cpu": lambda m, x: m.d(torch.ops.pooling_test.only_on_cpu(m.c(x))),
    "pooling_test.without_fake": lambda m, x: m.d(without_fake(m.c(x))),
    "aten._nested_tensor_from_tensor_list": lambda m, x: torch.nested.nested_tensor([m.c(x)[0]]),
    "cond": lambda m, x: torch.cond(x.sum() > 0, lambda t: m.c(t), lambda t: m.c(t) * 2, (x,)),
    "forward": in_threads,
}


@pytest.mark.parametrize("name", ENDS)
def test_what_is_not_followed_is_named(name):
    network = read(Two(ENDS[name]), SHAPE)
    assert not network.complete
    (note,) = network.notes
    assert f"what happens behind {name.strip()} (" in note or name == "forward"
    assert "not known" in note


def test_an_operator_of_the_users_own():
    module = Two(lambda m, x: m.d(with_fake(m.c(x))))
    network = read(module, SHAPE)
    assert network.stage("d").output_shape == (1, 8, 16, 16)
    assert network.macs == truth(module)[1]
    assert not network.complete  # the fields behind it are not known
    assert "torch.library.register_fake" in read(Two(ENDS["pooling_test.without_fake"]), SHAPE).notes[0]


class Unfinished(nn.Module):
    def __init__(self):
        self.x = 3


REFUSED = {
    "scripted": (lambda: torch.jit.script(nn.Conv2d(3, 8, 3)), "TorchScript"),
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(8, 3)), "has no shape yet"),
    "no super": (Unfinished, r"must begin with super\(\).__init__\(\)"),
    "no forward": (lambda: nn.ModuleList([nn.Conv2d(3, 8, 3)]), "forward"),
    "endless": (lambda: Two(lambda m, x: m(x)), "recursion"),
    "several lines": (lambda: Two(lambda m, x: [][0]), "IndexError"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_a_sentence(name):
    make, sentence = REFUSED[name]
    with pytest.raises(NetworkError, match=sentence) as found:
        examine(make(), SHAPE)
    assert "\n" not in str(found.value)


def test_the_command_writes_json_of_a_module_that_prints(tmp_path, monkeypatch, capsys):
    (tmp_path / "printing_of_test.py").write_text(
        "import torch\nprint('imported')\n"
        "class Net(torch.nn.Conv2d):\n    def forward(self, x):\n        print('runs')\n"
        "        return super().forward(x)\n"
        "def build():\n    print('builds')\n    return Net(3, 8, 3)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor", "printing_of_test:build", "--input-shape", "32", "--json", "out.json"]) == 0
    told = capsys.readouterr()
    assert not any(word in told.out for word in ("imported", "builds", "runs"))
    assert json.loads((tmp_path / "out.json").read_text())


# ---------------------------------------------------------------------------------------------------------------------
# Input sizes


class Corners(nn.Module):
    """A map that is interpolated between its corners, whose steps follow from the size; refuses all but multiples."""

    def __init__(self, multiple):
        super().__init__()
        self.c, self.d, self.multiple = nn.Conv2d(3, 4, 3, 4, 1), nn.Conv2d(4, 4, 3, 2, 1), multiple

    def forward(self, x):
        if x.shape[-1] % self.multiple or x.shape[-2] % self.multiple:
            raise ValueError("wrong size")
        y = self.c(x)
        return y + F.interpolate(self.d(y), y.shape[-2:], mode="bilinear", align_corners=True)


def takes(module, shape):
    try:
        with torch.no_grad():
            return module(torch.zeros(shape)).numel() > 0
    except Exception:
        return False


@pytest.mark.parametrize("multiple", [1, 3, 8, 16, 24])
def test_sizes_that_the_code_asks_for(multiple):
    module = Corners(multiple).eval()
    (sizes,) = examine(module, (1, 3, 96, 96)).sizes
    assert sizes.axes == "H and W"
    for size in range(1, 110):
        assert (size >= sizes.smallest and size in sizes.working) is takes(module, (1, 3, size, size)), size


class OverTime(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.d = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv1d(8 * 32, 16, 3, 2)

    def forward(self, x):
        return self.d(self.c(x).flatten(1, 2))


@pytest.mark.parametrize(
    ("make", "free"), [(OverTime, 1), (lambda: nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Linear(32, 4)), 0)]
)
def test_an_axis_that_is_free_though_another_is_not(make, free):
    module = make().eval()
    sizes = examine(module, (1, 1, 64, 64)).sizes
    assert [each.axes for each in sizes] == ["H", "W"]
    assert sizes[free].largest is None
    assert sizes[1 - free].largest == 64
    for axis, each in enumerate(sizes):
        for size in range(1, 100):
            shape = [1, 1, 64, 64]
            shape[2 + axis] = size
            said = each.smallest <= size <= (each.largest or size) and size in each.working
            assert said is takes(module, shape), shape
