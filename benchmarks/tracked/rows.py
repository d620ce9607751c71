"""What asv measures: every case of the race, on one thread and on all, and the import."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from pooling.benchmark.cases import CASES
from pooling.benchmark.worker import with_pooling

BY_NAME = {case.name: case for case in CASES}


class Rows:
    """One call of each case, the result allocated."""

    params: ClassVar[list[list[Any]]] = [list(BY_NAME), sorted({1, os.cpu_count() or 1})]
    param_names: ClassVar[list[str]] = ["case", "threads"]

    def setup(self, name: str, threads: int) -> None:
        """Make the arrays, and lay the loops."""
        if name not in BY_NAME:  # a commit that does not know the case
            raise NotImplementedError
        self.call = with_pooling(BY_NAME[name], threads)
        self.call()

    def time_call(self, name: str, threads: int) -> None:
        """Pool, or make a gradient."""
        self.call()


def timeraw_import() -> tuple[str, str]:
    """Import the package into an interpreter that has NumPy already."""
    return "import pooling", "import numpy"
