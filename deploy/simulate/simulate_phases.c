/* simulate_phases.c - loads on a running pipeline, from few requests to many, at one speed of the machine */
#include "simulate_phases.h"

#include <stdlib.h>
#include <string.h>

#include "deploy/model/whole_model.h"
#include "stages/exec/profile.h"

#define ALONE     60  /* requests that tell how long one takes */
#define SPARSE    0.3 /* of a request's time until the next comes, on average, when there are few */
#define STEADY    0.9 /* likewise, when there are more of them */
#define BUSY      32  /* requests in flight when there are many */
#define PARTS     3
#define REFERENCE 80 /* runs of the model, half of them timed as a whole, that tell the speed */

static int load_model(struct phases *p, struct error *e)
{
    return whole_model_new(&p->model, p->graph, p->pipeline, p->pipeline->stage[0].threads, 1, e);
}

int phases_refer(double *us, const struct phases *p, struct error *e)
{
    struct profile t;
    int rc = profile_run(&t, p->model, p->graph, 0, p->graph->n_nodes - 1, p->pipeline->stage[0].threads, 1,
                         REFERENCE, e);
    if (rc)
        return rc;
    *us = t.median_ms * 1e3;
    profile_release(&t);
    return FL_OK;
}

/* A part into its place in the whole, which has room for all; its times as they would be `by` times slower.
 */
static void add_part(struct probe_phase *to, const struct probe_phase *part, int i, double by)
{
    memcpy(to->request + i * part->n, part->request, sizeof *part->request * (size_t)part->n);
    for (struct probe_request *r = to->request + i * part->n; r < to->request + (i + 1) * part->n; r++) {
        r->total_us *= by;
        r->lookup_us *= by;
        for (int k = 0; k < r->n_stages; k++) {
            r->wire_us[k] *= by;
            r->compute_us[k] *= by;
        }
    }
    for (int k = 0; k < PROBE_ALL; k++) {
        to->main_us[k] += part->main_us[k] * by / PARTS;
        to->io_us[k] += part->io_us[k] * by / PARTS;
    }
    to->seconds += part->seconds;
    to->lookup_messages += part->lookup_messages / PARTS;
    to->lookup_rows += part->lookup_rows / PARTS;
}

static int ask_part(struct probe_phase *out, int i, struct phases *p, struct probe *b,
                    const struct probe_load *load, struct error *e)
{
    struct probe_phase part = {0};
    double before, after;
    int rc;
    if (!(rc = phases_refer(&before, p, e)) && !(rc = probe_run(&part, b, load, e)) &&
        !(rc = phases_refer(&after, p, e))) {
        if (p->speed_us <= 0)
            p->speed_us = before;
        add_part(out, &part, i, 2 * p->speed_us / (before + after));
    }
    probe_release(&part);
    return rc;
}

static int ask_phase(struct probe_phase *out, struct phases *p, struct probe *b, struct probe_load load,
                     struct error *e)
{
    int rc = FL_OK;
    load.requests = (load.requests + PARTS - 1) / PARTS;
    *out = (struct probe_phase){.n = PARTS * load.requests};
    if (!(out->request = calloc((size_t)out->n, sizeof *out->request)))
        return error_set(e, FL_NOMEM, "no memory");
    for (int i = 0; i < PARTS && !rc; i++)
        rc = ask_part(out, i, p, b, &load, e);
    return rc;
}

/* Mean time of a request that comes when the last one is answered, s. */
static int ask_alone(double *seconds, struct probe *b, bool caches, struct error *e)
{
    struct probe_phase p;
    int rc = probe_run(&p, b, &(struct probe_load){.closed = 1, .requests = ALONE, .caches = caches}, e);
    *seconds = p.seconds / ALONE;
    probe_release(&p);
    return rc;
}

/* Where few are under way at a time there are fewer requests: they take long to come. */
static int ask_plain(struct phases *p, struct probe *b, int requests, int few, struct error *e)
{
    double alone;
    int rc = ask_alone(&alone, b, false, e);
    if (rc || (rc = ask_phase(&p->sparse, p, b, (struct probe_load){SPARSE / alone, 0, few, false}, e)) ||
        (rc = ask_phase(&p->steady, p, b, (struct probe_load){STEADY / alone, 0, 2 * few, false}, e)) ||
        (rc = ask_phase(&p->crowded, p, b, (struct probe_load){0, p->pipeline->n_stages + 1, 2 * few, false},
                        e)))
        return rc;
    return ask_phase(&p->busy, p, b, (struct probe_load){0, BUSY, requests, false}, e);
}

static int ask_cached(struct phases *p, struct probe *b, int requests, int few, struct error *e)
{
    double alone;
    int rc = ask_alone(&alone, b, true, e);
    if (rc || (rc = ask_phase(&p->sparse_cached, p, b, (struct probe_load){SPARSE / alone, 0, few, true}, e)))
        return rc;
    return ask_phase(&p->busy_cached, p, b, (struct probe_load){0, BUSY, requests, true}, e);
}

int phases_ask(struct phases *out, const struct pipeline *p, const struct graph *g,
               const struct dataset *data, int requests, bool caches, struct error *e)
{
    int few = requests / 4 > 10 ? requests / 4 : 10, rc;
    struct probe *b;

    memset(out, 0, sizeof *out);
    out->pipeline = p;
    out->graph = g;
    if ((rc = probe_new(&b, p, data, e)))
        return rc;
    if (!(rc = load_model(out, e))) {
        probe_idle(&out->idle, b);
        rc = ask_plain(out, b, requests, few, e);
    }
    if (!rc && caches)
        rc = ask_cached(out, b, requests, few, e);
    probe_free(b);
    return rc;
}

void phases_release(struct phases *p)
{
    probe_release(&p->sparse);
    probe_release(&p->steady);
    probe_release(&p->crowded);
    probe_release(&p->busy);
    probe_release(&p->sparse_cached);
    probe_release(&p->busy_cached);
    exec_free(p->model);
    p->model = NULL;
}
