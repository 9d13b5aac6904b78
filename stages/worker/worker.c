/* worker.c - a stage worker's start, loop and end */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/identity.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/slice.h"
#include "stages/place/origin.h"
#include "wire/accept.h"
#include "worker_parts.h"

#define CONNECTIONS 64 /* of brokers and workers, at most */
#define THREADS     4  /* libzmq's two, and some to spare */

/* What the process needs of its host, before anything is opened that would abort, or quietly be another
 * thing, without.
 */
static int check_limits(const struct stage_worker *w, struct error *e)
{
    const struct replica_config *c = w->config;
    int threads = w->stage_config->threads, rc = c->n_cpus ? limits_pin(c->cpu, c->n_cpus, e) : FL_OK;
    struct stat model;

    if (rc || (rc = accept_bound(limits_files(), CONNECTIONS, NULL, e)) || (rc = limits_check_space(e)) ||
        (rc = limits_check_threads(threads + THREADS, e)))
        return rc;
    if (threads > limits_cpus())
        log_warn("%d threads are asked for and may run on %d cpus: they take turns (stages.%d.threads)",
                 threads, limits_cpus(), w->stage);
    return stat(w->pipeline->model, &model) ? FL_OK
                                            : limits_check_memory(model.st_size, w->pipeline->model, e);
}

/* Cuts the stage's nodes at its exits. */
static void make_segments(struct stage_worker *w, const struct graph *g, const struct placement *pl)
{
    int first = pl->stage[w->stage].first, last = pl->stage[w->stage].last;
    bool caches = w->pipeline->cache.n_endpoints > 0 && strcmp(w->pipeline->cache.kind, "none") != 0;
    for (int i = 0; caches && i < pl->n_exits; i++) {
        const struct placed_exit *x = &pl->exit[i];
        struct origin origin;
        if (x->stage != w->stage || !placed_has_cache(x))
            continue;
        origin_of(&origin, g, x, w->pipeline);
        w->segment[w->n_segments++] = (struct segment){first, x->cut.node, i, origin.digest};
        first = x->cut.node + 1;
    }
    if (first <= last)
        w->segment[w->n_segments++] = (struct segment){first, last, -1, 0};
}

static int check_model(struct stage_worker *w, const struct graph *g, struct error *e)
{
    struct tensor out;
    if (exec_n_inputs(w->exec) != 1)
        return error_set(e, FL_UNSUPPORTED, "%s has %d inputs: a pipeline serves models with one", g->path,
                         exec_n_inputs(w->exec));
    w->expects = exec_input_shape(w->exec, 0, 1);
    w->expects.data = NULL;
    out = exec_output_shape(w->exec, 0, 1);
    if (w->expects.rank < 1 || w->expects.dim[0] != 1 || out.rank < 1 || out.dim[0] != 1)
        return error_set(e, FL_UNSUPPORTED, "%s: the first dim of its input and output must be the batch",
                         g->path);
    if (w->last_stage && out.dtype != TENSOR_F32)
        return error_set(e, FL_UNSUPPORTED, "%s: its output is %s, scores must be float32", g->path,
                         tensor_dtype_name(out.dtype));
    return FL_OK;
}

/* The largest descriptor of this stage's exits, for max_batch rows. */
static int size_descriptors(struct stage_worker *w, const struct graph *g, const struct placement *pl,
                            struct error *e)
{
    size_t largest = 0;
    for (int i = 0; i < pl->n_exits; i++) {
        struct tensor cut = origin_activation(g, &pl->exit[i]);
        int dim;
        if (pl->exit[i].stage != w->stage)
            continue;
        dim = descriptor_dim(&cut, &w->pipeline->cache.descriptor);
        largest = dim > 0 && (size_t)dim > largest ? (size_t)dim : largest;
    }
    w->descriptors = calloc(largest * (size_t)w->max_batch + 1, sizeof *w->descriptors);
    return w->descriptors ? FL_OK : error_set(e, FL_NOMEM, "out of memory for descriptors");
}

static void introduce(struct stage_worker *w, const struct graph *g, const struct placement *pl)
{
    struct identity identity;
    identity_of(&identity, g->digest, w->pipeline);
    memcpy(w->model, g->digest, sizeof w->model);
    memcpy(w->identity, identity.digest, sizeof w->identity);
    plan_digest(w->plan, g, pl, w->pipeline);
}

