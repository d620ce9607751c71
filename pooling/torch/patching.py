"""Let the pooling of a network be computed by `pooling`, and undo it.

A module that is patched gets a class made for it: a subclass of the class that it has, with the same name, whose
``forward`` is the only difference. So ``isinstance``, ``repr``, state dicts, hooks and attributes stay, and copies and
pickles of it are patched as well.
"""

from __future__ import annotations

import ast
import copyreg
import html
import inspect
import math
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from pooling.arguments import flag, per_axis
from pooling.errors import refused, type_error
from pooling.signs import counted, first_line

from . import functional as F
from . import nn as replacements
from . import worth

__all__ = ["PatchReport", "PatchedModule", "patch", "patched", "unpatch"]

_is_compiling = torch.compiler.is_compiling
_is_tracing = torch._C._is_tracing
SMALL_WINDOW = 25
"""Elements of a window up to which `torch.compile` has kernels of its own, which it fuses with what is around them."""
MODULES: dict[type[nn.Module], type[nn.Module]] = {
    getattr(nn, name): getattr(replacements, name) for name in replacements.__all__ if hasattr(nn, name)
}
"""Modules of `torch.nn`, and those of `pooling` that compute the same."""
SMALL = "_pooling_leaves_below"
"""Attribute of patched modules: elements of inputs below which PyTorch takes less time, in any memory format."""
FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
HALVES = frozenset({torch.float16, torch.bfloat16})
INTEGERS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})
FAMILIES = ("max_pool", "avg_pool", "lp_pool", "adaptive_max_pool", "adaptive_avg_pool", "max_unpool")
FUNCTIONS = {f"{family}{n}d": getattr(F, f"{family}{n}d") for family in FAMILIES for n in (1, 2, 3)}
"""Functions of `torch.nn.functional`, and those of `pooling` that compute the same."""

# ---------------------------------------------------------------------------------------------------------------------
# Which tensors, and which arguments


def takes(input: Any, *, exact: bool = False) -> bool:
    """Whether `pooling` computes for a tensor what PyTorch does; anything else is left to PyTorch.

    Parameters
    ----------
    input : anything
        The tensor.
    exact : bool
        Whether integers are computed without rounding, of which the two have different rules.
    """
    return (
        (type(input) is Tensor or type(input) is nn.Parameter)
        and (input.dtype in FLOATS or (exact and input.dtype in INTEGERS))
        and input.is_cpu
        and input.layout is torch.strided
        and not input.is_nested
        # What has no forward derivatives, and what traces record for other runtimes.
        and forward_ad._current_level < 0
        and not _is_tracing()
    )


def widened(volume: Tensor) -> Tensor:
    """Return volumes in the precision in which `torch.autocast` has them pooled, which is not that of maps."""
    if volume.dtype in HALVES and torch.is_autocast_enabled("cpu"):
        return volume.float()
    return volume


def _norm_left(norm_type: Any, ceil_mode: Any) -> str:
    """Say why a norm is left to PyTorch; nothing where it is not."""
    if not isinstance(norm_type, (int, float)) or norm_type % 2 or norm_type <= 0:
        return f"norm_type={norm_type}: PyTorch sums powers with their signs, pooling sums those of magnitudes"
    if ceil_mode:
        return "ceil_mode=True: PyTorch scales the norm of a window that is cut off as if it were whole"
    return ""


def _window(module: nn.Module) -> int:
    """Return the elements of a window; 0 where they follow from the input."""
    size: Any = getattr(module, "kernel_size", None)
    if size is None:
        return 0
    n = int(next(kind for kind in MODULES if isinstance(module, kind)).__name__[-2])
    try:
        return math.prod(per_axis("patch", "kernel_size", size, n))
    except (TypeError, ValueError):  # of what is no size, which every call refuses
        return 0


def _is_for_inductor(module: nn.Module) -> bool:
    """Whether a module is left to the compiler."""
    return _window(module) <= SMALL_WINDOW


