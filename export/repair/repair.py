"""The whole repair: a model is checked, its nodes are rewritten, and the result is compared with the original."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from pooling.arguments import names_checked
from pooling.errors import type_error, value_error, without
from pooling.onnx_models import POOLING_OPERATORS, layer_from_node
from pooling.onnx_models.functions import opset_of
from pooling.onnx_models.graph import (
    Container,
    Names,
    Scope,
    attribute,
    default_opset,
    is_default,
    scopes_of,
    subgraphs,
    uses,
)
from pooling.onnx_models.load import check_external, check_model, check_scopes, check_size
from pooling.onnx_models.nodes import why_not_dtype
from pooling.onnx_models.shapes import TensorType, infer_model, pooled_tensors, strip_weights, tensors_of
from pooling.signs import short_repr
from pooling.tool_arguments import path_of

from ..arguments import is_finite_only
from .proof import (
    ModelsDiffer,
    NotVerifiedError,
    RunTooLongError,
    compare_models,
    how_it_runs,
    prove_rewrite,
    same_shapes_in_runs,
)
from .rewrites import (
    FUNCTION,
    REWRITES,
    Rewrite,
    ShapeDependentError,
    SkippedError,
    is_misread,
    settle_special,
)

if TYPE_CHECKING:
    from .records import RuleName

__all__ = ["Change", "Repaired", "Skipped", "make_portable"]

Shape = Sequence[int | None]
USUAL_SIZE = 2
"""Batch and channels where they are open: no rule depends on them."""


@dataclass(frozen=True)
class Change:
    """One thing that `make_portable` changed.

    Attributes
    ----------
    node : str
        The node's name, its first output's where it has none; for a recorded shape, the tensor's.
    path : str
        Where the node is: ``graph``, ``graph/name.then_branch`` for a graph inside of a node, ``domain::name`` for a
        function.
    was, became : str
        Before and after.
    rule : str
        What was applied: ``auto_pad``, ``ceil_mode``, ``count_include_pad``, ``dilations``, ``pads``,
        ``storage_order``, ``pad``, ``mean``, ``global_norm``, ``special_values``, ``recorded_shape`` or
        ``input_shapes``.
    reason : str
        What was wrong, in one or more sentences.
    source : str
        Where others discuss it; may be empty.
    """

    node: str
    path: str
    was: str
    became: str
    rule: RuleName
    reason: str
    source: str


@dataclass(frozen=True)
class Skipped:
    """A node that `make_portable` had to leave as it is.

    Attributes
    ----------
    node, path : str
        As those of `Change`.
    was : str
        The node.
    reason : str
        Why, and what to do.
    """

    node: str
    path: str
    was: str
    reason: str


@dataclass(frozen=True, eq=False)
class Repaired:
    """What `make_portable` returns; it unpacks as the pair ``model, changes``.

    Attributes
    ----------
    model : onnx.ModelProto
        The repaired model.
    changes : tuple of Change
        In the order of the model, recorded shapes at the end.
    skipped : tuple of Skipped
        What runtimes may still disagree about.
    omitted : tuple of Skipped
        Rewrites that would have been a convenience, of nodes that are right as they stand, and that the installed
        onnxruntime does not compute as the text has it.
    verified : bool
        Whether the repaired model was loaded and run, and shown to compute what the original computes.
    runs : bool or None
        Whether the repaired model was loaded and run; False where nothing loads it, None where that is not known.
    why : str
        How that was shown, or why it was not.
    misfit : str
        The pooling whose windows do not fit, so that onnxruntime makes a map without cells; mostly "".
    """

    model: onnx.ModelProto = field(repr=False)
    changes: tuple[Change, ...]
    skipped: tuple[Skipped, ...]
    omitted: tuple[Skipped, ...]
    verified: bool
    runs: bool | None
    why: str
    misfit: str = ""

    def __iter__(self) -> Iterator[Any]:
        yield self.model
        yield self.changes


@names_checked
def make_portable(
    model: onnx.ModelProto,
    *,
    input_shapes: Mapping[str, Shape] | None = None,
    folder: str | os.PathLike[str] | None = None,
    special_values: str = "finite",
    verify: bool = True,
) -> Repaired:
    """Rewrite the pooling nodes of a model so that every runtime gives the same shapes and numbers.

    Parameters
    ----------
    model : onnx.ModelProto
        Any model; it stays as it is.
    input_shapes : mapping of str to sequence of int or None, optional
        Sizes of inputs that the model leaves open, None for those that shall stay open. The repaired model takes
        inputs of these sizes only.
    folder : path, optional
        Where the data of the model lies that it keeps in files of its own. They are read by onnxruntime only.
    special_values : {"finite", "exact"}
        What the repaired model is for, as in `to_onnx`. ``"finite"``: finite numbers; what becomes of NaN and of
        windows of -inf in a maximum is up to the runtime. ``"exact"``: every MaxPool and GlobalMaxPool of floats gives
        NaN and -inf as the text of ONNX has them in every runtime, by a longer graph that takes many times as long.
        Averages and norms keep NaN as they stand.
    verify : bool
        Whether to compare the repaired model with the original, which takes onnxruntime.

    Returns
    -------
    Repaired
        Unpacks as the model and the changes. Names of inputs and outputs are those of the original, and so are the
        initializers; those that nobody reads any more are gone.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If the model is not valid, or `input_shapes` contradict it.
    VerificationError
        If the repaired model gives something else than the original, and does so without any rewritten node.
    ModuleNotFoundError
        If `verify` is set and onnxruntime is not installed.

    Notes
    -----
    What a node computes is what the text of ONNX says; ``ceil_mode`` is understood as since opset 22 in any opset, so
    that windows which start behind the input are dropped. Every node that changes is compared with that text, and the
    whole model with the original, wherever onnxruntime runs that: on numbers with ties and negative ones, but without
    infinities and NaN, on which runtimes disagree anyway. What ``special_values="exact"`` makes of a node is compared
    on these as well.

    Examples
    --------
    >>> import onnx
    >>> from pooling.export import make_portable
    >>> model = onnx.parser.parse_model('''<ir_version: 8, opset_import: ["": 18]>
    ... g (float[N, 3, 224, 224] x) => (float[N, 3, 112, 112] y) {
    ...     y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER"> (x)
    ... }''')
    >>> repaired, changes = make_portable(model)
    >>> changes[0].became
    'MaxPool(kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])'
    """
    if not isinstance(model, onnx.ModelProto):
        raise type_error(FUNCTION, f"model must be an onnx.ModelProto, not {type(model).__name__}")
    if not isinstance(verify, bool):
        raise type_error(FUNCTION, f"must be a bool, not {type(verify).__name__}", argument=("verify", verify))
    exact = not is_finite_only(special_values, FUNCTION)
    place = None if folder is None else path_of(FUNCTION, "folder", folder)
    check_size(FUNCTION, model)
    _check(model, place)
    shapes = _checked_shapes(model, input_shapes)
    excluded: frozenset[_Name] = frozenset()
    while True:
        work = onnx.ModelProto()
        work.CopyFrom(model)
        repair = _RepairPass(work, shapes, verify, excluded, exact)
        repair.rewrite(model, place)
        try:
            verified, runs, why = repair.proven(model, place) if verify else (False, None, "verify=False")
            said = repair.misfit(runs if verify else True)
        except ModelsDiffer:
            # One rewrite is no reason to refuse everything else, a convenience least of all.
            applied = repair.optional or repair.applied
            if not applied:
                raise
            excluded |= {applied[-1]}
            continue
        if said:
            verified, why = False, said
        parts = tuple(repair.changes), tuple(repair.skipped), tuple(repair.omitted)
        return Repaired(work, *parts, verified, runs, why, said)


def _check(model: onnx.ModelProto, folder: Path | None) -> None:
    """Refuse what cannot be read; the rest of the rules is checked when the model is repaired."""
    if not model.HasField("graph"):
        raise value_error(FUNCTION, "the model has no graph", "it is empty, or only a part of one")
    if default_opset(model.opset_import) is None and any(is_default(node.domain) for node in model.graph.node):
        raise value_error(
            FUNCTION, "the model imports no version of the default operator set", "its opset_import must name one"
        )
    if default_opset(model.opset_import) is not None:
        opset_of(FUNCTION, model)
    newest = onnx.defs.onnx_opset_version()
    for scope in scopes_of(model):
        if scope.opset is not None and scope.opset < 1:
            raise value_error(FUNCTION, f"{scope.path} is of opset {scope.opset}, and there is none before 1")
        if scope.opset is not None and scope.opset > newest:
            raise value_error(
                FUNCTION,
                f"{scope.path} is of opset {scope.opset}; the newest that onnx {onnx.__version__} knows is {newest}",
                "install a newer onnx",
            )
    check_scopes(FUNCTION, model)
    if folder is not None:
        check_external(FUNCTION, model, folder)


def _check_result(model: onnx.ModelProto, work: onnx.ModelProto, skipped: Sequence[Skipped]) -> None:
    """Refuse a model that is not valid even now, unless that is said of one of its nodes already."""
    if any(
        each.type.HasField("tensor_type") and not _has_shape(each) for each in (*work.graph.input, *work.graph.output)
    ):
        return  # runtimes run models with such inputs and outputs, but the checker does not look beyond them
    try:
        check_model(FUNCTION, work)
    except ValueError:
        if skipped:
            try:
                check_model(FUNCTION, model)
            except ValueError:
                return
        raise


def _checked_shapes(model: onnx.ModelProto, shapes: Any) -> dict[str, tuple[int | None, ...]]:
    if shapes is None:
        return {}
    if not isinstance(shapes, Mapping):
        raise type_error(FUNCTION, f"must be a mapping, not {type(shapes).__name__}", argument=("input_shapes", shapes))
    inputs = {each.name: TensorType.of(each).shape for each in model.graph.input}
    found: dict[str, tuple[int | None, ...]] = {}
    for name, shape in shapes.items():
        if name not in inputs:
            raise value_error(
                FUNCTION,
                f"input_shapes has {short_repr(name)}, which the model does not take",
                f"it takes {', '.join(map(repr, inputs))}",
            )
        if isinstance(shape, str) or not isinstance(shape, Sequence):
            raise type_error(
                FUNCTION,
                f"input_shapes[{short_repr(name)}]={short_repr(shape)} must be a sequence of integers and None",
            )
        for size in shape:
            if size is not None and (isinstance(size, bool) or not isinstance(size, (int, np.integer))):
                raise type_error(
                    FUNCTION, f"input_shapes[{short_repr(name)}]={short_repr(shape)} must hold integers and None"
                )
            if size is not None and size < 0:
                raise value_error(
                    FUNCTION,
                    f"input_shapes[{short_repr(name)}]={short_repr(shape)} must not hold {short_repr(size)}",
                    "give a size",
                )
        found[name] = tuple(None if size is None else int(size) for size in shape)
        declared = inputs[name]
        fits = declared is None or (
            len(declared) == len(shape)
            and all(new is None or old is None or new == old for new, old in zip(found[name], declared, strict=True))
        )
        if not fits:
            raise value_error(
                FUNCTION,
                f"input_shapes[{short_repr(name)}]={short_repr(tuple(shape))} contradicts the model, which takes "
                f"{_written(declared)}",
            )
    return found


def _written(shape: Sequence[int | None] | None) -> str:
    if shape is None:
        return "any shape"
    return f"({', '.join('?' if size is None else str(size) for size in shape)})"


def _shown(nodes: Sequence[onnx.NodeProto]) -> str:
    """Write nodes as a person would, constants left out."""
    return " -> ".join(shown_node(node) for node in nodes if node.op_type != "Constant")


def shown_node(node: onnx.NodeProto) -> str:
    words = []
    for each in node.attribute:
        value = f"@{each.ref_attr_name}" if each.ref_attr_name else helper.get_attribute_value(each)
        words.append(f"{each.name}={value.decode(errors='replace') if isinstance(value, bytes) else value}")
    return f"{node.op_type}({', '.join(words)})"


def _title(node: onnx.NodeProto) -> str:
    return str(node.name or next(filter(None, node.output), node.op_type))


@dataclass(frozen=True)
class _EquivalenceCheck:
    """What a rule has made of a node, to be proven."""

    rewrite: Rewrite
    node: onnx.NodeProto
    x: TensorType
    opset: int


_Unread = tuple[int, str, tuple[str, ...]]
"""Of what nobody reads: the number of its scope, what it is, and which tensors it would give."""
_Name = tuple[str, str, str]
"""Of a rewrite: where the node is, which it is, and the rule."""


class _RepairPass:
    """A model that is being repaired, in place."""

    def __init__(
        self,
        model: onnx.ModelProto,
        shapes: Mapping[str, tuple[int | None, ...]],
        verify: bool,
        excluded: frozenset[_Name],
        exact: bool,
    ) -> None:
        self.model = model
        self.shapes = shapes
        self.changes: list[Change] = []
        self.skipped: list[Skipped] = []
        self.omitted: list[Skipped] = []
        self.optional: list[_Name] = []
        """The rewrites that are a convenience."""
        self.applied: list[_Name] = []
        """All rewrites."""
        self.open: list[str] = []
        self.misread = ""
        """Why onnxruntime cannot be asked what the original computes."""
        self._names = Names(model)
        self._verify = verify
        self._excluded = excluded
        self._rules = (*REWRITES, settle_special) if exact else REWRITES
        self._checks: list[_EquivalenceCheck] = []
        self._unproven = self._here = self._contradiction = self._given_up = ""
        self._seen: frozenset[str] = frozenset()
        self._ceil_mode_kept = False

    def rewrite(self, original: onnx.ModelProto, folder: Path | None) -> None:
        """Do all of it but the proof of the whole."""
        brought = _unread(self.model)
        self.declare_inputs()
        self.rewrite_nodes()
        settled = not any(None in shape for shape in self.input_shapes().values())
        if self.open and settled and not self.misread:
            try:
                self.measure(same_shapes_in_runs(original, self.open, self.shapes, folder))
            except RunTooLongError as error:
                self._given_up = str(error)
        if self.skipped:
            self.refuse_unknown_ranks()
        self.correct_recorded_shapes()
        self.remove_unread(brought)
        if self.changes:
            _check_result(original, self.model, self.skipped)

    # ---- shapes of inputs

    def input_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Return the shapes of the inputs; a shape that is not known counts as open."""
        brought = {each.name for each in self.model.graph.initializer}
        inputs = [each for each in self.model.graph.input if each.name not in brought]
        return {each.name: TensorType.of(each).shape or ((None,) if not _has_shape(each) else ()) for each in inputs}

    def declare_inputs(self) -> None:
        """Write the sizes that the caller gave into the model, which is right for no others then."""
        for each in self.model.graph.input:
            given = self.shapes.get(each.name)
            if given is None:
                continue
            was = TensorType.of(each).shape
            dims = each.type.tensor_type.shape.dim
            if was is None:
                for _ in given:
                    dims.add()
            for dim, size in zip(dims, given, strict=True):
                if size is not None:
                    dim.dim_value = size
            now = TensorType.of(each).shape
            if now != was:
                reason = "These sizes were given for the repair, and what follows from them is part of the model now."
                change = Change(each.name, "graph", _written(was), _written(now), "input_shapes", reason, "")
                self.changes.append(change)

    # ---- nodes

    def rewrite_nodes(self, measured: Mapping[str, tuple[int, ...]] | None = None) -> None:
        """Apply the rules to every node of every graph and function."""
        nodes = [
            node
            for scope in scopes_of(self.model)
            for node in scope.container.node
            if is_default(node.domain) and (node.op_type in POOLING_OPERATORS or node.op_type == "ReduceMean")
        ]
        if not nodes:
            return
        found = pooled_tensors(FUNCTION, self.model, nodes, measured or {})
        known = {id(node): each for node, each in zip(nodes, found, strict=True)}
        # The scopes are a list before the first of them changes: the graphs inside of nodes stay the same objects.
        for scope in list(scopes_of(self.model)):
            counts = uses(scope.container)
            for node in list(scope.container.node):
                if id(node) in known:
                    self._rewrite(scope, node, *known[id(node)], counts)
        order = {scope.path: number for number, scope in enumerate(scopes_of(self.model))}
        self.changes.sort(key=lambda change: order.get(change.path, -1))

    def _rewrite(
        self, scope: Scope, node: onnx.NodeProto, x: TensorType, called: onnx.NodeProto | None, counts: dict[str, int]
    ) -> None:
        """Apply the rules to one node, one after another."""
        current, title = onnx.NodeProto(), _title(node)
        current.CopyFrom(node)
        before: list[onnx.NodeProto] = []
        after: list[onnx.NodeProto] = []
        absorbed: list[onnx.NodeProto] = []
        opset = scope.opset or 1
        if not self._contradiction and node.op_type in POOLING_OPERATORS:
            self._contradiction = _contradiction(node, x, opset)
        try:
            if any(each.ref_attr_name for each in node.attribute):
                if node.op_type not in POOLING_OPERATORS:
                    return
                if called is None:
                    raise SkippedError("its attributes are those of its function, which is called with different ones")
                del current.attribute[:]
                current.attribute.extend(called.attribute)
            refusal = "" if x.dtype is None else why_not_dtype(current, opset, x.dtype)
            if refusal:
                raise SkippedError(f"{refusal}, and no runtime has to take it")
            for rule in self._rules:
                rewrite = rule(scope, current, x, self._names, counts)
                if rewrite is None:
                    continue
                was = _shown((*rewrite.absorbed, current))
                taken = _grown(x, [-more for more in rewrite.grown])
                check = _EquivalenceCheck(rewrite, current, taken, opset)
                name = (scope.path, title, rewrite.rule)
                difference = "the whole model differs with it" if name in self._excluded else self._differs(check)
                if difference and rewrite.optional:
                    self.omitted.append(Skipped(title, scope.path, was, f"{rewrite.rule} was left out: {difference}"))
                    continue
                if difference:
                    raise SkippedError(f"what would take its place is computed wrongly here: {difference}")
                self._checks.append(check)
                self.applied.append(name)
                if rewrite.optional:
                    self.optional.append(name)
                if rewrite.checked_against_spec:
                    self.misread = self.misread or f"runtimes get {title!r} wrong: {rewrite.reason.rstrip('.')}"
                position = next(
                    (place for place, each in enumerate(rewrite.nodes) if each.op_type == current.op_type),
                    len(rewrite.nodes) - 1,
                )
                following = onnx.NodeProto()
                following.CopyFrom(rewrite.nodes[position])
                following.doc_string = "\n".join(filter(None, (following.doc_string, rewrite.reason)))
                before += rewrite.nodes[:position]
                after[:0] = rewrite.nodes[position + 1 :]
                if scope.path == "graph" and node.input[0] in self._seen:
                    seen = f"The shape of {node.input[0]!r} follows from no node; it was the same in all runs."
                    rewrite = replace(rewrite, reason=f"{rewrite.reason} {seen}")
                self.changes.append(
                    Change(
                        title,
                        scope.path,
                        was,
                        _shown(rewrite.nodes),
                        rewrite.rule,
                        rewrite.reason,
                        rewrite.source,
                    )
                )
                current, x = following, _grown(taken, rewrite.padded)
                node.CopyFrom(current)
                absorbed += rewrite.absorbed
                if current.op_type not in POOLING_OPERATORS:
                    break
        except SkippedError as error:
            self._skip(scope, node, error)
            if is_misread(current, opset):
                self.misread = self.misread or f"runtimes get {title!r} wrong, which was left as it is"
        place = _place(scope, node)
        for each in reversed(after):
            scope.container.node.insert(place + 1, each)
        for each in reversed(before):
            scope.container.node.insert(place, each)
        for each in absorbed:
            del scope.container.node[_place(scope, each)]

    def _differs(self, check: _EquivalenceCheck) -> str:
        """Prove a rewrite by itself; say how it differs from the text of ONNX in onnxruntime, or nothing."""
        if not self._verify:
            return ""
        imports = [helper.make_opsetid("", check.opset)]
        try:
            self._here = prove_rewrite(check.rewrite, check.node, check.x, imports) or self._here
        except NotVerifiedError as error:
            what = f"{_title(check.node)!r}: what takes its place was not run ({error})"
            self._unproven = self._unproven or what
        except ModelsDiffer as error:
            return without(error, FUNCTION)
        return ""

    def _skip(self, scope: Scope, node: onnx.NodeProto, error: SkippedError) -> None:
        remedy = ""
        if isinstance(error, ShapeDependentError):
            open_inputs = [name for name, shape in self.input_shapes().items() if None in shape]
            if open_inputs:
                remedy = f"; give input_shapes={{{open_inputs[0]!r}: (sizes)}}"
            self.open += [name for name in node.input[:1] if scope.path == "graph"]
        self.skipped.append(Skipped(_title(node), scope.path, _shown((node,)), f"{error}{remedy}"))
        self._ceil_mode_kept = self._ceil_mode_kept or bool(attribute(node, "ceil_mode"))

    def measure(self, measured: Mapping[str, tuple[int, ...]]) -> None:
        """Try the nodes again that were left, with shapes that were seen when the model ran."""
        if measured:
            self._seen = frozenset(measured)
            self.skipped.clear()
            self._ceil_mode_kept = False
            self.open.clear()
            self.rewrite_nodes(measured)

    def refuse_unknown_ranks(self) -> None:
        """Ask for the shape of an input, where nothing is known of it and nodes were left for that."""
        for each in self.model.graph.input:
            if self.open and each.type.HasField("tensor_type") and not _has_shape(each):
                raise value_error(
                    FUNCTION,
                    f"the input {each.name!r} of the model has no shape, so not even its rank is known",
                    f"give input_shapes={{{each.name!r}: (1, 3, 224, 224)}}, with its sizes",
                )

    # ---- what is recorded of tensors

    def correct_recorded_shapes(self) -> None:
        """Replace recorded shapes that contradict what the nodes give; runtimes refuse such models."""
        if self._ceil_mode_kept:
            return  # shape inference may have another rule than runtimes, and what is recorded may be right
        right = infer_model(FUNCTION, strip_weights(self.model))
        for scope, clean in zip(scopes_of(self.model), scopes_of(right), strict=True):
            if not isinstance(scope.container, onnx.GraphProto) or not isinstance(clean.container, onnx.GraphProto):
                continue
            found = tensors_of(clean.container)
            infos = {each.name: each for each in (*clean.container.value_info, *clean.container.output)}
            written = {name for node in scope.container.node for name in node.output}
            for each in (*scope.container.value_info, *scope.container.output):
                known, recorded = found.get(each.name), TensorType.of(each)
                if known is None or known.shape is None or recorded.shape is None or each.name not in written:
                    continue
                if _agree(recorded.shape, known.shape):
                    continue
                shape = each.type.tensor_type.shape
                names = [dim.dim_param for dim in shape.dim] if len(shape.dim) == len(known.shape) else []
                shape.CopyFrom(infos[each.name].type.tensor_type.shape)
                for axis, dim in enumerate(shape.dim):
                    if not dim.HasField("dim_value") and names and names[axis]:
                        dim.dim_param = names[axis]
                reason = "The recorded shape contradicts the nodes; onnxruntime refuses such models, or warns."
                now = TensorType.of(each).shape
                self.changes.append(
                    Change(
                        each.name,
                        scope.path,
                        _written(recorded.shape),
                        _written(now),
                        "recorded_shape",
                        reason,
                        "pytorch/pytorch#131272, pytorch/pytorch#113074",
                    )
                )

    def remove_unread(self, before: set[_Unread]) -> None:
        """Take out what only nodes have read that are gone, and what is recorded of it; runtimes warn of some."""
        while True:
            gone = _unread(self.model) - before
            if not gone:
                return
            for number, scope in enumerate(scopes_of(self.model)):
                for kind, messages, names in _kinds(scope.container):
                    for place in reversed(range(len(messages))):
                        if (number, kind, names[place]) in gone:
                            del messages[place]

    # ---- proofs

    def proven(self, original: onnx.ModelProto, folder: Path | None) -> tuple[bool, bool | None, str]:
        """Compare the model with its original; say whether that succeeded, whether the model runs, and how."""
        if not self._given_up:
            try:
                return self._proven(original, folder)
            except RunTooLongError as error:
                self._given_up = str(error)
        return False, None, f"the model was not run to its end ({self._given_up})"

    def _proven(self, original: onnx.ModelProto, folder: Path | None) -> tuple[bool, bool | None, str]:
        if not self.changes:
            runs, how = how_it_runs(self.model, self.shapes, folder, misfit)
            if runs:
                return True, True, f"nothing was changed, and the model runs in {how}"
            if self._contradiction:
                how = f"{self._contradiction}; it says {how!r}"
            return False, runs, f"nothing was changed, and {_not_run(runs, how)}"
        nodes = "every rewritten node gives what the text of ONNX says" if self._checks else "no node was rewritten"
        if self._here:
            nodes += f" as pooling.onnx_models.backend runs it, which stands in for onnxruntime ({self._here})"
        exact = all(check.rewrite.exact for check in self._checks)
        if self.misread:
            whole = f"the original was not compared, since {self.misread}"
        else:
            try:
                compare_models(original, self.model, self.shapes, folder, misfit, exact=exact)
            except RunTooLongError:
                raise
            except NotVerifiedError as error:
                whole = str(error)
            else:
                same = "the same" if exact else "the same up to rounding"
                return True, True, f"onnxruntime gives {same} for the original and the repaired model"
        runs, how = how_it_runs(self.model, self.shapes, folder, misfit)
        whole += f"; the repaired model runs in {how}" if runs else f"; {_not_run(runs, how)}"
        if self._unproven:
            return False, runs, f"{whole}; {self._unproven}"
        return bool(runs), runs, f"{nodes}; {whole}"

    def misfit(self, runs: bool | None) -> str:
        """Name the pooling that finds no window in a model that onnxruntime runs all the same."""
        # What was changed may have been what was wrong.
        return (misfit(self.model, {}) if self.changes else self._contradiction) if runs else ""


