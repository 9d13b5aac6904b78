/* message_decode.c - protobuf frames to message structs, every bound checked
 *
 * What comes in is hostile until proven otherwise: the protobuf decoder works in the thread's scratch of
 * fixed size, and nothing is copied into a message before its count, rank, dtype or length is known to fit.
 * Control characters in texts become spaces, so that a text is one line wherever it is shown.
 */
#include "message.h"

#include <math.h>
#include <string.h>

#include "freezeline.pb-c.h"
#include "codec.h"
#include "message_fields.h"

static void *bump_alloc(void *scratch, size_t size)
{
    return scratch_take(scratch, size);
}

static void bump_free(void *scratch, void *pointer)
{
    (void)scratch;
    (void)pointer;
}

static int count(size_t n, int most, const char *what, int *out, struct error *e)
{
    if (n > (size_t)most)
        return error_set(e, FL_PROTOCOL, "message has %zu %s, at most %d are allowed", n, what, most);
    *out = (int)n;
    return FL_OK;
}

static int get_text(char *to, size_t size, const char *from, const char *what, struct error *e)
{
    size_t n = strlen(from);
    if (n >= size)
        return error_set(e, FL_TOO_LARGE, "%s has %zu bytes, at most %zu are allowed", what, n, size - 1);
    for (size_t i = 0; i <= n; i++)
        to[i] = from[i] && ((unsigned char)from[i] < 0x20 || from[i] == 0x7f) ? ' ' : from[i];
    return FL_OK;
}

static int get_tensor(struct tensor *to, const Freezeline__Tensor *from, struct error *e)
{
    int64_t bytes;
    int rc;
    memset(to, 0, sizeof *to);
    if (!from || from->dtype == TENSOR_NONE)
        return FL_OK;
    if (!tensor_dtype_travels((enum tensor_dtype)from->dtype) && from->dtype != TENSOR_BF16)
        return error_set(e, FL_PROTOCOL, "tensor has element type %u, which cannot be sent", from->dtype);
    if ((rc = count(from->n_dim, TENSOR_MAX_RANK, "dims in a tensor", &to->rank, e)))
        return rc;
    to->dtype = (enum tensor_dtype)from->dtype;
    if (from->n_dim)
        memcpy(to->dim, from->dim, from->n_dim * sizeof *to->dim);
    bytes = tensor_bytes(to);
    if (bytes < 0)
        return error_set(e, FL_PROTOCOL, "tensor has a negative or overflowing shape");
    if (bytes > MESSAGE_MAX_TENSOR_BYTES)
        return error_set(e, FL_TOO_LARGE, "tensor has %lld bytes, at most %lld are allowed", (long long)bytes,
                         (long long)MESSAGE_MAX_TENSOR_BYTES);
    return FL_OK;
}

static int check_place(uint32_t stage, uint32_t replica, struct error *e)
{
    if (stage >= PIPELINE_MAX_STAGES || replica >= PIPELINE_MAX_REPLICAS)
        return error_set(e, FL_PROTOCOL, "message names stage %u replica %u, outside %dx%d", stage, replica,
                         PIPELINE_MAX_STAGES, PIPELINE_MAX_REPLICAS);
    return FL_OK;
}

static int get_stage_time(struct stage_time *to, const Freezeline__StageTime *from, struct error *e)
{
    if (from->batch > MESSAGE_MAX_BATCH)
        return error_set(e, FL_PROTOCOL, "trace has a batch of %u, at most %d are allowed", from->batch,
                         MESSAGE_MAX_BATCH);
    COPY_FIELDS(STAGE_TIME_FIELDS)
    return check_place(to->stage, to->replica, e);
}

/* Stages are passed one after the other, each once. */
static int get_trace(struct trace *to, const Freezeline__Trace *from, struct error *e)
{
    int rc;
    to->n = 0;
    if (!from)
        return FL_OK;
    if ((rc = count(from->n_stage, PIPELINE_MAX_STAGES, "stages in a trace", &to->n, e)))
        return rc;
    for (int i = 0; i < to->n; i++) {
        if ((rc = get_stage_time(&to->stage[i], from->stage[i], e)))
            return rc;
        if (i && to->stage[i].stage <= to->stage[i - 1].stage)
            return error_set(e, FL_PROTOCOL, "trace has stage %u after stage %u", to->stage[i].stage,
                             to->stage[i - 1].stage);
    }
    return FL_OK;
}