def _has_wrong_gradient(module: nn.Module) -> bool:
    """Whether the gradient that Inductor has for a module is wrong (pytorch#198119).

    It divides by the whole window where that hangs over the edge, and is wrong in torch 2.13.
    """
    return isinstance(module, (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)) and bool(module.ceil_mode)


# ---------------------------------------------------------------------------------------------------------------------
# The classes of patched modules


class Patched:
    """What classes of patched modules have in common."""

    original: ClassVar[type[nn.Module]]
    always: ClassVar[bool]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Tell copies and pickles the class that can be found by its name, and what the module says of itself."""
        made = super().__reduce_ex__(max(int(protocol), 2))
        if made[0] is copyreg.__newobj__ and made[1][0] is type(self):  # type: ignore[attr-defined]
            return _restored, (self.original, self.always, *made[1][1:]), *made[2:]
        if made[0] is type(self):  # of a class that tells how it is called
            return _called, (self.original, self.always, *made[1]), *made[2:]
        return made

    def __prepare_scriptable__(self) -> Any:
        """Refuse `torch.jit.script`, in words: it compiles the source of a forward, and this one is Python."""
        raise refused(
            RuntimeError,
            "torch.jit.script",
            f"a {type(self).__name__} of the model is patched by pooling, and TorchScript cannot call that",
            "call unpatch(model) before it; torch.jit.trace, torch.export and torch.compile take patched models",
        )


def _called(original: Any, always: bool, *arguments: Any) -> Any:
    """Make a patched module by a call of its class."""
    return _class_for(original, always)(*arguments)


def _restored(original: Any, always: bool, *arguments: Any) -> Any:
    """Make a patched module without its state."""
    kind = _class_for(original, always)
    return kind.__new__(kind, *arguments)


@cache
def _class_for(original: Any, always: bool) -> Any:
    """Make the class of the patched modules of a class."""
    known = _known(original)
    theirs = original.forward
    forward = _wrapped(theirs, always) if known is None else _replaced(theirs, MODULES[known].forward, known, always)
    names = {
        "forward": forward,
        "original": original,
        "always": always,
        "__doc__": original.__doc__,
        # torch.fx takes modules whose class is in torch.nn for whole steps of a network.
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
    }
    # Methods of our module are those of torch's but for `_pool`, which its forward asks for.
    if known is not None and "_pool" in vars(MODULES[known]):
        names["_pool"] = vars(MODULES[known])["_pool"]
    return type(original.__name__, (Patched, original), names)


def _replaced(
    theirs: Callable[..., Any], ours: Callable[..., Any], known: type[nn.Module], always: bool
) -> Callable[..., Any]:
    """Return the forward of a pooling module."""
    exact = "Max" in known.__name__
    unpools = "Unpool" in known.__name__
    widens = known.__name__.endswith("3d") and not unpools
    function = worth.function_of(known)

    def is_left(self: nn.Module, input: Any) -> bool:
        if _is_compiling():
            if torch.compiler.is_exporting():
                return True
            differentiated = torch.is_grad_enabled() and input.requires_grad
            return _is_for_inductor(self) and not (differentiated and _has_wrong_gradient(self))
        return not takes(input, exact=exact) or not (always or _is_worth(function, self, input))

    def forward(self: Any, input: Any) -> Any:
        # Most calls that are left are small ones: these lose no more time than it takes to see that. In a trace the
        # size is not looked at, since the tracer would warn of it.
        if not _is_compiling() and (
            _is_tracing() or (type(input) is Tensor and input.numel() < vars(self).get(SMALL, 0))
        ):
            return theirs(self, input)
        if is_left(self, input):
            return theirs(self, input)
        return ours(self, widened(input) if widens and not _is_compiling() else input)

    def unpool(self: Any, input: Any, *rest: Any, **named: Any) -> Any:
        return (theirs if is_left(self, input) else ours)(self, input, *rest, **named)

    return unpool if unpools else forward


def _is_worth(function: str, arguments: Any, input: Tensor) -> bool:
    """Whether a call takes less time by `pooling`."""
    kind, overlap = worth.kind_and_overlap(function, arguments)
    return worth.is_worth(kind, input, overlap)


def _wrapped(theirs: Callable[..., Any], always: bool) -> Callable[..., Any]:
    """Return the forward of a module that calls functions."""

    def forward(self: nn.Module, *inputs: Any, **named: Any) -> Any:
        if _is_compiling():
            return theirs(self, *inputs, **named)
        with patched(always=always):
            return theirs(self, *inputs, **named)

    return forward


def _known(kind: type) -> type[nn.Module] | None:
    """Return the pooling class of `torch.nn` that a class is, or a subclass of."""
    return next((each for each in MODULES if issubclass(kind, each)), None)


# ---------------------------------------------------------------------------------------------------------------------
# Functional calls


ARGUMENTS = {
    "max_pool": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool": ("input", "kernel_size", "stride"),
    "lp_pool": ("input", "norm_type", "kernel_size", "stride", "ceil_mode"),
    "adaptive_max_pool": ("input", "output_size", "return_indices"),
    "adaptive_avg_pool": ("input", "output_size"),
    "max_unpool": ("input", "indices"),
}
"""Arguments that are looked at, in their order."""


class Arguments:
    """Those of a call, by their names."""

    stride = None

    def __init__(self, names: Sequence[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.__dict__.update(zip(names, args, strict=False))
        self.__dict__.update(kwargs)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def _functional(function: Callable[..., Any], name: str, *, indexed: bool = False) -> Callable[..., Any]:
    """Return what takes the place of a function: the one of `pooling` where that computes the same."""
    ours = FUNCTIONS[name]
    exact = "max" in name
    is_norm = name.startswith("lp")
    widens = name.endswith("3d") and "unpool" not in name
    names = ARGUMENTS[name[:-2]]

    def is_left(args: tuple[Any, ...], kwargs: Mapping[str, Any], always: bool) -> bool:
        input: Any = args[0] if args else kwargs.get("input")
        if not takes(input, exact=exact) or _is_compiling():
            return True
        if widens and input.dtype in HALVES and torch.is_autocast_enabled("cpu"):
            return True
        if always and not is_norm:
            return False
        given = Arguments(names, args, kwargs)
        if indexed:
            vars(given)["return_indices"] = True
        try:
            left = bool(is_norm and _norm_left(given.norm_type, getattr(given, "ceil_mode", False)))
            return left or not (always or _is_worth(name, given, input))
        except AttributeError:  # an argument is missing, of which PyTorch tells
            return True

    def call(args: tuple[Any, ...], kwargs: Mapping[str, Any], always: bool) -> Any:
        if is_left(args, kwargs, always):
            return function(*args, **kwargs)
        if indexed:
            kwargs = {**kwargs, "return_indices": True}
            args = args[: 2 if name.startswith("adaptive") else 6]
        return ours(*args, **kwargs)

    return call


def _calls() -> dict[Any, Callable[..., Any]]:
    """Return what takes the places of functions: PyTorch has up to three of a name."""
    found = {}
    for name in FUNCTIONS:
        for place in (nn.functional, torch):
            for suffix, indexed in (("", False), ("_with_indices", True)):
                function = getattr(place, f"{name}{suffix}", None)
                # torch.adaptive_max_pool1d and torch.max_pool1d_with_indices return indices whatever they are asked.
                if function is not None and not (place is torch and (indexed or name.startswith("adaptive_max"))):
                    found[function] = _functional(function, name, indexed=indexed)
    return found


CALLS = _calls()
NAMES = {
    function: name
    for name in FUNCTIONS
    for place in (nn.functional, torch)
    for suffix in ("", "_with_indices")
    if (function := getattr(place, f"{name}{suffix}", None)) is not None
}


class _Block(type):
    """Says how a block is written, where its brackets were left out."""

    def __enter__(cls) -> None:
        raise type_error("patched", "is a block of calls, and needs its brackets", "write `with patched():`")

    def __exit__(cls, *error: object) -> None:
        """Never reached."""


class patched(TorchFunctionMode, metaclass=_Block):
    """Let calls of pooling functions of `torch.nn.functional` inside a ``with`` block be computed by `pooling`.

    That holds for this thread, whoever makes the call: also pooling modules, which call these functions. Calls with
    tensors that `pooling` does not compute as PyTorch does, and norms that sum signs, go to PyTorch as before. Every
    call of a function of PyTorch inside the block takes about a microsecond longer.

    Parameters
    ----------
    always : bool
        Whether `pooling` computes calls as well that take longer by it, as `patch` says.

    Examples
    --------
    >>> import torch
    >>> from pooling.torch import patched
    >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> with patched(always=True):
    ...     torch.nn.functional.max_pool2d(x, 2)
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    """

    def __init__(self, *given: Any, always: bool = False) -> None:
        if given:
            what = "model" if isinstance(given[0], nn.Module) else "argument without a name"
            rule = f"takes no {what}, and was given {', '.join(type(each).__name__ for each in given)}"
            remedy = "call patch(model) to change a model; patched is a block around calls: `with patched(): model(x)`"
            raise type_error("patched", rule, remedy)
        super().__init__()
        self.always = flag("patched", "always", always)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function, or the one that takes its place."""
        call = CALLS.get(func)
        if call is not None:
            return call(args, kwargs or {}, self.always)
        return func(*args, **kwargs) if kwargs else func(*args)


