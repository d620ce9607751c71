"""Real networks without weights, and what torch says of them: the truths that the doctor is held against.

Nothing here asks the doctor, and nothing loads weights or asks for an address on the network. Networks are built on the
meta device where their code allows it, so that no memory is needed, and run there: shapes, parameters and multiply-adds
are those of torch's own kernels. What depends on values, gradients and perturbations, runs on the CPU in float64.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

SEED = 2026
Shape = tuple[int, ...]

# What the libraries do when they are imported: ultralytics looks for the network and writes settings.
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_CONFIG_DIR", os.path.join(tempfile.gettempdir(), "ultralytics-settings"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@functools.cache
def prepare_torchvision() -> Any:
    """Declare the operators that torchvision registers fake kernels for when it is imported.

    Its compiled part is built for the torch of one index and does not load beside the same version of another (CPU and
    CUDA builds); without it the operators do not exist, and ``import torchvision`` fails where it describes them.
    Models need them only behind their last layer.
    """
    library = None
    with contextlib.suppress(RuntimeError):  # the compiled part has loaded, or somebody else was first
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, name):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library  # the operators live as long as it does


prepare_torchvision()

# ---------------------------------------------------------------------------------------------------------------------
# Networks


@dataclass(frozen=True)
class RealNetwork:
    """A network that people use.

    Attributes
    ----------
    name : str
        ``library:model``.
    factory : callable
        Builds the module with random weights.
    shape : tuple of int
        An input shape that it is made for.
    other : tuple of int
        Another, which it may refuse.
    needs_values : bool
        Whether its forward pass asks for values of its buffers, so that it runs on the CPU only.
    """

    name: str
    factory: Callable[[], nn.Module] = field(repr=False)
    shape: Shape
    other: Shape
    needs_values: bool = False

    def on_meta(self) -> nn.Module:
        """Build it without memory; on the CPU first where its constructor works with values."""
        if self.needs_values:
            return self.on_cpu()
        try:
            with torch.device("meta"):
                module = self.factory()
            check = [each for each in module.buffers() if each.device.type != "meta"]
            if not check:
                return module.eval()
        except Exception:  # whatever a constructor makes of tensors without values
            pass
        return self.on_cpu().to("meta")

    def on_cpu(self) -> nn.Module:
        """Build it with values that nobody has set: fast, and pages that are not touched take no memory."""
        with _Uninitialised():
            return self.factory().eval()

    def with_weights(self) -> nn.Module:
        """Build it with its own random initial weights."""
        torch.manual_seed(SEED)
        return self.factory().eval()


class _Uninitialised(TorchFunctionMode):
    """Leaves out the initialisation of weights."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init" or getattr(func, "__name__", "") in INITIALISING:
            tensor = (kwargs or {}).get("tensor", args[0] if args else None)
            if isinstance(tensor, nn.Parameter):
                return tensor
        return func(*args, **(kwargs or {}))


INITIALISING = {"normal_", "uniform_", "trunc_normal_", "erfinv_", "kaiming_uniform_", "kaiming_normal_"}


def _other(shape: Shape, step: int = 64) -> Shape:
    return (*shape[:-2], shape[-2] + step, shape[-1] + step)


def timm_network(name: str, **options: Any) -> RealNetwork:
    """Return a network of timm, at the input size of its configuration."""
    import timm

    configuration = timm.get_pretrained_cfg(name)
    shape = (1, *(configuration.input_size if configuration is not None else (3, 224, 224)))
    factory = functools.partial(timm.create_model, name, pretrained=False, **options)
    return RealNetwork(f"timm:{name}", factory, shape, _other(shape))


def timm_names(count: int | None = None, seed: int = SEED) -> list[str]:
    """Return names of timm's models: all, or a sample that takes one of each family before it takes a second."""
    import timm

    if count is None:
        return list(timm.list_models())
    chance = random.Random(seed)
    families = {module: sorted(timm.list_models(module=module)) for module in sorted(timm.list_modules())}
    for names in families.values():
        chance.shuffle(names)
    found: list[str] = []
    while len(found) < count and any(families.values()):
        waiting = [module for module, names in families.items() if names]
        chance.shuffle(waiting)
        found += [families[module].pop() for module in waiting]
    return found[:count]


SAMPLE = 100
"""Models of timm that the tests read."""
ODD: Shape = (1, 3, 75, 91)
"""A size that most networks do not divide."""


