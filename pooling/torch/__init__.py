"""Pooling for PyTorch: the functions of `pooling` on tensors, with derivatives, compiled and exported.

operators   ``torch.ops.pooling``: kernels, fake implementations, derivatives, `torch.vmap`
functional  the functions, with the arguments of `torch.nn.functional`
nn          the modules, with the arguments of `torch.nn`
patching    `patch`: the pooling modules of a network, computed by `pooling`
team        how many threads a call uses
"""

from . import functional, nn
from .patching import PatchedModule, PatchReport, patch, patched, unpatch

__all__ = ["PatchReport", "PatchedModule", "functional", "nn", "patch", "patched", "unpatch"]
