/* core_board.c - a few words for each process: since when and where it computes, who it is, where it may be
 */
#include "core_board.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

#define BOARD_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)
#define STALE_US    2000000
#define AHEAD_US    1000 /* clocks are read one after the other */
#define MOST_CORES  64

/* Of `state`: the core's number and 1, or 0: it rests; above it since when, in microseconds. */
#define CORE_BITS 8
#define CORE_MASK ((UINT64_C(1) << CORE_BITS) - 1) /* it computes, who knows where */

struct place {
    _Atomic uint64_t state; /* since when it computes, and where, or rests */
    _Atomic uint64_t may;   /* a bit for each core that it may use; 0: it is not to be led */
    _Atomic uint64_t space; /* in which its thread's number holds */
    _Atomic uint32_t thread;
    _Atomic uint32_t led; /* it may use only some of them until it wakes */
};

struct core_board {
    struct place *at;
    int place;
    bool computes;
    uint64_t space, may; /* what its place says, where nobody else can write */
};

#define BYTES (CORE_BOARD_PLACES * sizeof(struct place))

int core_board_make(int *fd, struct error *e)
{
    *fd = memfd_create("freezeline-cores", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd >= 0 && !posix_fallocate(*fd, 0, BYTES) && !fcntl(*fd, F_ADD_SEALS, BOARD_SEALS | F_SEAL_SEAL))
        return FL_OK;
    error_set(e, FL_IO, "no memory to share: %s", strerror(errno));
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return FL_IO;
}

/* Numbers of threads mean the same in the same namespace of one boot alone. 0: not known. */
static uint64_t space(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) ? 0 : (uint64_t)st.st_ino;
}

/* Cores of a thread; 0: there is none beside another, or some have no bit. */
static uint64_t cores_of(pid_t thread)
{
    uint64_t may = 0;
    cpu_set_t set;
    if (sched_getaffinity(thread, sizeof set, &set))
        return 0;
    for (int i = 0; i < MOST_CORES; i++)
        may |= (uint64_t)(CPU_ISSET(i, &set) != 0) << i;
    return CPU_COUNT(&set) > 1 && CPU_COUNT(&set) == __builtin_popcountll(may) ? may : 0;
}

static int allow(pid_t thread, uint64_t may)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < MOST_CORES; i++)
        if (may >> i & 1)
            CPU_SET(i, &set);
    return sched_setaffinity(thread, sizeof set, &set);
}

/* It may use all its cores again. */
static void follow_no_more(struct core_board *b)
{
    struct place *own = &b->at[b->place];
    if (atomic_load_explicit(&own->led, memory_order_relaxed) && atomic_exchange(&own->led, 0) && b->may)
        allow(getpid(), b->may);
}

static uint64_t now_us(void)
{
    return clock_ns() / NS_PER_US;
}

static void tell(struct core_board *b, uint64_t us, int core)
{
    atomic_store_explicit(&b->at[b->place].state, us << CORE_BITS | (uint64_t)(core + 1),
                          memory_order_relaxed);
    b->computes = core >= 0;
}

int core_board_map(struct core_board **out, int fd, int place, struct error *e)
{
    struct core_board *b = calloc(1, sizeof *b);
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;
    void *at;

    *out = NULL;
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) || st.st_size < (off_t)BYTES ||
        st.st_uid != geteuid()) {
        free(b);
        return error_set(e, FL_CORRUPT,
                         "what was handed over as a board of cores is not sealed memory of this user");
    }
    at = b ? mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (at == MAP_FAILED) {
        free(b);
        return error_set(e, FL_NOMEM, "out of memory");
    }
    *b = (struct core_board){.at = at, .place = place, .space = space()};
    if (place >= 0) {
        struct place *own = &b->at[place];
        tell(b, now_us(), -1);
        atomic_store(&own->thread, (uint32_t)getpid());
        atomic_store(&own->space, b->space);
        atomic_store(&own->may, b->may = cores_of(getpid()));
    }
    *out = b;
    return FL_OK;
}

