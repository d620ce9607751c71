/* A team of threads that share one job at a time.

   A job is so many tasks. They are cut into parts, and whoever is free claims the next part, the calling thread first
   of all: it never waits for a thread that has not begun. (OpenMP's parallel regions end when every thread has come; on
   a busy machine, or one whose idle processors sleep, that took 0.1 to 60 ms a call, where this takes the time of a
   single thread at worst.)

   Who may change what:
   - `taken` is the process whose thread owns the team, or 0. Everything up to `state` belongs to the owner; workers
     read `run` while they are inside.
   - `state` is one word, so that what a worker compares and swaps belongs to one job: the job's turn, whether its owner
     sleeps until all have left, the slots that are free, and the workers inside. Slots are counted down and never given
     back: two threads have no slot in common, and the turn makes the word of an earlier job another word.
   - A worker sleeps after it has marked itself `asleep`; whoever takes the mark away sets its event, or is itself.
   - `wanted` asks whoever owns the team to end workers; it is looked at again after the team has been given back.

   tests/test_team.py goes through every order in which these steps can come; tests/team_stress.c runs them, in CI under
   sanitizers.

   Compiled for OpenMP (setup.py: POOLING_THREADING=openmp), there is no team: the parts of a job are the iterations of
   a `prange` of Cython, which core.pyx has.
*/
#ifndef POOLING_TEAM_H
#define POOLING_TEAM_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "floating.h"

