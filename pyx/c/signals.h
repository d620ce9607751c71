/* The team as Python sees it: the interpreter is free while a job is done, and signals are answered meanwhile. */
#ifndef POOLING_SIGNALS_H
#define POOLING_SIGNALS_H

#include <Python.h>
#include "team.h"

/* The thread in which Python answers signals, or 0 where nobody told. */
static ptrdiff_t pooling_main_thread = 0;

static int pooling_answer_signals(void *context) {
    PyThreadState **state = (PyThreadState **) context;
    unsigned long answering = (unsigned long) pooling_load(&pooling_main_thread);
    int stop;
    if (answering && answering != PyThread_get_thread_ident()) return 0;
    PyEval_RestoreThread(*state);
    stop = PyErr_CheckSignals() != 0;
    *state = PyEval_SaveThread();
    return stop;
}

/* As pooling_share; -2 says that an exception is set, such as KeyboardInterrupt. */
static ptrdiff_t pooling_share_freely(
    pooling_work_t work, const void *job, ptrdiff_t tasks, ptrdiff_t steps, char *memory, ptrdiff_t nbytes,
    ptrdiff_t threads
) {
    PyThreadState *state = PyEval_SaveThread();
    ptrdiff_t fault = pooling_share(
        work, job, tasks, steps, memory, nbytes, threads, pooling_answer_signals, &state);
    PyEval_RestoreThread(state);
    return fault;
}

#endif
