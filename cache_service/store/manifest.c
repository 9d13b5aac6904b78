/* manifest.c - reading and writing of manifest.json */
#include "manifest.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/whole_file.h"

#define MANIFEST_VERSION 3
#define AHEAD_MS         60000
#define MOST_CLASSES     (1 << 24)
#define MOST_SHARE       1e6

static bool safe_name(const char *s)
{
    if (!*s || *s == '.')
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("-_.", *s))
            return false;
    return true;
}

/* Copies the string member `key` of `o` to `out`; an absent one gives "". */
static bool take_text(const json_t *o, const char *key, char *out, size_t size)
{
    const json_t *v = json_object_get(o, key);
    out[0] = '\0';
    if (!v)
        return true;
    if (!json_is_string(v) || json_string_length(v) >= size)
        return false;
    memcpy(out, json_string_value(v), json_string_length(v) + 1);
    return strlen(out) == json_string_length(v);
}

static bool take_number(const json_t *o, const char *key, uint64_t *out)
{
    const json_t *v = json_object_get(o, key);
    *out = 0;
    if (!v)
        return true;
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

/* The same, at most `most`. */
static bool take_small(const json_t *o, const char *key, int *out, int most)
{
    uint64_t number;
    bool ok = take_number(o, key, &number) && number <= (uint64_t)most;
    *out = ok ? (int)number : 0;
    return ok;
}

/* An absent one gives false. */
static bool take_flag(const json_t *o, const char *key, bool *out)
{
    const json_t *v = json_object_get(o, key);
    *out = json_is_true(v);
    return !v || json_is_boolean(v);
}

/* NaN, which JSON cannot say, is null. */
static bool take_real(const json_t *o, const char *key, double *out)
{
    const json_t *v = json_object_get(o, key);
    *out = json_is_null(v) ? NAN : json_number_value(v);
    return json_is_number(v) || json_is_null(v);
}

/* A share of the network's time, which small networks and slow look-ups exceed; an absent one gives 0. */
static bool take_share(const json_t *o, const char *key, double *out)
{
    *out = 0;
    return !json_object_get(o, key) || (take_real(o, key, out) && *out >= 0 && *out <= MOST_SHARE);
}

static bool read_digest(const json_t *v, uint8_t out[DIGEST_BYTES])
{
    if (!json_is_string(v) || json_string_length(v) != 32)
        return false;
    for (int i = 0; i < 16; i++) {
        char pair[3] = {json_string_value(v)[2 * i], json_string_value(v)[2 * i + 1], '\0'};
        if (!isxdigit((unsigned char)pair[0]) || !isxdigit((unsigned char)pair[1]))
            return false;
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

static bool take_digest(const json_t *o, const char *key, uint8_t out[DIGEST_BYTES])
{
    return read_digest(json_object_get(o, key), out);
}

static bool take_replaces(struct manifest *m, const json_t *list)
{
    if (!list)
        return true;
    if (!json_is_array(list) || json_array_size(list) > MANIFEST_REPLACES)
        return false;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!read_digest(json_array_get(list, i), m->replaces[m->n_replaces++]))
            return false;
    return true;
}

static json_t *replaces_json(const struct manifest *m)
{
    char text[DIGEST_TEXT_BYTES];
    json_t *list = json_array();
    for (int i = 0; list && i < m->n_replaces; i++)
        json_array_append_new(list, json_string(digest_text(m->replaces[i], text)));
    return list;
}

/* 16 hexadecimal digits; JSON's own numbers are too narrow. An absent one gives 0. */
static bool take_hash(const json_t *o, const char *key, uint64_t *out)
{
    const json_t *v = json_object_get(o, key);
    const char *text = json_string_value(v);
    *out = 0;
    if (!v)
        return true;
    if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return false;
    *out = strtoull(text, NULL, 16);
    return true;
}

static json_t *hash_json(uint64_t hash)
{
    return json_sprintf("%016" PRIx64, hash);
}

/* An id as Redis writes it: DIGITS-DIGITS, each within 64 bits. */
static bool valid_id(const char *s)
{
    size_t a = strspn(s, "0123456789");
    size_t b = s[a] == '-' ? strspn(s + a + 1, "0123456789") : 0;
    return !*s || (a >= 1 && a <= 20 && b >= 1 && b <= 20 && !s[a + 1 + b]);
}

/* What an older build does not say is 0. */
static bool take_teaching(struct manifest_exit *x, const json_t *o)
{
    uint64_t work;
    bool ok = take_number(o, "most_work", &work) && take_flag(o, "by_half", &x->by_half);
    x->most_work = (int64_t)work;
    return ok && take_small(o, "dim", &x->dim, MANIFEST_MAX_DIM) &&
           take_small(o, "map_side", &x->map_side, MANIFEST_MAX_DIM) && take_share(o, "before", &x->before) &&
           take_share(o, "lookup", &x->lookup);
}

static int parse_exit(struct manifest *m, const json_t *o, const char *name, struct error *e)
{
    struct manifest_exit *x = &m->exit[m->n_exits];
    if (!json_is_object(o) || !take_text(o, "name", x->name, sizeof x->name) || !safe_name(x->name) ||
        !take_text(o, "kind", x->kind, sizeof x->kind) || !take_text(o, "file", x->file, sizeof x->file) ||
        (x->file[0] && !safe_name(x->file)) || !take_number(o, "budget_bytes", &x->budget_bytes) ||
        !take_hash(o, "digest", &x->digest) || !take_text(o, "after", x->after, sizeof x->after) ||
        !take_text(o, "layout", x->layout, sizeof x->layout) || !take_hash(o, "origin", &x->origin))
        return error_set(e, FL_CORRUPT,
                         "%s: exits[%d] needs \"name\", \"kind\", \"file\" (plain names), \"digest\", "
                         "\"after\", \"layout\", \"origin\": build again",
                         name, m->n_exits);
    if (!take_teaching(x, o))
        return error_set(
            e, FL_CORRUPT,
            "%s: \"dim\", \"map_side\", \"most_work\", \"before\", \"lookup\" or \"by_half\" of exit "
            "%s is wrong: build again",
            name, x->name);
    for (int i = 0; i < m->n_exits; i++)
        if (!strcmp(m->exit[i].name, x->name))
            return error_set(e, FL_CORRUPT, "%s: exit %s is there twice: build again", name, x->name);
    m->n_exits++;
    return FL_OK;
}

/* An older build has none. */
static bool take_levels(const json_t *list, struct manifest_promise *p)
{
    if (list && (!json_is_array(list) || json_array_size(list) > PROMISE_LEVELS))
        return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        struct manifest_level *l = &p->level[p->n_levels++];
        if (!take_real(o, "max_loss", &l->budget) || !take_real(o, "loss", &l->loss) ||
            !take_real(o, "loss_upper", &l->upper) || !take_real(o, "early_share", &l->share))
            return false;
    }
    return true;
}

static bool take_promise(const json_t *o, struct manifest_promise *p)
{
    uint64_t planning, certifying;
    char of[16];
    if (!take_text(o, "of", of, sizeof of) || !take_real(o, "max_loss", &p->terms.budget) ||
        !take_real(o, "certainty", &p->terms.certainty) || !take_number(o, "planning_points", &planning) ||
        !take_number(o, "certifying_points", &certifying) || !take_real(o, "loss", &p->loss) ||
        !take_real(o, "loss_upper", &p->upper) || !take_hash(o, "evidence", &p->evidence) ||
        !take_levels(json_object_get(o, "levels"), p))
        return false;
    p->live.budget = p->live.certainty = NAN;
    if (json_object_get(o, "live_max_loss") && (!take_real(o, "live_max_loss", &p->live.budget) ||
                                                !take_real(o, "live_certainty", &p->live.certainty)))
        return false;
    if (json_object_get(o, "differ") &&
        (!take_real(o, "differ", &p->differ) || !(p->differ >= 0 && p->differ <= 1)))
        return false;
    p->terms.agreement = !strcmp(of, "agreement");
    p->live.agreement = p->terms.agreement;
    p->planning_points = (int64_t)planning;
    p->certifying_points = (int64_t)certifying;
    return (p->terms.agreement || !strcmp(of, "accuracy")) && p->terms.budget >= 0 && p->terms.budget <= 1 &&
           p->terms.certainty >= 0 && p->terms.certainty < 1;
}

static bool take_learned(const json_t *o, struct manifest_learned *l)
{
    uint64_t points, lost, won;
    if (!o || json_is_null(o))
        return true;
    if (!take_number(o, "candidate", &l->candidate) || !take_number(o, "serial", &l->serial) ||
        !take_number(o, "points", &points) || !take_number(o, "lost", &lost) ||
        !take_number(o, "won", &won) || !take_real(o, "loss_upper", &l->upper) ||
        !take_text(o, "why", l->why, sizeof l->why))
        return false;
    l->points = (int64_t)points;
    l->lost = (int64_t)lost;
    l->won = (int64_t)won;
    return true;
}

static bool take_identity(const json_t *o, struct identity *id)
{
    bool ok = take_digest(o, "model", id->model) && take_text(o, "input", id->input, sizeof id->input) &&
              take_text(o, "precision", id->precision, sizeof id->precision) &&
              take_hash(o, "labels", &id->labels);
    if (ok)
        identity_seal(id);
    return ok;
}

static json_t *identity_json(const struct identity *id)
{
    char model[DIGEST_TEXT_BYTES];
    return json_pack("{s:s, s:s, s:s, s:o}", "model", digest_text(id->model, model), "input", id->input,
                     "precision", id->precision, "labels", hash_json(id->labels));
}

/* Fills `live`: all of the terms in float32, else not known. */
static void manifest_live_terms(struct manifest *m)
{
    m->promise.live = m->promise.terms;
    if (strcmp(m->identity.precision, "float32") != 0)
        m->promise.live.budget = NAN;
}

static int parse_root(struct manifest *m, const json_t *root, const char *name, struct error *e)
{
    const json_t *exits = json_object_get(root, "exits");
    uint64_t version;
    int rc;
    if (!take_number(root, "version", &version) || version != MANIFEST_VERSION)
        return error_set(e, FL_STALE, "%s: made by another version of freezeline: build again", name);
    if (!take_identity(json_object_get(root, "identity"), &m->identity) ||
        !take_digest(root, "build", m->build) || !take_replaces(m, json_object_get(root, "replaces")) ||
        !take_number(root, "built_ms", &m->built_ms) || !take_number(root, "generation", &m->generation) ||
        !take_text(root, "applied", m->applied, sizeof m->applied) || !valid_id(m->applied))
        return error_set(
            e, FL_CORRUPT,
            "%s: \"identity\", \"build\", \"replaces\", \"built_ms\", \"generation\" or \"applied\" is "
            "wrong: build again",
            name);
    if (!take_flag(root, "promised", &m->promised) || !take_flag(root, "compared", &m->compared) ||
        !take_flag(root, "cold", &m->cold))
        return error_set(e, FL_CORRUPT,
                         "%s: \"promised\", \"compared\" and \"cold\" must be true or false: build again",
                         name);
    if (m->promised && !take_promise(json_object_get(root, "promise"), &m->promise))
        return error_set(e, FL_CORRUPT, "%s: \"promise\" does not say what was promised: build again", name);
    if (m->promised && isnan(m->promise.live.budget))
        manifest_live_terms(m);
    if (!take_small(root, "classes", &m->classes, MOST_CLASSES) ||
        (m->promised && !take_learned(json_object_get(root, "learned"), &m->learned)))
        return error_set(e, FL_CORRUPT, "%s: \"classes\" or \"learned\" is wrong: build again", name);
    if (!json_is_array(exits) || json_array_size(exits) > PIPELINE_MAX_EXITS)
        return error_set(e, FL_CORRUPT, "%s: \"exits\" must be a list of at most %d: build again", name,
                         PIPELINE_MAX_EXITS);
    for (size_t i = 0; i < json_array_size(exits); i++)
        if ((rc = parse_exit(m, json_array_get(exits, i), name, e)))
            return rc;
    return FL_OK;
}

int manifest_parse(struct manifest *out, const char *text, size_t size, const char *name, struct error *e)
{
    json_error_t why;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    int rc;
    memset(out, 0, sizeof *out);
    if (!root)
        return error_set(e, FL_CORRUPT, "%s:%d:%d: %s", name, why.line, why.column, why.text);
    rc = parse_root(out, root, name, e);
    json_decref(root);
    return rc;
}

int manifest_load(struct manifest *out, const char *path, struct error *e)
{
    void *text;
    size_t size;
    int rc = file_read(&text, &size, path, MANIFEST_MAX_BYTES, e);
    if (rc)
        return rc;
    rc = manifest_parse(out, text, size, path, e);
    free(text);
    return rc;
}

static json_t *real_json(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *levels_json(const struct manifest_promise *p)
{
    json_t *list = json_array();
    for (int i = 0; i < p->n_levels; i++)
        json_array_append_new(list, json_pack("{s:f, s:o, s:o, s:o}", "max_loss", p->level[i].budget, "loss",
                                              real_json(p->level[i].loss), "loss_upper",
                                              real_json(p->level[i].upper), "early_share",
                                              real_json(p->level[i].share)));
    return list;
}

static json_t *promise_json(const struct manifest *m)
{
    const struct manifest_promise *p = &m->promise;
    if (!m->promised)
        return json_null();
    return json_pack("{s:s, s:f, s:f, s:o, s:o, s:I, s:I, s:o, s:o, s:f, s:o, s:o}", "of",
                     p->terms.agreement ? "agreement" : "accuracy", "max_loss", p->terms.budget, "certainty",
                     p->terms.certainty, "live_max_loss", real_json(p->live.budget), "live_certainty",
                     real_json(p->live.certainty), "planning_points", (json_int_t)p->planning_points,
                     "certifying_points", (json_int_t)p->certifying_points, "loss", real_json(p->loss),
                     "loss_upper", real_json(p->upper), "differ", p->differ, "evidence",
                     hash_json(p->evidence), "levels", levels_json(p));
}

static json_t *learned_json(const struct manifest *m)
{
    const struct manifest_learned *l = &m->learned;
    if (!m->promised || (!l->candidate && !l->serial))
        return json_null();
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:s}", "candidate", (json_int_t)l->candidate, "serial",
                     (json_int_t)l->serial, "points", (json_int_t)l->points, "lost", (json_int_t)l->lost,
                     "won", (json_int_t)l->won, "loss_upper", real_json(l->upper), "why", l->why);
}