static int get_code(uint32_t *to, uint32_t code, struct error *e)
{
    if (code >= FL_CODES)
        return error_set(e, FL_PROTOCOL, "message has error code %u, which this version does not know", code);
    *to = code;
    return FL_OK;
}

static int get_role(uint32_t *to, uint32_t role, struct error *e)
{
    if (role < ROLE_BROKER || role > ROLE_LEARNER)
        return error_set(e, FL_PROTOCOL, "message has role %u, which this version does not know", role);
    *to = role;
    return FL_OK;
}

static int get_exit_index(int32_t *to, int32_t exit, struct error *e)
{
    if (exit < -1 || exit >= PIPELINE_MAX_EXITS)
        return error_set(e, FL_PROTOCOL, "message names exit %d, outside -1..%d", exit,
                         PIPELINE_MAX_EXITS - 1);
    *to = exit;
    return FL_OK;
}

static int get_label(int32_t *to, int32_t label, struct error *e)
{
    if (label < -1 || label > MESSAGE_MAX_LABEL)
        return error_set(e, FL_PROTOCOL, "message has label %d, outside -1..%d", label, MESSAGE_MAX_LABEL);
    *to = label;
    return FL_OK;
}

static int get_confidence(float *to, float confidence, struct error *e)
{
    if (!isfinite(confidence))
        return error_set(e, FL_PROTOCOL, "message has a confidence that is no number");
    *to = confidence;
    return FL_OK;
}

static int get_request(struct request *to, const Freezeline__Request *from, struct error *e)
{
    COPY_FIELDS(REQUEST_FIELDS)
    if (to->priority > REQUEST_PRIORITIES || to->loss_allowed > 1 + SHARE_PPM)
        return error_set(e, FL_PROTOCOL, "a request of priority %u, with a loss of %u millionths",
                         to->priority, to->loss_allowed);
    return get_tensor(&to->input, from->input, e);
}

static int get_answer(struct answer *to, const Freezeline__Answer *from, struct error *e)
{
    int rc;
    COPY_FIELDS(ANSWER_FIELDS)
    if ((rc = get_code(&to->error, from->error, e)) ||
        (rc = get_text(to->text, sizeof to->text, from->text, "text of an answer", e)) ||
        (rc = get_exit_index(&to->exit, from->exit, e)) || (rc = get_label(&to->label, from->label, e)) ||
        (rc = get_confidence(&to->confidence, from->confidence, e)) ||
        (rc = get_text(to->variant, sizeof to->variant, from->variant, "variant of an answer", e)) ||
        (rc = get_tensor(&to->scores, from->scores, e)))
        return rc;
    return get_trace(&to->trace, from->trace, e);
}

static int get_job(struct job *to, const Freezeline__Job *from, struct error *e)
{
    int rc;
    COPY_FIELDS(JOB_FIELDS)
    if ((rc = count(from->route.len, PIPELINE_MAX_STAGES, "stages in a route", &to->n_route, e)))
        return rc;
    for (int i = 0; i < to->n_route; i++) {
        to->route[i] = from->route.data[i];
        if (to->route[i] >= PIPELINE_MAX_REPLICAS)
            return error_set(e, FL_PROTOCOL, "route names replica %u of stage %d, at most %d exist",
                             to->route[i], i, PIPELINE_MAX_REPLICAS);
    }
    if ((rc = count(from->n_rest_us, PIPELINE_MAX_STAGES, "stages' times in a job", &to->n_rest, e)) ||
        (rc = get_trace(&to->trace, from->trace, e)))
        return rc;
    if (to->n_rest)
        memcpy(to->rest_us, from->rest_us, from->n_rest_us * sizeof *to->rest_us);
    return get_tensor(&to->activation, from->activation, e);
}

