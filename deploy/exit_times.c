/* exit_times.c - layers by the profiler, descriptors and look-ups by repeating them */
#include "exit_times.h"

#include <stdlib.h>

#include "base/clock.h"
#include "stages/descriptor.h"
#include "stages/exec.h"
#include "stages/profile.h"

#define RUNS    40
#define REPEATS 50 /* of a descriptor or look-up */

static int time_layers(struct exit_times *out, struct exec *x, const struct graph *g,
                       const struct placement *place, struct error *e)
{
    struct profile profile;
    double sum = 0;
    int rc = profile_run(&profile, x, g, 0, g->n_nodes - 1, 1, 1, RUNS, e);

    if (rc)
        return rc;
    for (int node = 0, i = 0; node < g->n_nodes; node++) {
        sum += profile.layer[node].min_ms;
        for (; i < place->n_exits && place->exit[i].cut.node == node; i++)
            out->before[i] = sum;
    }
    out->network_ms = sum;
    for (int i = 0; i < place->n_exits && sum > 0; i++)
        out->before[i] /= sum;
    profile_release(&profile);
    return FL_OK;
}

static double least(uint64_t from, double sofar)
{
    double ms = (double)(clock_ns() - from) / NS_PER_MS;
    return sofar == 0 || ms < sofar ? ms : sofar;
}

/* Milliseconds. `row`: a descriptor of real data. */
static int time_lookup(double *ms, const struct tensor *cut, const struct descriptor_config *c,
                       const struct cache *cache, const float *row, struct error *e)
{
    float *made = malloc(sizeof *made * (size_t)cache_info(cache).dim);
    struct cache_scratch *scratch = NULL;
    struct cache_verdict verdict;
    double describe = 0, look = 0;
    int rc = made && !cache_scratch_new(&scratch, 1) ? FL_OK : FL_NOMEM;

    for (int i = 0; i < REPEATS && !rc; i++) {
        uint64_t from = clock_ns();
        descriptor_compute(cut, c, made);
        describe = least(from, describe);
        from = clock_ns();
        rc = cache_lookup(cache, scratch, row, 1, &verdict);
        look = least(from, look);
    }
    cache_scratch_free(scratch);
    free(made);
    *ms = describe + look;
    return rc ? error_set(e, (enum fl_code)rc, "no memory for look-ups") : FL_OK;
}

static int time_lookups(struct exit_times *out, struct exec *x, const struct pipeline *p,
                        const struct placement *place, struct cache *const *cache,
                        const struct extracted *data, struct error *e)
{
    struct tensor cut;
    int from = 0, rc = FL_OK;

    for (int i = 0; i < place->n_exits && !rc; i++) {
        int node = place->exit[i].cut.node;
        rc = exec_run(x, from, node, 1, NULL, NULL, e);
        from = node + 1;
        if (rc || !cache[i])
            continue;
        if (!(rc = exec_cut(x, node, 1, &cut, e)) &&
            !(rc = time_lookup(&out->lookup[i], &cut, &p->cache.descriptor, cache[i],
                               data->descriptor[i].data, e)))
            out->lookup[i] /= out->network_ms;
    }
    return rc;
}

int exit_times_measure(struct exit_times *out, const struct pipeline *p, const struct graph *g,
                       const struct placement *place, struct cache *const *cache,
                       const struct extracted *data, struct error *e)
{
    struct exec_options o = {.threads = 1, .max_batch = 1, .last = -1};
    struct exec *x = NULL;
    int rc;

    *out = (struct exit_times){0};
    if (engine_parse_kernels(p->kernels, &o.kernels))
        return error_set(e, FL_CONFIG, "kernels: '%s' is not one of auto, onednn, openblas, reference",
                         p->kernels);
    if ((rc = exec_new(&x, g, &o, e)))
        return rc;
    rc = time_layers(out, x, g, place, e);
    if (!rc)
        rc = time_lookups(out, x, p, place, cache, data, e);
    exec_free(x);
    return rc;
}
