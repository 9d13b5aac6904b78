/* json_file.c - read a JSON file */
#include "json_file.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Up to the limit of a file, whatever it is: pipes and devices have no size. */
static int read_all(char **out, size_t *size, FILE *from, const char *path, struct error *e)
{
    size_t room = 1 << 16, n = 0;
    char *text = malloc(room), *more;

    while (text && (n += fread(text + n, 1, room - n, from)) == room) {
        if (room > JSON_FILE_MAX_BYTES) {
            free(text);
            return error_set(e, FL_TOO_LARGE, "%s is larger than %d MiB", path, JSON_FILE_MAX_BYTES >> 20);
        }
        more = realloc(text, room *= 2);
        if (!more)
            free(text);
        text = more;
    }
    if (!text)
        return error_set(e, FL_NOMEM, "no memory for %s", path);
    if (ferror(from)) {
        free(text);
        return error_set(e, FL_IO, "cannot read %s: %s", path, strerror(errno));
    }
    *out = text;
    *size = n;
    return FL_OK;
}

static int parse(json_t **out, const char *text, size_t size, const char *path, struct error *e)
{
    json_error_t at;

    if (!size)
        return error_set(e, FL_CORRUPT, "%s is empty", path);
    if ((*out = json_loadb(text, size, JSON_REJECT_DUPLICATES, &at)))
        return FL_OK;
    for (char *p = at.text; *p; p++) /* it quotes the file, which may try to command the terminal */
        if (iscntrl((unsigned char)*p))
            *p = '?';
    if (json_error_code(&at) == json_error_premature_end_of_input)
        return error_set(e, FL_CORRUPT, "%s:%d:%d: cut off: %s", path, at.line, at.column, at.text);
    return error_set(e, FL_CORRUPT, "%s:%d:%d: not JSON: %s", path, at.line, at.column, at.text);
}

int json_file_load(json_t **out, const char *path, struct error *e)
{
    FILE *from = fopen(path, "rbe");
    char *text = NULL;
    size_t size = 0;
    int rc;

    *out = NULL;
    if (!from)
        return error_set(e, errno == ENOENT ? FL_NOT_FOUND : FL_IO, "cannot open %s: %s", path,
                         strerror(errno));
    rc = read_all(&text, &size, from, path, e);
    fclose(from);
    if (!rc)
        rc = parse(out, text, size, path, e);
    free(text);
    return rc;
}