static int get_lookup_item(struct lookup_item *to, const Freezeline__LookupItem *from, struct error *e)
{
    COPY_FIELDS(LOOKUP_ITEM_FIELDS)
    return get_trace(&to->trace, from->trace, e);
}

static int get_lookup(struct lookup *to, const Freezeline__Lookup *from, struct error *e)
{
    int rc;
    if ((rc = count(from->n_item, MESSAGE_MAX_BATCH, "items in a look-up", &to->n, e)))
        return rc;
    if (from->exit >= PIPELINE_MAX_EXITS)
        return error_set(e, FL_PROTOCOL, "look-up names exit %u, at most %d exist", from->exit,
                         PIPELINE_MAX_EXITS);
    if ((int64_t)from->dim * to->n * 4 > MESSAGE_MAX_TENSOR_BYTES)
        return error_set(e, FL_TOO_LARGE, "look-up has %d descriptors of %u floats, which is over the limit",
                         to->n, from->dim);
    if (from->hits > from->answered)
        return error_set(e, FL_PROTOCOL, "look-up tells of %u hits of %u requests", from->hits,
                         from->answered);
    COPY_FIELDS(LOOKUP_FIELDS)
    for (int i = 0; i < to->n && !rc; i++)
        rc = get_lookup_item(&to->item[i], from->item[i], e);
    return rc;
}

static int get_verdict_item(struct verdict_item *to, const Freezeline__VerdictItem *from, struct error *e)
{
    int rc = get_label(&to->label, from->label, e);
    COPY_FIELDS(VERDICT_ITEM_FIELDS)
    return rc ? rc : get_confidence(&to->confidence, from->confidence, e);
}

static int get_verdict(struct verdict *to, const Freezeline__Verdict *from, struct error *e)
{
    int rc;
    if ((rc = count(from->n_item, MESSAGE_MAX_BATCH, "items in a verdict", &to->n, e)))
        return rc;
    if (from->exit >= PIPELINE_MAX_EXITS)
        return error_set(e, FL_PROTOCOL, "verdict names exit %u, at most %d exist", from->exit,
                         PIPELINE_MAX_EXITS);
    COPY_FIELDS(VERDICT_FIELDS)
    for (int i = 0; i < to->n && !rc; i++)
        rc = get_verdict_item(&to->item[i], from->item[i], e);
    return rc;
}

static int get_result(struct result *to, const Freezeline__Result *from, struct error *e)
{
    int rc;
    COPY_FIELDS(RESULT_FIELDS)
    if ((rc = get_code(&to->error, from->error, e)) ||
        (rc = get_text(to->text, sizeof to->text, from->text, "text of a result", e)) ||
        (rc = get_exit_index(&to->exit, from->exit, e)) || (rc = get_label(&to->label, from->label, e)) ||
        (rc = get_confidence(&to->confidence, from->confidence, e)) ||
        (rc = get_trace(&to->trace, from->trace, e)))
        return rc;
    return get_tensor(&to->scores, from->scores, e);
}

static int get_place(uint32_t role, uint32_t stage, uint32_t replica, struct error *e)
{
    if ((role == ROLE_CACHE || role == ROLE_LEARNER) && replica >= PIPELINE_MAX_CACHES)
        return error_set(e, FL_PROTOCOL, "message names %s %u, at most %d exist",
                         role == ROLE_CACHE ? "cache" : "learner", replica, PIPELINE_MAX_CACHES);
    return role == ROLE_STAGE ? check_place(stage, replica, e) : FL_OK;
}

/* Zero where there is none. */
static int get_digest(uint8_t to[DIGEST_BYTES], ProtobufCBinaryData from, struct error *e)
{
    memset(to, 0, DIGEST_BYTES);
    if (from.len && from.len != DIGEST_BYTES)
        return error_set(e, FL_PROTOCOL, "digest has %zu bytes instead of %d", from.len, DIGEST_BYTES);
    if (from.len)
        memcpy(to, from.data, DIGEST_BYTES);
    return FL_OK;
}

