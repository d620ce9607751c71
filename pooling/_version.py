"""The version of the package, for the build and for everybody else."""

__version__ = "0.1.0"
