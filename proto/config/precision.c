/* precision.c - what a pipeline's network computes in, with the scales that its state holds, and what its
 * stages hand on */
#include "precision.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/whole_file.h"

#define MOST_BYTES ((uint64_t)64 << 20)

char *precision_scales_path(const struct pipeline *p, char *buf, size_t size)
{
    snprintf(buf, size, "%s/scales.txt", p->state);
    return buf;
}

/* The word after "choice " on a line of its own, cut to the buffer; "float32" where there is none. */
static void choice_of(const char *text, char *buf, size_t size)
{
    const char *line = text ? strstr(text, "\nchoice ") : NULL;
    snprintf(buf, size, "%.*s", line ? (int)strcspn(line + 8, "\n") : 7, line ? line + 8 : "float32");
}

static bool is_narrow(const struct pipeline *p)
{
    return p->wire_dtype && !strcmp(p->wire_dtype, "bfloat16");
}

bool precision_rounds_wire(const struct pipeline *p)
{
    return p->n_stages > 1 && is_narrow(p);
}

double precision_wire_bytes(const struct pipeline *p, double bytes)
{
    return is_narrow(p) ? bytes / 2 : bytes;
}

/* Numbers depend on where they are rounded: stages with other ends are another precision. */
static void add_wire(struct pipeline *p)
{
    uint64_t h = (uint64_t)p->n_stages;
    size_t n = strlen(p->computes);
    if (!precision_rounds_wire(p))
        return;
    for (int s = 0; s < p->n_stages; s++)
        if (p->stage[s].last)
            h = XXH3_64bits_withSeed(p->stage[s].last, strlen(p->stage[s].last) + 1, h);
    snprintf(p->computes + n, sizeof p->computes - n, "+wire-bfloat16-%08x",
             (unsigned)(XXH3_64bits(&h, sizeof h) >> 32));
}

void precision_find(struct pipeline *p)
{
    char path[PRECISION_PATH_BYTES], word[PRECISION_TEXT_BYTES];
    bool asks = !strcmp(p->precision, "auto"), integers = !strcmp(p->precision, "int8");
    void *text = NULL;
    size_t n = 0;
    if (asks || integers)
        file_read(&text, &n, precision_scales_path(p, path, sizeof path), MOST_BYTES, NULL);
    snprintf(word, sizeof word, "%s", p->precision);
    if (asks)
        choice_of(text, word, sizeof word);
    if (!strcmp(word, "int8") && text)
        snprintf(word, sizeof word, "int8-%08x", (unsigned)(XXH3_64bits(text, n) >> 32));
    else if (strcmp(word, "bfloat16") && strcmp(word, "int8"))
        snprintf(word, sizeof word, "float32");
    snprintf(p->computes, sizeof p->computes, "%s", word);
    add_wire(p);
    free(text);
}

size_t precision_word(const char *computes)
{
    return strcspn(computes, "-+");
}

bool precision_lower(const struct pipeline *p)
{
    return strcmp(p->precision, "float32") != 0 || precision_rounds_wire(p);
}