static int get_reaches(uint32_t *to, uint32_t reaches, struct error *e)
{
    if (reaches & ~(REACHES_TOLD | ((1u << PIPELINE_MAX_REPLICAS) - 1)))
        return error_set(e, FL_PROTOCOL, "message names replicas 0x%x of the next stage, at most %d exist",
                         reaches, PIPELINE_MAX_REPLICAS);
    *to = reaches;
    return FL_OK;
}

static bool share(double x)
{
    return x >= 0 && x <= 1;
}

static int get_promise(struct caches_promise *to, const Freezeline__Promise *from, struct error *e)
{
    memset(to, 0, sizeof *to);
    if (!from)
        return FL_OK;
    if (!share(from->max_loss) || !share(from->certainty) || isinf(from->loss) || isinf(from->loss_upper))
        return error_set(e, FL_PROTOCOL, "promise with a loss or certainty that is no share");
    *to = (struct caches_promise){.made = true,
                                  .agreement = from->agreement != 0,
                                  .max_loss = from->max_loss + 0.0, /* no -0 */
                                  .certainty = from->certainty + 0.0,
                                  .planning_points = from->planning_points,
                                  .certifying_points = from->certifying_points,
                                  .loss = from->loss + 0.0,
                                  .loss_upper = from->loss_upper + 0.0};
    if (count(from->n_level_ppm, MESSAGE_MAX_LEVELS, "levels of a promise", &to->n_levels, e))
        return FL_PROTOCOL;
    for (int i = 0; i < to->n_levels; i++) {
        to->level_ppm[i] = from->level_ppm[i];
        if (to->level_ppm[i] > SHARE_PPM || (i && to->level_ppm[i] >= to->level_ppm[i - 1]))
            return error_set(e, FL_PROTOCOL, "promise with a level of %u millionths, in no order",
                             to->level_ppm[i]);
    }
    return FL_OK;
}

static int get_caches(struct caches_told *to, const Freezeline__Caches *from, struct error *e)
{
    static const uint8_t none[DIGEST_BYTES];
    int rc;
    memset(to, 0, sizeof *to);
    if (!from)
        return FL_OK;
    if (from->built > PIPELINE_MAX_EXITS || from->loaded > from->built)
        return error_set(e, FL_PROTOCOL, "%u of %u caches, at most %d can be built", from->loaded,
                         from->built, PIPELINE_MAX_EXITS);
    if ((rc = get_digest(to->build, from->build, e)) || !memcmp(to->build, none, sizeof none))
        return rc; /* without a build there is nothing else */
    to->built = from->built;
    to->loaded = from->loaded;
    return get_promise(&to->promise, from->promise, e);
}

static int get_port(struct port *to, const Freezeline__Port *from, struct error *e)
{
    int rc;
    memset(to, 0, sizeof *to);
    if (!from)
        return FL_OK;
    if ((rc = get_text(to->name, sizeof to->name, from->name, "name of an input or output", e)))
        return rc;
    return get_tensor(&to->tensor, from->tensor, e);
}

static int get_exits(struct exits_told *to, Freezeline__ExitTold *const *from, size_t n, struct error *e)
{
    int rc = count(n, PIPELINE_MAX_EXITS, "exits of a stage", &to->n, e);
    for (int i = 0; !rc && i < to->n; i++) {
        struct exit_told *x = &to->exit[i];
        x->index = from[i]->index;
        x->layers = from[i]->layers;
        if (x->index >= PIPELINE_MAX_EXITS)
            rc = error_set(e, FL_PROTOCOL, "a stage tells of exit %u, the last one is %d", x->index,
                           PIPELINE_MAX_EXITS - 1);
        else
            rc = get_text(x->name, sizeof x->name, from[i]->name, "name of an exit", e);
    }
    return rc;
}

