/* executors.c - executors side by side */
#include "executors.h"

#include <stdlib.h>
#include <unistd.h>

static int open_one(struct executor *x, const struct graph *g, const struct exec_options *as, int threads,
                    struct error *e)
{
    struct exec_options o = *as;
    struct tensor input;
    int rc;

    o.threads = threads;
    rc = exec_new(&x->exec, g, &o, e);
    if (rc)
        return rc;
    input = exec_input_shape(x->exec, 0, 1);
    x->room = malloc(3 * sizeof *x->room * (size_t)tensor_count(&input));
    return x->room ? FL_OK : error_set(e, FL_NOMEM, "no memory for pictures");
}

static void close_one(struct executor *x)
{
    exec_free(x->exec);
    free(x->room);
    *x = (struct executor){0};
}

/* An arena grows in proportion to its rows. */
int executors_batch(size_t weights, size_t arena, int batch, int n, double memory)
{
    double left = memory / n - (double)weights, row = (double)arena / batch;

    if (left < row)
        return 0;
    return left < (double)arena ? (int)(left / row) : batch;
}

/* Every executor has its own weights, packed for its kernels. */
static int batch_that_fits(const struct executor *one, int batch, int n)
{
    double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    return executors_batch(exec_weight_bytes(one->exec), exec_arena_bytes(one->exec), batch, n,
                           0.25 * memory);
}

/* One executor more, with o->max_batch rows. */
static int open_next(struct executors *x, const struct graph *g, const struct exec_options *o, int threads,
                     struct error *e)
{
    int rc = open_one(&x->one[x->n], g, o, threads, e);
    x->n += !rc;
    x->batch = o->max_batch;
    return rc;
}

int executors_open(struct executors *x, const struct graph *g, const struct exec_options *as, int threads,
                   struct error *e)
{
    struct exec_options o = *as;
    int rc, n = threads < EXECUTORS_MAX ? threads : EXECUTORS_MAX, batch;

    if ((rc = open_next(x, g, &o, 1, e)))
        return rc;
    batch = batch_that_fits(&x->one[0], o.max_batch, n);
    if (!batch) {
        n = 1;
        batch = batch_that_fits(&x->one[0], o.max_batch, 1);
    }
    if (batch < o.max_batch || n < threads) { /* the first one was a measure */
        close_one(&x->one[--x->n]);
        o.max_batch = batch ? batch : 1;
    }
    while (x->n < n)
        if ((rc = open_next(x, g, &o, n == 1 ? threads : 1, e)))
            return rc;
    return team_new(&x->team, n) ? error_set(e, FL_UNAVAILABLE, "cannot start %d threads", n) : FL_OK;
}

void executors_close(struct executors *x)
{
    team_free(x->team);
    for (int i = 0; i < EXECUTORS_MAX; i++)
        close_one(&x->one[i]);
    *x = (struct executors){0};
}
