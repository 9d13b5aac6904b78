/* simulate_measured.c - the file of measurements: reading, checking, writing */
#include "simulate_measured.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/json_file.h"
#include "deploy/tool/output.h"
#include "deploy/tool/report.h"

#define FORMAT "freezeline-measured"
#define MOST   1e12 /* of any number in the file */

/* Where in the file, for messages. */
struct reader {
    const char *path;
    struct error *error;
    int rc;
};

static void wrong(struct reader *r, const char *key, const char *what)
{
    if (!r->rc)
        r->rc = error_set(r->error, FL_CONFIG, "%s: \"%s\" %s", r->path, key, what);
}

static double number(struct reader *r, const json_t *o, const char *key, double low, double high)
{
    const json_t *v = json_object_get(o, key);
    double x = json_number_value(v);
    char text[96];
    if (json_is_number(v) && x >= low && x <= high)
        return x;
    snprintf(text, sizeof text, "must be a number from %g to %g", low, high);
    wrong(r, key, v ? text : "is missing: measure again with this version");
    return low;
}

static void text(struct reader *r, const json_t *o, const char *key, char *to, size_t size)
{
    const char *s = json_string_value(json_object_get(o, key));
    if (!s || strlen(s) >= size)
        wrong(r, key, "must be a short text");
    else
        memcpy(to, s, strlen(s) + 1);
}

static json_t *list(struct reader *r, const json_t *o, const char *key, size_t least, size_t most)
{
    json_t *a = json_object_get(o, key);
    char what[96];
    if (json_is_array(a) && json_array_size(a) >= least && json_array_size(a) <= most)
        return a;
    snprintf(what, sizeof what, "must be a list of %zu to %zu", least, most);
    wrong(r, key, what);
    return NULL;
}

static void read_cuts(struct reader *r, const json_t *root, struct measured *m)
{
    const json_t *a = list(r, root, "cuts", 0, MEASURED_MAX_CUTS);
    for (; a && m->n_cuts < (int)json_array_size(a) && !r->rc; m->n_cuts++) {
        const json_t *c = json_array_get(a, (size_t)m->n_cuts);
        text(r, c, "name", m->cut[m->n_cuts].name, MEASURED_NAME_BYTES);
        m->cut[m->n_cuts].bytes = number(r, c, "bytes", 0, MOST);
    }
}

static void read_run(struct reader *r, const json_t *row, int n, double *to)
{
    if (!json_is_array(row) || (int)json_array_size(row) != n) {
        wrong(r, "runs_us", "has a run that is not one number per piece (one more than there are cuts)");
        return;
    }
    for (int i = 0; i < n; i++) {
        to[i] = json_number_value(json_array_get(row, (size_t)i));
        if (!json_is_number(json_array_get(row, (size_t)i)) || !(to[i] >= 0 && to[i] <= MOST))
            wrong(r, "runs_us", "has something that is no time");
    }
}

static void read_batches(struct reader *r, const json_t *root, struct measured *m)
{
    const json_t *a = list(r, root, "batches", 1, MEASURED_MAX_BATCHES);
    int n = m->n_cuts + 1;
    for (; a && m->n_batches < (int)json_array_size(a) && !r->rc; m->n_batches++) {
        const json_t *o = json_array_get(a, (size_t)m->n_batches);
        const json_t *runs = list(r, o, "runs_us", 1, MEASURED_MAX_RUNS);
        struct measured_batch *b = &m->batch[m->n_batches];
        b->batch = (int)number(r, o, "batch", 1, 64);
        if (m->n_batches ? b->batch <= b[-1].batch : b->batch != 1)
            wrong(r, "batch", "must ascend from 1");
        b->n_runs = runs ? (int)json_array_size(runs) : 0;
        b->us = malloc(sizeof *b->us * (size_t)(b->n_runs * n) + 1);
        if (!b->us) {
            r->rc = error_set(r->error, FL_NOMEM, "no memory for %s", r->path);
            return;
        }
        for (int i = 0; i < b->n_runs; i++)
            read_run(r, json_array_get(runs, (size_t)i), n, b->us + (size_t)i * (size_t)n);
    }
}

static void read_exits(struct reader *r, const json_t *root, struct measured *m)
{
    const json_t *a = list(r, root, "exits", 0, PIPELINE_MAX_EXITS);
    double sum = 0;
    for (; a && m->n_exits < (int)json_array_size(a) && !r->rc; m->n_exits++) {
        const json_t *o = json_array_get(a, (size_t)m->n_exits);
        struct measured_exit *x = &m->exit[m->n_exits];
        text(r, o, "name", x->name, sizeof x->name);
        text(r, o, "after", x->after, sizeof x->after);
        sum += x->share = number(r, o, "share", 0, 1);
        x->bytes = number(r, o, "bytes", 0, MOST);
        x->descriptor_us = number(r, o, "descriptor_us", 0, MOST);
        x->lookup_us = number(r, o, "lookup_us", 0, MOST);
        x->lookup_row_us = number(r, o, "lookup_row_us", 0, MOST);
    }
    if (sum > 1 + 1e-6)
        wrong(r, "share", "of all exits is more than 1 in sum");
}