void core_board_free(struct core_board *b)
{
    if (!b)
        return;
    if (b->place >= 0 &&
        atomic_load(&b->at[b->place].thread) == (uint32_t)getpid()) { /* no successor has it */
        follow_no_more(b);
        atomic_store(&b->at[b->place].may, 0);
        atomic_store(&b->at[b->place].state, 0);
    }
    munmap(b->at, BYTES);
    free(b);
}

static bool is_fresh(uint64_t state, uint64_t us)
{
    return us + AHEAD_US - (state >> CORE_BITS) < STALE_US;
}

/* Where it computes; -1: it does not, or nobody knows. */
static int core_in(uint64_t state, uint64_t us)
{
    int core = (int)(state & CORE_MASK) - 1;
    return core < MOST_CORES && is_fresh(state, us) ? core : -1;
}

struct occupied {
    uint64_t some, several; /* a bit for each core where one computes, or more than one */
};

static struct occupied look(const struct core_board *b, uint64_t us)
{
    struct occupied u = {0, 0};
    for (int i = 0; i < CORE_BOARD_PLACES; i++) {
        int core = core_in(atomic_load_explicit(&b->at[i].state, memory_order_relaxed), us);
        uint64_t bit = core < 0 ? 0 : UINT64_C(1) << core;
        u.several |= u.some & bit;
        u.some |= bit;
    }
    return u;
}

static bool can_lead(const struct core_board *b, const struct place *to)
{
    return b->space && atomic_load(&to->space) == b->space;
}

/* Whom somebody else has bound to some cores stays there. It may take all its cores again at any moment: what
 * is said before and after it was bound reaches it afterwards, at the latest when it computes next. */
static void lead(struct place *to, uint64_t cores)
{
    pid_t thread = (pid_t)atomic_load(&to->thread);
    if (!atomic_load(&to->led) && cores_of(thread) != atomic_load(&to->may))
        return;
    atomic_store(&to->led, 1);
    allow(thread, cores);
    atomic_store(&to->led, 1);
}

/* Of those that compute on one core the one that began first waits there: it goes to a free one. */
static void spread(const struct core_board *b, uint64_t us)
{
    struct occupied u = look(b, us);
    struct place *first = NULL;
    uint64_t began = UINT64_MAX, free, at;
    if (!u.several)
        return;
    for (int i = 0; i < CORE_BOARD_PLACES; i++) {
        struct place *p = &b->at[i];
        uint64_t w = atomic_load_explicit(&p->state, memory_order_relaxed);
        int core = core_in(w, us);
        if (core >= 0 && (u.several >> core & 1) && w >> CORE_BITS < began >> CORE_BITS && i != b->place &&
            (atomic_load(&p->may) & ~u.some) && can_lead(b, p)) {
            first = p;
            began = w;
        }
    }
    if (!first)
        return;
    free = atomic_load(&first->may) & ~u.some;
    at = free & (free - 1) ? CORE_MASK : (uint64_t)(__builtin_ctzll(free) + 1);
    if (free && atomic_compare_exchange_strong(&first->state, &began, (began & ~CORE_MASK) | at))
        lead(first, free);
}

void core_board_lead(const struct core_board *b, int place)
{
    struct place *to = b ? &b->at[place] : NULL;
    uint64_t state = b ? atomic_load_explicit(&to->state, memory_order_relaxed) : CORE_MASK;
    uint64_t us, taken, may;

    if ((state & CORE_MASK) || !is_fresh(state, us = now_us()) || !(taken = look(b, us).some))
        return;
    may = atomic_load(&to->may);
    if ((may & ~taken) && (may & taken) && can_lead(b, to))
        lead(to, may & ~taken);
}

void core_board_compute(struct core_board *b)
{
    int core = b ? sched_getcpu() : -1;
    uint64_t us;

    if (core < 0 || core >= MOST_CORES)
        return;
    follow_no_more(b);
    tell(b, us = now_us(), core);
    spread(b, us);
}

void core_board_rest(struct core_board *b)
{
    uint64_t us;

    if (!b || !b->computes)
        return;
    tell(b, us = now_us(), -1);
    spread(b, us);
}