static int get_hello(struct hello *to, const Freezeline__Hello *from, struct error *e)
{
    int rc;
    COPY_FIELDS(HELLO_FIELDS)
    if ((rc = get_reaches(&to->reaches, from->reaches, e)) || (rc = get_digest(to->model, from->model, e)) ||
        (rc = get_digest(to->identity, from->identity, e)) || (rc = get_digest(to->plan, from->plan, e)) ||
        (rc = get_caches(&to->caches, from->caches, e)) || (rc = get_role(&to->role, from->role, e)) ||
        (rc = get_place(to->role, to->stage, to->replica, e)) ||
        (rc = get_port(&to->input, from->input, e)) || (rc = get_port(&to->output, from->output, e)) ||
        (rc = get_exits(&to->exits, from->exit, from->n_exit, e)) ||
        (rc = get_text(to->host, sizeof to->host, from->host, "host", e)) ||
        (rc = get_text(to->endpoint, sizeof to->endpoint, from->endpoint, "endpoint", e)) ||
        (rc = get_text(to->remote, sizeof to->remote, from->remote, "endpoint", e)) ||
        (rc = get_text(to->boot_id, sizeof to->boot_id, from->boot_id, "boot id", e)))
        return rc;
    if (from->asks > PIPELINE_MAX_CACHES)
        return error_set(e, FL_PROTOCOL, "cache service %u, the last one is %d", from->asks - 1,
                         PIPELINE_MAX_CACHES - 1);
    return get_text(to->engine, sizeof to->engine, from->engine, "engine", e);
}

static int get_tally(struct lookup_tally *to, const Freezeline__LookupTally *from, struct error *e)
{
    memset(to, 0, sizeof *to);
    if (!from)
        return FL_OK;
    if (from->hits > from->lookups || from->audit_right > from->audit_hits)
        return error_set(e, FL_PROTOCOL, "more hits than look-ups, or more of them right than there were");
    COPY_FIELDS(TALLY_FIELDS)
    return FL_OK;
}

static int get_learning(struct learning *to, const Freezeline__Learning *from, struct error *e)
{
    int rc;
    memset(to, 0, sizeof *to);
    if (!from || from->state == LEARNING_UNKNOWN)
        return FL_OK;
    COPY_FIELDS(LEARNING_FIELDS)
    if ((rc = get_digest(to->redis_build, from->redis_build, e)) ||
        (rc = get_tally(&to->built, from->built, e)))
        return rc;
    return get_tally(&to->learned, from->learned, e);
}

static int get_epoch(struct epoch_told *to, const Freezeline__EpochTold *from, struct error *e)
{
    int rc;
    memset(to, 0, sizeof *to);
    if (!from)
        return FL_OK;
    COPY_FIELDS(EPOCH_FIELDS)
    if ((rc = count(from->n_threshold, PIPELINE_MAX_EXITS, "exits that are taught", &to->n_exits, e)))
        return rc;
    if (from->n_answered != from->n_threshold || from->n_exit_lost != from->n_threshold)
        return error_set(e, FL_PROTOCOL, "a learner tells of %zu, %zu and %zu exits", from->n_threshold,
                         from->n_answered, from->n_exit_lost);
    if (!to->n_exits)
        return FL_OK;
    memcpy(to->threshold, from->threshold, (size_t)to->n_exits * sizeof *to->threshold);
    memcpy(to->answered, from->answered, (size_t)to->n_exits * sizeof *to->answered);
    memcpy(to->exit_lost, from->exit_lost, (size_t)to->n_exits * sizeof *to->exit_lost);
    return FL_OK;
}

static int get_heartbeat(struct heartbeat *to, const Freezeline__Heartbeat *from, struct error *e)
{
    int rc;
    if (from->audit_ppm > SHARE_PPM)
        return error_set(e, FL_PROTOCOL, "heartbeat asks for %u millionths of the requests as audits",
                         from->audit_ppm);
    COPY_FIELDS(HEARTBEAT_FIELDS)
    if ((rc = get_reaches(&to->reaches, from->reaches, e)) || (rc = get_epoch(&to->told, from->told, e)))
        return rc;
    return get_learning(&to->learning, from->learning, e);
}

static int get_cancel(struct cancel *to, const Freezeline__Cancel *from, struct error *e)
{
    int rc;
    if ((rc = count(from->n_request, MESSAGE_MAX_BATCH, "requests in a cancel", &to->n, e)) ||
        (rc = count(from->n_ask, MESSAGE_MAX_BATCH, "questions in a cancel", &to->n_ask, e)))
        return rc;
    if (to->n)
        memcpy(to->request, from->request, (size_t)to->n * sizeof *to->request);
    if (to->n_ask)
        memcpy(to->ask, from->ask, (size_t)to->n_ask * sizeof *to->ask);
    return FL_OK;
}

