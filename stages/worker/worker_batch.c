/* worker_batch.c - jobs become a batch, the batch runs segment by segment
 *
 * Every row index is in exactly one place: free, waiting or in the batch.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "worker_parts.h"

#define POLL_EVERY_NS (200 * NS_PER_US) /* while computing: jobs, cancellations, heartbeats */

void worker_init_rows(struct stage_worker *w)
{
    w->n_free = 3 * w->max_batch;
    for (int i = 0; i < w->n_free; i++) {
        w->free_row[i] = i;
        zmq_msg_init(&w->row[i].payload);
    }
    zmq_msg_init(&w->payload);
}

void worker_release_rows(struct stage_worker *w)
{
    for (int i = 0; i < 3 * w->max_batch; i++)
        zmq_msg_close(&w->row[i].payload);
    zmq_msg_close(&w->payload);
}

static void free_row(struct stage_worker *w, int row)
{
    zmq_msg_close(&w->row[row].payload);
    zmq_msg_init(&w->row[row].payload);
    w->free_row[w->n_free++] = row;
}

static bool passed_all_before(const struct stage_worker *w, const struct job *j)
{
    if (j->trace.n != w->stage)
        return false;
    for (int i = 0; i < j->trace.n; i++)
        if (j->trace.stage[i].stage != (uint32_t)i || j->trace.stage[i].replica != j->route[i])
            return false;
    return true;
}

static int check_job(const struct stage_worker *w, const struct job *j, struct error *e)
{
    char got[128], want[128];
    if (j->n_route != w->pipeline->n_stages || j->route[w->stage] != w->replica)
        return error_set(e, FL_PROTOCOL, "the job's route does not lead here");
    if (j->plan && j->plan != digest_short(w->plan))
        return error_set(e, FL_STALE, "the job was sent by and for stages of another plan");
    if (!passed_all_before(w, j))
        return error_set(e, FL_PROTOCOL, "the job has not passed the stages before stage %d by its route",
                         w->stage);
    if (!w->last_stage && j->route[w->stage + 1] >= w->n_next)
        return error_set(e, FL_PROTOCOL,
                         "the job's route leads to a replica that is not in the pipeline file");
    if (j->activation.dtype != w->expects.dtype)
        return error_set(e, FL_DTYPE, "the input is %s, the model takes %s",
                         tensor_dtype_name(j->activation.dtype), tensor_dtype_name(w->expects.dtype));
    if (!tensor_same_shape(&j->activation, &w->expects))
        return error_set(e, FL_SHAPE, "the input is %s, the model takes %s",
                         tensor_describe(&j->activation, got, sizeof got),
                         tensor_describe(&w->expects, want, sizeof want));
    return FL_OK;
}

static void enqueue(struct stage_worker *w, int row)
{
    w->waiting[(w->first_waiting + w->n_waiting++) % WORKER_MAX_ROWS] = row;
}

static void note_arrival(const struct stage_worker *w, struct row *r, uint64_t taken_ns)
{
    uint64_t read_ns = clock_ns();
    struct arrival a = arrival_of(r->job.sent_ns, worker_broker_time(w, w->jobs_empty_ns),
                                  worker_broker_time(w, taken_ns), worker_broker_time(w, read_ns));
    r->wire_ns = a.wire_ns;
    r->decode_ns = a.decode_ns;
    r->received_ns = read_ns - a.decode_ns - a.queue_ns;
}

/* `taken_ns`: before the socket was asked. */
static void on_job(struct stage_worker *w, uint64_t taken_ns)
{
    int row = w->free_row[--w->n_free];
    struct row *r = &w->row[row];
    struct error e;
    int rc;

    r->job = w->in.job;
    note_arrival(w, r, taken_ns);
    r->state = ROW_RUNS;
    zmq_msg_move(&r->payload, &w->payload);
    w->counts.jobs++;
    if ((rc = check_job(w, &r->job, &e))) {
        worker_send_error(w, r, (enum fl_code)rc, e.text);
        free_row(w, row);
        return;
    }
    enqueue(w, row);
}

