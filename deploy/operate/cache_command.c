/* cache_command.c - `freezeline cache`: what happened to the caches; stop learning, let it go on, go back */
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache_service/store/store_history.h"
#include "deploy/process/running.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/report.h"
#include "deploy/observe/history_report.h"

#define ROLLBACK_TRIES 8 /* the learner may have committed meanwhile */

static const struct usage usage = {
    .command = "cache",
    .operands = "history | freeze | thaw | rollback [EPOCH]",
    .summary = "Shows what happened to the caches that learn, stops learning, lets it go on, or goes back to "
               "an epoch that served.",
    .notes =
        "history   what changed, when, on how many audits, what these lost, who answered\n"
        "freeze    the learner changes nothing any more; what serves goes on serving\n"
        "thaw      learning goes on\n"
        "rollback  an epoch that is kept (the last 8) serves again, everywhere, and learning is frozen;\n"
        "          without a number: the one before the epoch that serves\n\n"
        "All of it is in Redis (`redis.endpoint`); the pipeline need not run.\n\n"
        "examples:\n"
        "  freezeline cache history -c P.yaml\n"
        "  freezeline cache rollback 12 -c P.yaml\n",
    .min_operands = 1,
    .max_operands = 2,
};

struct cache_command {
    struct pipeline_arguments where;
    struct argument_list operands;
    bool json;
    int count;
    struct pipeline *pipeline;
    struct redis_link *link;
    struct store *store;
    struct store_frozen frozen;
    struct history_event *event;
    int n, strange; /* events; lines that are none */
    uint64_t kept[STORE_KEPT];
    int n_kept;
    char by[STORE_WHO_BYTES];
};

static void name_myself(char by[STORE_WHO_BYTES])
{
    const struct passwd *user = getpwuid(getuid());
    char host[64] = "?";
    gethostname(host, sizeof host - 1);
    snprintf(by, STORE_WHO_BYTES, "%.24s on %s", user ? user->pw_name : "?", host);
}

/* ---- history ---- */

static int print_history_json(const struct cache_command *c, struct error *e)
{
    json_t *events = json_array(), *kept = json_array(), *frozen = json_null();
    uint64_t serial;
    bool known = history_serving(c->event, c->n, &serial);
    for (int i = 0; i < c->n && i < c->count; i++)
        json_array_append_new(events, history_json(&c->event[i]));
    for (int i = 0; i < c->n_kept; i++)
        json_array_append_new(kept, json_integer((json_int_t)c->kept[i]));
    if (c->frozen.frozen)
        frozen = json_pack("{s:I, s:s}", "at", (json_int_t)c->frozen.at_ms, "by", c->frozen.by);
    return report_print(json_pack("{s:s, s:o, s:o, s:o, s:o, s:i}", "name", c->pipeline->name, "epoch",
                                  known ? json_integer((json_int_t)serial) : json_null(), "frozen", frozen,
                                  "kept", kept, "events", events, "unreadable", c->strange),
                        e);
}

static void print_state(const struct cache_command *c)
{
    char text[HISTORY_TIME_BYTES];
    uint64_t serial;
    printf("%s: ", c->pipeline->name);
    if (history_serving(c->event, c->n, &serial))
        printf("epoch %" PRIu64 " serves", serial);
    else
        printf("nothing happened to the caches yet");
    if (c->frozen.frozen)
        printf("; learning is frozen since %s by %s", history_time(c->frozen.at_ms, text), c->frozen.by);
    printf("\n");
    if (c->n_kept)
        printf("kept, to go back to:");
    for (int i = 0; i < c->n_kept; i++)
        printf("%s %" PRIu64, i ? "," : "", c->kept[i]);
    printf("%s", c->n_kept ? "\n" : "");
}

static int history(struct cache_command *c, struct error *e)
{
    int rc;
    if (c->json)
        return print_history_json(c, e);
    print_state(c);
    if (c->strange)
        printf("%d lines of the history are of another version, or nobody knows whose\n", c->strange);
    if (!c->n)
        return FL_OK;
    printf("\n");
    rc = history_table(c->event, c->n < c->count ? c->n : c->count, e);
    if (c->n > c->count)
        printf("(%d older ones: --count %d)\n", c->n - c->count, c->n);
    return rc;
}

/* ---- what changes something ---- */

