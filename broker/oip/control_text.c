/* control_text.c - see control_text.h */
#include "control_text.h"

#include <jansson.h>
#include <string.h>

#define MOST_BYTES (64 << 10)

static int read_object(json_t **out, const char *body, size_t size, struct error *e)
{
    json_error_t why;

    *out = NULL;
    if (size > MOST_BYTES)
        return error_set(e, FL_TOO_LARGE,
                         "%zu bytes, at most %d are taken: a model's files do not come this way", size,
                         MOST_BYTES);
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

static int check_parameter(bool loads, const char *key, const json_t *value, struct error *e)
{
    if (json_is_null(value))
        return FL_OK;
    if (loads && (!strcmp(key, "config") || !strncmp(key, "file:", 5)))
        return error_set(e, FL_UNSUPPORTED,
                         "`%.64s`: a model's configuration and files do not come over HTTP: change the "
                         "pipeline file or the model that it names, and load without",
                         key);
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
    int rc = read_object(&root, body, size, e);

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
