/* measured.c - the file of measurements: each part is described once, for reading and for writing */
#include "measured.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/json_file.h"
#include "deploy/tool/output.h"
#include "deploy/tool/report.h"

#define FORMAT "freezeline-measured"
#define MOST   1e12 /* of any number in the file */

/* A file that is read or written, and what is wrong with it. */
struct file {
    const char *path;
    bool writes;
    struct error *error;
    int rc;
};

static void wrong(struct file *f, const char *key, const char *what)
{
    if (!f->rc)
        f->rc = error_set(f->error, FL_CONFIG, "%s: \"%s\" %s", f->path, key, what);
}

/* `digits`: after the point; less than 0: it is an integer. */
static void number(struct file *f, json_t *o, const char *key, double *x, double low, double high, int digits)
{
    const json_t *v = json_object_get(o, key);
    char text[96];
    if (f->writes) {
        json_object_set_new(o, key, digits < 0 ? json_integer((json_int_t)*x) : report_rounded(*x, digits));
        return;
    }
    *x = json_number_value(v);
    if (json_is_number(v) && *x >= low && *x <= high)
        return;
    *x = low;
    snprintf(text, sizeof text, "must be a number from %g to %g", low, high);
    wrong(f, key, v ? text : "is missing: measure again with this version");
}

static void whole(struct file *f, json_t *o, const char *key, int *n, int low, int high)
{
    double x = *n;
    number(f, o, key, &x, low, high, -1);
    *n = (int)x;
}

static void text(struct file *f, json_t *o, const char *key, char *to, size_t size)
{
    const char *s = json_string_value(json_object_get(o, key));
    if (f->writes)
        json_object_set_new(o, key, json_string(to));
    else if (!s || strlen(s) >= size)
        wrong(f, key, "must be a short text");
    else
        memcpy(to, s, strlen(s) + 1);
}

/* NULL: there is none. */
static json_t *list(struct file *f, json_t *o, const char *key, int *n, int least, int most)
{
    json_t *a = f->writes ? json_array() : json_object_get(o, key);
    char what[96];
    if (f->writes) {
        json_object_set_new(o, key, a);
        return a;
    }
    *n = json_is_array(a) && json_array_size(a) <= (size_t)most ? (int)json_array_size(a) : -1;
    if (*n >= least)
        return a;
    *n = 0;
    snprintf(what, sizeof what, "must be a list of %d to %d", least, most);
    wrong(f, key, what);
    return NULL;
}

static json_t *item(struct file *f, json_t *list, int i, json_t *fresh)
{
    if (f->writes)
        json_array_append_new(list, fresh);
    else
        json_decref(fresh);
    return json_array_get(list, (size_t)i);
}

static void times(struct file *f, json_t *list, const char *key, double *us, int n, int digits)
{
    for (int i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, (size_t)i);
        if (f->writes) {
            json_array_append_new(list, report_rounded(us[i], digits));
            continue;
        }
        us[i] = json_number_value(v);
        if (!json_is_number(v) || !(us[i] >= 0 && us[i] <= MOST))
            wrong(f, key, "has something that is no time");
    }
}

/* ---- the parts ---- */

static void cuts(struct file *f, json_t *root, struct measured *m)
{
    json_t *a = list(f, root, "cuts", &m->n_cuts, 0, MEASURED_MAX_CUTS);
    for (int i = 0; i < m->n_cuts; i++) {
        json_t *o = item(f, a, i, json_object());
        text(f, o, "name", m->cut[i].name, MEASURED_NAME_BYTES);
        number(f, o, "bytes", &m->cut[i].bytes, 0, MOST, 0);
    }
}

static void runs(struct file *f, json_t *o, struct measured_batch *b, int pieces)
{
    json_t *a = list(f, o, "runs_us", &b->n_runs, 1, MEASURED_MAX_RUNS);
    if (!f->writes && !(b->us = malloc(sizeof *b->us * (size_t)(b->n_runs * pieces) + 1)))
        f->rc = error_set(f->error, FL_NOMEM, "no memory for %s", f->path);
    for (int i = 0; i < b->n_runs && b->us; i++) {
        json_t *row = item(f, a, i, json_array());
        if (!f->writes && json_array_size(row) != (size_t)pieces)
            wrong(f, "runs_us", "has a run that is not one number per piece (one more than there are cuts)");
        times(f, row, "runs_us", b->us + (size_t)i * (size_t)pieces, pieces, 1);
    }
}

static void batches(struct file *f, json_t *root, struct measured *m)
{
    json_t *a = list(f, root, "batches", &m->n_batches, 1, MEASURED_MAX_BATCHES);
    for (int i = 0; i < m->n_batches && !f->rc; i++) {
        json_t *o = item(f, a, i, json_object());
        whole(f, o, "batch", &m->batch[i].batch, 1, 64);
        if (i ? m->batch[i].batch <= m->batch[i - 1].batch : m->batch[i].batch != 1)
            wrong(f, "batch", "must ascend from 1");
        runs(f, o, &m->batch[i], m->n_cuts + 1);
    }
}