/* The event is for people: that it could not be written undoes nothing. */
static void record(struct cache_command *c, struct history_event *event)
{
    struct error why = {0};
    if (store_history_add(c->store, event, &why))
        fprintf(stderr, "warning: this is not in the history: %s\n", why.text);
}

static int print_done(const struct cache_command *c, const char *what, uint64_t serial, bool frozen,
                      const char *sentence, struct error *e)
{
    if (c->json)
        return report_print(json_pack("{s:s, s:o, s:b}", "done", what, "epoch",
                                      serial != UINT64_MAX ? json_integer((json_int_t)serial) : json_null(),
                                      "frozen", frozen),
                            e);
    printf("%s: %s\n", c->pipeline->name, sentence);
    return FL_OK;
}

/* What learns, and could be stopped? */
static int check_learns(const struct pipeline *p, struct error *e)
{
    if (p->cache.rule != THRESHOLD_RISK)
        return error_set(e, FL_CONFIG,
                         "%s: cache.threshold is not risk: these caches learn in the cache services, without "
                         "a promise, as long as updates.sample is above 0",
                         p->path);
    if (!p->updates.learn)
        return error_set(e, FL_CONFIG, "%s: updates.learn is false: nothing learns, nothing can be frozen",
                         p->path);
    return FL_OK;
}

static int freeze(struct cache_command *c, struct error *e)
{
    struct history_event event;
    char when[HISTORY_TIME_BYTES];
    int rc = check_learns(c->pipeline, e);
    if (rc)
        return rc;
    if ((rc = store_freeze(c->store, c->by, e)) == FL_STALE)
        return error_set(e, FL_STALE, "learning is frozen already, since %s by %s",
                         history_time(c->frozen.at_ms, when), c->frozen.by);
    if (rc)
        return rc;
    history_event_now(&event, HISTORY_FROZEN);
    snprintf(event.why, sizeof event.why, "by %s", c->by);
    history_serving(c->event, c->n, &event.serial);
    record(c, &event);
    return print_done(c, "frozen", UINT64_MAX, true,
                      "learning is frozen; what serves goes on serving, until `freezeline cache thaw`", e);
}

static int thaw(struct cache_command *c, struct error *e)
{
    struct history_event event;
    int rc = store_thaw(c->store, e);
    if (rc)
        return rc;
    history_event_now(&event, HISTORY_THAWED);
    snprintf(event.why, sizeof event.why, "by %s", c->by);
    history_serving(c->event, c->n, &event.serial);
    record(c, &event);
    return print_done(c, "thawed", UINT64_MAX, false, "learning goes on", e);
}

