/* lab_traffic.c - a row of pictures whose world changes */
#include "lab_traffic.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "numbers/shuffle.h"
#include "deploy/data/shapes.h"

#define HALF (SHAPES_CLASSES / 2)

static double strength_at(const struct lab_change *c, int64_t i)
{
    if (c->corruption == LAB_CLEAN || i < c->at || (c->back > 0 && i >= c->back))
        return 0;
    return c->slow > 0 && i < c->at + c->slow ? c->strength * (double)(i - c->at) / (double)c->slow
                                              : c->strength;
}

static uint8_t pixel(double v)
{
    return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)(v + 0.5);
}

/* The mean of a cross of pixels, `times` over. */
static void blur(uint8_t *plane, int times)
{
    uint8_t old[SHAPES_PIXELS];
    for (int t = 0; t < times; t++) {
        memcpy(old, plane, sizeof old);
        for (int y = 0; y < SHAPES_SIDE; y++) {
            for (int x = 0; x < SHAPES_SIDE; x++) {
                int at = y * SHAPES_SIDE + x, up = y > 0 ? at - SHAPES_SIDE : at, left = x > 0 ? at - 1 : at,
                    down = y < SHAPES_SIDE - 1 ? at + SHAPES_SIDE : at,
                    right = x < SHAPES_SIDE - 1 ? at + 1 : at;
                plane[at] = pixel((old[at] + old[up] + old[down] + old[left] + old[right]) / 5.0);
            }
        }
    }
}

static void corrupt(uint8_t *planes, const struct lab_change *c, double strength, int64_t i)
{
    struct shuffle s;
    if (strength <= 0)
        return;
    shuffle_seed(&s, 77, (uint64_t)i);
    for (int p = 0; c->corruption == LAB_BLUR && p < 3; p++)
        blur(planes + p * SHAPES_PIXELS, (int)(strength + 0.5));
    for (int k = 0; c->corruption != LAB_BLUR && k < SHAPES_BYTES; k++)
        planes[k] = pixel(c->corruption == LAB_DARK ? planes[k] / (1 + 0.5 * strength)
                                                    : planes[k] + 12 * strength * shuffle_normal(&s));
}

/* The next record of `in`, again from its start at its end. */
static bool read_record(FILE *in, uint8_t *record)
{
    if (fread(record, SHAPES_RECORD, 1, in) == 1)
        return true;
    rewind(in);
    return fread(record, SHAPES_RECORD, 1, in) == 1;
}

static bool write_all(FILE *out, FILE *in, uint64_t seed, int64_t count, const struct lab_change *c)
{
    uint8_t record[SHAPES_RECORD];
    uint64_t drawn = 0;
    for (int64_t i = 0; i < count;) {
        if (in == NULL)
            record[0] = (uint8_t)shapes_draw(seed, drawn++, SHAPES_MORPH_FROM, record + 1, NULL);
        else if (!read_record(in, record))
            return false;
        if (i < c->few && record[0] >= HALF)
            continue;
        corrupt(record + 1, c, strength_at(c, i), i);
        if (fwrite(record, sizeof record, 1, out) != 1)
            return false;
        i++;
    }
    return true;
}

int lab_traffic(const char *to, const char *from, uint64_t seed, int64_t count,
                const struct lab_change *change, struct error *e)
{
    FILE *out = fopen(to, "wbe"), *in = from != NULL ? fopen(from, "rbe") : NULL;
    bool ok = out != NULL && (from == NULL || in != NULL) && write_all(out, in, seed, count, change);
    int why = errno;
    if (in != NULL)
        fclose(in);
    if (out != NULL)
        ok = fclose(out) == 0 && ok;
    return ok ? FL_OK
              : error_set(e, FL_IO, "%s from %s: %s", to, from != NULL ? from : "drawings", strerror(why));
}
