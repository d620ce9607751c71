"""What came of running a case in a runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ["Result"]


@dataclass(frozen=True, eq=False)
class Result:
    """What one runtime made of one case: outputs, or why it does not support it, or a crash.

    Attributes
    ----------
    outputs : sequence of ndarray
        In the order of the node's outputs that have a name.
    unsupported : str or None
        The runtime's own sentence, on one line, where it reports the model as unsupported or invalid, when loading or
        running it.
    crash : str or None
        How the process ended, or had to be ended, where it did not live to answer: ``"was killed by SIGFPE"``,
        ``"exceeded 60 s"``, ``"exceeded 4 GiB"``.
    exceeded : bool
        Whether it had to be ended, since it exceeded a limit.

    Examples
    --------
    >>> Result(unsupported="No such operator").given
    False
    """

    outputs: Sequence[NDArray[Any]] = ()
    unsupported: str | None = None
    crash: str | None = None
    exceeded: bool = False

    @property
    def given(self) -> bool:
        """Whether there are outputs."""
        return self.unsupported is None and self.crash is None