/* All orders are sequentially consistent: a job has few of these operations. */
#if defined(__GNUC__)
    #define pooling_load(at) __atomic_load_n(at, __ATOMIC_SEQ_CST)
    #define pooling_store(at, value) __atomic_store_n(at, value, __ATOMIC_SEQ_CST)
    #define pooling_add(at, value) __atomic_add_fetch(at, value, __ATOMIC_SEQ_CST)
    #define pooling_swap(at, value) __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST)
    #define pooling_replace(at, old, value) \
        __atomic_compare_exchange_n(at, old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#else
    /* OpenMP hands out the parts, and guards what is replaced; a word that threads only set is read whole. */
    #define pooling_load(at) (*(volatile ptrdiff_t *) (at))
    #define pooling_store(at, value) (*(volatile ptrdiff_t *) (at) = (value))
#endif

/* Who does the parts of a job: threads of this team, threads of OpenMP, or the caller alone. */
#if defined(_OPENMP)
    #define POOLING_THREADING "openmp"
#elif defined(__GNUC__) && (defined(__unix__) || defined(__APPLE__))
    #define POOLING_THREADING "team"
    #define POOLING_TEAM 1
#else
    #define POOLING_THREADING "none"
#endif
#ifndef POOLING_TEAM
    #define POOLING_TEAM 0
#endif

#include <time.h>
#if defined(__unix__) || defined(__APPLE__)
    #define POOLING_UNIX 1
    #include <unistd.h>
#else
    #define POOLING_UNIX 0
#endif
#if POOLING_TEAM
    #include <errno.h>
    #include <pthread.h>
    #include <signal.h>
    #if defined(__linux__)
        #include <sched.h>
    #endif
#elif defined(_OPENMP)
    #include <setjmp.h>
#endif

#if defined(__GNUC__) && defined(__x86_64__)
    #define pooling_pause() __builtin_ia32_pause()
#elif defined(__GNUC__) && defined(__aarch64__)
    #define pooling_pause() __asm__ __volatile__("yield")
#else
    #define pooling_pause() ((void) 0)
#endif

/* Where a stress test lets a thread lose its processor. */
#ifndef POOLING_LINGER
    #define POOLING_LINGER(where) ((void) 0)
#endif

#define POOLING_MOST_THREADS 1024
/* Turns of a waiting thread's loop before it sleeps: about as long as waking it would take. */
#define POOLING_SPINS 2000
/* Parts for each thread: the last ones even out what one thread did faster than another. */
#define POOLING_PARTS_EACH 4
/* Steps of work, each of a nanosecond to some tens, after which a thread looks whether it shall go on. */
#define POOLING_STEPS (1 << 20)
/* Milliseconds of a job after which its owner looks at signals, and from one look to the next. */
#define POOLING_LOOK_MS 50

/* Do tasks begin to end of a job; the scratch memory is this thread's own. Returns -1, or the position of the first
   element at fault. */
typedef ptrdiff_t (*pooling_work_t)(const void *job, char *scratch, ptrdiff_t begin, ptrdiff_t end);

/* Looks at what the program wants, out of the default floating-point mode; returns whether to stop. */
typedef int (*pooling_look_t)(void *context);

typedef struct {
    pooling_work_t work;
    const void *job;
    /* The memory of all slots, `stride` bytes each; the owner has the first. */
    char *memory;
    ptrdiff_t stride, tasks, threads, parts;
    /* Tasks that work is called for in one go, and steps of a task; 0 steps where work asks `pooling_stops` itself. */
    ptrdiff_t together, steps;
    pooling_look_t look;
    void *context;
    pooling_mode_t mode;
    int64_t next_look;
    ptrdiff_t process;
    int orphaned;
    /* Shared: parts claimed, the first element at fault, and whether to stop. */
    ptrdiff_t claimed;
    ptrdiff_t fault;
    ptrdiff_t stopped;
#if defined(_OPENMP)
    /* Where a child goes on that was forked inside a parallel region; the last field, since modules of kernels, which
       are compiled without OpenMP, read those before it. */
    jmp_buf out;
#endif
} pooling_run_t;

/* Stands before the scratch memory of a slot. */
typedef struct {
    pooling_run_t *run;
    ptrdiff_t steps;
    char apart[64 - sizeof(void *) - sizeof(ptrdiff_t)];
} pooling_slot_t;

static int64_t pooling_milliseconds(void) {
#if POOLING_UNIX
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
#else
    return (int64_t) clock() * 1000 / CLOCKS_PER_SEC;
#endif
}

#if POOLING_UNIX
    #define pooling_process() ((ptrdiff_t) getpid())
#else
    #define pooling_process() ((ptrdiff_t) 1)
#endif

/* Let the program act, as the owner of a job, where the last look is long ago. What it does may be anything: fork, or
   another call, which finds the team taken. */
static void pooling_look_about(pooling_run_t *run) {
    int64_t now = pooling_milliseconds();
    int stop;
    if (run->look == NULL || pooling_load(&run->stopped)) return;
    if (run->next_look == 0) run->next_look = now + POOLING_LOOK_MS;
    if (now < run->next_look) return;
    pooling_leave_default_mode(run->mode);
    stop = run->look(run->context);
    run->mode = pooling_enter_default_mode();
    run->next_look = pooling_milliseconds() + POOLING_LOOK_MS;
    if (run->process && run->process != pooling_process()) {
        /* The program forked, and this is the child: nobody else is at work here. */
        run->orphaned = 1;
    }
    if (stop || run->orphaned) pooling_store(&run->stopped, stop ? 2 : 1);
}

static int pooling_stops_here(pooling_slot_t *slot) {
    int stops;
    if ((char *) slot == slot->run->memory) pooling_look_about(slot->run);
    stops = pooling_load(&slot->run->stopped) != 0;
    /* Whoever asks again hears it again at once. */
    slot->steps = stops ? 0 : POOLING_STEPS;
    return stops;
}

/* Tell whether work shall stop, from inside it: after so many steps, of a nanosecond or more, as were done since it
   asked last. Work that stops may leave its results unfinished and return whatever it likes. */
static inline int pooling_stops(char *scratch, ptrdiff_t steps) {
    pooling_slot_t *slot = (pooling_slot_t *) scratch - 1;
    slot->steps -= steps;
    return slot->steps < 0 && pooling_stops_here(slot);
}

static char *pooling_slot_memory(pooling_run_t *run, ptrdiff_t number) {
    pooling_slot_t *slot = (pooling_slot_t *) (run->memory + number * run->stride);
    slot->run = run;
    slot->steps = POOLING_STEPS;
    return (char *) (slot + 1);
}

/* Keep the first position at fault. */
static void pooling_note(pooling_run_t *run, ptrdiff_t fault) {
#if defined(_OPENMP)
    #pragma omp critical(pooling_fault)
    if (run->fault < 0 || fault < run->fault) run->fault = fault;
#elif POOLING_TEAM
    ptrdiff_t first = pooling_load(&run->fault);
    while (!(0 <= first && first <= fault) && !pooling_replace(&run->fault, &first, fault));
#else
    if (run->fault < 0 || fault < run->fault) run->fault = fault;
#endif
}

/* Do tasks begin to end, as far as nobody stops it. */
static void pooling_do_tasks(pooling_run_t *run, char *scratch, ptrdiff_t begin, ptrdiff_t end) {
    ptrdiff_t next, fault;
    for (; begin < end; begin = next) {
        next = end - begin > run->together ? begin + run->together : end;
        fault = run->work(run->job, scratch, begin, next);
        if (fault >= 0) pooling_note(run, fault);
        if (pooling_stops(scratch, (next - begin) * run->steps)) return;
    }
}

static void pooling_do_part(pooling_run_t *run, char *scratch, ptrdiff_t part) {
    pooling_do_tasks(run, scratch, run->tasks * part / run->parts, run->tasks * (part + 1) / run->parts);
}

#if POOLING_TEAM

/* Claim parts of the job and do them until none is left. */
static void pooling_do_parts(pooling_run_t *run, ptrdiff_t slot) {
    char *scratch = pooling_slot_memory(run, slot);
    ptrdiff_t part;
    while (!pooling_load(&run->stopped)) {
        part = pooling_add(&run->claimed, 1) - 1;
        if (part >= run->parts) return;
        pooling_do_part(run, scratch, part);
    }
}

/* The word of state. A turn has 38 bits: they come again after as many jobs as take a month. */
#define POOLING_INSIDE ((uint64_t) 1)
#define POOLING_FREE ((uint64_t) 1 << 12)
#define POOLING_AWAITED ((uint64_t) 1 << 24)
#define POOLING_TURN ((uint64_t) 1 << 26)
#define pooling_inside_of(state) ((state) & (POOLING_FREE - 1))
#define pooling_free_of(state) ((state) / POOLING_FREE & 4095)
#define pooling_turn_of(state) ((state) / POOLING_TURN)

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    int is_set;
} pooling_event_t;