static int load(struct stage_worker *w, struct error *e)
{
    const struct pipeline *p = w->pipeline;
    struct exec_options o = {.threads = w->stage_config->threads};
    struct placement *pl = calloc(1, sizeof *pl);
    struct graph *g = NULL;
    int rc;

    if (!pl)
        return error_set(e, FL_NOMEM, "out of memory");
    if ((rc = placement_load(&g, p, e)) || (rc = placement_resolve(pl, g, p, e)))
        goto out;
    if ((rc = engine_parse_kernels(p->kernels, &o.kernels, e)))
        goto out;
    if (!g->free_batch)
        w->max_batch = 1;
    o.max_batch = w->max_batch;
    o.first = pl->stage[w->stage].first;
    o.last = pl->stage[w->stage].last;
    make_segments(w, g, pl);
    introduce(w, g, pl);
    if ((rc = exec_new(&w->exec, g, &o, e)) || (rc = check_model(w, g, e)) ||
        (rc = size_descriptors(w, g, pl, e)))
        goto out;
    snprintf(w->engine, sizeof w->engine, "BLAS core %s, convolution %s, %d thread%s", engine_blas_core(),
             engine_conv(), w->stage_config->threads, w->stage_config->threads == 1 ? "" : "s");
out:
    graph_free(g);
    free(pl);
    return rc;
}

#define MESSAGE_HEAP_BYTES (8 << 20)
#define LEAVING_TICK_NS    (20 * NS_PER_MS)

static int warm_up(struct stage_worker *w, struct error *e)
{
    memset(exec_input_buffer(w->exec, 0), 0, (size_t)tensor_bytes(&w->expects));
    for (int i = 0; i < w->n_segments; i++) {
        int rc = exec_run(w->exec, w->segment[i].first, w->segment[i].last, 1, NULL, NULL, e);
        if (rc)
            return rc;
    }
    malloc_trim(0); /* the graph's constants are packed now and their file form is gone */
    /* From here on memory is taken for messages alone. Kept rather than given back, it costs no page faults.
     */
    mallopt(M_MMAP_THRESHOLD, MESSAGE_HEAP_BYTES);
    mallopt(M_TRIM_THRESHOLD, MESSAGE_HEAP_BYTES);
    return FL_OK;
}

static void log_ready(const struct stage_worker *w)
{
    log_info("ready: stage %d replica %d on %s, batches up to %d, %s, weights %.1f MB, arena %.1f MB",
             w->stage, w->replica, w->config->endpoint, w->max_batch, w->engine,
             (double)exec_weight_bytes(w->exec) / 1e6, (double)exec_arena_bytes(w->exec) / 1e6);
}

/* The threads that move messages start here; the one that computes has the usual turns. */
static int open_links(struct stage_worker *w, uint64_t after, struct error *e)
{
    int rc;
    slice_short(true);
    rc = worker_open_links(w, after, e);
    slice_short(false);
    return rc;
}

int stage_worker_new(struct stage_worker **out, const struct pipeline *p, int stage, int replica, pid_t after,
                     struct error *e)
{
    struct stage_worker *w;
    int rc;

    if (stage < 0 || stage >= p->n_stages)
        return error_set(e, FL_USAGE, "--stage %d: %s has stages 0 to %d", stage, p->path, p->n_stages - 1);
    if (replica < 0 || replica >= p->stage[stage].n_replicas)
        return error_set(e, FL_USAGE, "--replica %d: stage %d has replicas 0 to %d", replica, stage,
                         p->stage[stage].n_replicas - 1);
    if (!(w = calloc(1, sizeof *w)))
        return error_set(e, FL_NOMEM, "out of memory");
    w->pipeline = p;
    w->stage = stage;
    w->replica = replica;
    w->stage_config = &p->stage[stage];
    w->config = &p->stage[stage].replica[replica];
    w->last_stage = stage == p->n_stages - 1;
    w->max_batch =
        w->stage_config->max_batch < MESSAGE_MAX_BATCH ? w->stage_config->max_batch : MESSAGE_MAX_BATCH;
    worker_init_rows(w);
    if (span_log_new(&w->spans, WORKER_SPANS, ROLE_STAGE, (uint32_t)stage, (uint32_t)replica)) {
        stage_worker_free(w);
        return error_set(e, FL_NOMEM, "out of memory");
    }
    if ((rc = check_limits(w, e)) || (rc = load(w, e)) || (rc = warm_up(w, e)) ||
        (rc = open_links(w, after, e))) {
        stage_worker_free(w);
        return rc;
    }
    worker_say_hello(w, w->ready);
    if (w->ready)
        log_ready(w);
    else
        log_info("loaded: waits for pid %d to end, then takes its place", (int)after);
    *out = w;
    return FL_OK;
}