static json_t *exit_json(const struct manifest_exit *x, int i)
{
    return json_pack("{s:s, s:i, s:s, s:s, s:o, s:s, s:s, s:o, s:I, s:i, s:i, s:I, s:f, s:f, s:b}", "name",
                     x->name, "index", i, "kind", x->kind, "file", x->file, "digest", hash_json(x->digest),
                     "after", x->after, "layout", x->layout, "origin", hash_json(x->origin), "budget_bytes",
                     (json_int_t)x->budget_bytes, "dim", x->dim, "map_side", x->map_side, "most_work",
                     (json_int_t)x->most_work, "before", x->before, "lookup", x->lookup, "by_half",
                     x->by_half);
}

char *manifest_format(const struct manifest *m)
{
    char build[DIGEST_TEXT_BYTES];
    json_t *exits = json_array(), *root;
    char *text;
    for (int i = 0; exits && i < m->n_exits; i++)
        json_array_append_new(exits, exit_json(&m->exit[i], i));
    root = json_pack("{s:i, s:o, s:s, s:o, s:I, s:I, s:s, s:b, s:b, s:b, s:o, s:i, s:o, s:o}", "version",
                     MANIFEST_VERSION, "identity", identity_json(&m->identity), "build",
                     digest_text(m->build, build), "replaces", replaces_json(m), "built_ms",
                     (json_int_t)m->built_ms, "generation", (json_int_t)m->generation, "applied", m->applied,
                     "promised", m->promised, "compared", m->compared, "cold", m->cold, "promise",
                     promise_json(m), "classes", m->classes, "learned", learned_json(m), "exits", exits);
    text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    return text;
}