def misfit(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> str:
    """Say which pooling breaks a rule of ONNX when a model has inputs of these shapes, or nothing.

    Of a window that does not fit, onnxruntime makes a map without cells, and goes on.
    """
    found = [
        (node, scope.opset or 1)
        for scope in scopes_of(model)
        for node in scope.container.node
        if is_default(node.domain) and node.op_type in POOLING_OPERATORS
    ]
    try:
        known = pooled_tensors(FUNCTION, model, [node for node, _ in found], shapes)
    except ValueError:  # shapes cannot be inferred, so that nothing is known
        return ""
    for (node, opset), (x, called) in zip(found, known, strict=True):
        said = _contradiction(called if called is not None else node, x, opset)
        if said:
            return said
    return ""


def _contradiction(node: onnx.NodeProto, x: TensorType, opset: int) -> str:
    """Say which rule of ONNX a pooling breaks for an input of this shape, as far as that is known."""
    if x.shape is None or any(each.ref_attr_name for each in node.attribute):
        return ""
    try:
        layer_from_node(node, opset, tuple(USUAL_SIZE if size is None else size for size in x.shape))
    except (TypeError, ValueError) as error:
        # Of sizes that are open, those are not to blame that were taken for them.
        said = without(error, "layer_from_node") if None not in x.shape[2:] else ""
        kernel = next((each.ints for each in node.attribute if each.name == "kernel_shape"), ())
        if said and len(kernel) == len(x.shape) - 1:
            said += f"; ONNX pools batches, and {node.input[0]!r} has no batch axis: put an Unsqueeze in front"
        return said
    return ""


def _not_run(runs: bool | None, reason: str) -> str:
    if runs is None:
        return f"no input that was tried runs in onnxruntime ({reason}); give its sizes as input_shapes"
    return f"onnxruntime does not run it ({reason})"


def _kinds(container: Container) -> list[tuple[str, Any, list[tuple[str, ...]]]]:
    """Return nodes, initializers and records of tensors, with the tensors that each is about."""
    nodes, infos = container.node, container.value_info
    kinds = [
        ("node", nodes, [(*node.output,) for node in nodes]),
        ("recorded", infos, [(each.name,) for each in infos]),
    ]
    if isinstance(container, onnx.GraphProto):
        kinds.append(("initializer", container.initializer, [(each.name,) for each in container.initializer]))
    return kinds


def _unread(model: onnx.ModelProto) -> set[_Unread]:
    """Find the nodes and initializers that nobody reads, and records of tensors that are not there.

    Nodes with graphs inside stay, so that the scopes of a model keep their numbers.
    """
    found: set[_Unread] = set()
    for number, scope in enumerate(scopes_of(model)):
        counts, function = uses(scope.container), isinstance(scope.container, onnx.FunctionProto)
        taken = {*scope.inputs} if function else {each.name for each in scope.container.input}
        there = {*scope.inputs, *(name for node in scope.container.node for name in node.output)}
        unread = {
            "node": {(*node.output,) for node in scope.container.node if not any(True for _ in subgraphs(node))},
            "initializer": {(name,) for name in {*scope.inputs} - taken},
            "recorded": {(each.name,) for each in scope.container.value_info if each.name not in there},
        }
        for kind in ("node", "initializer"):
            unread[kind] = {names for names in unread[kind] if not any(counts.get(each, 0) for each in names if each)}
        found |= {(number, kind, names) for kind, all_names in unread.items() for names in all_names}
    return found


def _grown(x: TensorType, cells: Sequence[int]) -> TensorType:
    """Return what is known of a tensor with more cells on its spatial axes, or with less."""
    if x.shape is None or not cells:
        return x
    spatial = [None if size is None else size + more for size, more in zip(x.shape[2:], cells, strict=True)]
    return TensorType(x.dtype, (*x.shape[:2], *spatial))


def _place(scope: Scope, node: onnx.NodeProto) -> int:
    return next(place for place, each in enumerate(scope.container.node) if each is node)


def _has_shape(info: onnx.ValueInfoProto) -> bool:
    return bool(info.type.tensor_type.HasField("shape"))


def _agree(recorded: Sequence[int | None], known: Sequence[int | None]) -> bool:
    return len(recorded) == len(known) and all(
        a is None or b is None or a == b for a, b in zip(recorded, known, strict=True)
    )
