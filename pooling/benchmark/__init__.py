"""Races against other libraries. For `pooling bench` and for `benchmarks/`; needs ``rich``.

=============  =========================================================================================
`cases`        what is raced: poolings of real networks, and awkward ones
`strategies`   which ways through the kernels our part of a race takes
`others`       how poolings that are neither extremes nor means are called in other libraries
`worker`       one library in a process of its own: how it runs a case, whether it is right, how long it takes
`race`         libraries taking turns, and the machine that they do it on
`results`      what a race found, and what follows from it
`table`        the times of a race, and the ratios, for the terminal
`networks`     whole networks under PyTorch
=============  =========================================================================================
"""
