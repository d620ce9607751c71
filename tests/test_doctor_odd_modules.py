"""Modules that do what few do: they ask data, write into tensors of their own, return nothing. Against torch itself."""

import zipfile

import pytest

from pooling.doctor import NetworkError, examine, read

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
flop_counter = pytest.importorskip("torch.utils.flop_counter")

SHAPE = (1, 3, 32, 32)


class Two(nn.Module):
    """Two convolutions, and what a function makes of them."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.c = nn.Conv2d(3, 8, 3, padding=1)
        self.d = nn.Conv2d(8, 8, 3, padding=1)
        self.buffer = nn.Buffer(torch.zeros(1, 8, 32, 32))

    def forward(self, x):
        return self.function(self, x)


def codes(result):
    return [finding.code for finding in result.findings]


def asks_data(m, x):
    y = m.c(x)
    if y.sum() > 0:
        y = F.max_pool2d(y, 2)
    return m.d(y)


def picks_by_data(m, x):
    y = m.c(x)
    return m.d(y[y > 0].reshape(1, 8, -1, 1))


def needs_a_number(m, x):
    y = m.c(x)
    return m.d(y * int(y.abs().max().item()))


@pytest.mark.parametrize("function", [asks_data, picks_by_data, needs_a_number])
def test_weights_behind_a_choice_by_data_are_not_known(function):
    result = examine(Two(function), SHAPE)
    network = result.network
    # What `d` has, 8 * 8 * 9 + 8 weights of 808, cannot be reached.
    assert [(loss.weights, loss.why) for loss in network.losses] == [(584, "it gives a result that depends on data")]
    assert network.is_mostly_lost
    (finding,) = [each for each in result.findings if each.code == "D901"]
    assert finding.severity == "warning"
    assert "up to 584 of 808 weights" in finding.message
    assert not any("onnx" in fix for fix in finding.fixes)
    # Nothing is said of the maps before, which are not the last ones.
    assert "D203" not in codes(result)


def test_weights_that_nothing_reads_are_not_lost_without_a_choice_by_data():
    network = read(Two(lambda m, x: m.c(x)), SHAPE)
    assert network.unread_parameters == 584
    assert network.lost_share == 0


@pytest.mark.parametrize("function", [lambda m, x: None, lambda m, x: 3, lambda m, x: m.buffer])
def test_a_module_that_returns_nothing_of_its_input(function):
    def forward(m, x):
        m.c(x)
        return function(m, x)

    result = examine(Two(forward), SHAPE)
    assert any("returns no tensor that depends on its input" in each.message for each in result.findings)


def test_a_module_that_ends_the_program():
    def forward(m, x):
        raise SystemExit(0)

    with pytest.raises(NetworkError, match="SystemExit"):
        examine(Two(forward), SHAPE)


def test_blocks_put_together_in_another_order_are_a_map_that_is_not_known():
    def forward(m, x):
        return F.fold(F.unfold(m.c(x), 3, padding=1, stride=2).flip(-1), (32, 32), 3, padding=1, stride=2)

    result = examine(Two(forward), SHAPE)
    last = result.network.stage(result.network.outputs[0])
    assert last.output_shape == (1, 8, 32, 32)
    assert not last.ended
    assert last.is_lost
    assert "D901" in codes(result)
    assert "D203" not in codes(result)


@pytest.mark.parametrize("function", [lambda m, x: torch.fft.fft2(m.c(x)).real, lambda m, x: m.c(x).unfold(2, 4, 4)])
def test_a_reason_is_told_once(function):
    result = examine(Two(function), SHAPE)
    assert all("not followed" not in loss.why for loss in result.network.losses)
    assert all(stage.note.count("receptive field not followed") < 2 for stage in result.network.stages)


# ---------------------------------------------------------------------------------------------------------------------
# Tensors of the module's own, which have data in them, while those that pass through have none


def into_the_middle(m, x):
    whole = torch.zeros(1, 8, 40, 40)
    whole[:, :, 4:36, 4:36] = m.c(x)
    return m.d(whole)


def by_channels(m, x):
    y, whole = m.c(x), torch.empty(1, 8, 32, 32)
    whole[:, :4], whole[:, 4:] = y[:, :4], y[:, 4:]
    return m.d(whole)


def copied(m, x):
    whole = torch.empty(1, 8, 32, 32)
    whole.copy_(m.c(x))
    return m.d(whole)


def added(m, x):
    whole = torch.zeros(1, 8, 32, 32)
    whole += m.c(x)
    return m.d(whole)


def through_two_views(m, x):
    whole = torch.zeros(1, 8, 32, 32)
    whole.view(8, 32, 32)[:] = m.c(x)[0]
    return m.d(whole)


def into_a_buffer(m, x):
    m.buffer[:, :, 1:] = m.c(x)[:, :, :-1]
    return m.d(m.buffer)


def each_second_cell(m, x):
    whole = torch.zeros(1, 8, 64, 64)
    whole[:, :, ::2, ::2] = m.c(x)
    return m.d(whole)


def strip_by_strip(m, x):
    y, whole = m.c(x), torch.zeros(1, 8, 32, 32)
    for start in range(0, 32, 8):
        whole[:, :, start : start + 8] = m.d(y[:, :, start : start + 8])
    return whole


WRITES = [
    into_the_middle,
    by_channels,
    copied,
    added,
    through_two_views,
    into_a_buffer,
    each_second_cell,
    strip_by_strip,
]


@pytest.mark.parametrize("function", WRITES)
def test_what_is_written_into_a_tensor_of_its_own(function):
    module = Two(function).eval()
    network = read(module, SHAPE)
    with flop_counter.FlopCounterMode(display=False) as counter, torch.no_grad():
        truth = module(torch.randn(SHAPE))
    assert network.macs == counter.get_total_flops() / 2
    assert [network.stage(name).output_shape for name in network.outputs] == [tuple(truth.shape)]
    assert network.notes == ()


@pytest.mark.parametrize("function", [each for each in WRITES if each not in (each_second_cell, strip_by_strip)])
def test_the_receptive_field_of_what_is_written_into_a_tensor_of_its_own(function):
    module = Two(function).eval()
    network = read(module, SHAPE)
    module.buffer = nn.Buffer(torch.zeros(1, 8, 32, 32))
    x = torch.rand(SHAPE, requires_grad=True)
    out = module(x)
    out[0, :, out.shape[2] // 2, out.shape[3] // 2].sum().backward()
    touched = x.grad.abs().sum((0, 1)) > 0
    size = int(touched.any(1).sum()), int(touched.any(0).sum())
    assert network.stage(network.outputs[0]).receptive_field.size == size == (5, 5)


def test_a_refusal_is_that_of_torch():
    (sizes,) = examine(Two(lambda m, x: m.c(x).flatten(2).topk(5)[0]), SHAPE).sizes
    assert sizes.smallest == 3  # nine cells, of 2x2 there are four
    assert "k not in range" in sizes.obstacle
    assert "None" not in sizes.obstacle


def test_an_archive_that_unpacks_to_more_than_it_holds_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(nn.ReLU(), (torch.zeros(1, 3, 8, 8),)), path)
    assert examine(path).network.input_shape == (1, 3, 8, 8)
    monkeypatch.setattr("pooling.doctor.network.readers.exported.LARGEST_TEXT", 1 << 20)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{archive.namelist()[0].partition('/')[0]}/data/weights/weight_9", bytes(1 << 24))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(NetworkError, match="would unpack to"):
        examine(path)


@pytest.mark.parametrize(
    ("name", "told"), [("../outside", "outside of the archive"), ("other/part", "cannot be loaded")]
)
def test_an_archive_with_other_parts_is_refused_in_one_sentence(name, told, tmp_path, caplog, capfd):
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(nn.ReLU(), (torch.zeros(1, 3, 8, 8),)), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(NetworkError, match=told):
        examine(path)
    assert "Traceback" not in caplog.text + capfd.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------
# Recurrent layers


@pytest.mark.parametrize(
    "layer",
    [
        nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True),
        nn.LSTM(6, 5, proj_size=3, batch_first=True),
        nn.GRU(6, 5, 2, bidirectional=True),
        nn.RNN(6, 5, nonlinearity="relu"),
        nn.RNN(6, 5),
    ],
    ids=str,
)
def test_a_recurrent_layer_is_one_stage_of_the_shape_that_torch_gives(layer):
    class Over(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            output, state = self.layer(x)
            return output, *(state if isinstance(state, tuple) else (state,))

    network = read(Over(), (2, 7, 6))
    with torch.no_grad():
        truth = Over()(torch.randn(2, 7, 6))
    assert [stage.output_shape for stage in network.stages if stage.kind == "dense"] == [tuple(truth[0].shape)]
    assert network.parameters == sum(each.numel() for each in layer.parameters())


def test_weights_that_all_places_share_do_not_depend_on_position():
    class OverTime(nn.Module):
        def __init__(self):
            super().__init__()
            self.c, self.l, self.o = nn.Conv1d(1, 8, 5, stride=2), nn.LSTM(8, 32, batch_first=True), nn.Linear(32, 4)

        def forward(self, x):
            return self.o(self.l(self.c(x).transpose(1, 2))[0][:, -1])

    class PerCell(nn.Module):
        def __init__(self):
            super().__init__()
            self.c, self.l = nn.Conv2d(3, 8, 3), nn.Linear(8, 500)

        def forward(self, x):
            return self.l(self.c(x).permute(0, 2, 3, 1))

    flat = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 30 * 30, 4))
    assert "D504" not in codes(examine(OverTime(), (1, 1, 801)))
    assert "D504" not in codes(examine(PerCell(), SHAPE))
    assert "D504" in codes(examine(flat, SHAPE))
