"""Runtimes that misbehave, each in its own way, when a node has the name that they wait for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from pooling.validation.runners.base import Array, Runtime, Unsupported
from pooling.validation.runners.ours import Kernels


class _Misbehaving(Runtime):
    """Our kernels, until a node called "bad" comes."""

    def version(self) -> str | None:
        return "1"

    def misbehave(self) -> Sequence[Array]:
        raise NotImplementedError

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        if onnx.load_model_from_string(model).graph.node[0].name == "bad":
            return self.misbehave()
        return Kernels().run(model, inputs)


class Killed(_Misbehaving):
    name = "killed"

    def misbehave(self) -> Sequence[Array]:
        os.kill(os.getpid(), signal.SIGKILL)
        return ()


class Dividing(_Misbehaving):
    name = "dividing"

    def misbehave(self) -> Sequence[Array]:
        os.kill(os.getpid(), signal.SIGFPE)
        return ()


class Leaving(_Misbehaving):
    name = "leaving"

    def misbehave(self) -> Sequence[Array]:
        os._exit(3)


class Hanging(_Misbehaving):
    name = "hanging"

    def misbehave(self) -> Sequence[Array]:
        time.sleep(600)
        return ()


class Stopped(_Misbehaving):
    """Stops itself, until somebody has it continue."""

    name = "stopped"

    def misbehave(self) -> Sequence[Array]:
        os.kill(os.getpid(), signal.SIGSTOP)
        return [np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5)]


class Eating(_Misbehaving):
    name = "eating"

    def misbehave(self) -> Sequence[Array]:
        held = []
        while True:
            held.append(np.ones(2**22))
            time.sleep(0.005)


class Refusing(_Misbehaving):
    name = "refusing"

    def misbehave(self) -> Sequence[Array]:
        raise Unsupported("no, and\nno again")


class Babbling(_Misbehaving):
    """Prints whatever it does, and returns what is no array of numbers."""

    name = "babbling"

    def load(self, threads: int) -> None:
        print("loading" * 100000, flush=True)

    def misbehave(self) -> Sequence[Array]:
        os.write(1, b"done\n" * 1000)
        return [np.array([{"a": 1}], object)]


class StillBorn(_Misbehaving):
    name = "stillborn"

    def load(self, threads: int) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class Unloadable(_Misbehaving):
    name = "unloadable"

    def load(self, threads: int) -> None:
        raise ImportError("libfoo.so is missing")
