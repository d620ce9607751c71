/* Memory and threads that a system refuses to pooling's compiled modules, and to nobody else: preloaded by
   tests/test_failures.py, which counts, chooses what fails, and looks for memory that is not given back. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#if defined(__GLIBC__)
/* Not by dlsym, which may itself ask for memory. */
extern void *__libc_malloc(size_t nbytes);
extern void __libc_free(void *memory);
    #define system_malloc __libc_malloc
    #define system_free __libc_free
#else
static void *system_malloc(size_t nbytes) {
    static void *(*of_system)(size_t);
    if (!of_system) *(void **)&of_system = dlsym(RTLD_NEXT, "malloc");
    return of_system(nbytes);
}

static void system_free(void *memory) {
    static void (*of_system)(void *);
    if (!of_system) *(void **)&of_system = dlsym(RTLD_NEXT, "free");
    of_system(memory);
}
#endif

static long asked, failing = -1, held;
static int counts, threads_left = 1 << 20;

static int is_ours(void *address) {
    Dl_info info;
    return dladdr(address, &info) && info.dli_fname && strstr(info.dli_fname, "/pooling/_");
}

/* From now on, fail the allocation of that number, counted from 0; none where it is negative. */
void failures_fail(long number) {
    failing = number;
    asked = 0;
    counts = 1;
}

/* How often memory was asked for since then. */
long failures_asked(void) { return asked; }

/* How many pieces of memory were taken and not given back. */
long failures_held(void) { return __atomic_load_n(&held, __ATOMIC_SEQ_CST); }

/* Let so many threads be started from now on. */
void failures_allow_threads(int number) { threads_left = number; }

void *malloc(size_t nbytes) {
    void *memory;
    if (!counts || !is_ours(__builtin_return_address(0))) return system_malloc(nbytes);
    if (__atomic_fetch_add(&asked, 1, __ATOMIC_SEQ_CST) == failing) {
        errno = ENOMEM;
        return NULL;
    }
    memory = system_malloc(nbytes);
    if (memory) __atomic_fetch_add(&held, 1, __ATOMIC_SEQ_CST);
    return memory;
}

void free(void *memory) {
    if (memory && counts && is_ours(__builtin_return_address(0))) __atomic_fetch_sub(&held, 1, __ATOMIC_SEQ_CST);
    system_free(memory);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*work)(void *), void *argument) {
    static int (*system_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!system_create) *(void **)&system_create = dlsym(RTLD_NEXT, "pthread_create");
    if (is_ours(__builtin_return_address(0)) && __atomic_fetch_sub(&threads_left, 1, __ATOMIC_SEQ_CST) <= 0)
        return EAGAIN;
    return system_create(thread, attributes, work, argument);
}
