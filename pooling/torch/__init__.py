"""Pooling for PyTorch: the functions of `pooling` on tensors, with derivatives, compiled and exported.

observers       who sees an operator that is called
operators       ``torch.ops.pooling``: kernels, fake implementations, derivatives, `torch.vmap`
dispatch        the way from a function to a kernel
functional      the functions, with the arguments of `torch.nn.functional`
nn              the modules, with the arguments of `torch.nn`
decompositions  the operators in those of PyTorch, for exports
patching        `patch`: the pooling modules of a network, computed by `pooling`
worth           which calls take less time by `pooling`, as measured
team            how many threads a call uses
"""

from pooling.extras import needing

with needing("torch", "pooling.torch"):
    from . import functional, nn
    from .decompositions import decompositions
    from .patching import PatchedModule, PatchReport, patch, patched, unpatch

__all__ = [
    "PatchReport",
    "PatchedModule",
    "decompositions",
    "functional",
    "nn",
    "patch",
    "patched",
    "unpatch",
]
