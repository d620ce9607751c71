"""The cases of the race, as asv (airspeed velocity) follows them from commit to commit.

`asv.conf.json` names this folder; ``asv run HEAD^!`` measures one commit, ``asv continuous main HEAD`` compares two. A
commit is compiled for the processor of this machine alone, once. The race against other libraries is ``python -m
benchmarks``, and that of two builds, which finds smaller differences, ``python -m benchmarks.against``.
"""