_SMALL = (
    "convit_tiny convnext_zepto_rms iformer_m efficientvit_m4 mobilenetv3_small_075 repvit_m3 repghostnet_050 "
    "swiftformer_xs starnet_s2 hardcorenas_f hgnetv2_b2 coat_tiny fasternet_t1 rexnet_130 densenet121 "
    "levit_conv_192 edgenext_x_small lcnetv2_large cpubone_nano swiftformer_s fastvit_t12 cpubone_b0_bfrobust "
    "vit_tiny_r_s16_p8_224 ghostnetv3_100 test_vit3 dla46_c starnet_s150 mobilevit_s shvit_s1 edgenext_small_rw "
    "repghostnet_080 fasternet_t0 bat_resnext26ts mobilenetv1_100 visformer_tiny repvit_m2 "
    "lambda_resnet26rpt_256 pit_xs_224 tf_mobilenetv3_large_075 deit_tiny_distilled_patch16_224 lcnetv2_base "
    "efficientvit_m1 hardcorenas_d rexnet_150 poolformer_s12 hardcorenas_b pit_xs_distilled_224 "
    "densenetblur121d skresnet18 repghostnet_058 levit_128 convnextv2_femto pvt_v2_b0 resnet18 mobilenetv3_rw "
    "haloregnetz_b mobilevit_xs cs3darknet_s efficientformerv2_s1 crossvit_9_dagger_240 "
)
SMALL = _SMALL.split()
"""Sixty models of timm of at most 12 million parameters that give feature maps, drawn as `timm_names` draws.

These run with values.
"""


_MORE = (
    "vit_pe_core_tiny_patch16_384 csatv2 efficientnet_el_pruned gcvit_xxtiny edgenext_small cpubone_t0 "
    "efficientvit_m3 cspnext_s pit_ti_224 resnest14d fastvit_mci0 mobilevitv2_150 ghostnetv2_130 cait_xxs24_224 "
    "starnet_s050 repghostnet_111 efficientformerv2_s0 rexnet_100 efficientvit_b0 hardcorenas_e tinynet_e "
    "iformer_s cspnext_tiny legacy_seresnet18 rexnetr_130 mobilevit_xxs repghostnet_150 efficientvit_m0 "
    "ghostnetv2_100 fastvit_t8 edgenext_xx_small tf_mixnet_l fbnetv3_d hardcorenas_c dpn48b ghostnetv3_050 "
    "mobilevitv2_125 rexnetr_100 coat_lite_mini pit_ti_distilled_224 convnextv2_pico starnet_s4 efficientvit_m2 "
    "vit_tiny_r_s16_p8_384 efficientnet_b2 test_mambaout dla60x_c crossvit_9_240 cpubone_s0 rexnetr_150 "
)
MORE = _MORE.split()
"""Fifty more of the same kind: some of the sixty take one size only, and give no answer at others."""


def torchvision_networks() -> list[RealNetwork]:
    """Return all of torchvision's classification, segmentation, detection and video models."""
    import torchvision.models as models

    found = []
    for module, shape in (
        (models, (1, 3, 224, 224)),
        (models.segmentation, (1, 3, 256, 256)),
        (models.detection, (1, 3, 320, 320)),
        (models.video, (1, 3, 16, 112, 112)),
    ):
        for name in models.list_models(module=module):
            options: dict[str, Any] = {"weights": None}
            if module in (models.segmentation, models.detection):
                options["weights_backbone"] = None
            if module is models.detection and not name.startswith("ssd"):
                options |= {"min_size": shape[-1], "max_size": shape[-1]}  # to which they scale every image
            size: Shape = {
                "mvit": (1, 3, 16, 224, 224),
                "s3d": (1, 3, 16, 224, 224),
                "inception": (1, 3, 299, 299),
            }.get(name.split("_")[0], shape)
            factory = functools.partial(models.get_model, name, **options)
            # Which boxes a detector keeps are values.
            values = module is models.detection
            found.append(RealNetwork(f"torchvision:{name}", factory, size, _other(size), needs_values=values))
    return found


_YOLO = (
    "yolov3u yolov3-tinyu yolov5n yolov6n yolov8n yolov8n-p2 yolov8n-seg yolov8n-pose yolov8n-obb yolov8n-cls yolov9t "
    "yolov10n yolo11n yolo11n-seg yolo11n-cls yolo12n"
)
YOLO = _YOLO.split()
"""Models that ultralytics builds from the YAML files that it ships, the smallest of each."""


