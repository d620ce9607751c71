"""Times of contestants that share a machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

__all__ = ["Times", "race"]

BLOCK_SECONDS = 0.003
"""How long a block of calls lasts, and the warm-up before it."""
FEWEST_CALLS = 5
FEWEST_ROUNDS = 3
ENOUGH_SECONDS = 1.0
"""After so long a race ends early: slow calls need no repetition, and a busy machine gets no better by it."""
WATCHED_SECONDS = 0.01
"""How long the process has to be idle before the next contestant starts: two ticks of a slow clock."""
PATIENCE = 50
"""Windows of that length to wait for; some libraries keep their threads awake for ever."""


@dataclass(frozen=True)
class Times:
    """Seconds that one call takes."""

    median: float
    """Over all calls of all rounds."""
    fastest: float
    """Of all calls; far below the median only where something kept disturbing."""


def race(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Times]:
    """Measure the time of one call of each contestant, all in this process and turn by turn.

    In each round every contestant has one block: it waits until no thread of the process is busy, warms up, and is then
    called a few times, each call timed by itself.

    The wait matters more than anything else here. After a parallel call, the threads of most libraries keep spinning
    for a while, to be at hand for the next one. On a machine with few cores they take these away from whoever comes
    next, and a call of a tenth of a millisecond was seen to take eight. Blocks leave each contestant its own threads
    awake from call to call, as in an application that uses only that library; the wait keeps one from paying for the
    other. Rounds spread what the rest of the machine does over all contestants.

    A call includes the allocation of its result and all that Python does around it.

    Parameters
    ----------
    contestants : mapping of str to callable
        What to call, without arguments.
    rounds : int
        At least 1; fewer are run, but not below three, where they would take longer than a second.

    Returns
    -------
    dict of str to Times
        By the names of the contestants.

    Examples
    --------
    >>> times = race({"sorting": lambda: sorted(range(1000)), "nothing": lambda: None}, rounds=2)
    >>> list(times)
    ['sorting', 'nothing']
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= FEWEST_ROUNDS and time.perf_counter() - start > ENOUGH_SECONDS:
            break
        for name, call in contestants.items():
            _wait_until_idle()
            fastest = min(_timed(call, FEWEST_CALLS))
            calls = max(FEWEST_CALLS, math.ceil(BLOCK_SECONDS / max(fastest, 1e-6)))
            _timed(call, calls - FEWEST_CALLS)
            times[name] += _timed(call, calls)
    return {name: Times(median(measured), min(measured)) for name, measured in times.items()}


def _timed(call: Callable[[], object], calls: int) -> list[float]:
    """Call so many times; return the seconds that each call took."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def _wait_until_idle() -> None:
    """Sleep until the process has used next to no processor time while sleeping."""
    for _ in range(PATIENCE):
        used = time.process_time()
        time.sleep(WATCHED_SECONDS)
        if time.process_time() - used < WATCHED_SECONDS / 2:
            return
