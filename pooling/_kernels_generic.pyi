from ._kernels import *