static void read_costs(struct reader *r, const json_t *root, struct measured *m)
{
    const json_t *o = json_object_get(root, "costs_us");
    const json_t *a = list(r, root, "wake_us", 0, MEASURED_MAX_WAKES);
    if (!json_is_object(o))
        wrong(r, "costs_us", "must be a mapping");
#define X(name) m->cost.name = number(r, o, #name, 0, MOST);
    MEASURED_COSTS(X)
#undef X
    for (; a && m->n_wakes < (int)json_array_size(a); m->n_wakes++) {
        const json_t *v = json_array_get(a, (size_t)m->n_wakes);
        m->wake_us[m->n_wakes] = json_number_value(v);
        if (!json_is_number(v) || !(m->wake_us[m->n_wakes] >= 0 && m->wake_us[m->n_wakes] <= MOST))
            wrong(r, "wake_us", "has something that is no time");
    }
}

static int read_all(struct measured *m, const json_t *root, const char *path, struct error *e)
{
    struct reader r = {path, e, FL_OK};
    const char *format = json_string_value(json_object_get(root, "format"));

    if (!format || strcmp(format, FORMAT) != 0)
        return error_set(e, FL_CONFIG,
                         "%s is no file of `freezeline simulate --measure`: its format is not \"%s\"", path,
                         FORMAT);
    number(&r, root, "version", 1, 1);
    text(&r, root, "model", m->model, sizeof m->model);
    if (json_object_get(root, "digest"))
        text(&r, root, "digest", m->digest, sizeof m->digest);
    text(&r, root, "machine", m->machine, sizeof m->machine);
    m->threads = (int)number(&r, root, "threads", 1, 1024);
    m->cores = (int)number(&r, root, "cores", 1, 65536);
    m->all_busy = number(&r, root, "all_busy", 0.01, 1);
    m->input_bytes = number(&r, root, "input_bytes", 1, MOST);
    m->answer_bytes = number(&r, root, "answer_bytes", 0, MOST);
    read_cuts(&r, root, m);
    read_batches(&r, root, m);
    read_exits(&r, root, m);
    read_costs(&r, root, m);
    return r.rc;
}

int measured_load(struct measured **out, const char *path, struct error *e)
{
    struct measured *m = calloc(1, sizeof *m);
    json_t *root = NULL;
    int rc;

    *out = NULL;
    if (!m)
        return error_set(e, FL_NOMEM, "no memory for %s", path);
    if (!(rc = json_file_load(&root, path, e)))
        rc = read_all(m, root, path, e);
    json_decref(root);
    if (rc)
        measured_free(m);
    else
        *out = m;
    return rc;
}

void measured_free(struct measured *m)
{
    if (!m)
        return;
    for (int i = 0; i < MEASURED_MAX_BATCHES; i++)
        free(m->batch[i].us);
    free(m);
}

static int read_shares(struct measured *m, const json_t *root, const char *path, struct error *e)
{
    struct reader r = {path, e, FL_OK};
    const json_t *a = list(&r, root, "exits", 1, PIPELINE_MAX_EXITS + 1), *o;
    double sum = 0;
    size_t i;
    for (int k = 0; k < m->n_exits; k++)
        m->exit[k].share = 0;
    json_array_foreach(a, i, o)
    {
        const char *name = json_string_value(json_object_get(o, "name"));
        for (int k = 0; k < m->n_exits; k++)
            if (name && !strcmp(m->exit[k].name, name))
                sum += m->exit[k].share = number(&r, o, "share", 0, 1);
    }
    if (sum > 1 + 1e-6)
        wrong(&r, "share", "of all exits is more than 1 in sum");
    return r.rc;
}

int measured_take_shares(struct measured *m, const char *path, struct error *e)
{
    json_t *root;
    int rc = json_file_load(&root, path, e);

    if (rc)
        return rc;
    rc = read_shares(m, root, path, e);
    json_decref(root);
    return rc;
}

int measured_find_cut(const struct measured *m, const char *name)
{
    for (int i = 0; i < m->n_cuts; i++)
        if (!strcmp(m->cut[i].name, name))
            return i;
    return -1;
}

static double pieces_us(const struct measured *m, const struct measured_batch *b, int run, int first,
                        int last)
{
    const double *row = b->us + (size_t)(run % b->n_runs) * (size_t)(m->n_cuts + 1);
    double us = 0;
    for (int i = first; i <= last; i++)
        us += row[i];
    return us;
}