class _Seen(TorchFunctionMode):
    """Counts the calls of pooling functions, by the module that makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[str, str]] = Counter()
        self.inside: list[tuple[str, bool]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = NAMES.get(func)
        place, is_pool = self.inside[-1] if self.inside else ("", False)
        if name is not None and not is_pool:
            self.calls[place, name] += 1
        return func(*args, **kwargs or {})


def _traced(model: nn.Module, example: Any) -> dict[str, Counter[str]]:
    """Run a network on fake tensors, and count the pooling functions that each module calls."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    inputs = example if isinstance(example, tuple) else (example,)
    if inputs and all(type(each) is int for each in inputs):
        rule, remedy = "example must be inputs of the model, and is a shape or a number", "give torch.zeros(shape)"
        raise type_error("patch", rule, remedy)
    fakes = FakeTensorMode(allow_non_fake_inputs=True)

    def fake(value: Any) -> Any:
        return fakes.from_tensor(value) if isinstance(value, Tensor) else value

    seen = _Seen()

    def leave(*_: Any) -> None:
        seen.inside.pop()

    handles = []
    for name, module in model.named_modules():
        place = (name, _known(type(module)) is not None)
        # Bound now: hooks are called after the loop.
        handles += [
            module.register_forward_pre_hook(lambda *_, place=place: seen.inside.append(place)),
            module.register_forward_hook(leave, always_call=True),
        ]
    state = {name: fake(value) for name, value in (*model.named_parameters(), *model.named_buffers())}
    try:
        with torch.no_grad(), fakes, seen:
            torch.func.functional_call(model, state, tuple(fake(each) for each in inputs))
    except Exception as error:
        raise refused(
            RuntimeError,
            "patch",
            f"the model does not run on fake tensors with this example: {type(error).__name__}: {first_line(error)}",
            "give a tensor that the model takes, or a tuple of its inputs; or leave the example out: functional calls "
            "are then read from the source",
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    found: dict[str, Counter[str]] = {}
    for (name, function), count in seen.calls.items():
        found.setdefault(name, Counter())[function] += count
    return found


def _read(kind: type) -> Counter[str]:
    """Count the calls of pooling functions in the source of a module's forward, and of what that calls beside it."""
    found: Counter[str] = Counter()
    todo: list[Any] = [kind.forward]  # type: ignore[attr-defined]
    done: set[Any] = set()
    while todo:
        function = inspect.unwrap(todo.pop())
        code = getattr(function, "__code__", None)
        if code is None or code in done or len(done) > 50:
            continue
        done.add(code)
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        except (OSError, TypeError, SyntaxError):
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            if isinstance(called, ast.Attribute):
                name, owner = called.attr, getattr(called.value, "id", "")
                if owner == "self" and inspect.isfunction(getattr(kind, name, None)):
                    if getattr(kind, name).__module__.partition(".")[0] != "torch":
                        todo.append(getattr(kind, name))
                    continue
            else:
                name = getattr(called, "id", "")
                helper = function.__globals__.get(name)
                if inspect.isfunction(helper) and helper.__module__ == function.__module__:
                    todo.append(helper)
            name = name.removesuffix("_with_indices")
            if name in FUNCTIONS:
                found[name] += 1
    return found


# ---------------------------------------------------------------------------------------------------------------------
# What is reported


FIRST_NAN = "of several NaN in a window the index is that of the first, PyTorch's that of the last; so in gradients"
NO_ELEMENT = "a window without an element of the input has the index -1 and no gradient; PyTorch's index is on no map"
SURVIVOR = "of equal indices the last element stays, and only that has a gradient; PyTorch gives one to all"
KEPT_FORMAT = "the result for an input in torch.channels_last_3d is in it as well; PyTorch's is contiguous"
ZERO_BESIDE_NAN = "in a window with NaN, elements that are 0 have the gradient 0; PyTorch's is NaN"
NO_OVERFLOW = "sums of powers neither overflow nor underflow; PyTorch's norm of such a window is inf or 0"


def _rules(module: nn.Module) -> tuple[str, ...]:
    """Return the rules in which a module differs on purpose from that of PyTorch."""
    name = _known(type(module)).__name__  # type: ignore[union-attr]
    if "Unpool" in name:
        return (SURVIVOR,)
    kept = (KEPT_FORMAT,) if name.endswith("3d") and name != "MaxPool3d" else ()
    if "LPPool" in name:
        return (NO_OVERFLOW, ZERO_BESIDE_NAN, *kept)
    if "MaxPool" not in name:
        return kept
    dilation: Any = getattr(module, "dilation", 1)
    steps = dilation if isinstance(dilation, (tuple, list)) else (dilation,)
    return (FIRST_NAN, NO_ELEMENT) if max(steps) > 1 else (FIRST_NAN, *kept)


def _listed(calls: Mapping[str, int]) -> str:
    """Write functions, and how often they are called if that is more than once."""
    return ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(calls.items()))