static int get_outcome(struct outcome *to, const Freezeline__Outcome *from, struct error *e)
{
    int rc = get_label(&to->label, from->label, e);
    COPY_FIELDS(OUTCOME_FIELDS)
    if (from->scores.len % sizeof to->scores[0])
        return error_set(e, FL_PROTOCOL, "%zu bytes are no scores of 2 bytes each", from->scores.len);
    if (!rc)
        rc = count(from->scores.len / sizeof to->scores[0], MESSAGE_MAX_SCORES, "scores in an outcome",
                   &to->n_scores, e);
    if (!rc && to->n_scores)
        memcpy(to->scores, from->scores.data, from->scores.len);
    return rc ? rc : get_exit_index(&to->hit_exit, from->hit_exit, e);
}

static int get_lease(uint32_t *to, uint32_t ms, const char *what, struct error *e)
{
    if (ms > DRAIN_MAX_LEASE_MS)
        return error_set(e, FL_PROTOCOL, "%s for %u ms, at most %d are allowed: ask again before it is over",
                         what, ms, DRAIN_MAX_LEASE_MS);
    *to = ms;
    return FL_OK;
}

static int get_drain(struct drain *to, const Freezeline__Drain *from, struct error *e)
{
    COPY_FIELDS(DRAIN_FIELDS)
    return get_lease(&to->lease_ms, from->lease_ms, "drain", e);
}

