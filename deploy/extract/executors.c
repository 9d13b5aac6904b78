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

/* Every executor has its own weights, packed for its kernels. */
static bool fit(const struct executor *one, int n)
{
    double bytes = (double)exec_weight_bytes(one->exec) + (double)exec_arena_bytes(one->exec);
    return n * bytes < 0.25 * (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

int executors_open(struct executors *x, const struct graph *g, const struct exec_options *o, int threads,
                   struct error *e)
{
    int rc;

    threads = threads < EXECUTORS_MAX ? threads : EXECUTORS_MAX;
    if ((rc = open_one(&x->one[0], g, o, 1, e)))
        return rc;
    x->n = 1;
    if (threads > 1 && !fit(&x->one[0], threads)) {
        close_one(&x->one[0]);
        return open_one(&x->one[0], g, o, threads, e);
    }
    for (; x->n < threads; x->n++)
        if ((rc = open_one(&x->one[x->n], g, o, 1, e)))
            return rc;
    return team_new(&x->team, threads) ? error_set(e, FL_UNAVAILABLE, "cannot start %d threads", threads)
                                       : FL_OK;
}

void executors_close(struct executors *x)
{
    team_free(x->team);
    for (int i = 0; i < EXECUTORS_MAX; i++)
        close_one(&x->one[i]);
    *x = (struct executors){0};
}
