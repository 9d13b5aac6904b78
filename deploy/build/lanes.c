/* lanes.c - executors side by side */
#include "lanes.h"

#include <stdlib.h>
#include <unistd.h>

#include "deploy/model/whole_model.h"

static int open_lane(struct lane *l, const struct graph *g, const struct pipeline *p, int threads, int batch,
                     struct error *e)
{
    int rc = whole_model_new(&l->exec, g, p, threads, batch, e);
    struct tensor input;

    if (rc)
        return rc;
    input = exec_input_shape(l->exec, 0, 1);
    l->room = malloc(3 * sizeof *l->room * (size_t)tensor_count(&input));
    return l->room ? FL_OK : error_set(e, FL_NOMEM, "no memory for pictures");
}

static void close_lane(struct lane *l)
{
    exec_free(l->exec);
    free(l->room);
    *l = (struct lane){0};
}

/* Every executor has its own weights, packed for its kernels. */
static bool fit(const struct lane *one, int n)
{
    double bytes = (double)exec_weight_bytes(one->exec) + (double)exec_arena_bytes(one->exec);
    return n * bytes < 0.25 * (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

int lanes_open(struct lanes *l, const struct graph *g, const struct pipeline *p, int threads, int batch,
               struct error *e)
{
    int rc;

    threads = threads < LANES_MAX ? threads : LANES_MAX;
    if ((rc = open_lane(&l->lane[0], g, p, 1, batch, e)))
        return rc;
    l->n = 1;
    if (threads > 1 && !fit(&l->lane[0], threads)) {
        close_lane(&l->lane[0]);
        return open_lane(&l->lane[0], g, p, threads, batch, e);
    }
    for (; l->n < threads; l->n++)
        if ((rc = open_lane(&l->lane[l->n], g, p, 1, batch, e)))
            return rc;
    return team_new(&l->team, threads) ? error_set(e, FL_UNAVAILABLE, "cannot start %d threads", threads)
                                       : FL_OK;
}

void lanes_close(struct lanes *l)
{
    team_free(l->team);
    for (int i = 0; i < LANES_MAX; i++)
        close_lane(&l->lane[i]);
    *l = (struct lanes){0};
}
