/* turns.c - threads that compute on all cores, and one that wants to now and then */
#include "turns.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "numbers/samples.h"
#include "numbers/shuffle.h"

#define WAKES    300
#define LEAST_US 500 /* of computing, so that a scheduler sees who computes */
#define MOST_US  4000

static void *spin(void *stop)
{
    while (!atomic_load_explicit((atomic_bool *)stop, memory_order_relaxed))
        ;
    return NULL;
}

static void compute_until(uint64_t ns)
{
    while (clock_ns() < ns)
        ;
}

/* How late it is woken after sleeps of 0.5 to 1.5 times what it computes, us. */
static void wake_again(double late[WAKES], double work_us)
{
    struct shuffle random;
    shuffle_seed(&random, 1, 0);
    for (int i = 0; i < WAKES; i++) {
        uint64_t due = clock_ns() + (uint64_t)((0.5 + shuffle_uniform(&random)) * work_us * NS_PER_US), woken;
        struct timespec at = {(time_t)(due / NS_PER_S), (long)(due % NS_PER_S)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        woken = clock_ns();
        late[i] = (double)(woken - due) / NS_PER_US;
        compute_until(woken + (uint64_t)(work_us * NS_PER_US));
    }
}

int turns_measure(struct measured *m, double work_us, struct error *e)
{
    atomic_bool stop = false;
    double late[WAKES];
    pthread_t *thread = calloc((size_t)m->cores, sizeof *thread);
    int n = 0;

    if (!thread)
        return error_set(e, FL_NOMEM, "no memory for threads");
    while (n < m->cores && !pthread_create(&thread[n], NULL, spin, &stop))
        n++;
    if (n == m->cores)
        wake_again(late, fmin(fmax(work_us, LEAST_US), MOST_US));
    atomic_store(&stop, true);
    for (int i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    free(thread);
    if (n < m->cores)
        return error_set(e, FL_NOMEM, "cannot start %d threads", m->cores);
    samples_sort(late, WAKES); /* who need not wait is woken as the quickest tenth was */
    m->cost.turn = fmax(0, late[WAKES - WAKES / 20] - late[WAKES / 10]);
    return FL_OK;
}
