# A team of threads that share one job at a time. Work is cut into parts, and whoever is free claims the next one, the
# calling thread first of all: it never waits for a thread that has not begun. OpenMP's parallel regions end when every
# thread has come; on a busy machine, or one whose idle cores sleep, that took 0.1 to 60 ms a call, where this takes the
# time of a single thread at worst.

cdef extern from "pythread.h" nogil:
    ctypedef void* PyThread_type_lock
    int WAIT_LOCK, NOWAIT_LOCK
    unsigned long PYTHREAD_INVALID_THREAD_ID
    unsigned long PyThread_start_new_thread(void (*run)(void*) noexcept nogil, void* argument)
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock lock)
    int PyThread_acquire_lock(PyThread_type_lock lock, int wait)
    void PyThread_release_lock(PyThread_type_lock lock)

cdef extern from *:
    """
    /* All orders are sequentially consistent: a job has few of these operations. */
    #if defined(__GNUC__)
        #define POOLING_TEAM 1
        #define pooling_load(at) __atomic_load_n(at, __ATOMIC_SEQ_CST)
        #define pooling_store(at, value) __atomic_store_n(at, value, __ATOMIC_SEQ_CST)
        #define pooling_add(at, value) __atomic_add_fetch(at, value, __ATOMIC_SEQ_CST)
        #define pooling_swap(at, value) __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST)
        static inline int pooling_replace(ptrdiff_t* at, ptrdiff_t old, ptrdiff_t value) {
            return __atomic_compare_exchange_n(at, &old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        }
    #else
        /* No other thread is ever started. */
        #define POOLING_TEAM 0
        #define pooling_load(at) (*(at))
        #define pooling_store(at, value) (*(at) = (value))
        #define pooling_add(at, value) (*(at) += (value))
        #define pooling_swap(at, value) (*(at) = (value))
        #define pooling_replace(at, old, value) (*(at) == (old) ? (*(at) = (value), 1) : 0)
    #endif
    #if defined(__GNUC__) && defined(__x86_64__)
        #define pooling_pause() __builtin_ia32_pause()
    #elif defined(__GNUC__) && defined(__aarch64__)
        #define pooling_pause() __asm__ __volatile__("yield")
    #else
        #define pooling_pause() ((void) 0)
    #endif
    #if defined(__linux__)
        #include <sched.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        static inline ptrdiff_t pooling_thread(void) { return (ptrdiff_t) syscall(SYS_gettid); }
        /* Let a thread run wherever the caller may, but not where it does. */
        static inline void pooling_send_away(ptrdiff_t thread) {
            cpu_set_t cpus;
            int here = sched_getcpu();
            if (here < 0 || here >= CPU_SETSIZE || sched_getaffinity(0, sizeof cpus, &cpus)) return;
            CPU_CLR(here, &cpus);
            if (CPU_COUNT(&cpus)) sched_setaffinity((pid_t) thread, sizeof cpus, &cpus);
        }
    #else
        #define pooling_thread() ((ptrdiff_t) 0)
        #define pooling_send_away(thread) ((void) (thread))
    #endif
    """
    const int POOLING_TEAM
    ptrdiff_t load_atomic "pooling_load" (ptrdiff_t* at) nogil
    void store_atomic "pooling_store" (ptrdiff_t* at, ptrdiff_t value) nogil
    ptrdiff_t add_atomic "pooling_add" (ptrdiff_t* at, ptrdiff_t value) nogil
    ptrdiff_t swap_atomic "pooling_swap" (ptrdiff_t* at, ptrdiff_t value) nogil
    bint replace_atomic "pooling_replace" (ptrdiff_t* at, ptrdiff_t old, ptrdiff_t value) nogil
    void pause "pooling_pause" () nogil
    ptrdiff_t this_thread "pooling_thread" () nogil
    void send_away "pooling_send_away" (ptrdiff_t thread) nogil

