/* history.c - events as lines of JSON */
#include "history.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const words[HISTORY_KINDS] = {
#define X(name, word, text) [HISTORY_##name] = word,
    HISTORY_KINDS_LIST(X)
#undef X
};

const char *history_word(enum history_kind kind)
{
    return (unsigned)kind < HISTORY_KINDS ? words[kind] : "unknown";
}

void history_event_now(struct history_event *out, enum history_kind kind)
{
    struct timespec t;
    memset(out, 0, sizeof *out);
    clock_gettime(CLOCK_REALTIME, &t);
    out->at_ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    out->kind = kind;
    out->loss = out->upper = out->early_share = NAN;
}

/* --- writing --- */

/* JSON has no infinity and no NaN: null. */
static json_t *real_json(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *exits_json(const struct history_event *event)
{
    json_t *list = json_array();
    for (int i = 0; list && i < event->n_exits; i++)
        json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "name", event->exit[i].name, "threshold",
                                              real_json((double)event->exit[i].threshold), "share",
                                              real_json(event->exit[i].share)));
    return list;
}

char *history_format(const struct history_event *event)
{
    char build[DIGEST_TEXT_BYTES];
    const struct promise_terms *terms = &event->terms;
    json_t *root = json_pack("{s:I, s:s, s:I, s:s, s:I, s:o, s:o, s:s, s:f, s:f, s:o, s:o, s:s}", "at",
                             (json_int_t)event->at_ms, "what", history_word(event->kind), "serial",
                             (json_int_t)event->serial, "build", digest_text(event->build, build), "points",
                             (json_int_t)event->points, "loss", real_json(event->loss), "upper",
                             real_json(event->upper), "of", terms->agreement ? "agreement" : "accuracy",
                             "budget", terms->budget, "certainty", terms->certainty, "early_share",
                             real_json(event->early_share), "exits", exits_json(event), "why", event->why);
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    return text;
}

/* --- reading --- */

/* Copies a text; what a terminal would obey comes out as '?'. */
static bool take_text(const json_t *o, const char *key, char *out, size_t size)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_string(v) || json_string_length(v) >= size || strlen(json_string_value(v)) >= size)
        return false;
    strcpy(out, json_string_value(v));
    for (char *c = out; *c; c++)
        if (iscntrl((unsigned char)*c))
            *c = '?';
    return true;
}

static bool take_count(const json_t *o, const char *key, uint64_t *out)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

/* A number of [low, high], or null, which reads as `missing`. */
static bool take_real(const json_t *o, const char *key, double low, double high, double missing, double *out)
{
    const json_t *v = json_object_get(o, key);
    *out = json_is_null(v) ? missing : json_number_value(v);
    return json_is_null(v) || (json_is_number(v) && *out >= low && *out <= high);
}

static bool take_digest(const json_t *o, const char *key, uint8_t out[DIGEST_BYTES])
{
    const char *text = json_string_value(json_object_get(o, key));
    if (!text || strlen(text) != 2 * DIGEST_BYTES || strspn(text, "0123456789abcdef") != 2 * DIGEST_BYTES)
        return false;
    for (int i = 0; i < DIGEST_BYTES; i++)
        out[i] = (uint8_t)strtoul((char[]){text[2 * i], text[2 * i + 1], '\0'}, NULL, 16);
    return true;
}

static bool take_kind(const json_t *o, enum history_kind *out)
{
    const char *word = json_string_value(json_object_get(o, "what"));
    for (int i = 0; word && i < HISTORY_KINDS; i++)
        if (!strcmp(word, words[i])) {
            *out = (enum history_kind)i;
            return true;
        }
    return false;
}

static bool take_exits(const json_t *list, struct history_event *out)
{
    if (!json_is_array(list) || json_array_size(list) > PIPELINE_MAX_EXITS)
        return false;
    for (; (size_t)out->n_exits < json_array_size(list); out->n_exits++) {
        const json_t *o = json_array_get(list, (size_t)out->n_exits);
        struct history_exit *x = &out->exit[out->n_exits];
        double threshold;
        if (!take_text(o, "name", x->name, sizeof x->name) ||
            !take_real(o, "threshold", -HUGE_VAL, HUGE_VAL, HUGE_VAL, &threshold) ||
            !take_real(o, "share", 0, 1, NAN, &x->share))
            return false;
        x->threshold = (float)threshold;
    }
    return true;
}

static bool take_event(const json_t *o, struct history_event *out)
{
    const char *of = json_string_value(json_object_get(o, "of"));
    uint64_t points;
    if (!take_count(o, "at", &out->at_ms) || !take_kind(o, &out->kind) ||
        !take_count(o, "serial", &out->serial) || !take_digest(o, "build", out->build) ||
        !take_count(o, "points", &points) || !take_real(o, "loss", -1, 1, NAN, &out->loss) ||
        !take_real(o, "upper", -1, 1, NAN, &out->upper) || !of ||
        !take_real(o, "budget", 0, 1, 0, &out->terms.budget) ||
        !take_real(o, "certainty", 0, 1, 0, &out->terms.certainty) ||
        !take_real(o, "early_share", 0, 1, NAN, &out->early_share) ||
        !take_text(o, "why", out->why, sizeof out->why))
        return false;
    out->points = (int64_t)points;
    out->terms.agreement = !strcmp(of, "agreement");
    return take_exits(json_object_get(o, "exits"), out);
}

int history_parse(struct history_event *out, const char *text, size_t size, struct error *e)
{
    json_error_t why;
    json_t *root = size <= HISTORY_LINE_BYTES ? json_loadb(text, size, JSON_REJECT_DUPLICATES, &why) : NULL;
    bool ok;
    memset(out, 0, sizeof *out);
    ok = take_event(root, out);
    json_decref(root);
    return ok ? FL_OK : error_set(e, FL_CORRUPT, "a line of the history is no event");
}