#define POOLING_EVENT {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}
static const pooling_event_t pooling_new_event = POOLING_EVENT;

static void pooling_set_event(pooling_event_t *event) {
    pthread_mutex_lock(&event->mutex);
    event->is_set = 1;
    pthread_mutex_unlock(&event->mutex);
    pthread_cond_signal(&event->condition);
}

/* Wait until the event is set, at most so many milliseconds unless 0; return whether it did. */
static int pooling_wait_event(pooling_event_t *event, long milliseconds) {
    struct timespec until;
    int was_set, late = 0;
    if (milliseconds) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += milliseconds * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
    }
    pthread_mutex_lock(&event->mutex);
    while (!event->is_set && !late)
        late = milliseconds ? pthread_cond_timedwait(&event->condition, &event->mutex, &until) == ETIMEDOUT
                            : (pthread_cond_wait(&event->condition, &event->mutex), 0);
    was_set = event->is_set;
    event->is_set = 0;
    pthread_mutex_unlock(&event->mutex);
    return was_set;
}

typedef struct {
    pooling_event_t event;
    pthread_t thread;
    ptrdiff_t asleep;
    ptrdiff_t leaves;
    /* The processor on which it went to sleep, or -1. */
    ptrdiff_t processor;
    /* Workers do not share a cache line. */
    char apart[64];
} pooling_worker_t;

static struct {
    ptrdiff_t taken;
    /* 1 more than the workers that may stay, or 0 where nobody asked for less. */
    ptrdiff_t wanted;
    /* The process in which the workers live: a forked child has this memory, and none of them. */
    ptrdiff_t home;
    ptrdiff_t workers;
    pooling_run_t *run;
    pooling_event_t all_left;
#if defined(__linux__)
    /* Where the workers may run, if `placed`: where the last caller may. */
    int placed;
    cpu_set_t processors;
#endif
    char apart[64];
    uint64_t state;
    char apart_too[64];
    pooling_worker_t worker[POOLING_MOST_THREADS - 1];
} pooling_team = {.all_left = POOLING_EVENT};

/* --- workers --- */