int manifest_save(const struct manifest *m, const char *path, struct error *e)
{
    char *text = manifest_format(m);
    int rc = text ? file_replace(path, &(struct file_part){text, strlen(text)}, 1, e)
                  : error_set(e, FL_NOMEM, "%s: out of memory", path);
    free(text);
    return rc;
}

int manifest_begin_build(struct manifest *m, const struct manifest *before, struct error *e)
{
    m->n_replaces = 0;
    if (before) {
        int kept = before->n_replaces < MANIFEST_REPLACES ? before->n_replaces : MANIFEST_REPLACES - 1;
        memcpy(m->replaces[0], before->build, sizeof before->build);
        memcpy(m->replaces[1], before->replaces, sizeof *before->replaces * (size_t)kept);
        m->n_replaces = 1 + kept;
    }
    if (getrandom(m->build, sizeof m->build, 0) != sizeof m->build)
        return error_set(e, FL_IO, "no random numbers to name a build with: %s", strerror(errno));
    return FL_OK;
}

bool manifest_teaches_exit(const struct manifest *m, int i)
{
    return m->promised && m->classes > 0 && m->exit[i].dim > 0 && m->exit[i].origin;
}

bool manifest_teaches(const struct manifest *m)
{
    for (int i = 0; i < m->n_exits; i++)
        if (manifest_teaches_exit(m, i))
            return true;
    return false;
}

uint64_t manifest_ahead_s(const struct manifest *m)
{
    uint64_t now_ms = (uint64_t)time(NULL) * 1000;
    return m->built_ms > now_ms + AHEAD_MS ? (m->built_ms - now_ms) / 1000 : 0;
}

bool manifest_replaces(const struct manifest *m, const uint8_t build[DIGEST_BYTES])
{
    for (int i = 0; i < m->n_replaces; i++)
        if (!memcmp(m->replaces[i], build, DIGEST_BYTES))
            return true;
    return false;
}

char *manifest_build_text(const uint8_t build[DIGEST_BYTES], char text[MANIFEST_BUILD_BYTES])
{
    char whole[DIGEST_TEXT_BYTES];
    snprintf(text, MANIFEST_BUILD_BYTES, "%.12s", digest_text(build, whole));
    return text;
}