/* Always leaves room for the batch in hand, so a batch never lacks a row. */
void worker_receive_jobs(struct stage_worker *w)
{
    struct error e;
    while (w->n_free > 0 && w->n_waiting < 2 * w->max_batch) {
        uint64_t taken_ns = clock_ns();
        int rc = frames_recv(w->jobs, NULL, &w->in, &w->payload, &e);
        if (rc == FL_AGAIN)
            w->jobs_empty_ns = taken_ns;
        if (rc == FL_AGAIN || rc == FL_IO)
            return;
        if (rc == FL_OK && w->in.type == MESSAGE_JOB)
            on_job(w, taken_ns);
        else
            worker_garbage(w, "jobs", rc ? &e : &(struct error){FL_PROTOCOL, "a message that is no job"});
    }
}

static bool is_over(const struct stage_worker *w, const struct row *r, uint64_t broker_now)
{
    return cancel_set_has(&w->cancelled, r->job.request) || r->job.deadline_ns <= broker_now;
}

static bool all_finite(const float *x, int64_t n)
{
    float zero = 0;
    for (int64_t i = 0; i < n; i++)
        zero += x[i] * 0.0f; /* NaN as soon as one element is NaN or infinite */
    return zero == 0;
}

/* Copies a waiting row into the batch, or gets rid of it. */
static void admit_row(struct stage_worker *w, int row, uint64_t broker_now)
{
    struct row *r = &w->row[row];
    size_t bytes = (size_t)tensor_bytes(&w->expects);
    const void *data = zmq_msg_data(&r->payload);

    if (is_over(w, r, broker_now) || job_is_late(&r->job, w->stage, broker_now)) {
        w->counts.dropped++;
        if (!is_over(w, r, broker_now))
            worker_send_error(w, r, FL_DEADLINE,
                              "not computed: what is left to do takes longer than its deadline leaves");
        worker_note(w, r, SPAN_DROPPED, -1, r->received_ns, clock_ns());
    } else if (w->stage == 0 && w->expects.dtype == TENSOR_F32 &&
               !all_finite(data, tensor_count(&w->expects))) {
        worker_send_error(w, r, FL_VALUE, "the input has an element that is NaN or infinite");
    } else {
        memcpy((char *)exec_input_buffer(w->exec, 0) + (size_t)w->n_batch * bytes, data, bytes);
        zmq_msg_close(&r->payload);
        zmq_msg_init(&r->payload);
        w->batch[w->n_batch++] = row;
        return;
    }
    free_row(w, row);
}

bool worker_form_batch(struct stage_worker *w)
{
    uint64_t now = clock_ns(), broker_now = worker_broker_time(w, now);
    bool tell = false;
    while (w->n_waiting && w->n_batch < w->max_batch) {
        int row = w->waiting[w->first_waiting];
        tell = tell || (w->row[row].job.flags & JOB_TELL);
        w->taken = w->row[row].job.request;
        w->first_waiting = (w->first_waiting + 1) % WORKER_MAX_ROWS;
        w->n_waiting--;
        admit_row(w, row, broker_now);
    }
    w->formed = w->n_batch;
    w->formed_ns = w->lap_ns = now;
    w->compute_ns = w->lookup_ns = w->serialise_ns = 0;
    w->hidden_ns = w->hidden_until_ns = 0;
    worker_note_formed(w);
    if (tell && w->stage == 0)
        worker_tell_taken(w);
    return w->n_batch > 0;
}

uint64_t worker_lap(struct stage_worker *w, enum span_kind kind, int exit)
{
    uint64_t now = clock_ns(), before = w->lap_ns;
    uint64_t *part = kind == SPAN_COMPUTE     ? &w->compute_ns
                     : kind == SPAN_SERIALISE ? &w->serialise_ns
                                              : &w->lookup_ns;
    *part += now - before;
    w->lap_ns = now;
    if (w->traced)
        worker_note_batch(w, kind, exit, before, now);
    return now;
}

