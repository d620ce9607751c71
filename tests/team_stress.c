/* Hold the thread team under stress: jobs of all sizes, of several owners, with workers that end in between and threads
   that lose their processor at the worst places. Compiled by tests/test_team.py as it is and by .ci/sanitizers.py under
   sanitizers; says what was wrong and returns 1.

   Usage: team_stress seconds [fork] */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static _Thread_local unsigned int chance;

static unsigned int draw(void) {
    static unsigned int threads;
    if (!chance) chance = 2654435761u * __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED);
    chance ^= chance << 13;
    chance ^= chance >> 17;
    chance ^= chance << 5;
    return chance;
}

/* A scheduler at its worst. */
static void linger(int where) {
    unsigned int number = draw();
    (void) where;
    if (number % 16 == 0) usleep(number / 16 % 400);
}
#ifndef CALM
    #define POOLING_LINGER(where) linger(where)
#endif
#include "c/team.h"

enum { MOST = 8, TASKS = 300 };

typedef struct {
    char *memory;
    ptrdiff_t nbytes, threads, spin, fault, meets;
    ptrdiff_t done[TASKS], used[MOST + 1], present;
} job_t;

static void fail(const char *what, ptrdiff_t a, ptrdiff_t b) {
    fprintf(stderr, "team_stress: %s: %ld, %ld\n", what, (long) a, (long) b);
    _exit(1);
}

static ptrdiff_t work(const void *argument, char *scratch, ptrdiff_t begin, ptrdiff_t end) {
    job_t *job = (job_t *) argument;
    ptrdiff_t slot = (scratch - job->memory) / pooling_stride(job->nbytes);
    volatile size_t waste = 0;
    ptrdiff_t i;
    unsigned char mark = (unsigned char) draw();
    if (slot < 0 || slot >= job->threads) fail("a slot beyond the memory, of slots", slot, job->threads);
    if (pooling_add(&job->used[slot], 1) != 1) fail("two threads on one slot", slot, job->threads);
    memset(scratch, mark, (size_t) job->nbytes);
    /* Where there are workers for more slots than the job has, give them the time to come. */
    pooling_add(&job->present, 1);
    for (i = 0; job->meets && i < 100 && pooling_load(&job->present) <= job->threads; i++) usleep(20);
    for (i = 0; i < (end - begin) * job->spin; i++) waste = waste * 5 + 1;
    for (i = 0; i < job->nbytes; i++)
        if ((unsigned char) scratch[i] != mark) fail("scratch memory of another thread, at", i, job->nbytes);
    for (i = begin; i < end; i++) pooling_add(&job->done[i], 1);
    pooling_add(&job->used[slot], -1);
    return job->fault >= begin && job->fault < end ? job->fault : -1;
}

static int stop_at_once(void *context) {
    (void) context;
    return 1;
}

static void run(ptrdiff_t tasks, ptrdiff_t threads, ptrdiff_t nbytes, ptrdiff_t spin, ptrdiff_t fault, int meets) {
    job_t job;
    ptrdiff_t i, found;
    memset(&job, 0, sizeof job);
    if (threads > tasks) threads = tasks;
    job.memory = malloc((size_t) (threads * pooling_stride(nbytes)));
    job.nbytes = nbytes;
    job.threads = threads;
    job.spin = spin;
    job.fault = fault;
    job.meets = meets;
    found = pooling_share(work, &job, tasks, draw() % 2 * 200000, job.memory, nbytes, threads, meets ? NULL : stop_at_once, NULL);
    if (found != -2) {
        if (found != (fault < tasks ? fault : -1)) fail("another fault than that of task", found, fault);
        for (i = 0; i < tasks; i++)
            if (job.done[i] != 1) fail("a task was not done once, but", i, job.done[i]);
    }
    free(job.memory);
}

static time_t stop;

static void *own(void *argument) {
    (void) argument;
    while (time(NULL) < stop) {
        run(64, MOST, 64, draw() % 2 ? 50 : 2000, TASKS, 0);
        run(64, 2, 20000, 2000, TASKS, 0);
        run(1 + draw() % TASKS, 1 + draw() % MOST, 1 + draw() % 3000, draw() % 3000, draw() % (2 * TASKS), 0);
        run(8, 2, 64, 10, TASKS, 1);
    }
    return NULL;
}

static void *limit(void *argument) {
    (void) argument;
    while (time(NULL) < stop) {
        usleep(draw() % 20000);
        pooling_keep_workers(draw() % MOST);
    }
    return NULL;
}

int main(int count, char **arguments) {
    pthread_t threads[3];
    int i;
    stop = time(NULL) + (count > 1 ? atoi(arguments[1]) : 1) + 1;
    run(64, MOST, 64, 2000, TASKS, 0);
    for (i = 0; i < 20; i++) run(8, 2, 64, 10, TASKS, 1);
    for (i = 0; i < 3; i++) pthread_create(&threads[i], NULL, i < 2 ? own : limit, NULL);
    for (i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    run(64, MOST, 64, 50, TASKS, 0);
    pooling_keep_workers(0);
    if (pooling_count_workers()) fail("workers stay", pooling_count_workers(), 0);
    return 0;
}
