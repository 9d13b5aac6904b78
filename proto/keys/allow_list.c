/* allow_list.c - lines to entries and back */
#include "allow_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/whole_file.h"

#define LINE_BYTES 256

bool moment_parse(int64_t *s, const char *text)
{
    struct tm tm = {0}, was;
    const char *end;
    time_t t;
    *s = 0;
    if (!strcmp(text, "-"))
        return true;
    if ((end = strptime(text, "%Y-%m-%d", &tm)) && *end == 'T')
        end = strptime(end, "T%H:%M:%SZ", &tm);
    if (!end || *end || tm.tm_year < 70 || tm.tm_year > 8000)
        return false;
    was = tm;
    t = timegm(&tm);
    *s = t;
    return t > 0 && was.tm_mday == tm.tm_mday && was.tm_sec == tm.tm_sec; /* there is no 31 February */
}

const char *moment_text(int64_t s, char buf[MOMENT_BYTES])
{
    time_t t = (time_t)s;
    struct tm tm;
    if (!s || !gmtime_r(&t, &tm) || !strftime(buf, MOMENT_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm))
        snprintf(buf, MOMENT_BYTES, "-");
    return buf;
}

void allow_list_free(struct allow_list *list)
{
    free(list->entry);
    *list = (struct allow_list){0};
}

const struct allowed *allow_list_find(const struct allow_list *list, const char *key)
{
    for (int i = 0; i < list->n; i++)
        if (!strcmp(list->entry[i].key, key))
            return &list->entry[i];
    return NULL;
}

int allow_list_add(struct allow_list *list, const struct allowed *a, struct error *e)
{
    const struct allowed *there = allow_list_find(list, a->key);
    struct allowed *more;
    if (there) {
        list->entry[there - list->entry] = *a;
        return FL_OK;
    }
    if (list->n == ALLOW_LIST_MOST)
        return error_set(e, FL_TOO_LARGE, "more than %d keys are allowed: revoke those that are of no use",
                         ALLOW_LIST_MOST);
    if (list->n == list->room) {
        if (!(more = realloc(list->entry, (size_t)(list->room + 64) * sizeof *more)))
            return error_set(e, FL_NOMEM, "out of memory for the keys that are allowed");
        list->entry = more;
        list->room += 64;
    }
    list->entry[list->n++] = *a;
    return FL_OK;
}

void allow_list_remove(struct allow_list *list, int i)
{
    memmove(&list->entry[i], &list->entry[i + 1], (size_t)(--list->n - i) * sizeof *list->entry);
}

/* 1: an entry; 0: a comment or nothing; -1: neither. */
static int parse_line(struct allowed *a, const char *line, size_t length)
{
    char copy[LINE_BYTES], role[16], until[32], more[2];
    if (length >= sizeof copy || memchr(line, 0, length))
        return -1;
    memcpy(copy, line, length);
    copy[length] = 0;
    if (*copy == '#' || !copy[strspn(copy, " \t\r")])
        return 0;
    if (sscanf(copy, "%15s %40s %63s %31s %1s", role, a->key, a->name, until, more) != 4 ||
        !key_text_ok(a->key) || !key_name_ok(a->name) || !moment_parse(&a->until_s, until))
        return -1;
    a->role = party_of(role);
    return a->role ? 1 : -1;
}

int allow_list_parse(struct allow_list *list, const char *text, size_t size, const char *file,
                     struct error *e)
{
    struct allowed a;
    int number = 1, kind, rc;
    list->n = 0;
    for (size_t at = 0, n; at < size; at += n + 1, number++) {
        const char *end = memchr(text + at, '\n', size - at);
        n = end ? (size_t)(end - text) - at : size - at;
        kind = parse_line(&a, text + at, n);
        if (kind < 0)
            return error_set(
                e, FL_CONFIG,
                "%.200s:%d: a line is `ROLE PUBLIC-KEY NAME UNTIL`, with a role of broker, worker, cache, "
                "learner, client, operator, a key of 40 characters, and 2027-01-31 or `-`",
                file, number);
        if (kind && allow_list_find(list, a.key))
            return error_set(e, FL_CONFIG, "%.200s:%d: the key of `%s` stands there twice", file, number,
                             a.name);
        if (kind && (rc = allow_list_add(list, &a, e)))
            return rc;
    }
    return FL_OK;
}

int allow_list_read_from(struct allow_list *list, const char *directory, const char *file, struct error *e)
{
    char path[KEY_PATH_BYTES];
    void *text;
    size_t size;
    int rc;
    if ((rc = key_path(path, directory, file, e)) || (rc = key_check_modes(path, false, e)) ||
        (rc = file_read(&text, &size, path, ALLOW_LIST_BYTES, e)))
        return rc;
    rc = allow_list_parse(list, text, size, path, e);
    free(text);
    return rc;
}

int allow_list_write_to(const struct allow_list *list, const char *directory, const char *file,
                        struct error *e)
{
    char path[KEY_PATH_BYTES], moment[MOMENT_BYTES], *text = NULL;
    size_t size = 0;
    FILE *f;
    int rc = key_path(path, directory, file, e);
    if (rc)
        return rc;
    if (!(f = open_memstream(&text, &size)))
        return error_set(e, FL_NOMEM, "out of memory for %s", path);
    fprintf(f, "# Who may come in: role, public key, name, until when (UTC; - for ever). Read again when it "
               "changes.\n");
    for (int i = 0; i < list->n; i++)
        fprintf(f, "%-8s %s %s %s\n", party_name(list->entry[i].role), list->entry[i].key,
                list->entry[i].name, moment_text(list->entry[i].until_s, moment));
    rc = fclose(f) ? error_set(e, FL_NOMEM, "out of memory for %s", path)
                   : file_replace_private(path, &(struct file_part){text, size}, 1, e);
    free(text);
    return rc;
}
