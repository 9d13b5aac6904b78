/* ship_plan.c - lines "WORD VALUE..." of a host, searched as they are: there are some hundred */
#include "ship_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The line after this one; NULL at the end. */
static const char *next_line(const struct host_facts *f, const char *line)
{
    const char *next = line ? line + strlen(line) + 1 : f->text;
    return next < f->text + f->size ? next : NULL;
}

/* What follows "word " in the first line that begins so; NULL: none. */
static const char *value_of(const struct host_facts *f, const char *word)
{
    size_t n = strlen(word);

    for (const char *line = next_line(f, NULL); line; line = next_line(f, line))
        if (!strncmp(line, word, n) && line[n] == ' ')
            return line + n + 1;
    return NULL;
}

int host_facts_read(struct host_facts *out, char *text, size_t size, struct error *e)
{
    const char *value;

    memset(out, 0, sizeof *out);
    out->text = text;
    out->size = size;
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\n')
            text[i] = 0;
    if (!(value = value_of(out, "directory")) || *value != '/' || strlen(value) >= sizeof out->directory)
        return error_set(e, FL_PROTOCOL, "it does not say in which folder it keeps files: '%.100s'",
                         value ? value : "");
    snprintf(out->directory, sizeof out->directory, "%s", value);
    if ((value = value_of(out, "machine")))
        snprintf(out->machine, sizeof out->machine, "%s", value);
    if (!(value = value_of(out, "glibc")) || sscanf(value, "glibc 2.%d", &out->glibc) != 1)
        out->glibc = -1;
    if (!(value = value_of(out, "free")) || sscanf(value, "%" SCNd64, &out->free_bytes) != 1 ||
        out->free_bytes < 0 || out->free_bytes > INT64_MAX / 1024)
        out->free_bytes = -1;
    else
        out->free_bytes *= 1024;
    return FL_OK;
}

void host_facts_free(struct host_facts *f)
{
    free(f->text);
    memset(f, 0, sizeof *f);
}

int host_facts_check(const struct host_facts *f, const char *host, const char *machine, int glibc,
                     struct error *e)
{
    if (strcmp(f->machine, machine))
        return error_set(
            e, FL_UNSUPPORTED,
            "host %s: it is %s, the programs here are for %s; run `freezeline up` from a machine of its "
            "kind, or leave it out of hosts",
            host, *f->machine ? f->machine : "of a kind that it does not say", machine);
    if (f->glibc < 0)
        return error_set(e, FL_UNSUPPORTED,
                         "host %s: it has another C library than glibc; the programs here need glibc 2.%d",
                         host, glibc);
    if (f->glibc < glibc)
        return error_set(
            e, FL_UNSUPPORTED,
            "host %s: its glibc is 2.%d, the programs here need 2.%d: build Freezeline on the oldest "
            "system that it is to run on, or bring that host up to date",
            host, f->glibc, glibc);
    return FL_OK;
}

/* Bytes of `name` in lines "WORD BYTES NAME", where a path's last part counts; -1: no such line. With `bytes`
 * >= 0 only a line of that size counts. */
static int64_t size_of(const struct host_facts *f, const char *word, const char *name, int64_t bytes)
{
    size_t n = strlen(word);

    for (const char *line = next_line(f, NULL); line; line = next_line(f, line)) {
        char path[PLAN_PATH_BYTES];
        const char *last;
        int64_t size;
        if (strncmp(line, word, n) || sscanf(line + n, " %" SCNd64 " %511[^\n]", &size, path) != 2)
            continue;
        last = strrchr(path, '/');
        if (!strcmp(last ? last + 1 : path, name) && (bytes < 0 || bytes == size))
            return size;
    }
    return -1;
}

static bool same_before(const struct ship_step *step, const struct shipment *s, int i)
{
    for (int j = 0; j < i; j++)
        if (step[j].sent && !strcmp(s->file[j].object, s->file[i].object))
            return true;
    return false;
}

int64_t ship_plan(struct ship_step *step, const struct shipment *s, int host, const struct host_facts *f,
                  const char *part, const char *bad)
{
    int64_t bytes = 0;

    memset(step, 0, (size_t)s->n * sizeof *step);
    for (int i = 0; i < s->n; i++) {
        const struct shipment_file *file = &s->file[i];
        const char *name = strrchr(file->to, '/');
        char half[DIGEST_TEXT_BYTES + 128];
        int64_t there;
        step[i].wanted =
            (file->host == SHIPMENT_ALL || file->host == host) &&
            !(file->library && size_of(f, "library", name ? name + 1 : file->to, (int64_t)file->bytes) >= 0);
        if (!step[i].wanted || same_before(step, s, i) ||
            (!strstr(bad, file->object) && size_of(f, "object", file->object, (int64_t)file->bytes) >= 0))
            continue;
        step[i].sent = true;
        snprintf(half, sizeof half, "%s%s", file->object, part);
        there = strstr(bad, file->object) ? 0 : size_of(f, "object", half, -1);
        step[i].offset = there > 0 && there <= (int64_t)file->bytes ? (uint64_t)there : 0;
        bytes += (int64_t)(file->bytes - step[i].offset);
    }
    return bytes;
}
