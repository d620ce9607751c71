"""Networks by name: of libraries, of functions that make one, and programs of torch.export."""

import importlib
import io
import json
import os
import pickle
import sys
import textwrap
import zipfile

import numpy as np
import pytest

from pooling import cli
from pooling.doctor import NetworkError, examine, read
from pooling.doctor.network.readers.sources import is_source

torch = pytest.importorskip("torch")
pytest.importorskip("rich")
nn = torch.nn

FACTORIES = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 5)

        def forward(self, x):
            return self.fc(self.conv(x).relu().mean((2, 3)))

    class Two(nn.Module):
        def forward(self, image, mask):
            return image * mask

    def build():
        return Net()

    def with_values():
        torch.linspace(0, 1, 4).tolist()  # needs data
        return Net()

    def needs(channels, depth=2):
        return Net()

    def number():
        return 3

    def fails():
        raise KeyError("no such weights")

    def leaves():
        raise SystemExit(3)

    def on_a_card():
        return Net().cuda()

    module = Net()
    text = "no network"

    class Space:
        build = staticmethod(build)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a file of factories, which is the current one."""
    (tmp_path / "factories_of_test.py").write_text(textwrap.dedent(FACTORIES))
    (tmp_path / "broken_of_test.py").write_text("raise RuntimeError('not today')")
    (tmp_path / "importing_of_test.py").write_text("import a_library_that_nobody_has")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("factories_of_test", "broken_of_test", "importing_of_test"):
        sys.modules.pop(name, None)


@pytest.fixture
def pooling_doctor(capsys):
    """The command: its exit code, and what it writes."""

    def run(*arguments):
        try:
            code = cli.main(["doctor", *arguments])
        except SystemExit as leaving:  # of arguments that cannot be read
            code = leaving.code
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("timm:resnet50", True),
        ("timm:vit_base_patch16_224.augreg_in21k", True),
        ("torchvision:resnet18", True),
        ("ultralytics:yolov8n.yaml", True),
        ("package.module:factory", True),
        ("package.module:Class.build", True),
        ("folder/model.pt2", True),
        ("model.pt", True),
        ("model.onnx", False),
        ("conv7x64/2p3@stem pool3/2p0:1", False),
        ("pool3/2p0:1", False),
        ("MaxPool2d(3, stride=2)", False),
        ("C:\\models\\model.onnx", False),
    ],
)
def test_what_names_a_network(text, expected):
    assert is_source(text) is expected


# ---------------------------------------------------------------------------------------------------------------------
# Factories


@pytest.mark.parametrize("name", ["build", "with_values", "module", "Net", "Space.build"])
def test_a_factory_of_the_current_folder(folder, name):
    before = list(sys.path)
    network = read(f"factories_of_test:{name}", (1, 3, 32, 32))
    assert [stage.name for stage in network.stages if stage.parameters] == ["conv", "fc"]
    assert network.parameters == 8 * 27 + 8 + 45
    assert sys.path == before


SENTENCES = {
    "factories_of_test:needs": r"needs arguments \(channels\); give a function without any",
    "factories_of_test:number": "returns an object of type int; it must make a torch.nn.Module",
    "factories_of_test:fails": "cannot be made: KeyError: 'no such weights'",
    "factories_of_test:leaves": "cannot be made: SystemExit: 3",
    "factories_of_test:on_a_card": "cannot be made: |CUDA",
    "factories_of_test:biuld": "has no 'biuld'; do you mean build",
    "factories_of_test:text": "is of type str; it must be a torch.nn.Module or make one",
    "factories_of_test.py:build": "is a file; give its module, factories_of_test:build$",
    "no_module_of_test:build": "there is no module 'no_module_of_test'",
    "broken_of_test:build": "importing broken_of_test raises RuntimeError: not today",
    "importing_of_test:build": "needs a_library_that_nobody_has, which is not installed",
    "factories_of_test:Two": "wrong number of inputs|missing 1 required positional argument",
}


@pytest.mark.parametrize("source", SENTENCES)
def test_a_factory_that_gives_no_network(folder, source):
    if source.endswith("card") and torch.cuda.is_available():
        pytest.skip("there is a card")
    with pytest.raises(NetworkError, match=SENTENCES[source]):
        examine(source, (1, 3, 32, 32))


def test_a_factory_says_no_shape(folder):
    with pytest.raises(NetworkError, match="says no input shape; give --input-shape 1x3x224x224"):
        examine("factories_of_test:build")


def test_the_command(folder, pooling_doctor):
    code, told, error = pooling_doctor("factories_of_test:build", "--input-shape", "64")
    assert (code, error) == (0, "")
    assert "conv" in told
    code, told, error = pooling_doctor("factories_of_test:Two", "--input", "image=1x3x8x8", "--input", "mask=1x1x8x8")
    assert (code, error) == (0, "")
    assert "Mul" in told


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["factories_of_test:fails", "--input-shape", "64"], "KeyError"),
        (["factories_of_test:leaves", "--input-shape", "64"], "SystemExit"),
        (["factories_of_test:build"], "says no input shape"),
        (["factories_of_test:build", "--input-shape", "1x5x8x8"], "has 5 channels"),
        (["factories_of_test:Two", "--input", "image"], "must be a name and a shape"),
        (["factories_of_test:Two", "--input", "a=1x3", "--input", "a=1x3"], "names an input twice"),
        (["factories_of_test:Two", "--input", "a=1x3", "--input-shape", "8"], "cannot be given together"),
        (["model.pt2"], "there is no file"),
    ],
)
def test_the_command_refuses_in_a_sentence(folder, pooling_doctor, arguments, sentence):
    code, told, error = pooling_doctor(*arguments)
    assert (code, told) == (2, "")
    assert sentence in error
    assert "Traceback" not in error


# ---------------------------------------------------------------------------------------------------------------------
# Libraries


@pytest.mark.parametrize("library", ["timm", "torchvision", "ultralytics"])
def test_a_library_that_is_not_installed(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(NetworkError, match=f"needs {library}; install it with pip install {library}"):
        read(f"{library}:anything")


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("ultralytics:yolov8n.pt", "give ultralytics:yolov8n.yaml"),
        ("ultralytics:yolo11s-seg.pt", "give ultralytics:yolo11s-seg.yaml"),
        ("ultralytics:yolov5nu.pt", "give ultralytics:yolov5n.yaml"),
        ("ultralytics:rtdetr-l.onnx", "give ultralytics:rtdetr-l.yaml"),
        ("ultralytics:best.pt", "give the configuration that it was trained from, such as ultralytics:yolov8n.yaml"),
        ("timm:resnet50.safetensors", "give timm:resnet50"),
        ("torchvision:resnet18.pth", "give torchvision:resnet18"),
    ],
)
def test_a_library_is_asked_for_weights(pooling_doctor, text, remedy):
    with pytest.raises(NetworkError, match=r"names a file, and networks of .* are made without weights"):
        read(text)
    code, told, error = pooling_doctor(text)
    assert (code, told) == (2, "")
    assert (
        error == f"pooling doctor: {text} names a file, and networks of {text.partition(':')[0]} are made without "
        f"weights; {remedy}\n"
    )


def library(name):
    """Import a library; one that was built for another torch is as good as none."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError):
        pytest.skip(f"{name} is not installed")


