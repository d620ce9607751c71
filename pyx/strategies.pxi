# Every strategy, for each kind of call in the order in which they are asked; the first that fits is taken. The last
# fits every call.

cdef enum:
    FORWARD_ROWS = 11

cdef strategy_t FORWARD[FORWARD_ROWS]
cdef strategy_t INDICES[5]
cdef strategy_t MEANS[5]
cdef strategy_t SCATTERED[3]


cdef inline strategy_t strategy_row(
    const char* name, bint (*fits)(const call_t* call) noexcept nogil,
    ptrdiff_t (*tasks)(const call_t* call) noexcept nogil, ptrdiff_t (*scratch)(const call_t* call) noexcept nogil,
    work_fn work,
) noexcept:
    cdef strategy_t strategy
    strategy.name = name
    strategy.fits = fits
    strategy.tasks = tasks
    strategy.scratch = scratch
    strategy.work = work
    return strategy


FORWARD[0] = strategy_row(b"bytes", bytes_fits, bytes_tasks, bytes_bytes, forward_bytes)
FORWARD[1] = strategy_row(b"halves", halves_fits, halves_tasks, halves_bytes, forward_halves)
FORWARD[2] = strategy_row(
    b"byte_means", byte_means_fits, byte_means_tasks, byte_means_bytes, forward_byte_means)
FORWARD[3] = strategy_row(
    b"byte_lines", byte_lines_fits, byte_lines_tasks, byte_lines_bytes, forward_byte_lines)
FORWARD[4] = strategy_row(b"singles", singles_fits, singles_tasks, singles_bytes, forward_singles)
FORWARD[5] = strategy_row(b"flat", flat_fits, flat_tasks, flat_bytes, forward_flat)
FORWARD[6] = strategy_row(b"stacks", stacks_fits, stacks_tasks, stacks_bytes, forward_stacks)
FORWARD[7] = strategy_row(b"running", running_fits, running_tasks, running_bytes, forward_running)
FORWARD[8] = strategy_row(b"strips", strips_fits, strips_tasks, strips_bytes, forward_strips)
FORWARD[9] = strategy_row(b"cores", cores_fits, cores_tasks, cores_bytes, forward_cores)
FORWARD[10] = strategy_row(b"bands", fits_all, bands_tasks, bands_bytes, forward_bands)

INDICES[0] = strategy_row(
    b"argmax_search", argmax_search_fits, argmax_search_tasks, argmax_search_bytes, search_windows)
INDICES[1] = strategy_row(b"argmax_long", argmax_long_fits, argmax_long_tasks, argmax_long_bytes, argmax_long)
INDICES[2] = strategy_row(b"argmax_stacks", argmax_stacks_fits, argmax_stacks_tasks, argmax_stacks_bytes, argmax_stacks)
INDICES[3] = strategy_row(b"argmax_apart", argmax_apart_fits, argmax_rows_tasks, argmax_rows_bytes, argmax_rows)
INDICES[4] = strategy_row(b"argmax_rows", fits_all, argmax_rows_tasks, argmax_rows_bytes, argmax_rows)

MEANS[0] = strategy_row(
    b"spread_long_tiles", spread_long_tiles_fits, spread_tiles_tasks, spread_tiles_bytes, spread_long_tiles)
MEANS[1] = strategy_row(b"spread_tiles", spread_tiles_fits, spread_tiles_tasks, spread_tiles_bytes, spread_tiles)
MEANS[2] = strategy_row(b"spread_planes", spread_planes_fits, spread_planes_tasks, spread_planes_bytes, spread_planes)
MEANS[3] = strategy_row(b"spread_runs", spread_runs_fits, spread_rows_tasks, spread_runs_bytes, spread_runs)
MEANS[4] = strategy_row(b"spread_rows", fits_all, spread_rows_tasks, spread_rows_bytes, spread_rows)

SCATTERED[0] = strategy_row(b"scatter_long", scatter_long_fits, scatter_long_tasks_of, scatter_long_bytes, scatter_long)
SCATTERED[1] = strategy_row(
    b"scatter_stacks", scatter_stacks_fits, scatter_stacks_tasks, scatter_stacks_bytes, scatter_stacks)