static void exits(struct file *f, json_t *root, struct measured *m)
{
    json_t *a = list(f, root, "exits", &m->n_exits, 0, PIPELINE_MAX_EXITS);
    double sum = 0;
    for (int i = 0; i < m->n_exits; i++) {
        json_t *o = item(f, a, i, json_object());
        struct measured_exit *x = &m->exit[i];
        text(f, o, "name", x->name, sizeof x->name);
        text(f, o, "after", x->after, sizeof x->after);
        number(f, o, "share", &x->share, 0, 1, 6);
        number(f, o, "bytes", &x->bytes, 0, MOST, 0);
        number(f, o, "descriptor_us", &x->descriptor_us, 0, MOST, 2);
        number(f, o, "lookup_us", &x->lookup_us, 0, MOST, 2);
        number(f, o, "lookup_row_us", &x->lookup_row_us, 0, MOST, 2);
        sum += x->share;
    }
    if (sum > 1 + 1e-5)
        wrong(f, "share", "of all exits is more than 1 in sum");
}

static void costs(struct file *f, json_t *root, struct measured *m)
{
    json_t *o, *a;
    if (f->writes)
        json_object_set_new(root, "costs_us", json_object());
    if (!(o = json_object_get(root, "costs_us")))
        wrong(f, "costs_us", "must be a mapping");
#define X(name) number(f, o, #name, &m->cost.name, 0, MOST, 4);
    MEASURED_COSTS(X)
#undef X
    a = list(f, root, "wake_us", &m->n_wakes, 0, MEASURED_MAX_DRAWN);
    times(f, a, "wake_us", m->wake_us, m->n_wakes, 2);
    a = list(f, root, "cold_share", &m->n_colds, 0, MEASURED_MAX_DRAWN);
    times(f, a, "cold_share", m->cold_share, m->n_colds, 4);
}

static void all(struct file *f, json_t *root, struct measured *m)
{
    char format[32] = FORMAT;
    int version = 1;
    text(f, root, "format", format, sizeof format);
    if (strcmp(format, FORMAT) != 0)
        wrong(f, "format", "says that this is no file of `freezeline simulate --measure`");
    whole(f, root, "version", &version, 1, 1);
    text(f, root, "model", m->model, sizeof m->model);
    text(f, root, "digest", m->digest, sizeof m->digest);
    text(f, root, "machine", m->machine, sizeof m->machine);
    whole(f, root, "threads", &m->threads, 1, 1024);
    whole(f, root, "cores", &m->cores, 1, 65536);
    number(f, root, "all_busy", &m->all_busy, 0.01, 1, 4);
    number(f, root, "reference_us", &m->reference_us, 0.1, MOST, 1);
    number(f, root, "input_bytes", &m->input_bytes, 1, MOST, 0);
    number(f, root, "answer_bytes", &m->answer_bytes, 0, MOST, 0);
    cuts(f, root, m);
    exits(f, root, m);
    costs(f, root, m);
    batches(f, root, m);
}

/* ---- reading ---- */

int measured_load(struct measured **out, const char *path, struct error *e)
{
    struct measured *m = calloc(1, sizeof *m);
    struct file f = {path, false, e, FL_OK};
    json_t *root = NULL;

    *out = NULL;
    if (!m)
        return error_set(e, FL_NOMEM, "no memory for %s", path);
    if (!(f.rc = json_file_load(&root, path, e)))
        all(&f, root, m);
    json_decref(root);
    if (f.rc)
        measured_free(m);
    else
        *out = m;
    return f.rc;
}

void measured_free(struct measured *m)
{
    if (!m)
        return;
    for (int i = 0; i < MEASURED_MAX_BATCHES; i++)
        free(m->batch[i].us);
    free(m);
}

int measured_take_shares(struct measured *m, const char *path, struct error *e)
{
    struct file f = {path, false, e, FL_OK};
    double sum = 0;
    json_t *root, *a;
    int n;

    if ((f.rc = json_file_load(&root, path, e)))
        return f.rc;
    a = list(&f, root, "exits", &n, 1, PIPELINE_MAX_EXITS + 1);
    for (int k = 0; k < m->n_exits; k++) {
        m->exit[k].share = 0;
        for (int i = 0; i < n; i++) {
            json_t *o = json_array_get(a, (size_t)i);
            const char *name = json_string_value(json_object_get(o, "name"));
            if (name && !strcmp(name, m->exit[k].name))
                number(&f, o, "share", &m->exit[k].share, 0, 1, 6);
        }
        sum += m->exit[k].share;
    }
    if (sum > 1 + 1e-6)
        wrong(&f, "share", "of all exits is more than 1 in sum");
    json_decref(root);
    return f.rc;
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

int measured_save(struct measured *m, const char *path, struct error *e)
{
    struct file f = {path, true, e, FL_OK};
    json_t *root = json_object();
    if (!root)
        return error_set(e, FL_NOMEM, "no memory for %s", path);
    all(&f, root, m);
    f.rc = f.rc ? f.rc : output_json(root, 12, path, e);
    json_decref(root);
    return f.rc;
}
