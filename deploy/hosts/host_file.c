/* host_file.c - lines of words */
#include "host_file.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/whole_file.h"

#define MOST_BYTES (1 << 20)
#define MOST_SLOTS 4096

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

struct reading {
    const char *path;
    int number;
    struct error *e;
};

static int wrong(const struct reading *r, const char *what, const char *word)
{
    return error_set(r->e, FL_CONFIG, "%s:%d: %s `%.60s`: lines are HOST, USER@HOST or HOST slots=N", r->path,
                     r->number, what, word);
}

/* USER@HOST, the host in brackets where it is an IPv6 address; a bare IPv6 address is one, too. */
static int read_name(struct host_line *to, const char *word, const struct reading *r)
{
    const char *at = strchr(word, '@'), *host = at ? at + 1 : word;
    size_t n = strlen(host), user = at ? (size_t)(at - word) : 0;
    bool brackets = n > 2 && host[0] == '[' && host[n - 1] == ']';

    if (brackets) {
        host++;
        n -= 2;
    }
    if ((at && !user) || user >= sizeof to->user || strspn(word, letters) < user || !n ||
        n >= sizeof to->name || *host == '-' || *word == '-')
        return wrong(r, "no host:", word);
    for (size_t i = 0; i < n; i++)
        if (!strchr(letters, host[i]) && host[i] != ':' && host[i] != '%')
            return wrong(r, "no host:", word);
    snprintf(to->name, sizeof to->name, "%.*s", (int)n, host);
    snprintf(to->user, sizeof to->user, "%.*s", (int)user, word);
    return FL_OK;
}

static int read_word(struct host_line *to, const char *word, const struct reading *r)
{
    char *end;
    long n;

    if (!strncmp(word, "max_slots=", 10) || !strncmp(word, "max-slots=", 10))
        return FL_OK; /* how far mpirun may go beyond `slots`: never, here */
    if (strncmp(word, "slots=", 6))
        return wrong(r, "not understood:", word);
    n = strtol(word + 6, &end, 10);
    if (end == word + 6 || *end || n < 1 || n > MOST_SLOTS)
        return wrong(r, "no number of slots:", word);
    to->slots = (int)n;
    return FL_OK;
}

static int add(struct host_file *out, const struct host_line *line, const struct reading *r)
{
    for (int i = 0; i < out->n; i++)
        if (!strcmp(out->line[i].name, line->name)) {
            out->line[i].slots += line->slots ? line->slots : out->line[i].slots > 0;
            return FL_OK;
        }
    if (out->n == HOST_FILE_MAX)
        return error_set(r->e, FL_CONFIG, "%s:%d: more than %d hosts", r->path, r->number, HOST_FILE_MAX);
    out->line[out->n++] = *line;
    return FL_OK;
}

static int read_line(struct host_file *out, char *text, const struct reading *r)
{
    struct host_line line = {.slots = 0};
    char *rest = NULL, *word;
    int rc = FL_OK;

    text[strcspn(text, "#\r")] = '\0';
    if (!(word = strtok_r(text, " \t", &rest)))
        return FL_OK;
    rc = read_name(&line, word, r);
    while (!rc && (word = strtok_r(NULL, " \t", &rest)))
        rc = read_word(&line, word, r);
    return rc ? rc : add(out, &line, r);
}

int host_file_parse(struct host_file *out, const char *text, size_t size, const char *path, struct error *e)
{
    struct reading r = {.path = path, .e = e};
    int rc = FL_OK;

    out->n = 0;
    for (size_t at = 0; !rc && at < size; r.number++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t n = end ? (size_t)(end - text) - at : size - at;
        char line[1024];
        r.number += r.number == 0;
        if (n >= sizeof line || memchr(text + at, 0, n))
            return error_set(e, FL_CONFIG, "%s:%d: that is no line of a host file", path, r.number);
        memcpy(line, text + at, n);
        line[n] = '\0';
        rc = read_line(out, line, &r);
        at += n + 1;
    }
    if (!rc && !out->n)
        rc = error_set(e, FL_CONFIG, "%s names no host: write one a line, HOST slots=N", path);
    return rc;
}

int host_file_load(struct host_file *out, const char *path, struct error *e)
{
    void *text = NULL;
    size_t size;
    int rc = file_read(&text, &size, path, MOST_BYTES, e);

    if (!rc)
        rc = host_file_parse(out, text, size, path, e);
    free(text);
    return rc;
}