SCATTERED[2] = strategy_row(b"scatter_planes", fits_all, scatter_planes_tasks, scatter_planes_bytes, scatter_planes)


cdef tuple names_of(const strategy_t* strategies, int count):
    cdef int i
    return tuple([(<bytes> strategies[i].name).decode("ascii") for i in range(count)])


STRATEGIES = {
    "forward": names_of(FORWARD, FORWARD_ROWS),
    "indices": names_of(INDICES, 5),
    "mean_gradient": names_of(MEANS, 5),
    "gradient": names_of(SCATTERED, 3),
}


cdef inline const strategy_t* choose(const strategy_t* strategies, const call_t* call) noexcept nogil:
    while not strategies.fits(call):
        strategies += 1
    return strategies


cdef inline call_t forward_call(const plan_t* plan, const leaves_t* leaves) noexcept nogil:
    cdef call_t call
    memset(&call, 0, sizeof(call))
    call.plan = plan
    call.leaves = leaves
    return call


cdef inline call_t argmax_call(
    const plan_t* plan, const argmax_t* argmax, const argmax_t* keyed, const long_t* sizes
) noexcept nogil:
    cdef call_t call
    memset(&call, 0, sizeof(call))
    call.plan = plan
    call.argmax = argmax
    call.keyed = keyed
    call.sizes = sizes
    return call


cdef inline call_t mean_gradient_call(const plan_t* plan, const gradient_t* gradient) noexcept nogil:
    cdef call_t call
    memset(&call, 0, sizeof(call))
    call.plan = plan
    call.gradient = gradient
    return call


cdef inline call_t gradient_call(
    const plan_t* plan, const argmax_t* argmax, const gradient_t* gradient, const long_t* sizes, bint finds,
    ptrdiff_t parts,
) noexcept nogil:
    cdef call_t call
    memset(&call, 0, sizeof(call))
    call.plan = plan
    call.argmax = argmax
    call.gradient = gradient
    call.sizes = sizes
    call.finds = finds
    call.parts = parts
    return call


def strategy_of(Plan plan not None, str kind_of_call not None, int reducer, int kind, bint given=False):
    """Name the strategy that a call takes, and the bytes that it works in for each thread.

    Parameters
    ----------
    plan : Plan
    kind_of_call : str
        One of `STRATEGIES`: ``"forward"``, ``"indices"`` (forward with indices), ``"mean_gradient"`` or ``"gradient"``
        (of a maximum or minimum).
    reducer, kind : int
        As in `forward`; gradients of maxima are taken to be summed in the same kind.
    given : bool
        Whether such a gradient is given the indices.
    """
    cdef argmax_t argmax, keyed
    cdef gradient_t gradient
    cdef leaves_t leaves
    cdef long_t sizes
    cdef call_t call
    cdef const strategy_t* strategy
    if kind_of_call not in STRATEGIES:
        raise ValueError(f"strategy_of: {kind_of_call!r} must be one of {', '.join(map(repr, STRATEGIES))}")
    if kind_of_call == "forward":
        leaves = leaves_of(&plan.plan, reducer, kind)[0]
        call = forward_call(&plan.plan, &leaves)
        strategy = choose(FORWARD, &call)
    elif kind_of_call == "mean_gradient":
        gradient = gradient_of(kind)[0]
        call = mean_gradient_call(&plan.plan, &gradient)
        strategy = choose(MEANS, &call)
    else:
        argmax = argmax_of(&plan.plan, reducer, kind)
        if kind_of_call == "indices":
            keyed = argmax_of_long(&plan.plan, &argmax)
            sizes = lay_long(&plan.plan, &keyed, False)
            call = argmax_call(&plan.plan, &argmax, &keyed, &sizes)
            strategy = choose(INDICES, &call)
        else:
            gradient = gradient_of(kind)[0]
            sizes = lay_long(&plan.plan, &argmax, True)
            call = gradient_call(
                &plan.plan, &argmax, &gradient, &sizes, not given, parts_of(&plan.plan, &gradient, given))
            strategy = choose(SCATTERED, &call)
    return (<bytes> strategy.name).decode("ascii"), strategy.scratch(&call)