@dataclass(frozen=True)
class PatchedModule:
    """What became of a module.

    Attributes
    ----------
    name, module : str
        Where it is in the network, and its class; a module that has several names has them all, with commas.
    replaced : bool
        Whether `pooling` computes it now.
    reason : str
        Why it was left as it is.
    rules : tuple of str
        The rules in which it differs on purpose from the module of PyTorch.
    under_compile : bool
        Whether `pooling` computes it in graphs of `torch.compile` as well; means with `ceil_mode` where their gradient
        is asked for.
    functions : tuple of str
        The pooling functions that it calls itself, one for each call that was found.
    least : str
        From which size of its input on `pooling` computes it; smaller calls take less time by PyTorch.
    """

    name: str
    module: str
    replaced: bool
    reason: str = ""
    rules: tuple[str, ...] = ()
    under_compile: bool = False
    functions: tuple[str, ...] = ()
    least: str = ""


@dataclass(frozen=True, repr=False)
class PatchReport:
    """What `patch` did: a short table at the prompt and when printed, and a longer one in a notebook.

    Attributes
    ----------
    modules : tuple of PatchedModule
        Those that pool, in the order in which the network has them.
    before : int
        Modules that were patched already, which are not among them.
    device : str
        Where the parameters are, unless they are on the CPU.
    """

    modules: tuple[PatchedModule, ...]
    before: int = 0
    device: str = ""

    @property
    def replaced(self) -> tuple[PatchedModule, ...]:
        """The modules that `pooling` computes."""
        return tuple(each for each in self.modules if each.replaced)

    @property
    def left(self) -> tuple[PatchedModule, ...]:
        """The modules that were left as they are."""
        return tuple(each for each in self.modules if not each.replaced)

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules in which what was replaced differs on purpose from PyTorch, each once."""
        return tuple(dict.fromkeys(rule for each in self.modules for rule in each.rules))

    @property
    def notes(self) -> tuple[str, ...]:
        """What holds for several modules, in sentences."""
        notes = []
        inductor = sum(each.replaced and not each.functions and not each.under_compile for each in self.modules)
        if inductor:
            verb = "is" if inductor == 1 else "are"
            notes.append(
                f"under torch.compile, {inductor} of the replaced {verb} left to Inductor, which fuses windows of up "
                f"to {SMALL_WINDOW} elements, and adaptive poolings, with the operators around them"
            )
        if any(each.least for each in self.modules):
            notes.append(
                "calls on smaller inputs take less time by PyTorch and are left to it, with its rules; "
                "patch(model, always=True) replaces them too"
            )
        if self.device:
            notes.append(f"parameters are on {self.device}: tensors that are not on the CPU are left to PyTorch")
        calls = Counter(name for each in self.left for name in each.functions)
        if calls:
            notes.append(
                f"{counted(calls.total(), 'functional call')} left: {_listed(calls)}; "
                "patch(model, functional=True) or a block of patched() replaces them"
            )
        return tuple(notes)

    def _head(self) -> str:
        if not self.modules and not self.before:
            return "nothing was replaced: the model has no pooling modules"
        before = f", {self.before} patched before" if self.before else ""
        return f"{counted(len(self.replaced), 'module')} replaced, {len(self.left)} left as they are{before}"

    def _rows(self) -> list[tuple[str, str, str, str]]:
        """Return rows of the table: what became of modules, how many of which, where, and why."""
        groups: dict[tuple[bool, str, str], list[str]] = {}
        for each in self.modules:
            what = each.reason
            if each.replaced and each.functions:
                what = f"in its calls of {_listed(Counter(each.functions))}"
            elif each.least:
                what = each.least
            groups.setdefault((each.replaced, each.module, what), []).append(each.name or "the model")
        return [
            (
                "replaced" if replaced else "left",
                module if len(names) == 1 else f"{len(names)} {module}",
                names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}",
                reason,
            )
            for (replaced, module, reason), names in groups.items()
        ]

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
        lines = [
            "  " + "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]).rstrip()
            for row in rows
        ]
        return "\n".join([self._head(), *lines, *(f"  rule: {each}" for each in self.rules), *self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Show the table in a notebook, a row for each module."""
        cells = "".join(
            f"<tr><td>{html.escape(each.name or 'the model')}</td><td>{html.escape(each.module)}</td>"
            f"<td>{'replaced' if each.replaced else 'left'}</td>"
            f"<td>{html.escape(each.least)}</td>"
            f"<td>{html.escape('; '.join(filter(None, (each.reason, *each.rules))))}</td></tr>"
            for each in self.modules
        )
        notes = "".join(f"<p>{html.escape(each)}</p>" for each in self.notes)
        table = (
            "<table><thead><tr><th>Name</th><th>Module</th><th></th><th>Computed here</th>"
            "<th>Why left, or rules that differ</th></tr>"
            f"</thead><tbody>{cells}</tbody></table>"
        )
        return f"<p>{html.escape(self._head())}</p>{table if self.modules else ''}{notes}"


