# The thread team of c/team.h: many threads that share one job.

# Do tasks begin to end of a job; the scratch memory is this thread's own. Returns -1, or the position of the first
# element at fault.
ctypedef ptrdiff_t (*work_fn)(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil

cdef extern from "c/signals.h" nogil:
    const int POOLING_TEAM
    const int POOLING_MOST_THREADS
    unsigned long main_thread "pooling_main_thread"
    ptrdiff_t seat_bytes "pooling_stride" (ptrdiff_t nbytes)
    # Where a task takes longer than some milliseconds it asks now and then, telling the steps since it last asked, and
    # returns when it shall stop.
    bint is_stopped "pooling_stops" (char* scratch, ptrdiff_t steps)
    void keep_workers_of_team "pooling_keep_workers" (ptrdiff_t workers)
    ptrdiff_t count_workers_of_team "pooling_count_workers" ()

cdef extern from "c/floating.h" nogil:
    ctypedef struct mode_t "pooling_mode_t":
        pass
    mode_t enter_default_mode "pooling_enter_default_mode" ()
    void leave_default_mode "pooling_leave_default_mode" (mode_t before)

cdef extern from "c/signals.h":
    # Not to be called without the GIL, which it lets go.
    ptrdiff_t share_freely "pooling_share_freely" (
        work_fn work, const void* job, ptrdiff_t tasks, ptrdiff_t steps, char* memory, ptrdiff_t nbytes,
        ptrdiff_t threads) noexcept


cdef ptrdiff_t share(
    work_fn work, const void* job, ptrdiff_t tasks, ptrdiff_t nbytes, ptrdiff_t threads, ptrdiff_t steps=0
) except -2:
    """Do tasks 0 to `tasks` of a job on at most so many threads, each with `nbytes` of scratch memory.

    A task takes so many `steps`, of a nanosecond or some, or asks `is_stopped` itself. A thread that finds the team at
    work for another does its job alone. Returns -1, or the first position at fault.
    Raises what a signal handler raises, such as KeyboardInterrupt, with the job unfinished.
    """
    cdef ptrdiff_t fault
    cdef char* memory
    threads = max(1, min(threads, min(tasks, <ptrdiff_t> POOLING_MOST_THREADS)))
    memory = <char*> malloc(threads * seat_bytes(nbytes))
    if memory == NULL:
        raise MemoryError(f"no memory for {threads} threads to work in, {nbytes} bytes each")
    fault = share_freely(work, job, tasks, steps, memory, nbytes, threads)
    free(memory)
    return fault


cdef inline ptrdiff_t steps_of(const plan_t* plan, ptrdiff_t outputs) noexcept nogil:
    """Steps to make so many outputs of windows tap by tap."""
    return <ptrdiff_t> min(<double> outputs * max(plan.taps, 1.0), 1e15)


def keep_workers(ptrdiff_t workers):
    """End the threads that wait for work, beyond so many: at once, or when the present call of another is done."""
    with nogil:
        keep_workers_of_team(workers)


def count_workers():
    """Return how many threads of this process wait for work, or do it, beside their callers."""
    return count_workers_of_team()


def answer_signals_in(unsigned long thread):
    """Say in which thread, by its `threading.get_ident`, Python answers signals: long calls there look for them."""
    global main_thread
    main_thread = thread


@cython.final
cdef class DefaultMode:
    """Inside ``with DefaultMode():`` this thread rounds to nearest and keeps subnormal numbers, as kernels do."""

    cdef mode_t before

    def __enter__(self):
        self.before = enter_default_mode()

    def __exit__(self, *error):
        leave_default_mode(self.before)