def _yolo(name: str) -> nn.Module:
    from ultralytics.nn import tasks

    kinds = {"seg": "Segmentation", "pose": "Pose", "obb": "OBB", "cls": "Classification"}
    kind = getattr(tasks, f"{kinds.get(name.rpartition('-')[2], 'Detection')}Model")
    file = name.removesuffix("u") if name.startswith("yolov3") else name
    module: nn.Module = kind(f"{file}.yaml", verbose=False)
    return module


def ultralytics_networks() -> list[RealNetwork]:
    """Return the smallest model of each YAML file of ultralytics that is for one task on images."""
    found = []
    for name in YOLO:
        shape = (1, 3, 224, 224) if name.endswith("cls") else (1, 3, 320, 320)
        found.append(
            RealNetwork(f"ultralytics:{name}", functools.partial(_yolo, name), shape, _other(shape), needs_values=True)
        )
    return found


def smp_networks() -> list[RealNetwork]:
    """Return every decoder of segmentation-models-pytorch on a small encoder."""
    import segmentation_models_pytorch as smp

    found = []
    for name, kind in sorted(smp.MODEL_ARCHITECTURES_MAPPING.items()):
        options: dict[str, Any] = {"encoder_weights": None}
        if name == "dpt":
            options["encoder_name"] = "tu-vit_tiny_patch16_224"
            shape: Shape = (1, 3, 224, 224)
        else:
            options["encoder_name"] = "resnet18"
            shape = (1, 3, 256, 256)
        found.append(RealNetwork(f"smp:{name}", functools.partial(kind, **options), shape, _other(shape)))
    return found


def one_of_each(networks: list[RealNetwork]) -> list[RealNetwork]:
    """Return the first network of each beginning of a name, such as resnet."""
    families: dict[str, RealNetwork] = {}
    for each in networks:
        families.setdefault("".join(letter for letter in each.name.split("_")[0] if letter.isalpha()), each)
    return list(families.values())


# ---------------------------------------------------------------------------------------------------------------------
# A run in torch

CONVOLUTIONS = {"convolution", "_convolution", "convolution_overrideable", "mkldnn_convolution"}
POOLINGS = {
    f"{word}{axes}d{end}"
    for word in (
        "max_pool",
        "avg_pool",
        "adaptive_max_pool",
        "_adaptive_avg_pool",
        "adaptive_avg_pool",
        "fractional_max_pool",
    )
    for axes in (1, 2, 3)
    for end in ("", "_with_indices")
}


@dataclass
class Run:
    """What torch did at one size.

    Attributes
    ----------
    convolutions, transposed, poolings : list of tuple of int
        Shapes of the results, in the order of the calls in which data takes part.
    modules : dict of str to list of tuple of int
        Of each module that worked on data, the shapes of what it returned, call by call.
    outputs : list of tuple of int
        Shapes of the tensors that the network returns.
    multiply_adds : int
        Those of calls in which data takes part, by the formulas of `torch.utils.flop_counter`.
    multiply_adds_of_constants : int
        Those of the others, such as the projection of position tables.
    parameters, parameters_read : int
        Elements of all parameters, and of those that took part in anything.
    """

    convolutions: list[Shape] = field(default_factory=list)
    transposed: list[Shape] = field(default_factory=list)
    poolings: list[Shape] = field(default_factory=list)
    modules: dict[str, list[Shape]] = field(default_factory=dict)
    outputs: list[Shape] = field(default_factory=list)
    multiply_adds: int = 0
    multiply_adds_of_constants: int = 0
    parameters: int = 0
    parameters_read: int = 0
    steps: list[tuple[int, Shape]] = field(default_factory=list)
    """Multiply-adds so far, and the shape of the result, after each convolution and pooling of data."""