# ---------------------------------------------------------------------------------------------------------------------
# Patching


def patch(model: nn.Module, *, functional: bool = False, example: Any = None, always: bool = False) -> PatchReport:
    """Let the pooling modules of a network be computed by `pooling`.

    Modules are changed in place, and stay instances of the classes that they were; `unpatch` undoes it. Copies and
    saved models are patched as well; whoever loads one needs `pooling`. State dicts do not change. Code that asks for
    the very class of a module, ``type(module) is torch.nn.MaxPool2d``, does not find it until `unpatch`.

    Tensors that are not on the CPU, are sparse, quantised, nested, of integers that would be averaged, or of a
    subclass, are left to PyTorch at each call, and so are `torch.export`, `torch.jit.trace` and forward derivatives.
    Under `torch.compile`, windows of up to `SMALL_WINDOW` elements are left to Inductor, which fuses them with what is
    around them; not means with `ceil_mode` whose gradient is asked for, which Inductor has wrong.

    Calls that take less time by PyTorch are left to it as well: those on small inputs, since a call costs some
    microseconds more here, and a few kinds of pooling altogether. The report says which, from what was measured.

    Parameters
    ----------
    model : torch.nn.Module
        Anything, a single pooling module too.
    functional : bool
        Whether the pooling functions of `torch.nn.functional` that modules call are replaced as well, by a `patched`
        block around each ``forward`` that has such calls.
    example : tensor or tuple, optional
        Inputs of the network. With it the functional calls are those that the network makes, found by running it once
        on fake tensors; without it, those in the source of its modules.
    always : bool
        Whether `pooling` computes calls as well that take longer by it, so that its rules hold for all of them.

    Returns
    -------
    PatchReport
        What was replaced, what was left and why, and the rules in which results may differ.

    Raises
    ------
    TypeError
        If `model` is no module.
    RuntimeError
        If the network does not run with `example`.

    Examples
    --------
    >>> import torch
    >>> from pooling.torch import patch, unpatch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.AvgPool2d(6))
    >>> report = patch(model)  # print it, or show it in a notebook
    >>> [each.module for each in report.replaced]
    ['AvgPool2d']
    >>> unpatch(model)
    1
    """
    _check_model("patch", model)
    functional, always = flag("patch", "functional", functional), flag("patch", "always", always)
    traced = None if example is None else _traced(model, example)
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    found = []
    before = 0
    for module, places in names.items():
        if isinstance(module, Patched):
            if module.always == always or "original" not in vars(type(module)):
                before += 1
                continue
            _given_back(module)
        row = _patched(module, ", ".join(places), functional, traced and _counts(traced, places), always)
        if row is not None:
            found.append(row)
    devices = {str(each.device) for each in model.parameters()} - {"cpu"}
    return PatchReport(tuple(found), before, ", ".join(sorted(devices)))


