/* quantization_file.c - scales of a network's values as a text file
 *
 *   freezeline-scales 1
 *   network 00112233445566778899aabbccddeeff
 *   choice int8
 *   value u8 0.0123 NAME
 */
#include "quantization.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/whole_file.h"

#define HEAD       "freezeline-scales 1"
#define MOST_BYTES ((uint64_t)64 << 20)

static bool read_digest(const char *text, uint8_t out[DIGEST_BYTES])
{
    for (int i = 0; i < DIGEST_BYTES; i++) {
        unsigned byte;
        if (strspn(text + (size_t)(2 * i), "0123456789abcdef") < 2 ||
            sscanf(text + (size_t)(2 * i), "%2x", &byte) != 1)
            return false;
        out[i] = (uint8_t)byte;
    }
    return text[2 * DIGEST_BYTES] == '\0';
}

/* "u8 0.0123 NAME" */
static int read_value(struct quantization *q, const char *text)
{
    char *end;
    bool is_signed = !strncmp(text, "i8 ", 3);
    float step;
    if (!is_signed && strncmp(text, "u8 ", 3))
        return FL_CORRUPT;
    step = strtof(text + 3, &end);
    if (end == text + 3 || *end != ' ')
        return FL_CORRUPT;
    return quantization_add(q, end + 1, step, is_signed);
}

static int read_line(struct quantization *q, const char *line)
{
    if (!strncmp(line, "network ", 8))
        return read_digest(line + 8, q->model) ? FL_OK : FL_CORRUPT;
    if (!strncmp(line, "value ", 6))
        return read_value(q, line + 6);
    return !*line || !strncmp(line, "choice ", 7) ? FL_OK : FL_CORRUPT;
}

int quantization_load(struct quantization *out, const char *path, struct error *e)
{
    void *bytes;
    size_t size;
    char *line, *rest;
    int rc = file_read(&bytes, &size, path, MOST_BYTES, e), number = 1;
    *out = (struct quantization){0};
    if (rc)
        return rc;
    rest = bytes;
    line = strsep(&rest, "\n");
    rc = strcmp(line, HEAD) ? FL_CORRUPT : FL_OK;
    while (!rc && (line = strsep(&rest, "\n"))) {
        number++;
        rc = read_line(out, line);
    }
    free(bytes);
    if (!rc)
        return FL_OK;
    quantization_release(out);
    return rc == FL_NOMEM
               ? error_set(e, FL_NOMEM, "no memory for the scales of %s", path)
               : error_set(e, FL_CORRUPT, "%s:%d: no scales of `freezeline quantize`; make them again", path,
                           number);
}

int quantization_save(const struct quantization *q, const char *choice, const char *path, struct error *e)
{
    char digest[DIGEST_TEXT_BYTES], *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    int rc;
    if (!f)
        return error_set(e, FL_NOMEM, "no memory for scales");
    fprintf(f, "%s\nnetwork %s\nchoice %s\n", HEAD, digest_text(q->model, digest), choice);
    for (int i = 0; i < q->n; i++)
        fprintf(f, "value %s %.9g %s\n", q->value[i].is_signed ? "i8" : "u8", (double)q->value[i].step,
                q->value[i].name);
    rc = fclose(f) ? error_set(e, FL_NOMEM, "no memory for scales")
                   : file_replace(path, &(struct file_part){text, size}, 1, e);
    free(text);
    return rc;
}
