/* map.c - 3x3 patches of maps */
#include "map.h"

#include <string.h>

static int stride(const struct map *m)
{
    return m->side >= 5 ? 2 : 1;
}

bool map_valid(const struct map *m)
{
    return m->side >= MAP_MIN_SIDE && m->side <= MAP_MAX_SIDE && m->channels >= 1 && m->width >= 1 &&
           m->width <= MAP_MAX_WIDTH && m->groups >= 0 && (m->groups == 0 || m->width % m->groups == 0);
}

struct map map_group(const struct map *m)
{
    return (struct map){m->side, m->channels, m->groups > 1 ? m->width / m->groups : m->width, 1};
}

int map_middle(const struct map *m)
{
    return (m->side - 1) / stride(m) + 1;
}

int map_last(const struct map *m)
{
    return map_middle(m) - 2;
}

int map_nodes(const struct map *m)
{
    return map_last(m) * map_last(m) * m->width;
}

int64_t map_multiply_adds(const struct map *m)
{
    int64_t first = (int64_t)map_middle(m) * map_middle(m) * m->channels;
    int64_t second = (int64_t)map_last(m) * map_last(m) * map_group(m).width;
    return (first + second) * MAP_TAPS * m->width;
}

/* Cells of `cell` bytes, `fill` beyond the edge; patches begin `apart` bytes apart. */
static void first_patches(const struct map *m, const char *in, size_t cell, int fill, char *out, size_t apart)
{
    int step = stride(m), middle = map_middle(m);
    for (int place = 0; place < middle * middle; place++, out += apart) {
        for (int tap = 0; tap < MAP_TAPS; tap++) {
            int y = place / middle * step + tap / 3 - 1, x = place % middle * step + tap % 3 - 1;
            if (y < 0 || y >= m->side || x < 0 || x >= m->side)
                memset(out + (size_t)tap * cell, fill, cell);
            else
                memcpy(out + (size_t)tap * cell, in + (size_t)(y * m->side + x) * cell, cell);
        }
    }
}

void map_first_patches(const struct map *m, const float *in, float *patches)
{
    size_t cell = (size_t)m->channels * sizeof *in;
    first_patches(m, (const char *)in, cell, 0, (char *)patches, MAP_TAPS * cell);
}

void map_first_bytes(const struct map *m, const uint8_t *in, uint8_t zero, uint8_t *patches, size_t apart)
{
    first_patches(m, (const char *)in, (size_t)m->channels, zero, (char *)patches, apart);
}

/* The cell of the middle map that tap `tap` of place `place` looks at. */
static size_t second_cell(const struct map *m, int place, int tap)
{
    int last = map_last(m);
    return (size_t)((place / last + tap / 3) * map_middle(m) + place % last + tap % 3);
}

static void second_patches(const struct map *m, const char *in, size_t cell, char *out, size_t apart)
{
    int places = map_last(m) * map_last(m);
    for (int place = 0; place < places; place++, out += apart) {
        for (int tap = 0; tap < MAP_TAPS; tap++)
            memcpy(out + (size_t)tap * cell, in + second_cell(m, place, tap) * cell, cell);
    }
}

void map_second_patches(const struct map *m, const float *in, float *patches)
{
    size_t cell = (size_t)m->width * sizeof *in;
    second_patches(m, (const char *)in, cell, (char *)patches, MAP_TAPS * cell);
}

void map_second_bytes(const struct map *m, const uint8_t *in, uint8_t *patches, size_t apart)
{
    second_patches(m, (const char *)in, (size_t)m->width, (char *)patches, apart);
}

void map_sum_second_patches(const struct map *m, const float *patches, float *out)
{
    size_t cell = (size_t)m->width;
    int places = map_last(m) * map_last(m);
    memset(out, 0, (size_t)(map_middle(m) * map_middle(m)) * cell * sizeof *out);
    for (int place = 0; place < places; place++) {
        for (int tap = 0; tap < MAP_TAPS; tap++, patches += cell) {
            float *to = out + second_cell(m, place, tap) * cell;
            for (size_t c = 0; c < cell; c++)
                to[c] += patches[c];
        }
    }
}
