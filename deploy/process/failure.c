/* failure.c - the last words of a process that did not start, and who is still missing */
#include "failure.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/state.h"
#include "roles.h"
#include "running.h"
#include "word.h"

#define TAIL_MAX  16384
#define TAIL_SHOW 12
#define ASK_MS    500

void failure_tail(const char *path, int n, const char *prefix, FILE *to)
{
    char *text = malloc(TAIL_MAX + 1), *at;
    FILE *f = fopen(path, "re");
    size_t size;

    if (!text || !f)
        goto done;
    if (fseek(f, -TAIL_MAX, SEEK_END))
        rewind(f);
    size = fread(text, 1, TAIL_MAX, f);
    text[size] = 0;
    at = text + size;
    for (int lines = 0; at > text; at--)
        if (at[-1] == '\n' && at != text + size && ++lines == n)
            break;
    for (char *line = strtok(at, "\n"); line; line = strtok(NULL, "\n"))
        fprintf(to, "%s%s\n", prefix, line);
done:
    if (f)
        fclose(f);
    free(text);
}

/* The words of a log line of level error, which may lie in *json, for the caller to release; NULL: it is
 * none.
 */
static const char *words_of_error(const char *line, json_t **json)
{
    const char *level;
    char word[16];
    int text = 0;
    if (*line != '{')
        return sscanf(line, "%*s %*d %*s %15s %n", word, &text) == 1 && text && !strcmp(word, "error")
                   ? line + text
                   : NULL;
    *json = json_loads(line, 0, NULL);
    level = json_string_value(json_object_get(*json, "level"));
    return level && !strcmp(level, "error") ? json_string_value(json_object_get(*json, "message")) : NULL;
}

/* The last line of level error, or else the last line at all: "" when there is none. */
static void last_reason(const char *path, char *buf, size_t size)
{
    char line[2400];
    bool found = false;
    FILE *f = fopen(path, "re");

    buf[0] = '\0';
    while (f && fgets(line, sizeof line, f)) {
        json_t *json = NULL;
        const char *words;
        line[strcspn(line, "\n")] = '\0';
        words = words_of_error(line, &json);
        if (line[0] && (words || !found))
            snprintf(buf, size, "%.*s", (int)size - 1, words ? words : line);
        found = found || words;
        json_decref(json);
    }
    if (f)
        fclose(f);
}

void failure_reason(const struct pipeline *p, const char *role, char *buf, size_t size)
{
    char path[STATE_PATH_BYTES];

    buf[0] = '\0';
    if (!state_path(path, p, NULL, "logs/%s.log", role))
        last_reason(path, buf, size);
}

int failure_explain(const struct pipeline *p, struct error *e)
{
    char role[64], path[STATE_PATH_BYTES], reason[300];

    if (!word_read(p, "failed", role, sizeof role))
        snprintf(role, sizeof role, "supervisor");
    if (state_path(path, p, e, "logs/%s.log", role))
        return FL_CONFIG;
    last_reason(path, reason, sizeof reason);
    if (!reason[0] && !state_path(path, p, NULL, "logs/supervisor.log"))
        last_reason(path, reason, sizeof reason); /* it could not even be started */
    fprintf(stderr, "the last lines of %s:\n", path);
    failure_tail(path, TAIL_SHOW, "  ", stderr);
    return error_set(e, FL_UNAVAILABLE, "%s failed to start: %s; everything is stopped again", role,
                     reason[0] ? reason : "it left no word");
}

static void add(char *buf, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add(char *buf, size_t size, const char *format, ...)
{
    size_t used = strlen(buf);
    va_list list;

    va_start(list, format);
    if (used)
        used += (size_t)snprintf(buf + used, size - used, ", ");
    if (used < size)
        vsnprintf(buf + used, size - used, format, list);
    va_end(list);
}

static void name_not_ready(const struct pipeline *p, const struct status_reply *s, char *buf, size_t size)
{
    struct role role[ROLES_MAX];
    int n = 0;

    if (roles_list(p, role, &n, NULL))
        return;
    for (int i = 0; i < n; i++) {
        const struct process_status *told = roles_told(s, role[i].name);
        if (role[i].kind != ROLE_KIND_STAGE && role[i].kind != ROLE_KIND_CACHE)
            continue;
        if (!told || strcmp(told->state, "ready"))
            add(buf, size, "%s is %s", role[i].name, told ? told->state : "not heard of");
    }
}

/* Workers of this host that say whom of the next stage they reach, and do not reach all. */
static void name_unreached(const struct pipeline *p, const struct status_reply *s, char *buf, size_t size)
{
    for (int i = 0; i < s->n_processes; i++) {
        const struct process_status *from = &s->process[i];
        int next = (int)from->stage + 1;
        if (from->role != ROLE_STAGE || !(from->last.reaches & REACHES_TOLD) || next >= p->n_stages ||
            (int)from->replica >= p->stage[next - 1].n_replicas ||
            (p->n_hosts && p->here >= 0 &&
             pipeline_host(p, p->stage[next - 1].replica[from->replica].host) != p->here))
            continue;
        for (int k = 0; k < p->stage[next].n_replicas; k++)
            if (!(from->last.reaches >> k & 1))
                add(buf, size, "stage%u.%u does not reach stage%d.%d at %s", from->stage, from->replica, next,
                    k, p->stage[next].replica[k].endpoint);
    }
}

void failure_name_missing(const struct pipeline *p, char *buf, size_t size)
{
    struct status_reply *s = calloc(1, sizeof *s);
    struct error why = {.text = "no memory"};

    buf[0] = '\0';
    if (!s || running_ask(p, ASK_MS, s, &why)) {
        snprintf(buf, size, "%s", why.text);
    } else {
        name_not_ready(p, s, buf, size);
        name_unreached(p, s, buf, size);
    }
    free(s);
}