static int count_running(const struct stage_worker *w)
{
    int n = 0;
    for (int i = 0; i < w->n_batch; i++)
        n += w->row[w->batch[i]].state == ROW_RUNS;
    return n;
}

/* After each node, in the computing thread: verdicts, and now and then all other sockets. Stops a run that
 * nobody needs. */
static int after_node(void *arg, int node)
{
    struct stage_worker *w = arg;
    uint64_t now;
    (void)node;
    if (w->n_pending)
        worker_receive_verdicts(w);
    now = clock_ns();
    if (now - w->polled_ns >= POLL_EVERY_NS) {
        w->polled_ns = now;
        worker_receive_jobs(w);
        worker_poll_control(w, now);
    }
    return w->n_pending && count_running(w) == 0;
}

static void drop_over(struct stage_worker *w)
{
    uint64_t broker_now = worker_broker_time(w, clock_ns());
    for (int i = 0; i < w->n_batch; i++) {
        struct row *r = &w->row[w->batch[i]];
        if (r->state == ROW_RUNS && is_over(w, r, broker_now)) {
            r->state = ROW_DROPPED;
            w->counts.dropped++;
            worker_note(w, r, SPAN_DROPPED, -1, w->formed_ns, clock_ns());
        }
    }
}

/* Rows that are done leave the batch at the cut after `node`. */
static int compact(struct stage_worker *w, int node, struct error *e)
{
    int keep[MESSAGE_MAX_BATCH], n = 0, rc;
    if (count_running(w) == w->n_batch)
        return FL_OK;
    for (int i = 0; i < w->n_batch; i++)
        if (w->row[w->batch[i]].state == ROW_RUNS)
            keep[n++] = i;
    if (n && (rc = exec_compact(w->exec, node, keep, n, e)))
        return rc;
    for (int i = 0, k = 0; i < w->n_batch; i++) {
        if (k < n && keep[k] == i) {
            w->batch[k++] = w->batch[i];
            continue;
        }
        worker_note_left(w, w->batch[i]);
        free_row(w, w->batch[i]);
    }
    w->n_batch = n;
    return FL_OK;
}

static int run_segments(struct stage_worker *w, struct error *e)
{
    for (int i = 0; i < w->n_segments; i++) {
        const struct segment *s = &w->segment[i];
        int rc;
        worker_lap(w, SPAN_SERIALISE, -1); /* copied in, compacted */
        rc = exec_run(w->exec, s->first, s->last, w->n_batch, after_node, w, e);
        worker_lap(w, SPAN_COMPUTE, s->exit);
        if (rc)
            return rc;
        if (s->exit >= 0)
            worker_send_lookup(w, s);
        worker_lap(w, SPAN_ASK, s->exit);
        if (i + 1 == w->n_segments)
            break;
        drop_over(w);
        if ((rc = compact(w, s->last, e)) || !w->n_batch)
            return rc;
    }
    return FL_OK;
}

static void fail_batch(struct stage_worker *w, int code, const char *text)
{
    log_warn("a batch of %d failed: %s", w->n_batch, text);
    for (int i = 0; i < w->n_batch; i++)
        if (w->row[w->batch[i]].state == ROW_RUNS)
            worker_send_error(w, &w->row[w->batch[i]], (enum fl_code)code, text);
}

int worker_run_batch(struct stage_worker *w, struct error *e)
{
    int rc = run_segments(w, e);
    w->counts.batches++;
    if (rc && rc != FL_CANCELLED) {
        fail_batch(w, rc, e->text);
    } else if (!rc && w->n_batch) {
        worker_end_hiding(w);
        worker_await_verdicts(w);
        worker_lap(w, SPAN_HELD, -1);
        drop_over(w);
        worker_send_outputs(w);
    }
    worker_settle_lookups(w);
    for (int i = 0; i < w->n_batch; i++) {
        worker_note_left(w, w->batch[i]);
        free_row(w, w->batch[i]);
    }
    w->n_batch = w->traced = 0;
    return rc == FL_CANCELLED ? FL_OK : rc;
}