static int pooling_processor(void) {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

/* Wait for another turn than the last one seen, after a while asleep; return it. */
static uint64_t pooling_await_turn(pooling_worker_t *worker, uint64_t seen) {
    ptrdiff_t spins = 0;
    uint64_t turn;
    while ((turn = pooling_turn_of(pooling_load(&pooling_team.state))) == seen) {
        if (++spins < POOLING_SPINS) {
            pooling_pause();
            continue;
        }
        spins = 0;
        pooling_store(&worker->processor, (ptrdiff_t) pooling_processor());
        pooling_store(&worker->asleep, 1);
        POOLING_LINGER(1);
        if (pooling_turn_of(pooling_load(&pooling_team.state)) == seen || !pooling_swap(&worker->asleep, 0))
            pooling_wait_event(&worker->event, 0);
    }
    return turn;
}

/* Take part in the job, if it has a free slot. */
static void pooling_enter(void) {
    uint64_t state = pooling_load(&pooling_team.state);
    while (pooling_free_of(state)) {
        POOLING_LINGER(0);
        if (!pooling_replace(&pooling_team.state, &state, state - POOLING_FREE + POOLING_INSIDE)) continue;
        pooling_do_parts(pooling_team.run, (ptrdiff_t) pooling_free_of(state));
        POOLING_LINGER(2);
        state = pooling_add(&pooling_team.state, -POOLING_INSIDE);
        if (state & POOLING_AWAITED && !pooling_inside_of(state)) pooling_set_event(&pooling_team.all_left);
        return;
    }
}

static void *pooling_serve(void *argument) {
    pooling_worker_t *worker = (pooling_worker_t *) argument;
    uint64_t seen = 0;
    pooling_enter_default_mode();
    for (;;) {
        seen = pooling_await_turn(worker, seen);
        if (pooling_load(&worker->leaves)) return NULL;
        pooling_enter();
    }
}

/* --- the owner --- */

/* Start workers until there are so many; fewer, where the system has no more. */
static void pooling_start_workers(ptrdiff_t workers) {
    pooling_worker_t *worker;
    sigset_t ours, before;
    if (pooling_team.workers >= workers) return;
    /* Signals are for the program's own threads: a worker would take those that they block, and wait for. Faults go to
       the thread at fault alone, and must reach a handler. */
    sigfillset(&ours);
    sigdelset(&ours, SIGSEGV);
    sigdelset(&ours, SIGBUS);
    sigdelset(&ours, SIGFPE);
    sigdelset(&ours, SIGILL);
    pthread_sigmask(SIG_SETMASK, &ours, &before);
    while (pooling_team.workers < workers) {
        worker = &pooling_team.worker[pooling_team.workers];
        worker->event = pooling_new_event;
        worker->asleep = 0;
        worker->leaves = 0;
        if (pthread_create(&worker->thread, NULL, pooling_serve, worker)) break;
        pooling_add(&pooling_team.workers, 1);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void pooling_place(pooling_worker_t *worker, int here) {
#if defined(__linux__)
    cpu_set_t processors = pooling_team.processors;
    if (here >= 0) CPU_CLR(here, &processors);
    pthread_setaffinity_np(worker->thread, sizeof processors, &processors);
#endif
}

/* Have the workers, started by whomever, run where the caller of this job may, as threads of its own would. */
static void pooling_place_all(void) {
#if defined(__linux__)
    cpu_set_t processors;
    ptrdiff_t i;
    if (sched_getaffinity(0, sizeof processors, &processors)) {
        pooling_team.placed = 0;
        return;
    }
    if (pooling_team.placed && CPU_EQUAL(&processors, &pooling_team.processors)) return;
    pooling_team.processors = processors;
    pooling_team.placed = 1;
    for (i = 0; i < pooling_team.workers; i++) pooling_place(&pooling_team.worker[i], -1);
#endif
}

static void pooling_wake(pooling_worker_t *worker) {
    int here = -1;
    if (!pooling_load(&worker->asleep) || !pooling_swap(&worker->asleep, 0)) return;
#if defined(__linux__)
    /* Linux may leave a thread on the processor where it slept though its waker runs there now and another one is idle:
       on a virtual machine idle processors look as if they were taken. The two would take turns, never share. So that
       processor is forbidden for the moment of waking. */
    here = pooling_processor();
    if (!pooling_team.placed || here != pooling_load(&worker->processor) || here < 0 || here >= CPU_SETSIZE ||
        !CPU_ISSET(here, &pooling_team.processors) || CPU_COUNT(&pooling_team.processors) == 1)
        here = -1;
#endif
    if (here >= 0) pooling_place(worker, here);
    pooling_set_event(&worker->event);
    if (here >= 0) pooling_place(worker, -1);
}

/* End workers until there are no more than so many; no job is open. */
static void pooling_dismiss(ptrdiff_t workers) {
    ptrdiff_t i;
    if (pooling_team.workers <= workers) return;
    for (i = workers; i < pooling_team.workers; i++) pooling_store(&pooling_team.worker[i].leaves, 1);
    pooling_store(
        &pooling_team.state, (pooling_turn_of(pooling_load(&pooling_team.state)) + 1) * POOLING_TURN);
    for (i = workers; i < pooling_team.workers; i++) pooling_wake(&pooling_team.worker[i]);
    for (i = workers; i < pooling_team.workers; i++) pthread_join(pooling_team.worker[i].thread, NULL);
    pooling_store(&pooling_team.workers, workers);
}

/* Forget the workers of another process, of which this one has a copy. */
static void pooling_forget(void) {
    pooling_store(&pooling_team.workers, 0);
    pooling_team.all_left = pooling_new_event;
    pooling_store(
        &pooling_team.state, (pooling_turn_of(pooling_load(&pooling_team.state)) + 1) * POOLING_TURN);
#if defined(__linux__)
    pooling_team.placed = 0;
#endif
    pooling_store(&pooling_team.home, pooling_process());
}

/* Become the owner of the team, unless another thread of this process is. */
static int pooling_take(void) {
    ptrdiff_t process = pooling_process();
    ptrdiff_t taken = pooling_load(&pooling_team.taken);
    /* What is neither free nor ours was taken in the process that this one was forked from. */
    if (taken == process || !pooling_replace(&pooling_team.taken, &taken, process)) return 0;
    if (pooling_team.home != process) pooling_forget();
    return 1;
}

static void pooling_give_back(void) {
    ptrdiff_t wanted;
    for (;;) {
        pooling_store(&pooling_team.taken, 0);
        POOLING_LINGER(3);
        /* Whoever asks while the team is taken leaves it to the owner, who may have looked before. */
        if (!pooling_load(&pooling_team.wanted) || !pooling_take()) return;
        wanted = pooling_swap(&pooling_team.wanted, 0);
        if (wanted) pooling_dismiss(wanted - 1);
    }
}

/* Do a job as the owner of the team. */
static void pooling_do_together(pooling_run_t *run) {
    ptrdiff_t slots = run->threads - 1;
    ptrdiff_t i, spins = 0;
    uint64_t state;
    run->process = pooling_team.home;
    pooling_place_all();
    pooling_start_workers(slots);
    pooling_team.run = run;
    state = pooling_turn_of(pooling_load(&pooling_team.state)) + 1;
    pooling_store(&pooling_team.state, state * POOLING_TURN + (uint64_t) slots * POOLING_FREE);
    for (i = 0; i < slots && i < pooling_team.workers; i++) pooling_wake(&pooling_team.worker[i]);
    pooling_do_parts(run, 0);
    POOLING_LINGER(4);
    /* From here on nobody enters. */
    state = pooling_load(&pooling_team.state);
    while (!pooling_replace(&pooling_team.state, &state, state - pooling_free_of(state) * POOLING_FREE));
    state = pooling_load(&pooling_team.state);
    while (pooling_inside_of(state) && !run->orphaned) {
        if (++spins < POOLING_SPINS) {
            pooling_pause();
            state = pooling_load(&pooling_team.state);
        } else if (pooling_replace(&pooling_team.state, &state, state | POOLING_AWAITED)) {
            while (!pooling_wait_event(&pooling_team.all_left, POOLING_LOOK_MS)) {
                pooling_look_about(run);
                if (run->orphaned) break;
            }
            state = 0;
        }
    }
    if (run->orphaned) pooling_forget();
}

/* Let no more workers than so many stay: at once, or when the job of another thread is done. */
static void pooling_keep_workers(ptrdiff_t workers) {
    pooling_store(&pooling_team.wanted, workers + 1);
    if (pooling_take()) pooling_give_back();
}

static ptrdiff_t pooling_count_workers(void) {
    return pooling_load(&pooling_team.home) == pooling_process() ? pooling_load(&pooling_team.workers) : 0;
}

#else

#define pooling_keep_workers(workers) ((void) (workers))
#define pooling_count_workers() 0

#endif

/* For OpenMP: does every part of a job by `pooling_do_part_in`; core.pyx sets it. */
static void (*pooling_do_parallel)(pooling_run_t *run) = NULL;

/* Do a part in the slot of that number, from inside a parallel region. */
static void pooling_do_part_in(pooling_run_t *run, ptrdiff_t slot, ptrdiff_t part) {
    pooling_mode_t mode;
    if (pooling_load(&run->stopped)) return;
    /* The owner is in the default mode already; the others may serve other libraries as well. */
    if (slot) mode = pooling_enter_default_mode();
    pooling_do_part(run, run->memory + slot * run->stride + sizeof(pooling_slot_t), part);
    if (slot) pooling_leave_default_mode(mode);
#if defined(_OPENMP)
    /* A child was forked meanwhile, and this is it: the end of the region would wait for threads of the parent. */
    if (!slot && run->orphaned) longjmp(run->out, 1);
#endif
}

#if defined(_OPENMP)

/* The process that has the threads: a forked child of it cannot have any of GNU's OpenMP. */
static ptrdiff_t pooling_home = 0;

static int pooling_take(void) {
    if (!pooling_load(&pooling_home)) pooling_store(&pooling_home, pooling_process());
    return pooling_load(&pooling_home) == pooling_process();
}

#define pooling_give_back() ((void) 0)

static void pooling_do_together(pooling_run_t *run) {
    ptrdiff_t slot;
    for (slot = 0; slot < run->threads; slot++) pooling_slot_memory(run, slot);
    run->process = pooling_home;
    if (!setjmp(run->out)) pooling_do_parallel(run);
}

#elif !POOLING_TEAM

#define pooling_take() 0
#define pooling_give_back() ((void) 0)
#define pooling_do_together(run) ((void) (run))

#endif

/* Bytes of a slot whose thread works in so many. */
static inline ptrdiff_t pooling_stride(ptrdiff_t nbytes) {
    return (ptrdiff_t) sizeof(pooling_slot_t) + ((nbytes > 1 ? nbytes : 1) + 63) / 64 * 64;
}

/* Do all tasks of a job, on at most as many threads as its memory has slots for. A thread that finds the team at work
   for another does its job alone. A task takes so many steps, or asks `pooling_stops` itself. Returns -1, or the first
   position at fault, or -2 where `look` said to stop. */
static ptrdiff_t pooling_share(
    pooling_work_t work, const void *job, ptrdiff_t tasks, ptrdiff_t steps, char *memory, ptrdiff_t nbytes,
    ptrdiff_t threads, pooling_look_t look, void *context
) {
    pooling_run_t run;
    run.work = work;
    run.job = job;
    run.memory = memory;
    run.stride = pooling_stride(nbytes);
    run.tasks = tasks;
    run.threads = threads;
    run.parts = tasks < threads * POOLING_PARTS_EACH ? tasks : threads * POOLING_PARTS_EACH;
    run.steps = steps;
    run.together = steps <= 0 ? tasks : steps < POOLING_STEPS ? POOLING_STEPS / steps : 1;
    run.look = look;
    run.context = context;
    run.next_look = 0;
    run.process = 0;
    run.orphaned = 0;
    run.claimed = 0;
    run.fault = -1;
    run.stopped = 0;
    run.mode = pooling_enter_default_mode();
    if (threads > 1 && pooling_take()) {
        pooling_do_together(&run);
        pooling_give_back();
        if (run.orphaned && run.stopped != 2) {
            /* The workers stayed with the parent, and with them the parts that they had claimed. */
            run.process = 0;
            run.orphaned = 0;
            run.stopped = 0;
            run.fault = -1;
            pooling_do_tasks(&run, pooling_slot_memory(&run, 0), 0, tasks);
        }
    } else if (tasks) {
        pooling_do_tasks(&run, pooling_slot_memory(&run, 0), 0, tasks);
    }
    pooling_leave_default_mode(run.mode);
    return run.stopped ? -2 : run.fault;
}

#endif