/* "12, 11, 10" */
static char *kept_text(const struct cache_command *c, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (int i = 0; i < c->n_kept && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%" PRIu64, i ? ", " : "", c->kept[i]);
    return text;
}

static int choose(const struct cache_command *c, uint64_t *serial, struct error *e)
{
    char text[STORE_KEPT * 24], *end;
    uint64_t serves;
    if (!c->n_kept)
        return error_set(e, FL_NOT_FOUND,
                         "no epoch is kept: the learner keeps what it publishes, and has published nothing");
    if (c->operands.n == 2) {
        *serial = strtoull(c->operands.item[1], &end, 10);
        if (*end || c->operands.item[1][0] < '0' || c->operands.item[1][0] > '9')
            return error_set(e, FL_USAGE, "rollback: \"%.40s\" is no epoch; kept are %s", c->operands.item[1],
                             kept_text(c, text, sizeof text));
        for (int i = 0; i < c->n_kept; i++)
            if (c->kept[i] == *serial)
                return FL_OK;
        return error_set(e, FL_NOT_FOUND, "epoch %" PRIu64 " is not kept; those that are: %s", *serial,
                         kept_text(c, text, sizeof text));
    }
    if (!history_serving(c->event, c->n, &serves))
        return error_set(e, FL_NOT_FOUND,
                         "the history does not tell which epoch serves: say which is to serve, of %s",
                         kept_text(c, text, sizeof text));
    for (int i = 0; i < c->n_kept; i++) /* the largest first */
        if (c->kept[i] < serves) {
            *serial = c->kept[i];
            return FL_OK;
        }
    return error_set(e, FL_NOT_FOUND, "no epoch before epoch %" PRIu64 ", which serves, is kept: %s", serves,
                     kept_text(c, text, sizeof text));
}

/* With the numbers of the time when it was certified, where the history still has them. */
static void record_rollback(struct cache_command *c, uint64_t serial)
{
    struct history_event event;
    uint64_t now;
    history_event_now(&event, HISTORY_ROLLBACK);
    now = event.at_ms;
    for (int i = 0; i < c->n; i++)
        if (c->event[i].serial == serial && history_serves(c->event[i].kind)) {
            event = c->event[i];
            break;
        }
    event.kind = HISTORY_ROLLBACK;
    event.at_ms = now;
    event.serial = serial;
    snprintf(event.why, sizeof event.why, "by %s, learning is frozen", c->by);
    record(c, &event);
}

/* Learning stops first, so that the learner replaces nothing that is put there. */
static int rollback(struct cache_command *c, struct error *e)
{
    struct head head;
    uint64_t serial = 0;
    char sentence[200];
    bool froze;
    int rc = choose(c, &serial, e);
    if (rc)
        return rc;
    rc = store_freeze(c->store, c->by, e);
    if (rc && rc != FL_STALE)
        return rc;
    froze = !rc;
    for (int i = 0; i < ROLLBACK_TRIES; i++)
        if ((rc = store_rollback(c->store, serial, &head, e)) != FL_STALE)
            break;
    if (rc) {
        if (froze)
            store_thaw(c->store, NULL);
        return rc;
    }
    record_rollback(c, serial);
    snprintf(sentence, sizeof sentence,
             "epoch %" PRIu64 " serves again, on all hosts within a second or two; learning is frozen, until "
             "`freezeline cache thaw`",
             serial);
    return print_done(c, "rollback", serial, true, sentence, e);
}

/* ---- the command ---- */

static int connect_redis(struct cache_command *c, struct error *e)
{
    const struct pipeline *p = c->pipeline;
    int rc;
    if (!p->redis.endpoint)
        return error_set(e, FL_CONFIG,
                         "%s names no Redis, where what caches learn is kept: write `redis: {managed: "
                         "true}`, or `redis.endpoint`",
                         p->path);
    if ((rc = redis_link_new(&c->link, &p->redis, &p->security, e)))
        return rc;
    if ((rc = redis_link_open(c->link, e)))
        return error_wrap(e, (enum fl_code)rc, "Redis at %s does not answer%s", p->redis.endpoint,
                          p->redis.managed ? " (`freezeline up` starts it)" : "");
    return store_new(&c->store, c->link, p->name, "operator", e);
}

static const struct action {
    const char *word;
    int (*act)(struct cache_command *c, struct error *e);
} actions[] = {{"history", history}, {"freeze", freeze}, {"thaw", thaw}, {"rollback", rollback}};

static const struct action *action_of(const struct argument_list *operands, struct error *e)
{
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (!strcmp(operands->item[0], actions[i].word)) {
            if (operands->n == 1 || actions[i].act == rollback)
                return &actions[i];
            error_set(e, FL_USAGE, "%s takes no \"%.40s\"", actions[i].word, operands->item[1]);
            return NULL;
        }
    error_set(e, FL_USAGE, "\"%.40s\" is none of history, freeze, thaw, rollback", operands->item[0]);
    return NULL;
}

static int run(struct cache_command *c, struct error *e)
{
    const struct action *action = action_of(&c->operands, e);
    int rc;
    if (!action)
        return FL_USAGE;
    name_myself(c->by);
    if ((rc = running_load(&c->pipeline, &c->where, e)) || (rc = connect_redis(c, e)) ||
        (rc = store_frozen(c->store, &c->frozen, e)) ||
        (rc = store_kept_list(c->store, c->kept, &c->n_kept, e)) ||
        (rc = store_history_read(c->store, STORE_HISTORY_MOST, &c->event, &c->n, &c->strange, e)))
        return rc;
    return action->act(c, e);
}

int command_cache(int argc, char **argv, struct error *e)
{
    struct cache_command c = {.count = 20};
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(c.where),
        OPTION_INT("count", c.count, "N", "of history: the newest N events (20)", 1, STORE_HISTORY_MOST),
        ARGUMENTS_JSON(c.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &c.operands, e);

    if (!rc)
        rc = run(&c, e);
    store_free(c.store);
    redis_link_free(c.link);
    free(c.event);
    pipeline_free(c.pipeline);
    return rc;
}