def test_models_of_timm():
    timm = library("timm")
    result = examine("timm:resnet18")
    module = timm.create_model("resnet18")
    assert result.network.input_shape == (1, 3, 224, 224)
    assert result.network.parameters == sum(each.numel() for each in module.parameters())
    assert {"conv1", "layer1.0.conv1", "fc"} <= {stage.name for stage in result.network.stages}
    strides = [stage.receptive_field.stride[0] for stage in result.network.stages if stage.name == "layer4.1.conv2"]
    assert strides == [module.feature_info[-1]["reduction"]]
    with pytest.raises(NetworkError, match=r"no model 'resnet5'; do you mean timm:resnet5"):
        read("timm:resnet5")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "eva02_tiny_patch14_224"])
def test_a_transformer_of_timm_is_told_its_option_for_other_sizes(name):
    timm = library("timm")
    fixed = examine(f"timm:{name}")
    (finding,) = [each for each in fixed.findings if each.code == "D104"]
    assert any("make the model with dynamic_img_size=True, an option of timm" in fix for fix in finding.fixes)
    asked = examine(f"timm:{name}", (1, 3, 336, 336))
    assert asked.failure is not None
    errors = [each for each in asked.findings if each.severity == "error" and each.code in ("D102", "D103", "D104")]
    assert any("dynamic_img_size=True" in fix for each in errors for fix in each.fixes)
    # What is recommended works.
    module = timm.create_model(name, dynamic_img_size=True)
    assert examine(module, (1, 3, 336, 336)).failure is None
    assert not any("dynamic_img_size" in fix for each in examine(module).findings for fix in each.fixes)