# Do tasks begin to end of a job; the scratch memory is this thread's own. Returns -1, or the position of the first
# element at fault.
ctypedef ptrdiff_t (*work_fn)(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil

cdef enum:
    MOST_WORKERS = 1023
    # Turns of a waiting thread's loop before it sleeps: about as long as waking it would take.
    SPINS = 2000
    # Parts for each thread: the last ones even out what one thread did faster than another.
    PARTS_EACH = 4
    # Behind the number of workers inside, the gate says that no more may enter, and that the caller sleeps until the
    # last one has left.
    CLOSED = 1 << 20
    AWAITED = 1 << 21


cdef struct worker_t:
    PyThread_type_lock bell
    ptrdiff_t asleep
    ptrdiff_t thread
    # Workers do not share a cache line.
    char apart[104]


cdef struct team_t:
    # Held by the thread whose job this is.
    ptrdiff_t taken
    ptrdiff_t workers
    PyThread_type_lock all_left
    # The job; only read by those inside the gate.
    work_fn work
    const void* job
    char* scratch
    ptrdiff_t nbytes, tasks, parts, seats
    char apart[64]
    # Jobs so far, the gate to this one, parts claimed of it, and the first element at fault.
    ptrdiff_t turn
    ptrdiff_t gate
    ptrdiff_t claimed
    ptrdiff_t fault
    worker_t worker[MOST_WORKERS]


cdef team_t TEAM
TEAM.gate = CLOSED


cdef void do_parts(char* scratch) noexcept nogil:
    """Claim parts of the job and do them until none is left."""
    cdef ptrdiff_t part, fault, first
    while True:
        part = add_atomic(&TEAM.claimed, 1) - 1
        if part >= TEAM.parts:
            return
        fault = TEAM.work(
            TEAM.job, scratch, TEAM.tasks * part // TEAM.parts, TEAM.tasks * (part + 1) // TEAM.parts)
        while fault >= 0:
            first = load_atomic(&TEAM.fault)
            if 0 <= first <= fault or replace_atomic(&TEAM.fault, first, fault):
                break


cdef void await_turn(worker_t* worker, ptrdiff_t* seen) noexcept nogil:
    """Wait for another job than the last one seen; after a while asleep."""
    cdef ptrdiff_t spins = 0
    while load_atomic(&TEAM.turn) == seen[0]:
        spins += 1
        if spins < SPINS:
            pause()
            continue
        spins = 0
        store_atomic(&worker.asleep, 1)
        # Who takes the mark away rings the bell: this thread itself, or a caller.
        if load_atomic(&TEAM.turn) == seen[0] or not swap_atomic(&worker.asleep, 0):
            PyThread_acquire_lock(worker.bell, WAIT_LOCK)
    seen[0] = load_atomic(&TEAM.turn)


cdef void serve(void* argument) noexcept nogil:
    """Live as a worker."""
    cdef worker_t* worker = <worker_t*> argument
    cdef ptrdiff_t seen = 0
    cdef ptrdiff_t inside
    worker.thread = this_thread()
    while True:
        await_turn(worker, &seen)
        while True:
            inside = load_atomic(&TEAM.gate)
            if inside & CLOSED or inside >= TEAM.seats:
                break
            if replace_atomic(&TEAM.gate, inside, inside + 1):
                # Nobody leaves before all parts are claimed, so that no two threads have the same seat.
                do_parts(TEAM.scratch + (inside + 1) * TEAM.nbytes)
                if add_atomic(&TEAM.gate, -1) == CLOSED | AWAITED:
                    PyThread_release_lock(TEAM.all_left)
                break


cdef PyThread_type_lock locked() noexcept nogil:
    cdef PyThread_type_lock lock = PyThread_allocate_lock()
    if lock != NULL:
        PyThread_acquire_lock(lock, NOWAIT_LOCK)
    return lock


cdef void hire(ptrdiff_t workers) noexcept nogil:
    """Start workers until there are so many; fewer, where the system has no more."""
    cdef worker_t* worker
    if TEAM.all_left == NULL:
        TEAM.all_left = locked()
    while TEAM.workers < workers and TEAM.all_left != NULL:
        worker = &TEAM.worker[TEAM.workers]
        worker.bell = locked()
        if worker.bell == NULL:
            return
        if PyThread_start_new_thread(serve, worker) == PYTHREAD_INVALID_THREAD_ID:
            PyThread_free_lock(worker.bell)
            return
        TEAM.workers += 1


cdef ptrdiff_t do_together(
    work_fn work, const void* job, char* scratch, ptrdiff_t nbytes, ptrdiff_t tasks, ptrdiff_t threads
) noexcept nogil:
    """Do a job as the owner of the team."""
    cdef ptrdiff_t i, inside
    cdef ptrdiff_t spins = 0
    hire(threads - 1)
    TEAM.work = work
    TEAM.job = job
    TEAM.scratch = scratch
    TEAM.nbytes = nbytes
    TEAM.tasks = tasks
    TEAM.parts = min(tasks, threads * PARTS_EACH)
    TEAM.seats = threads - 1
    TEAM.claimed = 0
    TEAM.fault = -1
    store_atomic(&TEAM.gate, 0)
    add_atomic(&TEAM.turn, 1)
    for i in range(min(threads - 1, TEAM.workers)):
        if load_atomic(&TEAM.worker[i].asleep) and swap_atomic(&TEAM.worker[i].asleep, 0):
            # Linux may wake a thread on the processor of whoever wakes it, even next to an idle one: on a virtual
            # machine idle processors look as if they were taken. There the two would take turns, never share.
            send_away(TEAM.worker[i].thread)
            PyThread_release_lock(TEAM.worker[i].bell)
    do_parts(scratch)
    inside = add_atomic(&TEAM.gate, CLOSED)
    while inside != CLOSED:
        spins += 1
        if spins < SPINS:
            pause()
        elif replace_atomic(&TEAM.gate, inside, inside | AWAITED):
            PyThread_acquire_lock(TEAM.all_left, WAIT_LOCK)
            store_atomic(&TEAM.gate, CLOSED)
        inside = load_atomic(&TEAM.gate)
    return TEAM.fault


cdef ptrdiff_t share(work_fn work, const void* job, ptrdiff_t tasks, ptrdiff_t nbytes, ptrdiff_t threads) except -2:
    """Do tasks 0 to `tasks` of a job on at most so many threads, each with `nbytes` of scratch memory.

    A thread that finds the team at work for another does its job alone. Returns -1, or the first position at fault.
    """
    cdef ptrdiff_t fault = -1
    cdef char* scratch
    threads = max(1, min(threads, min(tasks, <ptrdiff_t> MOST_WORKERS + 1)))
    nbytes = round_up(max(nbytes, 1), 64)
    scratch = <char*> malloc(threads * nbytes)
    if scratch == NULL:
        raise MemoryError(f"no memory for {threads} threads to work in, {nbytes} bytes each")
    with nogil:
        if threads > 1 and POOLING_TEAM and replace_atomic(&TEAM.taken, 0, 1):
            fault = do_together(work, job, scratch, nbytes, tasks, threads)
            store_atomic(&TEAM.taken, 0)
        elif tasks:
            fault = work(job, scratch, 0, tasks)
        free(scratch)
    return fault
