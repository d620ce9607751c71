"""Modules of torch, read by running them on tensors without data: against torch itself."""

import copy
import subprocess
import sys
from collections import OrderedDict

import pytest

from pooling.doctor import NetworkError, examine, read, read_graph
from pooling.doctor.report.drawing.maps import drawn_maps
from pooling.doctor.report.rows import rows

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
flop_counter = pytest.importorskip("torch.utils.flop_counter")


class Call(nn.Module):
    """A module whose forward is a function of its input, with some weights."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def outputs(module, *shapes):
    """Run a module for real."""
    with torch.no_grad():
        found = copy.deepcopy(module).eval()(*[torch.randn(shape) for shape in shapes])
    return [each for each in torch.utils._pytree.tree_leaves(found) if isinstance(each, torch.Tensor)]


def check(module, shape, *, known=True):
    """Compare the shapes of results and the parameters with torch."""
    network = read(module, shape)
    truth = {tuple(each.shape) for each in outputs(module, shape)}
    found = {network.stage(name).output_shape for name in network.outputs}
    assert found <= truth
    assert network.parameters == sum(each.numel() for each in module.parameters())
    assert bool(network.unknown) is not known
    return network


IMAGE = (2, 4, 12, 10)
FUNCTIONS = {
    "relu_": lambda m, x: x.clone().relu_(),
    "silu": lambda m, x: F.silu(x),
    "gelu": lambda m, x: F.gelu(x),
    "hardswish": lambda m, x: F.hardswish(x),
    "hardsigmoid_": lambda m, x: F.hardsigmoid(x, inplace=True),
    "prelu": lambda m, x: F.prelu(x, torch.ones(4, device=x.device)),
    "softmax": lambda m, x: x.softmax(1),
    "log_softmax": lambda m, x: F.log_softmax(x, dim=1),
    "glu": lambda m, x: F.glu(x, 1),
    "where": lambda m, x: torch.where(x > 0, x, x * 2),
    "masked_fill": lambda m, x: x.masked_fill(x > 0, 0.0),
    "clamp": lambda m, x: x.clamp(0, 6) + x.clamp_min(0) + x.clamp_max(1),
    "power": lambda m, x: x**2 + x.rsqrt() + x.reciprocal() - x.abs().log(),
    "addcmul": lambda m, x: torch.addcmul(x, x, x) + torch.lerp(x, x, 0.5),
    "broadcast": lambda m, x: x * x.mean(1, keepdim=True) + x.amax((2, 3), keepdim=True),
    "cat": lambda m, x: torch.cat([x, x], 1),
    "cat_of_nothing": lambda m, x: torch.cat([x, x[:, :0]], 1),
    "stack": lambda m, x: torch.stack([x, x, x], 1),
    "split": lambda m, x: x.split(2, 1),
    "split_sizes": lambda m, x: x.split([1, 3], 1),
    "chunk": lambda m, x: x.chunk(3, 1),
    "tensor_split": lambda m, x: x.tensor_split(3, 2),
    "unbind": lambda m, x: x.unbind(1),
    "slice": lambda m, x: x[:, 1:, ::2, :-1],
    "slice_to_nothing": lambda m, x: (x[:, :0], x),
    "select": lambda m, x: x[:, 1],
    "narrow": lambda m, x: x.narrow(2, 1, 5),
    "index": lambda m, x: x[:, [2, 0, 1]],
    "index_of_two": lambda m, x: x[:, [0, 1], [2, 3]],
    "index_select": lambda m, x: x.index_select(1, torch.tensor([1, 3], device=x.device)),
    "gather": lambda m, x: x.gather(1, torch.zeros(2, 2, 12, 10, dtype=torch.long, device=x.device)),
    "take_along_dim": lambda m, x: x.take_along_dim(x.argmax(1, keepdim=True), 1),
    "roll": lambda m, x: x.roll((1, 2), (2, 3)),
    "flip": lambda m, x: x.flip(3),
    "repeat": lambda m, x: x.repeat(1, 2, 1, 1),
    "repeat_more_axes": lambda m, x: x.repeat(2, 1, 1, 1, 1),
    "repeat_interleave": lambda m, x: x.repeat_interleave(2, 2),
    "expand": lambda m, x: x[:, :1].expand(-1, 5, -1, -1),
    "permute": lambda m, x: x.permute(0, 2, 3, 1),
    "movedim": lambda m, x: x.movedim(1, -1),
    "transpose": lambda m, x: x.transpose(1, 2) + 1,
    "flatten": lambda m, x: x.flatten(1),
    "flatten_places": lambda m, x: x.flatten(2).transpose(1, 2).reshape(2, 12, 10, 4),
    "unflatten": lambda m, x: x.unflatten(1, (2, 2)),
    "squeeze": lambda m, x: x.mean(1, keepdim=True).squeeze(1).unsqueeze(-1),
    "as_strided": lambda m, x: x.as_strided((2, 3), (1, 2)),
    "unfold": lambda m, x: x.unfold(2, 3, 2),
    "im2col": lambda m, x: F.unfold(x, 3, padding=1),
    "col2im": lambda m, x: F.fold(F.unfold(x, 2, stride=2), (12, 10), 2, stride=2),
    "pixel_shuffle": lambda m, x: F.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda m, x: F.pixel_unshuffle(x, 2),
    "channel_shuffle": lambda m, x: F.channel_shuffle(x, 2),
    "pad": lambda m, x: F.pad(x, (1, 2, 3, 4)),
    "pad_reflect": lambda m, x: F.pad(x, (1, 2, 3, 4), mode="reflect"),
    "pad_replicate": lambda m, x: F.pad(x, (1, 2, 3, 4), mode="replicate"),
    "pad_circular": lambda m, x: F.pad(x, (1, 2, 3, 4), mode="circular"),
    "pad_negative": lambda m, x: F.pad(x, (-1, 2)),
    "max_pool": lambda m, x: F.max_pool2d(x, 3, 2, 1),
    "max_pool_indices": lambda m, x: F.max_pool2d(x, 3, 2, 1, return_indices=True),
    "max_pool_ceil": lambda m, x: F.max_pool2d(x, 3, 2, ceil_mode=True),
    "avg_pool": lambda m, x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 0), count_include_pad=False),
    "avg_pool_divisor": lambda m, x: F.avg_pool2d(x, 2, divisor_override=3),
    "lp_pool": lambda m, x: F.lp_pool2d(x, 2, 2),
    "adaptive_avg": lambda m, x: F.adaptive_avg_pool2d(x, (3, 5)),
    "adaptive_avg_one": lambda m, x: F.adaptive_avg_pool2d(x, 1),
    "adaptive_avg_none": lambda m, x: F.adaptive_avg_pool2d(x, (None, 3)),
    "adaptive_max": lambda m, x: F.adaptive_max_pool2d(x, (3, 5), return_indices=True),
    "fractional": lambda m, x: F.fractional_max_pool2d(x, 2, output_size=(5, 4)),
    "unpool": lambda m, x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "max_pool1d": lambda m, x: F.max_pool1d(x.flatten(2), 3, 2),
    "avg_pool1d": lambda m, x: F.avg_pool1d(x.flatten(2), 3, 2),
    "adaptive_avg1d": lambda m, x: F.adaptive_avg_pool1d(x.flatten(2), 7),
    "max_pool3d": lambda m, x: F.max_pool3d(x.unsqueeze(1), 2),
    "avg_pool3d": lambda m, x: F.avg_pool3d(x.unsqueeze(1), 2),
    "nearest": lambda m, x: F.interpolate(x, scale_factor=2),
    "nearest_exact": lambda m, x: F.interpolate(x, size=(5, 7), mode="nearest-exact"),
    "bilinear": lambda m, x: F.interpolate(x, scale_factor=1.5, mode="bilinear"),
    "bilinear_corners": lambda m, x: F.interpolate(x, size=(24, 21), mode="bilinear", align_corners=True),
    "bicubic": lambda m, x: F.interpolate(x, scale_factor=2, mode="bicubic"),
    "antialias": lambda m, x: F.interpolate(x, size=(6, 5), mode="bilinear", antialias=True),
    "grid_sample": lambda m, x: F.grid_sample(x, x[:, :2, :5, :5].permute(0, 2, 3, 1), align_corners=False),
    "layer_norm": lambda m, x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)),
    "instance_norm": lambda m, x: F.instance_norm(x),
    "rms_norm": lambda m, x: F.rms_norm(x, (10,)),
    "local_response_norm": lambda m, x: F.local_response_norm(x, 3),
    "normalize": lambda m, x: F.normalize(x, dim=1),
    "max_of_axis": lambda m, x: x.max(1),
    "min_of_axis": lambda m, x: x.min(dim=1, keepdim=True)[0],
    "argmax": lambda m, x: x.argmax(1),
    "sums": lambda m, x: x.sum((2, 3)) + x.std((2, 3)) + x.var((2, 3)) + x.norm(dim=(2, 3)),
    "logsumexp": lambda m, x: x.logsumexp(1),
    "cumsum": lambda m, x: x.cumsum(2),
    "topk": lambda m, x: x.topk(3, 1),
    "sort": lambda m, x: x.sort(1),
    "bmm": lambda m, x: x.flatten(2) @ x.flatten(2).transpose(1, 2),
    "einsum": lambda m, x: torch.einsum("bchw,bdhw->bcd", x, x),
    "baddbmm": lambda m, x: torch.baddbmm(torch.ones(1, device=x.device), x[:, 0], x[:, 0].transpose(1, 2)),
    "attention": lambda m, x: F.scaled_dot_product_attention(x, x, x),
    "attention_masked": lambda m, x: F.scaled_dot_product_attention(x, x, x, torch.ones(12, 12, device=x.device)),
    "fourier": lambda m, x: torch.fft.irfft2(torch.fft.rfft2(x), s=(12, 10)),
    "scatter": lambda m, x: torch.zeros_like(x).scatter(1, x.argmax(1, keepdim=True), 1.0),
    "zeros_like": lambda m, x: x + torch.zeros_like(x) + torch.arange(10, device=x.device),
    "to": lambda m, x: x.to(torch.float16).float().cpu(),
    "dropout": lambda m, x: F.dropout(x, training=m.training) + 1,
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    check(Call(FUNCTIONS[name]), IMAGE)


MODULES = {
    "conv": (nn.Conv2d(4, 6, 3, 2, 1, 2, groups=2), IMAGE),
    "conv_same": (nn.Conv2d(4, 6, 4, padding="same"), IMAGE),
    "conv_reflect": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), IMAGE),
    "conv1d": (nn.Conv1d(4, 6, 3), (1, 4, 20)),
    "conv3d": (nn.Conv3d(4, 6, 3), (1, 4, 5, 6, 7)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), IMAGE),
    "batch_norm": (nn.BatchNorm2d(4), IMAGE),
    "batch_norm_without_means": (nn.BatchNorm2d(4, track_running_stats=False), IMAGE),
    "group_norm": (nn.GroupNorm(2, 4), IMAGE),
    "instance_norm": (nn.InstanceNorm2d(4, affine=True), IMAGE),
    "linear": (nn.Linear(10, 3), IMAGE),
    "linear_of_rows": (nn.Sequential(nn.Flatten(), nn.Linear(480, 3, bias=False)), IMAGE),
    "bilinear": (Call(lambda m, x: m.b(x, x), b=nn.Bilinear(10, 10, 2)), IMAGE),
    "lstm": (Call(lambda m, x: m.r(x.flatten(2))[0], r=nn.LSTM(120, 5, 2, batch_first=True)), IMAGE),
    "lstm_of_two_ways": (Call(lambda m, x: m.r(x.flatten(2)), r=nn.LSTM(120, 5, bidirectional=True)), IMAGE),
    "gru": (Call(lambda m, x: m.r(x.flatten(2)), r=nn.GRU(120, 5)), IMAGE),
    "rnn": (Call(lambda m, x: m.r(x.flatten(2)), r=nn.RNN(120, 5)), IMAGE),
    "multihead": (Call(lambda m, x: m.a(x[:, 0], x[:, 1], x[:, 2])[0], a=nn.MultiheadAttention(10, 2)), IMAGE),
    "encoder": (Call(lambda m, x: m.e(x[:, 0]), e=nn.TransformerEncoderLayer(10, 2, 7, batch_first=True)), IMAGE),
    "prelu": (nn.PReLU(4), IMAGE),
    "embedding": (nn.Embedding(9, 5), (2, 7)),
    "weight_norm": (nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3)), IMAGE),
    "spectral_norm": (nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 6, 3)), IMAGE),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in MODULES if name != "embedding"])
def test_module(name):
    module, shape = MODULES[name]
    check(module, shape)


def test_embedding_of_numbers():
    network = read(nn.Embedding(9, 5), (2, 7))
    assert network.stages[-1].output_shape == (2, 7, 5)
    assert network.parameters == 45


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = self.norm(self.conv(x))
        y += x
        return y.relu_()


class Small(nn.Module):
    """A network that asks for no size."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3), nn.ReLU(True), nn.MaxPool2d(3, 2, 1))
        self.layer1 = nn.Sequential(Block(8), Block(8))
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(F.adaptive_avg_pool2d(self.layer1(self.stem(x)), 1).flatten(1))