def _check_model(function: str, model: Any) -> None:
    """Refuse what is no module."""
    if isinstance(model, type) and issubclass(model, nn.Module):
        remedy = f"give an instance, {model.__name__}(...)"
        raise type_error(function, f"model must be a torch.nn.Module, not the class {model.__name__}", remedy)
    if not isinstance(model, nn.Module):
        remedy = ""
        if isinstance(model, torch.export.ExportedProgram):
            remedy = f"call {function} on the model that was exported; exports have the operators of PyTorch"
        elif isinstance(model, (list, tuple)):
            remedy = f"call {function} on each"
        raise type_error(function, f"model must be a torch.nn.Module, not {type(model).__name__}", remedy)


def _counts(traced: Mapping[str, Counter[str]], places: Sequence[str]) -> Counter[str]:
    """Return the calls of a module under any of its names."""
    return sum((traced.get(place, Counter()) for place in places), Counter())


def _patched(
    module: nn.Module,
    name: str,
    functional: bool,
    traced: Mapping[str, Counter[str]] | Counter[str] | None,
    always: bool,
) -> PatchedModule | None:
    """Patch a module, and say what became of it; None of one that does not pool."""
    kind = type(module)
    known = _known(kind)
    if known is not None and kind.forward is known.forward:  # type: ignore[comparison-overlap]
        reason = _left(module)
        least = ""
        if not reason and not always:
            least = worth.sentence(*worth.kind_and_overlap(worth.function_of(known), module))
            reason = "" if least else "PyTorch takes less time for it at every size that was measured"
        if not reason and _assigned(module, always):
            if not always:
                vars(module)[SMALL] = worth.smallest(*worth.kind_and_overlap(worth.function_of(known), module))
            under_compile = not _is_for_inductor(module) or _has_wrong_gradient(module)
            return PatchedModule(name, kind.__name__, True, "", _rules(module), under_compile, (), least)
        return PatchedModule(name, kind.__name__, False, reason or "its class cannot be changed")
    if isinstance(module, torch.jit.ScriptModule):
        original = str(getattr(module, "original_name", ""))
        if not any(original == each.__name__ for each in MODULES):
            return None
        return PatchedModule(
            name,
            original,
            False,
            "scripted: TorchScript cannot call pooling; patch the model that was given to torch.jit.script",
        )
    counts = _read(kind) if traced is None else Counter(traced)
    functions = tuple(sorted(counts.elements()))
    reasons = list(_reasons(module, known, counts))
    if not reasons:
        return None
    may = (
        functional
        and functions
        and "forward" not in vars(module)
        and not isinstance(module, torch.fx.GraphModule)
        and not parametrize.is_parametrized(module)
    )
    if may and known is None and _assigned(module, always):
        rules = tuple(dict.fromkeys(rule for each in functions for rule in _rules_of(each)))
        return PatchedModule(name, kind.__name__, True, "", rules, False, functions)
    return PatchedModule(name, kind.__name__, False, "; ".join(reasons), (), False, functions)