double measured_run_us(const struct measured *m, int rows, int run, int first, int last)
{
    const struct measured_batch *low = &m->batch[0], *high;
    double from;
    for (int i = 1; i < m->n_batches && m->batch[i].batch <= rows; i++)
        low = &m->batch[i];
    from = pieces_us(m, low, run, first, last);
    if (low->batch == rows || low == &m->batch[m->n_batches - 1])
        return from * rows / low->batch;
    high = low + 1;
    return from +
           (pieces_us(m, high, run, first, last) - from) * (rows - low->batch) / (high->batch - low->batch);
}

int measured_runs(const struct measured *m)
{
    int n = 1;
    for (int i = 0; i < m->n_batches; i++)
        n = m->batch[i].n_runs > n ? m->batch[i].n_runs : n;
    return n;
}

double measured_mean_us(const struct measured *m, int rows, int first, int last)
{
    double us = 0;
    int n = measured_runs(m);
    for (int i = 0; i < n; i++)
        us += measured_run_us(m, rows, i, first, last) / n;
    return us;
}

/* ---- writing ---- */

static json_t *cuts_json(const struct measured *m)
{
    json_t *a = json_array();
    for (int i = 0; i < m->n_cuts; i++)
        json_array_append_new(
            a, json_pack("{s:s, s:o}", "name", m->cut[i].name, "bytes", report_rounded(m->cut[i].bytes, 0)));
    return a;
}

static json_t *batches_json(const struct measured *m)
{
    json_t *a = json_array();
    for (int i = 0; i < m->n_batches; i++) {
        const struct measured_batch *b = &m->batch[i];
        json_t *runs = json_array();
        for (int k = 0; k < b->n_runs; k++) {
            json_t *row = json_array();
            for (int c = 0; c <= m->n_cuts; c++)
                json_array_append_new(
                    row, report_rounded(b->us[(size_t)k * (size_t)(m->n_cuts + 1) + (size_t)c], 1));
            json_array_append_new(runs, row);
        }
        json_array_append_new(a, json_pack("{s:i, s:o}", "batch", b->batch, "runs_us", runs));
    }
    return a;
}

static json_t *exits_json(const struct measured *m)
{
    json_t *a = json_array();
    for (int i = 0; i < m->n_exits; i++) {
        const struct measured_exit *x = &m->exit[i];
        json_array_append_new(
            a, json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "name", x->name, "after", x->after, "share",
                         report_rounded(x->share, 6), "bytes", report_rounded(x->bytes, 0), "descriptor_us",
                         report_rounded(x->descriptor_us, 2), "lookup_us", report_rounded(x->lookup_us, 2),
                         "lookup_row_us", report_rounded(x->lookup_row_us, 2)));
    }
    return a;
}

static json_t *costs_json(const struct measured *m)
{
    json_t *o = json_object();
#define X(name) json_object_set_new(o, #name, report_rounded(m->cost.name, 4));
    MEASURED_COSTS(X)
#undef X
    return o;
}

/* A line for each key and each run, so that people can read it: jansson's own layout has
 * one for each number. */
static int print_lines(FILE *to, const void *root, struct error *e)
{
    char *flat = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(12));
    int depth = 0;
    bool quoted = false;
    if (!flat)
        return error_set(e, FL_NOMEM, "no memory for measured times");
    for (const char *c = flat; *c; c++) {
        if (*c == '"' && (c == flat || c[-1] != '\\'))
            quoted = !quoted;
        depth += !quoted && (*c == '{' || *c == '[');
        depth -= !quoted && (*c == '}' || *c == ']');
        putc(*c, to);
        if (!quoted && *c == ',' && (depth == 1 || c[-1] == ']' || c[-1] == '}'))
            putc('\n', to);
    }
    putc('\n', to);
    free(flat);
    return FL_OK;
}

int measured_save(const struct measured *m, const char *path, struct error *e)
{
    json_t *wakes = json_array(), *root;
    int rc;
    for (int i = 0; i < m->n_wakes; i++)
        json_array_append_new(wakes, report_rounded(m->wake_us[i], 2));
    root = json_pack("{s:s, s:i, s:s, s:s*, s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "format",
                     FORMAT, "version", 1, "model", m->model, "digest", m->digest[0] ? m->digest : NULL,
                     "machine", m->machine, "threads", m->threads, "cores", m->cores, "all_busy",
                     report_rounded(m->all_busy, 4), "input_bytes", report_rounded(m->input_bytes, 0),
                     "answer_bytes", report_rounded(m->answer_bytes, 0), "cuts", cuts_json(m), "exits",
                     exits_json(m), "costs_us", costs_json(m), "wake_us", wakes, "batches", batches_json(m));
    rc = root ? output_write(path, print_lines, root, e) : error_set(e, FL_NOMEM, "no memory for %s", path);
    json_decref(root);
    return rc;
}