void stage_worker_free(struct stage_worker *w)
{
    if (!w)
        return;
    worker_release_rows(w);
    worker_close_links(w);
    exec_free(w->exec);
    free(w->descriptors);
    span_log_free(&w->spans);
    free(w);
}

/* Until a message or a link comes, or a heartbeat is due: an idle worker does not wake for anything else. */
static void wait_for_messages(struct stage_worker *w, uint64_t now)
{
    uint64_t next = worker_next_heartbeat(w), ns = next > now ? next - now : 0;
    zmq_pollitem_t items[3 + PIPELINE_MAX_REPLICAS] = {{.socket = w->jobs, .events = ZMQ_POLLIN},
                                                       {.socket = w->control, .events = ZMQ_POLLIN}};
    int n = 2, links;
    if (!w->hello_ns)
        items[1].events |= ZMQ_POLLOUT;
    if (w->cache)
        items[n++] = (zmq_pollitem_t){.socket = w->cache, .events = ZMQ_POLLIN};
    links = n;
    for (int i = 0; i < w->n_next; i++)
        if (!(w->reaches >> i & 1))
            items[n++] = (zmq_pollitem_t){.socket = w->next[i], .events = ZMQ_POLLOUT};
    if (w->leaving && ns > LEAVING_TICK_NS)
        ns = LEAVING_TICK_NS;
    zmq_poll(items, n, (long)(((ns < NS_PER_S ? ns : NS_PER_S) + NS_PER_MS - 1) / NS_PER_MS));
    w->jobs_empty_ns = clock_ns(); /* until now: the poll returns when one comes */
    for (int i = links; i < n; i++)
        if (items[i].revents)
            w->reached_ns = 0; /* one is there now: look */
}

/* Asked to end: at once when it is asked again, or when there is no broker to say that nothing is left to do.
 */
static bool may_go(struct stage_worker *w, int asked, uint64_t now)
{
    if (!asked)
        return false;
    if (asked > 1 || (!w->n_waiting && !worker_hears_broker(w, now)))
        return true;
    if (!w->leaving)
        worker_leave(w);
    return now >= w->leave_by_ns;
}

static int take_place(struct stage_worker *w, struct error *e)
{
    int rc = worker_bind(w, e);
    if (rc)
        return rc;
    w->ready = true;
    worker_say_hello(w, true);
    log_ready(w);
    return FL_OK;
}

/* Loaded, known to the broker, not bound yet. */
static int await_place(struct stage_worker *w, const volatile int *stop, struct error *e)
{
    zmq_pollitem_t items[] = {{.fd = w->after_fd, .events = ZMQ_POLLIN},
                              {.socket = w->control, .events = ZMQ_POLLIN}};
    while (!w->ready && !w->sent_away && !*stop) {
        uint64_t now = clock_ns(), next = worker_next_heartbeat(w);
        items[1].events = (short)(w->hello_ns ? ZMQ_POLLIN : ZMQ_POLLIN | ZMQ_POLLOUT);
        zmq_poll(items, 2,
                 next > now ? (long)((next - now < NS_PER_S ? next - now : NS_PER_S) / NS_PER_MS) + 1 : 0);
        worker_poll_control(w, clock_ns());
        if (items[0].revents)
            return take_place(w, e);
    }
    if (!w->ready && *stop) { /* not needed any more */
        w->leaving = true;
        worker_say_hello(w, false);
    }
    return FL_OK;
}

int stage_worker_run(struct stage_worker *w, const volatile int *stop, struct error *e)
{
    int rc = w->ready ? FL_OK : await_place(w, stop, e);
    if (rc || (!w->ready && !w->sent_away))
        return rc;
    while (!w->sent_away && !may_go(w, *stop, clock_ns())) {
        uint64_t now = clock_ns();
        struct error batch;
        worker_receive_jobs(w);
        worker_poll_control(w, now);
        if (w->cache)
            worker_receive_verdicts(w);
        if (worker_form_batch(w))
            worker_run_batch(w, &batch); /* a failure is told to the broker, request by request */
        else if (!w->n_waiting)
            wait_for_messages(w, now);
    }
    if (!w->sent_away || w->leaving)
        return FL_OK;
    if (w->waits)
        return error_set(e, FL_STALE,
                         "the pipeline has moved on to another plan than this worker has: it ends");
    return error_set(e, FL_STALE,
                     "the broker sent this worker away: another process holds stage %d replica %d, or the "
                     "pipeline file has no such place",
                     w->stage, w->replica);
}
