"""Models of others, rewritten so that every runtime pools alike.

::

    repair    `make_portable`: the whole pass, from the checked model to the proven one
    rewrites  what is rewritten, into what, and why
    proof     compares a repaired model with its original
    command   from file to file, with a report for people
    records   what the command writes as JSON
"""

from .repair import Change, Repaired, Skipped, make_portable

__all__ = ["Change", "Repaired", "Skipped", "make_portable"]