def test_models_of_torchvision():
    models = library("torchvision").models
    module = models.resnet18()
    network = read("torchvision:resnet18")
    assert network.input_shape == (1, 3, 224, 224)
    assert network.parameters == sum(each.numel() for each in module.parameters())
    with pytest.raises(NetworkError, match="do you mean torchvision:resnet18"):
        read("torchvision:resnet19")


def test_models_of_ultralytics():
    library("ultralytics")
    network = read("ultralytics:yolov8n.yaml")
    assert network.input_shape == (1, 3, 640, 640)
    assert not network.unknown
    with pytest.raises(NetworkError, match=r"is no configuration; give ultralytics:yolov8n\.yaml"):
        read("ultralytics:yolov8n")
    with pytest.raises(NetworkError, match="has no model"):
        read("ultralytics:yolov99n.yaml")


def test_a_factory_changes_no_print_options(tmp_path, monkeypatch):
    text = (
        "import numpy as np, torch\n"
        "np.set_printoptions(linewidth=320, formatter={'float_kind': '{:11.5g}'.format})\n"
        "torch.set_printoptions(precision=2)\n"
        "def build():\n    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.MaxPool2d(2))\n"
    )
    tmp_path.joinpath("changes_print_options.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with np.printoptions(precision=3), torch._tensor_str.printoptions(precision=5):
        assert read("changes_print_options:build", input_shape=(1, 3, 32, 32)).stages
        assert repr(np.array([0.12345])) == "array([0.123])"
        assert repr(torch.tensor([0.1234567])) == "tensor([0.12346])"


# ---------------------------------------------------------------------------------------------------------------------
# Files


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.fc = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.stem(x))).mean((2, 3)))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("programs") / "net.pt2"
    torch.export.save(torch.export.export(Net().eval(), (torch.randn(1, 3, 32, 32),)), str(path))
    return path


def changed(program, path, change):
    """Write a program again, with some of its parts changed."""
    with zipfile.ZipFile(program) as archive, zipfile.ZipFile(path, "w") as written:
        for info in archive.infolist():
            text = change(info.filename.partition("/")[2], archive.read(info))
            if text is not None:
                written.writestr(info.filename, text)
    return str(path)


class Bomb:
    """What runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_program(program):
    result = examine(str(program))
    assert result.network.input_shape == (1, 3, 32, 32)
    assert [stage.name for stage in result.network.stages] == ["stem", "norm", "forward/relu", "forward/mean", "fc"]
    assert result.network.parameters == sum(each.numel() for each in Net().parameters())
    assert "test_doctor_sources.py" in result.network.stage("stem").source_line


def test_a_truncated_program(program, tmp_path):
    path = tmp_path / "net.pt2"
    path.write_bytes(program.read_bytes()[:-500])
    # What is left may end with an archive inside of the archive.
    with pytest.raises(NetworkError, match=r"is no (whole )?program of torch.export"):
        examine(str(path))


def test_a_damaged_program(program, tmp_path):
    data = bytearray(program.read_bytes())
    place = bytes(data).index(b'"graph_module"')
    data[place : place + 8] = b"\0" * 8
    path = tmp_path / "net.pt2"
    path.write_bytes(data)
    with pytest.raises(NetworkError, match=r"is damaged|is no JSON"):
        examine(str(path))


def damaged_archive(path, name):
    """Write an archive with a file whose compressed bytes are those of no stream."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(range(256)) * 9)
        begin = archive.getinfo(name).header_offset + 30 + len(name)
    data = bytearray(path.read_bytes())
    data[begin : begin + 8] = b"\xff" * 8
    path.write_bytes(data)
    return str(path)


def test_a_program_whose_compressed_parts_are_damaged(tmp_path, program):
    path = damaged_archive(tmp_path / "net.pt2", "net/models/model.json")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("net/archive_version", "0")
    with pytest.raises(NetworkError, match=r"is damaged \(Error -3 while decompressing data"):
        examine(path)