class _Recording(TorchDispatchMode):
    """Writes down the calls in which data takes part: whose arguments lie in memory that comes from the input."""

    def __init__(self, module: nn.Module, x: torch.Tensor) -> None:
        super().__init__()
        self.run = Run(parameters=sum(each.numel() for each in module.parameters()))
        self.kept: list[torch.Tensor] = [x]  # so that no storage is used again
        self.data = {_storage(x)}
        self.calls = 0
        self.unsqueezed: torch.Tensor | None = None
        self.unread = {_storage(each): each.numel() for each in module.parameters()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given = [each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        made = [each for each in pytree.tree_leaves(result) if isinstance(each, torch.Tensor)]
        self.kept += made
        reads_data = any(_storage(each) in self.data for each in given)
        for each in given:
            self.run.parameters_read += self.unread.pop(_storage(each), 0)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            number = formula(*args, **kwargs, out_val=result) // 2
            if reads_data:
                self.run.multiply_adds += number
            else:
                self.run.multiply_adds_of_constants += number
        if not reads_data:
            return result
        self.calls += 1
        self.data |= {_storage(each) for each in made}
        name = func._schema.name.split("::")[1]
        if name in CONVOLUTIONS or name in POOLINGS:
            self.run.steps.append((self.run.multiply_adds, tuple(made[0].shape)))
        if name in CONVOLUTIONS:
            kind = self.run.transposed if args[6] else self.run.convolutions
            kind.append(tuple(made[0].shape))
        elif name in POOLINGS:
            # torch works poolings of one axis out as such of two, the first of which it adds and takes away.
            added = self.unsqueezed is args[0]
            self.run.poolings.append(tuple(each for axis, each in enumerate(made[0].shape) if axis != 2 or not added))
        self.unsqueezed = made[0] if name == "unsqueeze" and args[1] in (-2, 2) else None
        return result


def _storage(tensor: torch.Tensor) -> int:
    number: int = tensor.untyped_storage()._cdata
    return number


@contextlib.contextmanager
def watched(
    module: nn.Module, end: Callable[[str, Any, Any], Any], begin: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Tell of each call of a module its path, before it and after it; what `end` returns is given instead, unless None.

    Of a module that several share, the path is that in the one that calls it.
    """
    calls: list[str] = []
    names: dict[nn.Module, list[str]] = {}
    for name, each in module.named_modules(remove_duplicate=False):
        names.setdefault(each, []).append(name)

    def before(called: nn.Module, _: Any) -> None:
        around = f"{calls[-1]}." if calls and calls[-1] else ""
        several = names[called]
        calls.append(next((each for each in several if each.startswith(around)), several[0]))
        begin(calls[-1])

    def after(_: nn.Module, arguments: Any, result: Any) -> Any:
        return end(calls.pop(), arguments, result)

    handles = []
    for each in names:
        handles.append(each.register_forward_pre_hook(before))
        handles.append(each.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_in_torch(module: nn.Module, shape: Shape) -> Run:
    """Run a module once on tensors without memory, or whatever its parameters are on."""
    device = next((each.device for each in module.parameters()), torch.device("cpu"))
    x = torch.empty(shape, device=device)
    recording = _Recording(module, x)
    starts: list[int] = []

    def end(name: str, _: Any, result: Any) -> None:
        before = starts.pop()
        if recording.calls > before and isinstance(result, torch.Tensor):
            recording.run.modules.setdefault(name, []).append(tuple(result.shape))

    with watched(module, end, lambda _: starts.append(recording.calls)), torch.no_grad(), recording:
        result = module(x)
    leaves = [each for each in pytree.tree_leaves(result) if isinstance(each, torch.Tensor)]
    recording.run.outputs = [tuple(each.shape) for each in leaves]
    return recording.run


def works_in_torch(module: nn.Module, shape: Shape) -> bool:
    """Whether a module takes an input of a shape."""
    device = next(module.parameters()).device
    try:
        with torch.no_grad():
            result = module(torch.empty(shape, device=device))
    except Exception:  # every refusal counts, whatever it is
        return False
    return all(each.numel() for each in pytree.tree_leaves(result) if isinstance(each, torch.Tensor))


COUNTED = ("conv", "linear", "matmul", "einsum", "addmm", "mm", "bmm", "baddbmm")


@contextlib.contextmanager
def explicit_attention() -> Iterator[None]:
    """Let models of timm multiply matrices in their attention: fvcore does not count the fused kernel."""
    try:
        from timm.layers import config
    except ImportError:
        yield
        return
    before = config._USE_FUSED_ATTN
    config.set_fused_attn(False)
    try:
        yield
    finally:
        config._USE_FUSED_ATTN = before


def multiply_adds_of_fvcore(network: RealNetwork) -> int:
    """Return what fvcore counts of convolutions and products of matrices; the rest is not in the definition."""
    import logging

    from fvcore.nn import FlopCountAnalysis

    for name in ("fvcore", "fvcore.nn.jit_analysis", "fvcore.nn.jit_handles"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with torch.no_grad(), explicit_attention():
        counter = FlopCountAnalysis(network.on_cpu(), torch.zeros(network.shape))  # it traces with values
        counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        found = counter.by_operator()
    return int(sum(found[name] for name in COUNTED))


def feature_strides(name: str) -> tuple[RealNetwork, list[int]] | None:
    """Return a timm model as a pyramid of features, with the strides that timm declares; None where it has none."""
    network = timm_network(name, features_only=True)
    try:
        with torch.device("meta"):
            module = network.factory()
    except Exception:
        try:
            module = network.on_cpu()
        except Exception:  # timm's ways of saying that a model has no feature pyramid
            return None
    return network, list(module.feature_info.reduction())


# ---------------------------------------------------------------------------------------------------------------------
# Gradients and perturbations


SAME = (
    "relu relu_ relu6 silu silu_ gelu sigmoid sigmoid_ hardsigmoid hardswish hardtanh hardtanh_ leaky_relu leaky_relu_ "
    "elu elu_ selu celu mish tanh tanh_ softplus prelu batch_norm layer_norm group_norm instance_norm rms_norm dropout "
    "clamp clamp_ normalize"
)
"""Functions that give what they are given, in a network that is made linear."""
GATES = frozenset({"sigmoid", "sigmoid_", "hardsigmoid", "hardsigmoid_"})


class Linearised(TorchFunctionMode):
    """Makes a network linear with positive weights, so that no gradient is zero where a cell depends on a pixel.

    Activations and normalisations give what they are given, and a maximum is a mean over the same windows.

    Parameters
    ----------
    gates : bool
        Whether gradients pass through sigmoids, which gate a map by what is seen of the whole input.
    """

    SAME = frozenset(SAME.split())

    def __init__(self, *, gates: bool = True) -> None:
        super().__init__()
        self.gates = gates

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in GATES and args:
            # One everywhere: a product of gates that are maps themselves would leave the range of numbers.
            return (args[0] + 1) / (args[0].detach() + 1) if self.gates else torch.ones_like(args[0])
        if name in ("rsqrt", "rsqrt_"):
            return torch.ones_like(args[0])  # of a normalisation that is written by its parts
        if name in self.SAME and (args or "input" in kwargs):
            return args[0] if args else kwargs["input"]
        if name in ("_max_pool2d", "max_pool2d", "boolean_dispatch") and args and args[0].dim() in (3, 4):
            return _mean_of_windows(*args, **kwargs)
        return func(*args, **kwargs)


def _mean_of_windows(
    x: torch.Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> torch.Tensor:
    assert dilation in (1, (1, 1), [1, 1])
    assert not return_indices
    return nn.functional.avg_pool2d(x, kernel_size, stride or kernel_size, padding, ceil_mode)


def positive(module: nn.Module) -> nn.Module:
    """Set weights so that each output is a mean of its inputs, in float64."""
    module = module.double().eval()
    with torch.no_grad():
        for name, each in module.named_parameters():
            if each.dim() > 1:
                each.fill_(1 / max(1, each[0].numel()))
            else:
                each.fill_(0.0 if name.endswith("bias") else 1.0)
    return module


def tensors_of(result: Any) -> list[torch.Tensor]:
    """Return the tensors of a result through which a gradient passes."""
    return [each for each in pytree.tree_leaves(result) if isinstance(each, torch.Tensor) and each.is_floating_point()]


@dataclass
class Probe:
    """A linear network after one run, to be asked by gradients.

    Attributes
    ----------
    x : torch.Tensor
        The input.
    outputs : list of torch.Tensor
    given, results : dict
        The input of each module's last call, and the tensors that it gave, by its path.
    """

    x: torch.Tensor
    outputs: list[torch.Tensor]
    given: dict[str, torch.Tensor]
    results: dict[str, list[torch.Tensor]]

    def columns(self, tensor: torch.Tensor, cell: int) -> set[int]:
        """Return the columns of the input that a column of a map depends on."""
        (gradient,) = torch.autograd.grad(tensor[..., cell].sum(), self.x, retain_graph=True)
        _check(gradient)
        return set((gradient != 0).flatten(0, -2).any(0).nonzero().flatten().tolist())

    def read_places(self, tensor: torch.Tensor | None = None) -> torch.Tensor:
        """Return which places of a map, by default of the input, any output depends on."""
        total = torch.stack([each.sum() for each in self.outputs if each.requires_grad]).sum()
        (gradient,) = torch.autograd.grad(total, self.x if tensor is None else tensor, retain_graph=True)
        _check(gradient)
        return (gradient != 0).any(1).any(0)


def _check(gradient: torch.Tensor) -> None:
    """A gradient that is no number is not zero, and says nothing."""
    if not bool(gradient.isfinite().all()):
        raise OverflowError("the gradient left the range of float64")


def probe(module: nn.Module, shape: Shape, *, gates: bool = True) -> Probe:
    """Run a module that `positive` has made linear; `gates` as for `Linearised`."""
    x = torch.rand(shape, dtype=torch.float64).add_(0.5).requires_grad_()
    given: dict[str, torch.Tensor] = {}
    results: dict[str, list[torch.Tensor]] = {}

    def keep(name: str, arguments: Any, result: Any) -> None:
        if arguments and isinstance(arguments[0], torch.Tensor):
            given[name] = arguments[0]
        results[name] = tensors_of(result)

    for each in module.parameters():
        each.requires_grad_(False)
    with Linearised(gates=gates), watched(module, keep):
        outputs = tensors_of(module(x))
    return Probe(x, outputs, given, results)


def centred(module: nn.Module) -> nn.Module:
    """Set weights so that every map keeps the grid that it can keep: channels alike, the middle tap the largest.

    The taps of a convolution beside its middle one are small and differ along the last axis, and only those of the
    middle row are not zero, so that all rows of a map stay equal if those of the input are. In float64.
    """
    module = positive(module)
    chance = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for each in module.modules():
            if isinstance(each, nn.Conv2d) and each.weight.dim() == 4:
                _, inputs, rows, columns = each.weight.shape
                taps = 0.2 * torch.rand(columns, generator=chance, dtype=torch.float64) + 0.05
                taps[columns // 2] = 1.0
                each.weight.zero_()
                each.weight[:, :, rows // 2, :] = taps / (inputs * taps.sum())
    return module


def resolved_cells(network: RealNetwork, shape: Shape, path: str, columns: int, most: int) -> int | None:
    """Count the cells that a map tells apart along the last axis: the rank of its response to patterns of the input.

    A map that was upsampled from `n` cells has rank `n`, however large it is; one that a finer map was joined to has
    more. That holds whatever its receptive fields are. Patterns differ along the last axis only.

    Parameters
    ----------
    network : RealNetwork
    shape : tuple of int
        Of the input.
    path : str
        Of the module that gives the map.
    columns : int
        Of the map, if the module gives several.
    most : int
        So many cells are told from fewer, and not from more.

    Returns
    -------
    int or None
        None where the module gives no map.
    """
    module = centred(network.with_weights())
    found: list[torch.Tensor] = []

    def keep(name: str, _: Any, result: Any) -> None:
        if name == path:
            found.extend(each for each in tensors_of(result) if each.dim() == 4 and each.shape[-1] == columns)

    rows: list[torch.Tensor] = []
    chance = torch.Generator().manual_seed(SEED)
    with torch.no_grad(), Linearised(), watched(module, keep):
        for number in range(most + 2):
            line = torch.rand(shape[-1], generator=chance, dtype=torch.float64)
            x = (line if number else torch.zeros_like(line)).expand(1, *shape[1:]).contiguous()
            found.clear()
            module(x)
            if not found:
                return None
            rows.append(found[-1][0, :, found[-1].shape[2] // 2, :].sum(0))
    responses = torch.stack(rows[1:]) - rows[0]
    scale = responses.abs().max()
    return int(torch.linalg.matrix_rank(responses / scale, tol=1e-9)) if scale > 0 else 0


def changed_by_nan(module: nn.Module, shape: Shape, columns: Sequence[int]) -> list[torch.Tensor]:
    """Put NaN into one column of each picture of a batch; return, map by map, which cells of which picture become NaN.

    NaN passes every operator of torch that reads it, also those that a gradient does not pass, and it needs no special
    weights: this asks the network as it is.
    """
    x = torch.rand((len(columns), *shape[1:]), dtype=torch.float64)
    for number, column in enumerate(columns):
        x[number, ..., column] = float("nan")
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        maps = tensors_of(module.double()(x))
    return [each.isnan().flatten(1, -2).any(1) for each in maps]


def notices_nan(module: nn.Module, shape: Shape, places: Mapping[int, Sequence[int]]) -> bool:
    """Whether any output notices NaN in all of some places: by axis of the input, the places."""
    x = torch.rand(shape, dtype=torch.float64)
    for axis, each in places.items():
        x.index_fill_(axis, torch.tensor(list(each)), float("nan"))
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        maps = tensors_of(module.double()(x))
    return any(bool(each.isnan().any()) for each in maps)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: several tests run at a time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