class Same(nn.Module):
    """A network that works out its padding from sizes, as those of TensorFlow do."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 5, 2)

    def forward(self, x):
        for conv in (self.conv1, self.conv2):
            pads = []
            for size, kernel in zip(reversed(x.shape[2:]), reversed(conv.kernel_size), strict=True):
                whole = max((-(-size // 2) - 1) * 2 + kernel - size, 0)
                pads += [whole // 2, whole - whole // 2]
            x = conv(F.pad(x, pads))
        n, c, h, w = x.shape
        return x.reshape(n, c, h * w).mean(2)


def test_names_are_those_of_modules():
    network = read(Small(), (1, 3, 64, 64))
    names = [stage.name for stage in network.stages]
    assert names[:3] == ["stem.0", "stem.1", "stem.2"]
    assert "layer1.0.conv" in names
    assert "layer1.1.norm" in names
    assert names[-1] == "fc"
    assert network.outputs == ("fc",)


def test_the_line_of_the_source_stands_with_each_stage():
    network = read(Small(), (1, 3, 64, 64))
    first = Block.forward.__code__.co_firstlineno
    file, _, line = network.stage("layer1.0.conv").source_line.rpartition(":")
    assert file.endswith("test_doctor_module.py")
    assert int(line) == first + 1
    add = next(stage for stage in network.stages if stage.name == "layer1.0/add")
    assert add.source_line.endswith(f":{first + 2}")


def test_shapes_of_stages_are_those_of_modules():
    module, truth = Small().eval(), {}
    for name, each in module.named_modules():
        each.register_forward_hook(lambda m, i, o, name=name: truth.__setitem__(name, tuple(o.shape)))
    module(torch.randn(1, 3, 64, 48))
    network = read(module, (1, 3, 64, 48))
    shared = [stage for stage in network.stages if stage.name in truth]
    assert len(shared) >= 8
    assert all(truth[stage.name] == stage.output_shape for stage in shared)


def test_multiply_adds_are_those_of_torch():
    counter = flop_counter.FlopCounterMode(display=False)
    module = nn.Sequential(Small(), nn.Linear(5, 4)).eval()
    with counter:
        module(torch.randn(1, 3, 64, 64))
    assert read(module, (1, 3, 64, 64)).macs == counter.get_total_flops() // 2


@pytest.mark.parametrize("name", ["attention", "multihead", "encoder", "einsum", "transposed", "conv3d"])
def test_multiply_adds_of_products(name):
    module, shape = MODULES[name] if name in MODULES else (Call(FUNCTIONS[name]), IMAGE)
    counter = flop_counter.FlopCounterMode(display=False)
    # As the doctor runs it: attention made of its products.
    module = copy.deepcopy(module).eval().to("meta")
    with counter, torch.no_grad():
        module(torch.empty(shape, device="meta"))
    assert read(module, shape).macs == counter.get_total_flops() // 2


def test_multiply_adds_of_an_lstm():
    # Four gates, of the input and of the state before, for each of the tokens.
    module = Call(lambda m, x: m.r(x)[0], r=nn.LSTM(6, 5, batch_first=True))
    assert read(module, (2, 7, 6)).macs == 2 * 7 * 4 * 5 * (6 + 5)


def test_receptive_field_is_that_of_gradients():
    module = Small().eval().double()
    for each in module.parameters():
        nn.init.constant_(each, 0.01)
    x = torch.rand(1, 3, 96, 96, dtype=torch.float64, requires_grad=True)
    y = module.layer1(nn.Sequential(module.stem[0], nn.AvgPool2d(3, 2, 1))(x))
    y[0, 0, 12, 12].backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero()
    stage = next(each for each in read(module, (1, 3, 96, 96)).stages if each.name == "layer1.1/relu")
    assert stage.receptive_field.size[0] == int(rows.max() - rows.min()) + 1


# ---------------------------------------------------------------------------------------------------------------------
# Tensors that share memory


def field(network, name):
    found = network.stage(name).receptive_field
    return None if found is None else found.size


def test_a_sum_in_place_is_a_merge():
    def forward(m, x):
        y = m.a(x)
        x = m.b(y)
        x += y
        return m.c(x)

    convs = {name: nn.Conv2d(3, 3, 3, padding=1) for name in "abc"}
    network = check(Call(forward, **convs), (1, 3, 16, 16))
    assert set(network.stage("c").inputs) == {"forward/add"}
    assert set(network.stage("forward/add").inputs) == {"a", "b"}
    assert field(network, "c") == (7, 7)


def test_what_is_written_through_a_view_is_in_the_whole():
    def forward(m, x):
        y = m.a(x)
        y[:, 1:].mul_(m.b(x))
        return m.c(y)

    parts = {"a": nn.Conv2d(3, 4, 1), "b": nn.Conv2d(3, 3, 5, padding=2), "c": nn.Conv2d(4, 2, 1)}
    network = check(Call(forward, **parts), (1, 3, 16, 16))
    # The second convolution, which sees 5x5, reached the whole through the view.
    assert field(network, "c") == (5, 5)


def test_a_view_sees_what_is_written_into_the_whole():
    def forward(m, x):
        y = m.a(x)
        part = y[:, :2]
        y.add_(m.b(x))
        return m.c(part)

    parts = {"a": nn.Conv2d(3, 4, 1), "b": nn.Conv2d(3, 4, 5, padding=2), "c": nn.Conv2d(2, 2, 1)}
    assert field(check(Call(forward, **parts), (1, 3, 16, 16)), "c") == (5, 5)


def test_a_copy_into_a_part_of_zeros_is_padding():
    def forward(m, x):
        y = torch.zeros(1, 3, 20, 18, device=x.device)
        y[:, :, 2:18, 1:17].copy_(x)
        return m.a(y)

    network = check(Call(forward, a=nn.Conv2d(3, 2, 3)), (1, 3, 16, 16))
    found = network.stage("a").receptive_field
    assert found.size == (3, 3)
    # The middle of cell 0 is pixel 1 of the padded map, which is pixel -1, and 0 from left to right.
    assert found.offset == (-1, 0)


def test_half_of_a_map_written_in_turn():
    def forward(m, x):
        y = torch.empty(1, 4, 8, 8, device=x.device)
        y[:, ::2] = m.a(x)
        y[:, 1::2] = m.b(x)
        return y

    check(Call(forward, a=nn.Conv2d(3, 2, 2, 2), b=nn.Conv2d(3, 2, 2, 2)), (1, 3, 16, 16))


def test_zero_in_place_forgets_the_data():
    def forward(m, x):
        y = m.a(x)
        y.zero_()
        return m.b(x) + y

    network = read(Call(forward, a=nn.Conv2d(3, 2, 1), b=nn.Conv2d(3, 2, 1)), (1, 3, 8, 8))
    assert network.stages[-1].inputs == ("b",)


# ---------------------------------------------------------------------------------------------------------------------
# Parameters


def test_shared_weights_count_once():
    conv = nn.Conv2d(3, 3, 3, padding=1)
    module = nn.Sequential(conv, nn.ReLU(), conv)
    network = check(module, (1, 3, 8, 8))
    assert network.parameters == 84
    assert network.macs == 2 * 3 * 8 * 8 * 27


def test_tied_weights_count_once():
    module = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False))
    module[1].weight = module[0].weight
    assert check(module, (2, 6)).parameters == 36


def test_parameters_that_nothing_reads_are_counted_and_told():
    module = Call(lambda m, x: m.a(x), a=nn.Conv2d(3, 2, 1), unused=nn.Linear(3, 3))
    network = read(module, (1, 3, 8, 8))
    assert network.parameters == 8 + 12
    assert network.unread_parameters == 12


def test_a_weight_that_is_worked_out_counts():
    def forward(m, x):
        weight = m.conv.weight - m.conv.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight.flatten(0).view(4, 3, 3, 3))

    assert check(Call(forward, conv=nn.Conv2d(3, 4, 3, bias=False)), (1, 3, 8, 8)).parameters == 108


# ---------------------------------------------------------------------------------------------------------------------
# The module stays as it is


def test_the_module_is_not_changed():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)
            self.register_buffer("calls", torch.zeros(1, dtype=torch.long))
            self.anchors = None
            self.seen = torch.zeros(2)

        def forward(self, x):
            self.calls += 1
            self.seen += 1
            self.anchors = x.mean((2, 3))
            return self.norm(x)

    module = Counting().train()
    before = {name: each.clone() for name, each in module.state_dict().items()}
    state = torch.get_rng_state()
    read(module, (1, 3, 8, 8))
    assert module.training
    assert module.norm.training
    assert module.anchors is None
    assert torch.equal(module.seen, torch.zeros(2))
    assert all(torch.equal(before[name], each) for name, each in module.state_dict().items())
    assert all(each.device.type == "cpu" for each in module.parameters())
    assert torch.equal(state, torch.get_rng_state())
    assert module(torch.randn(2, 3, 4, 4)).shape == (2, 3, 4, 4)


def test_code_may_ask_for_values_of_constants():
    def forward(m, x):
        scale = int(torch.tensor([3, 4]).max() // 2)
        return F.interpolate(x, scale_factor=scale) * m.count.item()

    module = Call(forward)
    module.register_buffer("count", torch.tensor(2))
    assert read(module, (1, 3, 8, 8)).stages[0].output_shape == (1, 3, 16, 16)


def test_half_precision_and_meta():
    with torch.device("meta"):
        module = Small()
    assert read(module, (1, 3, 64, 64)).macs == read(Small().half(), (1, 3, 64, 64)).macs


# ---------------------------------------------------------------------------------------------------------------------
# Other sizes, and changes


@pytest.mark.parametrize("make", [Small, Same])
def test_other_sizes_are_those_of_torch(make):
    module = make()
    graph = read_graph(module, (1, 3, 64, 64))
    meta = copy.deepcopy(module).eval().to("meta")
    for size in [*range(1, 20), 33, 47, 65, 100]:
        try:
            truth = tuple(meta(torch.empty(1, 3, size, size + 3, device="meta")).shape)
        except RuntimeError:
            with pytest.raises(NetworkError):
                graph.infer((1, 3, size, size + 3))
            continue
        network = graph.infer((1, 3, size, size + 3))
        assert network.stage(network.outputs[-1]).output_shape == truth


@pytest.mark.parametrize(
    ("make", "stage", "change"),
    [(Small, "stem.0", {"stride": 1}), (Same, "conv1", {"stride": 1}), (Same, "conv2", {"kernel_size": 3})],
)
def test_changes_are_those_of_torch(make, stage, change):
    module = make()
    changed = read_graph(module, (1, 3, 64, 64)).edited({stage: change}).infer((1, 3, 64, 64))
    other = copy.deepcopy(module)
    conv = other.get_submodule(stage)
    new = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        change.get("kernel_size", conv.kernel_size),
        change.get("stride", conv.stride),
        conv.padding,
    )
    parent, _, last = stage.rpartition(".")
    setattr(other.get_submodule(parent), last, new)
    if make is Same and "kernel_size" in change:
        # Its code asks the module for the kernel, which the change does not touch.
        other.conv2.kernel_size = conv.kernel_size
    expected = read(other, (1, 3, 64, 64))
    assert [each.output_shape for each in changed.stages] == [each.output_shape for each in expected.stages]


def test_what_cannot_be_changed_is_told():
    graph = read_graph(Same(), (1, 3, 64, 64))
    with pytest.raises(NetworkError, match="there is no stage 'conv9'"):
        graph.edited({"conv9": {"stride": 1}})
    with pytest.raises(NetworkError, match="nothing that can be set"):
        graph.edited({"forward/mean": {"stride": 1}})


def test_input_sizes_are_those_that_torch_takes():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.up = nn.Conv2d(3, 4, 3, 2, 1), nn.ConvTranspose2d(4, 3, 2, 2)

        def forward(self, x):
            h, w = x.shape[2:]
            return self.up(self.down(x)) + x.reshape(1, 3, h, w)

    module = Skip()
    (sizes,) = examine(module, (1, 3, 32, 32)).sizes
    meta = module.to("meta")

    def works(size):
        try:
            meta(torch.empty(1, 3, size, size, device="meta"))
        except RuntimeError:
            return False
        return True

    assert all((size in sizes.working) == works(size) for size in range(2, 40))  # a map of one cell is broadcast


def test_input_sizes_behind_activations_are_those_that_torch_takes():
    # Activations are left out of the search; the maps around them must not fall apart by that.
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)

        def forward(self, x):
            fine = F.silu(self.a(x)) * 2
            coarse = F.silu(self.b(fine))
            n, c, h, w = coarse.shape
            return fine + F.interpolate(coarse.reshape(n, c, h, w), scale_factor=2)

    module = Pyramid()
    (sizes,) = examine(module, (1, 3, 32, 32)).sizes
    meta = module.to("meta")
    for size in range(3, 40):
        try:
            meta(torch.empty(1, 3, size, size, device="meta"))
        except RuntimeError:
            assert size not in sizes.working
        else:
            assert size in sizes.working
            assert sizes.largest is None


# ---------------------------------------------------------------------------------------------------------------------
# Inputs


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(1, 8, 5, padding=2)

    def forward(self, image, mask=None):
        return self.a(image) if mask is None else self.a(image) + self.b(mask)


SHAPES = {"image": (1, 3, 32, 32), "mask": (1, 1, 32, 32)}


def test_several_inputs_by_name():
    result = examine(Two(), SHAPES)
    assert result.network.input_name == "image"
    assert result.network.parameters == 3 * 8 * 9 + 8 + 8 * 25 + 8
    assert field(result.network, "forward/add") == (5, 5)
    # A mask follows the image to another size.
    assert result.graph.infer((1, 3, 40, 24)).stages[-1].output_shape == (1, 8, 40, 24)


def test_one_of_two_inputs():
    assert len(read(Two(), (1, 3, 32, 32)).stages) == 1


def test_a_dictionary_of_inputs():
    module = Call(lambda m, batch: m.two(batch["image"], batch["mask"]), two=Two())
    assert read(module, SHAPES).stages[-1].output_shape == (1, 8, 32, 32)


def test_outputs_in_dictionaries_and_objects():
    class Output:
        def __init__(self, **parts):
            vars(self).update(parts)

    network = read(Call(lambda m, x: {"a": [x + 1], "b": Output(c=x * 2)}), (1, 3, 4, 4))
    assert len(network.outputs) == 2


@pytest.mark.parametrize(
    ("shape", "full"),
    [((48,), (1, 3, 48, 48)), ((48, 40), (1, 3, 48, 40)), ((3, 48, 40), (1, 3, 48, 40)), ((2, 3, 48, 40),) * 2],
)
def test_brief_shapes(shape, full):
    assert examine(Small(), shape).network.input_shape == full


def test_the_configuration_of_timm_gives_the_shape():
    module = Small()
    module.pretrained_cfg = {"input_size": (3, 96, 96)}
    assert examine(module).network.input_shape == (1, 3, 96, 96)


def test_a_module_without_a_shape_is_refused():
    with pytest.raises(ValueError, match=r"says no input shape; give one: input_shape=\(1, 3, 224, 224\)"):
        examine(Small())


def test_names_are_for_modules_only():
    with pytest.raises(ValueError, match="names 'x', and the input of layers is 'input'; give --input"):
        examine("conv3", {"x": (1, 3, 8, 8)})


# ---------------------------------------------------------------------------------------------------------------------
# Where knowledge ends, and what is refused


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda m, x: m.a(x).nonzero(), "nonzero"),
        (lambda m, x: m.a(x)[m.a(x) > 0], "index"),
        (lambda m, x: torch.where(m.a(x) > 0), "where"),
        (lambda m, x: m.a(x) if m.a(x).sum() > 0 else x, "_local_scalar_dense"),
        (lambda m, x: m.a(x) * float(m.a(x).mean()), "_local_scalar_dense"),
        (lambda m, x: m.a(x).unique(), "unique"),
        (lambda m, x: m.a(x).masked_select(m.a(x) > 0), "masked_select"),
        (lambda m, x: torch.from_numpy(m.a(x).numpy() + 1), "Tensor.numpy"),
    ],
)
def test_knowledge_ends_where_data_decides(function, operator):
    network = read(Call(function, a=nn.Conv2d(3, 2, 3)), (1, 3, 8, 8))
    assert network.stage("a").output_shape == (1, 2, 6, 6)
    assert network.stages[-1].kind == "unknown"
    assert operator in network.stages[-1].operator
    (note,) = network.notes
    assert operator in note
    assert "is not known" in note


def test_an_operator_without_a_record_keeps_its_shape():
    network = read(Call(lambda m, x: torch.linalg.cholesky(x)), (1, 3, 8, 8))
    stage = network.stages[-1]
    assert stage.kind == "unknown"
    assert stage.output_shape == (1, 3, 8, 8)
    assert "cholesky" in stage.operator


REFUSED = {
    "channels": (nn.Conv2d(3, 2, 3), (1, 5, 8, 8), r"has 5 channels, but its weight .* is for 3"),
    "too_small": (nn.Conv2d(3, 2, 9), (1, 3, 4, 4), "conv"),
    "raises": (Call(lambda m, x: {}["no"]), (1, 3, 4, 4), "KeyError"),
    "assertion": (Call(lambda m, x: torch._assert(False, "wrong size")), (1, 3, 4, 4), "wrong size"),
    "no_output": (Call(lambda m, x: None), (1, 3, 4, 4), "no tensor passes"),
    "arguments": (nn.Bilinear(3, 3, 3), (1, 3), "missing 1 required positional argument"),
    "lazy": (nn.LazyConv2d(3, 3), (1, 3, 8, 8), "has no shape yet"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_a_sentence(name):
    module, shape, sentence = REFUSED[name]
    with pytest.raises(NetworkError, match=sentence):
        examine(module, shape)


def test_a_scripted_module_is_refused():
    with pytest.raises(NetworkError, match="TorchScript"):
        examine(torch.jit.script(nn.Conv2d(3, 2, 1)), (1, 3, 8, 8))


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (1, 3, -1, 8), ()])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="input_shape"):
        examine(nn.Conv2d(3, 2, 1), shape)


def test_a_size_that_does_not_work_is_a_finding_where_another_does():
    module = Call(lambda m, x: m.fc(m.conv(x).flatten(1)), conv=nn.Conv2d(3, 2, 3), fc=nn.Linear(72, 2))
    module.default_cfg = {"input_size": (3, 8, 8)}
    result = examine(module, (1, 3, 9, 9))
    assert result.severity == "error"
    assert result.failure.shape == (1, 3, 9, 9)
    assert result.failure.stage == "fc"


def test_a_notebook_shows_the_page():
    pytest.importorskip("jinja2")
    html = examine(Small(), (1, 3, 64, 64))._repr_html_()
    assert html.startswith("<iframe srcdoc=")
    assert "layer1.0.conv" in html


def test_torch_is_not_imported_for_other_sources():
    code = "import sys; from pooling.doctor import examine; examine('conv3 pool2'); print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_a_part_without_elements_shows_nothing_and_loses_nothing():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Conv2d(3, 8, 4, 4)

        def forward(self, x):
            x = self.embed(x).flatten(2).transpose(1, 2)
            x = torch.cat([x[:, :0], x[:, 0:] * 2], 1)  # no class token, and the others
            return x.transpose(1, 2).unflatten(2, (4, 4))

    network = read(Tokens(), (1, 3, 16, 16))
    field = network.stages[-1].receptive_field
    assert field is not None
    assert (field.size, field.stride, field.context, network.losses) == ((4, 4), (4, 4), False, ())


class Perceptron(nn.Module):
    """A residual pair of products at each place, as in the blocks of transformers and of ConvNeXt."""

    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return x + self.fc2(F.gelu(self.fc1(x)))


class Tokens(nn.Module):
    """Patches, blocks and a head of one product."""

    def __init__(self, blocks):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.blocks = nn.Sequential(*[Perceptron(16) for _ in range(blocks)])
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        return self.head(self.blocks(self.patches(x).permute(0, 2, 3, 1)).mean((1, 2)))


def test_products_at_each_place_are_folded_and_the_head_is_not():
    examination = examine(Tokens(12), input_shape=(1, 3, 64, 64))
    lines = rows(examination)
    assert sorted(stage.name for line in lines for stage in line.stages) == sorted(
        stage.name for stage in examination.network.stages
    )
    of_blocks = [line for line in lines if any(stage.name.startswith("blocks.") for stage in line.stages)]
    assert len(of_blocks) == 1
    assert of_blocks[0].text.macs == "1.57 M"  # 12 blocks, 2 products of 16 by 64 at each of 64 places
    assert [line.last.name for line in lines if line.last.name == "head" and len(line.stages) == 1] == ["head"]


def test_a_dense_block_has_the_channels_of_its_concatenation():
    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv2d(8 + 4 * n, 4, 3, padding=1) for n in range(3))

        def forward(self, x):
            for layer in self.layers:
                x = torch.cat([x, layer(x)], 1)
            return x

    module = nn.Sequential(OrderedDict(stem=nn.Conv2d(3, 8, 3, 2, 1), block=Dense(), last=nn.Conv2d(20, 8, 3, 2, 1)))
    drawn = drawn_maps(examine(module, input_shape=(1, 3, 64, 64))).maps
    assert [each.channels for each in drawn if each.size == (32, 32)] == [20]


def test_a_module_that_several_share_is_named_in_the_one_that_calls_it():
    shared = nn.SiLU()

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 3, 3), shared

        def forward(self, x):
            return self.act(self.conv(x))

    network = read(nn.Sequential(Block(), nn.Sequential(Block(), Block())), (1, 3, 16, 16))
    names = ["0.conv", "0.act", "1.0.conv", "1.0.act", "1.1.conv", "1.1.act"]
    assert [stage.name for stage in network.stages] == names