static int get_relay(struct relay *to, const Freezeline__Relay *from, struct error *e)
{
    int rc;
    COPY_FIELDS(RELAY_FIELDS)
    if (from->share_ppm > SHARE_PPM || from->mirror_ppm > SHARE_PPM)
        return error_set(e, FL_PROTOCOL, "a relay of %u and %u millionths of the requests", from->share_ppm,
                         from->mirror_ppm);
    if (from->name[strspn(from->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")])
        return error_set(e, FL_PROTOCOL, "a relay's name is letters, digits, '.', '_' and '-'");
    if (!from->name[0] || !from->endpoint[0])
        return error_set(e, FL_PROTOCOL, "a relay without a name or an endpoint");
    if ((rc = get_text(to->name, sizeof to->name, from->name, "name of a relay", e)))
        return rc;
    return get_text(to->endpoint, sizeof to->endpoint, from->endpoint, "endpoint", e);
}

static int get_relays(struct relays *to, const Freezeline__Relays *from, struct error *e)
{
    int rc = count(from->n_relay, MESSAGE_MAX_RELAYS, "relays", &to->n, e);
    for (int i = 0; !rc && i < to->n; i++) {
        rc = get_relay(&to->relay[i], from->relay[i], e);
        for (int k = 0; !rc && k < i; k++)
            if (!strcmp(to->relay[k].name, to->relay[i].name))
                rc = error_set(e, FL_PROTOCOL, "two relays are named %s", to->relay[i].name);
    }
    if (!rc && !(from->slower >= 0 && from->slower <= RELAY_MOST_SLOWER))
        rc = error_set(e, FL_PROTOCOL, "relays may not be slower by a factor of %g", from->slower);
    to->slower = from->slower;
    return rc ? rc : get_lease(&to->lease_ms, from->lease_ms, "relays", e);
}

static int get_relay_status(struct relay_status *to, const Freezeline__RelayStatus *from, struct error *e)
{
    int rc;
    COPY_FIELDS(RELAY_STATUS_FIELDS)
    if ((rc = get_text(to->name, sizeof to->name, from->name, "name of a relay", e)) ||
        (rc = get_text(to->state, sizeof to->state, from->state, "state", e)))
        return rc;
    return get_text(to->why, sizeof to->why, from->why, "text of a relay", e);
}

static int get_process(struct process_status *to, const Freezeline__ProcessStatus *from, struct error *e)
{
    int rc;
    COPY_FIELDS(PROCESS_FIELDS)
    memset(&to->last, 0, sizeof to->last);
    if (from->last && (rc = get_heartbeat(&to->last, from->last, e)))
        return rc;
    if ((rc = get_digest(to->model, from->model, e)) || (rc = get_digest(to->identity, from->identity, e)) ||
        (rc = get_digest(to->plan, from->plan, e)) || (rc = get_caches(&to->caches, from->caches, e)) ||
        (rc = get_role(&to->role, from->role, e)) || (rc = get_place(to->role, to->stage, to->replica, e)) ||
        (rc = get_port(&to->input, from->input, e)) || (rc = get_port(&to->output, from->output, e)) ||
        (rc = get_exits(&to->exits, from->exit, from->n_exit, e)) ||
        (rc = get_text(to->host, sizeof to->host, from->host, "host", e)) ||
        (rc = get_text(to->state, sizeof to->state, from->state, "state", e)))
        return rc;
    return get_text(to->engine, sizeof to->engine, from->engine, "engine", e);
}

static int get_choice(struct status_reply *to, const Freezeline__Choice *from, struct error *e)
{
    int rc;
    to->n_variants = 0;
    to->loss = to->loss_budget = to->level = 0;
    if (!from)
        return FL_OK;
    if (from->n_name != from->n_share || (from->n_wanted && from->n_wanted != from->n_name))
        return error_set(e, FL_PROTOCOL, "%zu variants have %zu shares", from->n_name, from->n_share);
    if ((rc = count(from->n_name, MESSAGE_MAX_RELAYS, "variants", &to->n_variants, e)))
        return rc;
    for (int i = 0; !rc && i < to->n_variants; i++) {
        rc = get_text(to->variant[i].name, sizeof to->variant[i].name, from->name[i], "variant", e);
        to->variant[i].share = from->share[i];
        to->variant[i].wanted = !from->n_wanted || from->wanted[i];
    }
    to->loss = from->loss;
    to->loss_budget = from->loss_budget;
    to->level = from->level;
    return rc;
}

static int get_status_reply(struct status_reply *to, const Freezeline__StatusReply *from, struct error *e)
{
    int rc;
    COPY_FIELDS(STATUS_FIELDS)
    if ((rc = get_text(to->host, sizeof to->host, from->host, "host", e)) ||
        (rc = get_choice(to, from->choice, e)))
        return rc;
    if ((rc = count(from->n_process, STATUS_MAX_PROCESSES, "processes", &to->n_processes, e)) ||
        (rc = count(from->n_exit, PIPELINE_MAX_EXITS, "exits", &to->n_exits, e)) ||
        (rc = count(from->n_relay, MESSAGE_MAX_RELAYS, "relays", &to->n_relays, e)))
        return rc;
    for (int i = 0; i < to->n_relays; i++)
        if ((rc = get_relay_status(&to->relay[i], from->relay[i], e)))
            return rc;
    for (int i = 0; i < to->n_processes; i++)
        if ((rc = get_process(&to->process[i], from->process[i], e)))
            return rc;
    for (int i = 0; i < to->n_exits; i++)
        to->exit[i].answered = from->exit[i]->answered;
    return FL_OK;
}

static int get_span(struct span *to, const Freezeline__Span *from, struct error *e)
{
    int rc;
    COPY_FIELDS(SPAN_FIELDS)
    if ((rc = get_role(&to->role, from->role, e)) || (rc = get_place(to->role, to->stage, to->replica, e)))
        return rc;
    return get_exit_index(&to->exit, from->exit, e);
}

static int get_spans(struct spans *to, const Freezeline__Spans *from, struct error *e)
{
    int rc = count(from->n_span, MESSAGE_MAX_SPANS, "spans", &to->n, e);
    for (int i = 0; !rc && i < to->n; i++)
        rc = get_span(&to->span[i], from->span[i], e);
    to->lost = from->lost;
    to->left = from->left;
    return rc;
}

/* A label that is none is refused one by one, by the broker. */
static int get_feedback(struct feedback *to, const Freezeline__Feedback *from, struct error *e)
{
    int rc = count(from->n_item, MESSAGE_MAX_FEEDBACK, "labels", &to->n, e);
    for (int i = 0; !rc && i < to->n; i++)
        to->item[i] = (struct feedback_item){from->item[i]->request, from->item[i]->label};
    COPY_FIELDS(FEEDBACK_FIELDS)
    return rc;
}

static int get_times(struct times *to, const Freezeline__Times *from, struct error *e)
{
    int rc = count(from->n_of, TIMES_MAX, "parts of where time goes", &to->n, e);
    for (int i = 0; !rc && i < to->n; i++) {
        const Freezeline__TimesOf *of = from->of[i];
        to->of[i] = (struct times_of){of->part, of->stage, of->sum_ns, {0}};
        if (of->part >= TIMES_PARTS || of->stage >= PIPELINE_MAX_STAGES || of->n_count != TIME_BUCKETS)
            rc = error_set(e, FL_PROTOCOL, "part %u of stage %u has %zu buckets", of->part, of->stage,
                           of->n_count);
        else
            memcpy(to->of[i].count, of->count, sizeof to->of[i].count);
    }
    return rc;
}

static int get_body(struct message *m, const Freezeline__Envelope *from, struct error *e)
{
    switch (m->type) {
    case MESSAGE_REQUEST:
        return get_request(&m->request, from->request, e);
    case MESSAGE_ANSWER:
        return get_answer(&m->answer, from->answer, e);
    case MESSAGE_JOB:
        return get_job(&m->job, from->job, e);
    case MESSAGE_LOOKUP:
        return get_lookup(&m->lookup, from->lookup, e);
    case MESSAGE_VERDICT:
        return get_verdict(&m->verdict, from->verdict, e);
    case MESSAGE_RESULT:
        return get_result(&m->result, from->result, e);
    case MESSAGE_HELLO:
        return get_hello(&m->hello, from->hello, e);
    case MESSAGE_HEARTBEAT:
        return get_heartbeat(&m->heartbeat, from->heartbeat, e);
    case MESSAGE_CANCEL:
        return get_cancel(&m->cancel, from->cancel, e);
    case MESSAGE_OUTCOME:
        return get_outcome(&m->outcome, from->outcome, e);
    case MESSAGE_STATUS_REPLY:
        return get_status_reply(&m->status_reply, from->status_reply, e);
    case MESSAGE_SPANS:
        return get_spans(&m->spans, from->spans, e);
    case MESSAGE_FEEDBACK:
        return get_feedback(&m->feedback, from->feedback, e);
    case MESSAGE_TIMES:
        return get_times(&m->times, from->times, e);
    case MESSAGE_DRAIN:
        return get_drain(&m->drain, from->drain, e);
    case MESSAGE_RELAYS:
        return get_relays(&m->relays, from->relays, e);
    case MESSAGE_STATUS:
        return FL_OK;
    }
    return error_set(e, FL_PROTOCOL, "message has no body that this version knows");
}

int message_decode(struct message *m, const uint8_t *buf, size_t size, struct error *e)
{
    struct scratch *s = scratch_start();
    ProtobufCAllocator allocator = {bump_alloc, bump_free, s};
    Freezeline__Envelope *envelope;

    if (!s)
        return error_set(e, FL_NOMEM, "out of memory while decoding a message");
    if (size > MESSAGE_MAX_ENCODED)
        return error_set(e, FL_TOO_LARGE, "envelope has %zu bytes, at most %d are allowed", size,
                         MESSAGE_MAX_ENCODED);
    envelope = freezeline__envelope__unpack(&allocator, size, buf);
    if (!envelope)
        return error_set(e, FL_PROTOCOL, "envelope of %zu bytes is no valid message", size);
    if (envelope->version != MESSAGE_VERSION)
        return error_set(
            e, FL_PROTOCOL,
            "message speaks protocol version %u, this process speaks %d: run the same release on both sides",
            envelope->version, MESSAGE_VERSION);
    m->type = (enum message_type)((int)envelope->body_case - 1);
    return get_body(m, envelope, e);
}
