/* feedback_text.c - see feedback_text.h */
#include "feedback_text.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

/* As many labels as are taken, with room for spaces: JSON in memory is twenty times as large as its text. */
#define MOST_BYTES (256 * MESSAGE_MAX_FEEDBACK)

static int read_item(struct feedback_item *out, const json_t *from, int i, struct error *e)
{
    const char *request = json_string_value(json_object_get(from, "request"));
    const json_t *label = json_object_get(from, "label");
    char *end;

    errno = 0;
    out->request = request ? strtoull(request, &end, 10) : 0;
    if (!request || *request < '0' || *request > '9' || *end || errno)
        return error_set(e, FL_PROTOCOL, "labels[%d].request is no id: a text of digits, as an answer had it",
                         i);
    if (!json_is_integer(label) || json_integer_value(label) < INT32_MIN ||
        json_integer_value(label) > INT32_MAX)
        return error_set(e, FL_PROTOCOL, "labels[%d].label is no class", i);
    out->label = (int32_t)json_integer_value(label);
    return FL_OK;
}

int feedback_read(struct feedback_item item[MESSAGE_MAX_FEEDBACK], int *n, const char *body, size_t size,
                  struct error *e)
{
    json_error_t why;
    json_t *root = size > MOST_BYTES ? NULL : json_loadb(body, size, JSON_REJECT_DUPLICATES, &why),
           *labels = json_object_get(root, "labels");
    size_t count = json_array_size(labels);
    int rc = FL_OK;

    *n = 0;
    if (size > MOST_BYTES)
        rc = error_set(e, FL_TOO_LARGE, "%zu bytes of labels at once, at most %d are taken: send fewer", size,
                       MOST_BYTES);
    else if (!root)
        rc = error_set(e, FL_PROTOCOL, "the body is no JSON: %.150s", why.text);
    else if (!json_is_array(labels) || !count)
        rc = error_set(e, FL_PROTOCOL, "the body has no list `labels` of {request, label}");
    else if (count > MESSAGE_MAX_FEEDBACK)
        rc = error_set(e, FL_TOO_LARGE, "%zu labels at once, at most %d are taken", count,
                       MESSAGE_MAX_FEEDBACK);
    for (; !rc && (size_t)*n < count; ++*n)
        rc = read_item(&item[*n], json_array_get(labels, (size_t)*n), *n, e);
    json_decref(root);
    return rc;
}