def _rules_of(function: str) -> tuple[str, ...]:
    """Return the rules in which a function differs on purpose from that of PyTorch."""
    if "unpool" in function:
        return (SURVIVOR,)
    kept = (KEPT_FORMAT,) if function.endswith("3d") and function != "max_pool3d" else ()
    norms = (NO_OVERFLOW, ZERO_BESIDE_NAN)
    return (*((FIRST_NAN,) if "max" in function else norms if "lp" in function else ()), *kept)


def _assigned(module: nn.Module, always: bool) -> bool:
    """Give a module the class of patched ones; return whether that was possible."""
    kind: Any = type(module)
    try:
        module.__class__ = _class_for(kind, always)
    except Exception:  # of classes with slots or of another metaclass, and whatever a class says to subclasses
        return False
    return True


def unpatch(model: nn.Module) -> int:
    """Undo `patch`; returns how many modules are as they were.

    Parameters
    ----------
    model : torch.nn.Module
        What `patch` was given, or a part of it.

    Returns
    -------
    int
        How many modules were changed back.

    Raises
    ------
    TypeError
        If `model` is no module.
    RuntimeError
        If the class of a module was changed again since; nothing is undone then.

    Examples
    --------
    >>> import torch
    >>> from pooling.torch import patch, unpatch
    >>> model = torch.nn.Sequential(torch.nn.AvgPool2d(6))
    >>> report = patch(model)
    >>> unpatch(model), unpatch(model)
    (1, 0)
    """
    _check_model("unpatch", model)
    found = {name: module for name, module in model.named_modules() if isinstance(module, Patched)}
    for name, module in found.items():
        if "original" not in vars(type(module)):
            raise refused(
                RuntimeError,
                "unpatch",
                f"the class of {name or 'the model'} was changed after it was patched, to {type(module).__name__}",
                "undo that first, for example by torch.nn.utils.parametrize.remove_parametrizations",
            )
    for module in found.values():
        _given_back(module)
    return len(found)


def _given_back(module: Any) -> None:
    """Give a patched module the class back that it had."""
    module.__class__ = module.original
    vars(module).pop(SMALL, None)


def _left(module: nn.Module) -> str:
    """Say why a pooling module is left as it is; nothing where it is not."""
    if "forward" in vars(module):
        return "its forward was replaced already"
    if parametrize.is_parametrized(module):
        return "parametrised: its class is one that parametrize made"
    if isinstance(module, (nn.LPPool1d, nn.LPPool2d, nn.LPPool3d)):
        return _norm_left(module.norm_type, module.ceil_mode)
    return ""


def _reasons(module: nn.Module, known: type[nn.Module] | None, counts: Counter[str]) -> Iterator[str]:
    """Yield why a module that pools by a forward of its own is left as it is."""
    kind = type(module)
    if kind.__module__ == replacements.__name__:
        return
    if ".quantized" in kind.__module__ and known is not None:
        yield "quantised"
    elif known is not None:
        yield f"a subclass of {known.__name__} with a forward of its own"
    if counts:
        yield f"calls {_listed(counts)}"
