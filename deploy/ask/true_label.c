/* true_label.c - see true_label.h */
#include "true_label.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static char *trim(char *s)
{
    char *end;
    while (isspace((unsigned char)*s))
        s++;
    for (end = s + strlen(s); end > s && isspace((unsigned char)end[-1]);)
        *--end = '\0';
    return s;
}

/* For messages: no control characters, not all of it. */
static char *shown(const char *s, char text[48])
{
    int n = 0;
    for (; n < 40 && s[n]; n++)
        text[n] = isprint((unsigned char)s[n]) ? s[n] : '?';
    text[n] = '\0';
    return text;
}

static int take_request(uint64_t *out, const char *text, struct error *e)
{
    char quoted[48], *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno)
        return error_set(e, FL_CORRUPT, "\"%s\" is no request's number (`infer --json` tells it)",
                         shown(text, quoted));
    return FL_OK;
}

static int take_label(int32_t *out, const char *text, const struct pipeline *p, int classes, struct error *e)
{
    char quoted[48], *end;
    long number;
    for (int i = 0; i < p->n_labels && i < classes; i++)
        if (!strcmp(p->label[i], text)) {
            *out = i;
            return FL_OK;
        }
    errno = 0;
    number = strtol(text, &end, 10);
    if (!*text || *end)
        return error_set(e, FL_VALUE, "\"%s\" is no class%s", shown(text, quoted),
                         p->n_labels ? "" : ": the pipeline file names none, say its number");
    if (errno || number < 0 || number >= classes)
        return error_set(e, FL_VALUE, "label %s: the network has the classes 0 to %d", shown(text, quoted),
                         classes - 1);
    *out = (int32_t)number;
    return FL_OK;
}

/* A member of an object as text; "" where it is neither text nor an integer. */
static const char *member_text(const json_t *v, char text[32])
{
    text[0] = '\0';
    if (json_is_integer(v))
        snprintf(text, 32, "%lld", (long long)json_integer_value(v));
    return json_is_string(v) ? json_string_value(v) : text;
}

static int parse_object(struct feedback_item *out, const json_t *o, const struct pipeline *p, int classes,
                        struct error *e)
{
    const json_t *truth = json_object_get(o, "truth"), *request = json_object_get(o, "request");
    char text[32];
    int rc;
    if (!truth && json_object_get(o, "exit"))
        return error_set(e, FL_VALUE, "this is an answer, not what is true: \"truth\" is missing");
    if (!truth)
        truth = json_object_get(o, "label");
    if (!request || !truth)
        return error_set(e, FL_CORRUPT, "\"request\" or \"truth\" is missing");
    if ((rc = take_request(&out->request, member_text(request, text), e)))
        return rc;
    return take_label(&out->label, member_text(truth, text), p, classes, e);
}

static int parse_json(struct feedback_item *out, const char *line, const struct pipeline *p, int classes,
                      struct error *e)
{
    json_error_t why;
    json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, &why);
    int rc = o ? parse_object(out, o, p, classes, e) : error_set(e, FL_CORRUPT, "no JSON object on one line");
    json_decref(o);
    return rc;
}

int true_label_parse(struct feedback_item *out, char *line, const struct pipeline *p, int classes,
                     struct error *e)
{
    char *request = trim(line), *label;
    int rc;
    if (!*request)
        return FL_AGAIN;
    if (*request == '{')
        return parse_json(out, request, p, classes, e);
    if (!(label = strpbrk(request, ",;\t")))
        return error_set(e, FL_CORRUPT, "neither REQUEST,LABEL nor a JSON object");
    *label++ = '\0';
    request = trim(request);
    label = trim(label);
    if (!strcmp(request, "request"))
        return FL_AGAIN;
    if ((rc = take_request(&out->request, request, e)))
        return rc;
    return take_label(&out->label, label, p, classes, e);
}
