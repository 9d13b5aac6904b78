/* control_text.c - see control_text.h */
#include "control_text.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES (64 << 10)
#define FIRST_RATE 1000 /* one of so many, where the pipeline file draws none */

static int read_object(json_t **out, const char *body, size_t size, struct error *e)
{
    json_error_t why;

    *out = NULL;
    if (size > MOST_BYTES)
        return error_set(e, FL_TOO_LARGE, "%zu bytes, at most %d are taken", size, MOST_BYTES);
    *out = size ? json_loadb(body, size, JSON_REJECT_DUPLICATES, &why) : json_object();
    if (!*out)
        return error_set(e, FL_PROTOCOL, "the body is no JSON: %.150s", size ? why.text : "no memory");
    if (json_is_object(*out))
        return FL_OK;
    json_decref(*out);
    *out = NULL;
    return error_set(e, FL_PROTOCOL, "the body is no JSON object");
}

int control_read_index(bool *ready_alone, const char *body, size_t size, struct error *e)
{
    json_t *root;
    const json_t *ready;
    int rc = read_object(&root, body, size, e);

    *ready_alone = false;
    if (rc)
        return rc;
    ready = json_object_get(root, "ready");
    if (ready && !json_is_boolean(ready) && !json_is_null(ready))
        rc = error_set(e, FL_PROTOCOL, "`ready` is true or false");
    *ready_alone = json_is_true(ready);
    json_decref(root);
    return rc;
}

static int no_files(const char *what, struct error *e)
{
    return error_set(
        e, FL_UNSUPPORTED,
        "%.64s: a model's configuration and files do not come over HTTP: change the pipeline file or "
        "the model that it names, and load without",
        what);
}

static int check_parameter(bool loads, const char *key, const json_t *value, struct error *e)
{
    if (json_is_null(value))
        return FL_OK;
    if (loads && (!strcmp(key, "config") || !strncmp(key, "file:", 5)))
        return no_files(key, e);
    if (!loads && !strcmp(key, "unload_dependents"))
        return json_is_boolean(value) ? FL_OK
                                      : error_set(e, FL_PROTOCOL, "`unload_dependents` is true or false");
    return error_set(e, FL_PROTOCOL, "there is no parameter `%.64s` to %s a model", key,
                     loads ? "load" : "unload");
}

int control_read_load(bool loads, const char *body, size_t size, struct error *e)
{
    json_t *root, *parameters, *value;
    const char *key;
    int rc = loads && size > MOST_BYTES ? no_files("a body so large", e) : read_object(&root, body, size, e);

    if (rc)
        return rc;
    parameters = json_object_get(root, "parameters");
    if (parameters && !json_is_object(parameters) && !json_is_null(parameters))
        rc = error_set(e, FL_PROTOCOL, "`parameters` is no object");
    json_object_foreach(parameters, key, value)
    {
        if (!rc)
            rc = check_parameter(loads, key, value, e);
    }
    json_decref(root);
    return rc;
}

/* ---- traces ---- */

/* "TIMESTAMPS" or "OFF", or a list of one of them. */
static int read_level(struct trace_settings *t, const json_t *value, struct error *e)
{
    const json_t *one = json_array_size(value) == 1 ? json_array_get(value, 0) : value;
    const char *text = json_string_value(one);

    if (!text || (strcmp(text, "OFF") && strcmp(text, "TIMESTAMPS")))
        return error_set(e, FL_VALUE, "`trace_level` is [\"OFF\"] or [\"TIMESTAMPS\"]");
    t->on = strcmp(text, "OFF") != 0;
    if (t->on && t->share <= 0)
        t->share = 1.0 / FIRST_RATE;
    return FL_OK;
}

/* A whole number, or the text of one, as Triton's clients write it. */
static int read_number(long long *out, const char *key, const json_t *value, long long least, struct error *e)
{
    const char *text = json_string_value(value);
    char *end = NULL;

    errno = 0;
    *out = text ? strtoll(text, &end, 10) : json_integer_value(value);
    if (text ? !*text || *end || errno : !json_is_integer(value))
        return error_set(e, FL_VALUE, "`%s` is no whole number", key);
    return *out >= least ? FL_OK : error_set(e, FL_VALUE, "`%s` is %lld at least", key, least);
}

/* What cannot be changed here may be sent as it is told. */
static int check_fixed(const char *key, const json_t *value, const struct pipeline *p, struct error *e)
{
    const char *text = json_string_value(value), *is = NULL;

    if (!strcmp(key, "log_frequency"))
        is = "0";
    else if (!strcmp(key, "trace_mode"))
        is = "opentelemetry";
    else if (!strcmp(key, "trace_file"))
        is = p->traces.to ? p->traces.to : "";
    if (is && text && !strcmp(text, is))
        return FL_OK;
    return error_set(e, FL_VALUE,
                     is ? "`%.64s` cannot be changed over HTTP: `traces` in the pipeline file says it"
                        : "there is no setting `%.64s` of traces",
                     key);
}

static int read_setting(struct trace_settings *t, const struct pipeline *p, const char *key,
                        const json_t *value, struct error *e)
{
    struct trace_settings file = settings_traces_of(p);
    bool back = json_is_null(value);
    long long n;
    int rc = FL_OK;

    if (!strcmp(key, "trace_level")) {
        t->on = file.on;
        rc = back ? FL_OK : read_level(t, value, e);
    } else if (!strcmp(key, "trace_rate")) {
        if (!back && (rc = read_number(&n, key, value, 1, e)))
            return rc;
        t->share = back ? file.share : 1.0 / (double)n;
    } else if (!strcmp(key, "trace_count")) {
        if (!back && (rc = read_number(&n, key, value, -1, e)))
            return rc;
        t->left = back ? file.left : n;
    } else if (!back) {
        rc = check_fixed(key, value, p, e);
    }
    return rc;
}

int control_read_traces(struct trace_settings *t, const struct pipeline *p, const char *body, size_t size,
                        struct error *e)
{
    /* A level that is switched on begins with a rate of its own where none is told. */
    static const char *const first = "trace_rate";
    struct trace_settings next = *t;
    json_t *root, *value;
    const char *key;
    int rc = read_object(&root, body, size, e);

    if (rc)
        return rc;
    if ((value = json_object_get(root, first)))
        rc = read_setting(&next, p, first, value, e);
    json_object_foreach(root, key, value)
    {
        if (!rc && strcmp(key, first))
            rc = read_setting(&next, p, key, value, e);
    }
    if (!rc && next.on && !p->traces.to)
        rc = error_set(e, FL_VALUE, "traces go nowhere: `traces.to` in the pipeline file says where");
    if (!rc)
        *t = next;
    json_decref(root);
    return rc;
}