def test_weights_whose_compressed_parts_are_damaged(tmp_path):
    with pytest.raises(NetworkError, match=r"net\.pt"):
        examine(damaged_archive(tmp_path / "net.pt", "net/data.pkl"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip at all"])
def test_what_is_no_program(tmp_path, content):
    path = tmp_path / "net.pt2"
    path.write_bytes(content)
    with pytest.raises(NetworkError, match=r"is no whole program of torch.export"):
        examine(str(path))


def test_a_program_of_another_version(program, tmp_path):
    path = changed(program, tmp_path / "a.pt2", lambda name, text: b"99" if name == "archive_version" else text)
    with pytest.raises(NetworkError, match=r"cannot be loaded by torch .* save it with this version"):
        examine(path)
    path = changed(program, tmp_path / "b.pt2", lambda name, text: None if name.startswith("models/") else text)
    with pytest.raises(NetworkError, match=r"no program of torch.export of this version"):
        examine(path)


def test_sample_inputs_are_not_unpickled(program, tmp_path):
    mark = tmp_path / "mark"
    bomb = pickle.dumps(Bomb(str(mark)))
    path = changed(program, tmp_path / "a.pt2", lambda name, text: bomb if "sample_inputs" in name else text)
    assert examine(path).network.parameters > 0
    assert not mark.exists()


def test_pickled_weights_are_refused(program, tmp_path):
    mark = tmp_path / "mark"
    stored = io.BytesIO()
    torch.save(Bomb(str(mark)), stored)

    def change(name, text):
        if name.endswith("weights_config.json"):
            found = json.loads(text)
            next(iter(found["config"].values()))["use_pickle"] = True
            return json.dumps(found)
        return stored.getvalue() if name.startswith("data/weights/weight_") else text

    with pytest.raises(NetworkError, match="pickled weights, which run code"):
        examine(changed(program, tmp_path / "a.pt2", change))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["opaque_obj_0", "custom_obj_0"])
def test_pickled_objects_are_refused(program, tmp_path, name):
    mark = tmp_path / "mark"

    def change(part, text):
        if part.endswith("constants_config.json"):
            return json.dumps({"config": {"x": {"path_name": name, "is_param": False, "use_pickle": False}}})
        return text

    path = changed(program, tmp_path / "a.pt2", change)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"net/data/constants/{name}", pickle.dumps(Bomb(str(mark))))
    with pytest.raises(NetworkError, match="that only a pickle can hold"):
        examine(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("torch.ops.load_library", "is no operator of torch"),
        ("torch.load", "is no operator of torch"),
        ("os.system", "is no operator of torch"),
    ],
)
def test_other_functions_are_refused(program, tmp_path, text, sentence):
    def change(name, old):
        return old.replace(b"torch.ops.aten.relu.default", text.encode()) if name.startswith("models/") else old

    with pytest.raises(NetworkError, match=sentence):
        examine(changed(program, tmp_path / "a.pt2", change))


@pytest.mark.parametrize(
    "text", ["__import__('os').mkdir('mark')", "().__class__", "s0.func", "open(s0)", "exec(s0)", "s0[0]"]
)
def test_sizes_that_are_no_arithmetic_are_refused(program, tmp_path, text, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def change(name, old):
        if not name.startswith("models/"):
            return old
        found = json.loads(old)
        found["range_constraints"] = {"s0": {"expr_str": text}}
        return json.dumps(found)

    with pytest.raises(NetworkError, match="which is no arithmetic"):
        examine(changed(program, tmp_path / "a.pt2", change))
    assert not (tmp_path / "mark").exists()


def test_a_program_of_open_sizes(tmp_path):
    sizes = {2: torch.export.Dim("h", min=16, max=256), 3: torch.export.Dim("w", min=16, max=256)}
    exported = torch.export.export(Net().eval(), (torch.randn(1, 3, 32, 40),), dynamic_shapes=(sizes,))
    path = tmp_path / "open.pt2"
    torch.export.save(exported, str(path))
    network = read(str(path), (1, 3, 48, 64))
    assert network.stage("stem").output_shape == (1, 8, 24, 32)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".torchscript"])
def test_pickles_are_refused(tmp_path, pooling_doctor, suffix):
    mark = tmp_path / "mark"
    path = tmp_path / f"model{suffix}"
    torch.save(Bomb(str(mark)), str(path))
    with pytest.raises(NetworkError, match="is a pickle or a TorchScript archive, which runs code"):
        examine(str(path))
    assert pooling_doctor(str(path))[0] == 2
    assert not mark.exists()


def test_a_torchscript_archive_is_refused(tmp_path):
    path = tmp_path / "model.pt2"
    torch.jit.trace(Net().eval(), torch.randn(1, 3, 8, 8)).save(str(path))
    with pytest.raises(NetworkError, match="is a TorchScript archive"):
        examine(str(path))
