"""Pooling for PyTorch: the functions of `pooling` on tensors, with derivatives, compiled, exported.

operators   ``torch.ops.pooling``: kernels, fake implementations, derivatives, `torch.vmap`
functional  the functions, with the arguments of `torch.nn.functional`
"""
