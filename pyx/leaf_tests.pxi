# Where every leaf begins: tests/test_leaves.py calls each entry of each table by its address, with memory of its own.

cdef dict addresses_of(const leaves_t* leaves):
    return {
        "storage": leaves.storage, "value": leaves.value, "overlaps": leaves.overlaps,
        "turn": leaves.turn,
        "load": <size_t> leaves.load, "store": <size_t> leaves.store,
        "across": <size_t> leaves.across, "across_stored": <size_t> leaves.across_stored,
        "across_plain": <size_t> leaves.across_plain,
        "along": <size_t> leaves.along, "along_stored": <size_t> leaves.along_stored,
        "windows": <size_t> leaves.windows, "windows_stored": <size_t> leaves.windows_stored,
        "mean_windows": <size_t> leaves.mean_windows, "exchange": <size_t> leaves.exchange,
        "pick": <size_t> leaves.pick, "identity": <size_t> leaves.identity, "empty": <size_t> leaves.empty,
        "divide": <size_t> leaves.divide, "divide_each": <size_t> leaves.divide_each,
        "settle": <size_t> leaves.settle,
    }


cdef dict addresses_of_argmax(const argmax_t* leaves):
    return {
        "storage": leaves.storage, "value": leaves.value, "load": <size_t> leaves.load, "store": <size_t> leaves.store,
        "across": <size_t> leaves.across, "take_wide": <size_t> leaves.take_wide,
        "first_equal": <size_t> leaves.first_equal,
        "winners": <size_t> leaves.winners, "identity": <size_t> leaves.identity, "empty": <size_t> leaves.empty,
    }


cdef dict addresses_of_gradient(const gradient_t* leaves):
    return {
        "sum": addresses_of(&leaves.sum), "add_spread": <size_t> leaves.add_spread, "repeat": <size_t> leaves.repeat,
        "add_run": <size_t> leaves.add_run, "interleave": <size_t> leaves.interleave,
        "scatter": <size_t> leaves.scatter, "scatter_four": <size_t> leaves.scatter_four,
        "scatter_runs": <size_t> leaves.scatter_runs,
    }


def leaf_tables():
    """Return what the tables of leaves hold.

    Returns
    -------
    dict
        By the name of a table and the two numbers of a row, or one, a dict by the names of the fields; functions are
        addresses, 0 where there is none.
    """
    cdef int i, kind
    tables = {"LEAVES": {}, "SHORT_SUMS": {}, "ARGMAX": {}, "GRADIENTS": {}, "DIVIDE": {}, "DIVIDE_EACH": {}}
    for kind in range(KINDS_):
        for i in range(REDUCERS_):
            tables["LEAVES"][i, kind] = addresses_of(&LEAVES[i][kind])
        for i in range(2):
            tables["SHORT_SUMS"][i, kind] = addresses_of(&SHORT_SUMS[i][kind])
        for i in range(TOTAL + 1):
            tables["ARGMAX"][i, kind] = addresses_of_argmax(&ARGMAX[i][kind])
        tables["GRADIENTS"][kind,] = addresses_of_gradient(&GRADIENTS[kind])
    for i in range(4):
        for kind in range(4):
            tables["DIVIDE"][i, kind] = {"divide": <size_t> DIVIDE[i][kind]}
            tables["DIVIDE_EACH"][i, kind] = {"divide_each": <size_t> DIVIDE_EACH[i][kind]}
    return tables
