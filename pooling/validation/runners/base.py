"""What all runtimes have in common."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, ClassVar

import onnx
from numpy.typing import NDArray

from pooling.onnx_models.graph import default_opset

__all__ = ["Array", "Runtime", "Unsupported", "only_node", "opset_of", "present"]

Array = NDArray[Any]


class Unsupported(Exception):
    """Why a runtime does not run a model, in one sentence."""


class Runtime(ABC):
    """Something that runs models of one node. Runs in a process of its own, where it may do what it likes.

    A class of this kind from any module can be named as ``module:Class`` wherever the name of a runtime is given.
    """

    name: ClassVar[str]
    """As on the command line."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions of which one has to be installed, all of the same module; by default the one of its name."""
    module: ClassVar[str] = ""
    """What has to be imported; empty where this is no module."""
    slow: ClassVar[bool] = False
    """Whether it takes seconds for maps on which others take milliseconds; such a runtime gets fewer channels."""
    whole: ClassVar[bool] = False
    """Whether it takes models of many nodes, and optimises them."""
    compiles: ClassVar[bool] = False
    """Whether it compiles each node, which takes seconds: it is asked only where it is named, and may take longer."""
    differentiates: ClassVar[bool] = False
    """Whether it has gradients; it is asked for them where a runtime that `compiles` is, too."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.module and not cls.packages:
            cls.packages = (cls.module.partition(".")[0],)

    def version(self) -> str | None:
        """Return the installed version, or None where it is not installed; imports nothing."""
        for package in self.packages:
            try:
                return metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
        return None

    def load(self, threads: int) -> None:
        """Import what is needed, and use so many threads."""
        if self.module:
            importlib.import_module(self.module)

    @abstractmethod
    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Run a model.

        Parameters
        ----------
        model : bytes
            An ONNX model, in most cases of one node.
        inputs : mapping of str to ndarray
            By the names of its inputs.

        Returns
        -------
        sequence of ndarray
            Its outputs.

        Raises
        ------
        Exception
            Whatever it raises says why the model is not supported; `Unsupported` says it in a sentence.
        """

    def gradient(self, model: bytes, inputs: Mapping[str, Array], grad_output: Array) -> Array:
        """Return the gradient of what a node pools.

        Parameters
        ----------
        model, inputs
            As in `run`.
        grad_output : ndarray
            Gradient of the first output.

        Raises
        ------
        Exception
            As `run`.
        """
        raise Unsupported(f"{self.name} computes no gradients")


def only_node(model: bytes) -> tuple[onnx.NodeProto, int]:
    """Return the node of a model that has one, and its opset.

    Raises
    ------
    Unsupported
        If there are more.
    """
    read = onnx.load_model_from_string(model)
    if len(read.graph.node) != 1:
        raise Unsupported(f"the model has {len(read.graph.node)} nodes; it is asked for one at a time here")
    return read.graph.node[0], opset_of(read)


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the default operator set that a model imports."""
    return default_opset(model.opset_import) or 1


def present(node: onnx.NodeProto, outputs: Sequence[Array]) -> tuple[Array, ...]:
    """Keep the outputs that have a name in the node."""
    return tuple(output for name, output in zip(node.output, outputs, strict=False) if name)
