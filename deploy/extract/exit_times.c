/* exit_times.c - the network segment by segment with a look-up after each, as a request meets them
 *
 * One after the other, not each on its own many times: a look-up reads weights that the layers before it have
 * driven out of the processor's caches.
 */
#include "exit_times.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/model/whole_model.h"
#include "stages/place/origin.h"
#include "stages/exec/exec.h"
#include "deploy/tool/output.h"

#define WARM_UP 5
#define RUNS    60
#define MOST_NS (10 * NS_PER_S) /* large networks are timed less often */

struct stopwatch {
    const struct pipeline *pipeline;
    const struct graph *graph;
    const struct placement *place;
    struct cache *const *cache;
    const struct extracted *data;
    struct exec *exec;
    struct cache_scratch *scratch;
    float *made;                            /* a descriptor, as wide as the widest */
    double segment[PIPELINE_MAX_EXITS + 1]; /* least ms */
    double lookup[PIPELINE_MAX_EXITS];      /* likewise */
    int run;
    uint64_t began;
    struct progress *progress; /* NULL: nobody looks */
};

/* Of as many runs as there will be in that time. */
static void tell(const struct stopwatch *s)
{
    int done = s->run + WARM_UP;
    double of = WARM_UP + RUNS;

    if (done)
        of = fmin(of, ceil(done * (double)MOST_NS / (double)(clock_ns() - s->began + 1)));
    if (s->progress)
        progress_update(s->progress, "time the exits", done, (int64_t)fmax(of, fmax(done, WARM_UP + 1)), NAN);
}

static void least(double *ms, uint64_t from, int run)
{
    double now = (double)(clock_ns() - from) / NS_PER_MS;
    if (run <= 0 || now < *ms)
        *ms = now;
}

static int look_up(struct stopwatch *s, int i)
{
    const struct matrix_file *m = &s->data->descriptor[i];
    struct cache_verdict verdict;

    return cache_lookup(s->cache[i], s->scratch, m->data + (s->run + WARM_UP) % m->rows * m->dim, 1,
                        &verdict);
}

/* A descriptor is made of the activation that is there, and one of real data looked up. */
static int time_lookup(struct stopwatch *s, int i, struct error *e)
{
    struct tensor cut;
    uint64_t from = clock_ns();
    int rc = exec_cut(s->exec, s->place->exit[i].cut.node, 1, &cut, e);

    if (rc)
        return rc;
    descriptor_compute(&cut, &s->pipeline->cache.descriptor, s->made);
    if (s->cache[i])
        rc = look_up(s, i);
    least(&s->lookup[i], from, s->run);
    return rc ? error_set(e, (enum fl_code)rc, "no memory for look-ups") : FL_OK;
}

/* Of an exit without a cache the descriptor alone, where no exit has one. */
static bool is_timed(const struct stopwatch *s, int i)
{
    return s->cache[i] || (!s->data && placed_has_cache(&s->place->exit[i]));
}

static int time_request(struct stopwatch *s, struct error *e)
{
    int from = 0, rc = FL_OK;

    for (int i = 0; i <= s->place->n_exits && !rc; i++) {
        int to = i < s->place->n_exits ? s->place->exit[i].cut.node : s->graph->n_nodes - 1;
        uint64_t start = clock_ns();
        rc = exec_run(s->exec, from, to, 1, NULL, NULL, e);
        least(&s->segment[i], start, s->run);
        from = to + 1;
        if (!rc && i < s->place->n_exits && is_timed(s, i))
            rc = time_lookup(s, i, e);
    }
    return rc;
}

static int prepare(struct stopwatch *s, struct error *e)
{
    int widest = 1, rc = whole_model_new(&s->exec, s->graph, s->pipeline, 1, 1, e);
    struct tensor input;

    if (rc)
        return rc;
    input = exec_input_shape(s->exec, 0, 1);
    memset(exec_input_buffer(s->exec, 0), 0, (size_t)tensor_bytes(&input));
    for (int i = 0; i < s->place->n_exits; i++) {
        struct tensor activation = origin_activation(s->graph, &s->place->exit[i]);
        int dim = descriptor_dim(&activation, &s->pipeline->cache.descriptor);
        widest = is_timed(s, i) && dim > widest ? dim : widest;
    }
    s->made = malloc(sizeof *s->made * (size_t)widest);
    return s->made && !cache_scratch_new(&s->scratch, 1)
               ? FL_OK
               : error_set(e, FL_NOMEM, "no memory to time look-ups");
}

static void sum_up(struct exit_times *out, const struct stopwatch *s)
{
    int n = s->place->n_exits;

    for (int i = 0; i <= n; i++) {
        out->network_ms += s->segment[i];
        if (i < n)
            out->before[i] = out->network_ms;
    }
    for (int i = 0; i < n && out->network_ms > 0; i++) {
        out->before[i] /= out->network_ms;
        out->lookup[i] = s->lookup[i] / out->network_ms;
    }
}

int exit_times_measure(struct exit_times *out, const struct pipeline *p, const struct graph *g,
                       const struct placement *place, struct cache *const *cache,
                       const struct extracted *data, struct progress *progress, struct error *e)
{
    struct stopwatch s = {.pipeline = p,
                          .graph = g,
                          .place = place,
                          .cache = cache,
                          .data = data,
                          .run = -WARM_UP,
                          .progress = progress};
    int rc;

    *out = (struct exit_times){0};
    tell(&s);
    rc = prepare(&s, e);
    s.began = clock_ns();
    while (s.run < RUNS && !rc && (s.run < 1 || clock_ns() < s.began + MOST_NS)) {
        rc = time_request(&s, e);
        s.run++;
        tell(&s);
    }
    if (!rc)
        sum_up(out, &s);
    cache_scratch_free(s.scratch);
    free(s.made);
    exec_free(s.exec);
    return rc;
}

/* ---- files ---- */

int exit_times_load(struct exit_times *out, const char *path, int n)
{
    json_t *root = json_load_file(path, 0, NULL), *before = json_object_get(root, "before"),
           *lookup = json_object_get(root, "lookup");
    bool ok = json_array_size(before) == (size_t)n && json_array_size(lookup) == (size_t)n;

    *out = (struct exit_times){.network_ms = json_number_value(json_object_get(root, "network_ms"))};
    for (int i = 0; ok && i < n; i++) {
        ok = json_is_number(json_array_get(before, (size_t)i)) &&
             json_is_number(json_array_get(lookup, (size_t)i));
        out->before[i] = json_number_value(json_array_get(before, (size_t)i));
        out->lookup[i] = json_number_value(json_array_get(lookup, (size_t)i));
    }
    json_decref(root);
    return ok ? FL_OK : FL_NOT_FOUND;
}

int exit_times_save(const struct exit_times *t, const char *path, int n, struct error *e)
{
    json_t *before = json_array(), *lookup = json_array(), *root;
    int rc;

    for (int i = 0; i < n; i++) {
        json_array_append_new(before, json_real(t->before[i]));
        json_array_append_new(lookup, json_real(t->lookup[i]));
    }
    root = json_pack("{s:f, s:o, s:o}", "network_ms", t->network_ms, "before", before, "lookup", lookup);
    rc = output_json(root, 17, path, e);
    json_decref(root);
    return rc;
}
