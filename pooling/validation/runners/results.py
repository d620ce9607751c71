"""What a runtime made of a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ["Answer"]


@dataclass(frozen=True, eq=False)
class Answer:
    """What one runtime made of one case: outputs, or a refusal, or a crash.

    Attributes
    ----------
    outputs : sequence of ndarray
        In the order of the node's outputs that have a name.
    refusal : str or None
        The runtime's own sentence, on one line, where it said no in good order: when it loaded the model or ran it.
    crash : str or None
        How the process ended, or had to be ended, where it did not live to answer: ``"died of SIGFPE"``,
        ``"exceeded 60 s"``, ``"exceeded 4 GiB"``.

    Examples
    --------
    >>> Answer(refusal="No such operator").given
    False
    """

    outputs: Sequence[NDArray[Any]] = ()
    refusal: str | None = None
    crash: str | None = None

    @property
    def given(self) -> bool:
        """Whether there are outputs."""
        return self.refusal is None and self.crash is None
