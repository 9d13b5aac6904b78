/* bench_document.c - load, check, and find one's way in a bench document */
#include "bench_document.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/json_file.h"

#define MAX_BUCKETS 100000
#define KEY_BYTES   64

static int check(const json_t *root, const char *name, struct error *e)
{
    const char *format = document_text(root, "format");
    double version = document_number(root, "version");

    if (!json_is_object(root) || !format || strcmp(format, DOCUMENT_FORMAT) != 0)
        return error_set(e, FL_CORRUPT, "%s is no document of freezeline bench: its \"format\" is not \"%s\"",
                         name, DOCUMENT_FORMAT);
    if (version != DOCUMENT_VERSION)
        return error_set(e, FL_CORRUPT, "%s is of version %g; this build reads version %d", name, version,
                         DOCUMENT_VERSION);
    return FL_OK;
}

int document_load(json_t **out, const char *path, struct error *e)
{
    int rc = json_file_load(out, path, e);

    if (!rc && (rc = check(*out, path, e))) {
        json_decref(*out);
        *out = NULL;
    }
    return rc;
}

json_t *document_value(const json_t *o, const char *path)
{
    char key[KEY_BYTES];

    while (o) {
        size_t n = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        o = json_object_get(o, key);
        if (!path[n])
            return (json_t *)o;
        path += n + 1;
    }
    return NULL;
}

double document_number(const json_t *o, const char *path)
{
    const json_t *v = document_value(o, path);
    double x = json_is_number(v) ? json_number_value(v) : NAN;
    return isfinite(x) ? x : NAN;
}

const char *document_text(const json_t *o, const char *path)
{
    return json_string_value(document_value(o, path));
}

json_t *document_list(const json_t *o, const char *path)
{
    json_t *v = document_value(o, path);
    return json_is_array(v) ? v : NULL;
}

json_t *document_object(const json_t *o, const char *path)
{
    json_t *v = document_value(o, path);
    return json_is_object(v) ? v : NULL;
}

bool document_truth(const json_t *o, const char *path, bool absent)
{
    const json_t *v = document_value(o, path);
    return json_is_boolean(v) ? json_is_true(v) : absent;
}

static int bad_histogram(const char *why, struct error *e)
{
    return error_set(e, FL_CORRUPT, "a histogram of the document %s", why);
}

static int fill(struct spread *s, const json_t *upper, const json_t *count, struct error *e)
{
    for (int i = 0; i < s->n; i++) {
        const json_t *u = json_array_get(upper, (size_t)i), *c = json_array_get(count, (size_t)i);
        s->upper_us[i] = json_is_number(u) ? json_number_value(u) : NAN;
        s->count[i] = json_is_number(c) ? json_number_value(c) : NAN;
        if (!(s->count[i] >= 0 && s->count[i] <= 1e15))
            return bad_histogram("has a count that is no number of requests", e);
        if (!(s->upper_us[i] >= 0 && s->upper_us[i] <= 1e15) || (i && s->upper_us[i] <= s->upper_us[i - 1]))
            return bad_histogram("has buckets that do not ascend", e);
        s->total += s->count[i];
    }
    return FL_OK;
}

int spread_read(struct spread *out, const json_t *histogram, struct error *e)
{
    const json_t *upper = document_list(histogram, "upper_us"), *count = document_list(histogram, "count");
    size_t n = json_array_size(upper);
    int rc;

    *out = (struct spread){0};
    if (!upper && !count)
        return FL_OK;
    if (json_array_size(count) != n)
        return bad_histogram("has not as many counts as buckets", e);
    if (n > MAX_BUCKETS)
        return bad_histogram("has too many buckets", e);
    out->upper_us = malloc((n + 1) * sizeof *out->upper_us);
    out->count = malloc((n + 1) * sizeof *out->count);
    out->n = (int)n;
    rc = out->upper_us && out->count ? fill(out, upper, count, e) : error_set(e, FL_NOMEM, "no memory");
    if (rc || out->total == 0)
        spread_release(out);
    return rc;
}

void spread_release(struct spread *s)
{
    free(s->upper_us);
    free(s->count);
    *s = (struct spread){0};
}

double spread_quantile_us(const struct spread *s, double share)
{
    double seen = 0;

    for (int i = 0; i < s->n; i++)
        if ((seen += s->count[i]) >= share * s->total && s->count[i] > 0)
            return s->upper_us[i];
    return s->n ? s->upper_us[s->n - 1] : NAN;
}
