/* shapes.c - draw the demo's pictures
 *
 * Each shape is a field over coordinates in which the shape's radius is 1: positive inside, zero on the edge,
 * about the distance to the edge elsewhere. Rotation, size, soft edges and a morph between two shapes (a
 * weighted mean of their fields) then cost one expression each. A row of the field is computed at a time so
 * that the inner loops have no branches.
 */
#include "shapes.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

enum shape { DISC, RING, SQUARE, FRAME, TRIANGLE, CROSS, STAR, STRIPES, CHECKER, DOTS, BAR };

static const char *const labels[SHAPES_CLASSES] = {"disc",  "ring", "square",  "frame",   "triangle",
                                                   "cross", "star", "stripes", "checker", "dots"};

struct canvas {
    float plane[3][SHAPES_PIXELS]; /* 0 to 255, rows of SHAPES_SIDE */
};

/* One shape on the canvas, in pixels. */
struct brush {
    enum shape shape, rival;
    float morph; /* weight of rival's field */
    float x, y, radius;
    float cosine, sine;
    float colour[3];
};

struct random {
    uint64_t state;
};

static uint64_t random_next(struct random *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static float random_between(struct random *r, float low, float high)
{
    return low + (high - low) * (float)(random_next(r) >> 40) * (1.0f / 16777216.0f);
}

static int random_below(struct random *r, int n)
{
    return (int)((random_next(r) >> 32) * (uint64_t)n >> 32);
}

static float mix(float a, float b, float t)
{
    return a + (b - a) * t;
}

static float smaller(float a, float b)
{
    return a < b ? a : b;
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

/* Positive on half of each period of length 1/f, zero at its edges. Valid for |x| f < 64. */
static float wave(float x, float f)
{
    float t = x * f + 64.25f;
    return (0.25f - fabsf(t - (float)(int)t - 0.5f)) / f;
}

/* Distance from a cell's centre along one axis, for cells of length 1/f. Valid for |x| f < 64. */
static float cell(float x, float f)
{
    float t = x * f + 64.0f;
    return (t - (float)(int)t - 0.5f) / f;
}

/* Five reflections fold the star into half of one arm; what is left is the distance to that arm's edge. */
static float star(float u, float v)
{
    const float kx = 0.809016994f, ky = -0.587785252f; /* normal of the first mirror */
    const float bx = 0.45f * -ky, by = 0.45f * kx - 1.0f;
    float x = fabsf(u), y = v;
    float d = 2.0f * larger(kx * x + ky * y, 0.0f);
    x -= d * kx, y -= d * ky;
    d = 2.0f * larger(-kx * x + ky * y, 0.0f);
    x += d * kx, y -= d * ky;
    x = fabsf(x), y -= 1.0f;
    float h = smaller(larger((x * bx + y * by) / (bx * bx + by * by), 0.0f), 1.0f);
    float ex = x - bx * h, ey = y - by * h, length = sqrtf(ex * ex + ey * ey);
    return y * bx - x * by > 0.0f ? -length : length;
}

static float field(enum shape shape, float u, float v)
{
    float au = fabsf(u), av = fabsf(v);
    float window = 0.9f - larger(au, av);
    switch (shape) {
    case DISC:
        return 0.95f - sqrtf(u * u + v * v);
    case RING:
        return 0.26f - fabsf(sqrtf(u * u + v * v) - 0.7f);
    case SQUARE:
        return 0.84f - larger(au, av);
    case FRAME:
        return 0.24f - fabsf(larger(au, av) - 0.64f);
    case TRIANGLE:
        return 0.55f - larger(0.866f * au + 0.5f * v, -v);
    case CROSS:
        return smaller(0.28f - smaller(au, av), 0.95f - larger(au, av));
    case STAR:
        return star(u, v);
    case STRIPES:
        return smaller(window, wave(u, 1.7f));
    case CHECKER: {
        float a = wave(u, 1.1f), b = wave(v, 1.1f), edge = smaller(fabsf(a), fabsf(b));
        return smaller(window, a * b > 0.0f ? edge : -edge);
    }
    case DOTS: {
        float a = cell(u, 1.65f), b = cell(v, 1.65f);
        return smaller(window, 0.2f - sqrtf(a * a + b * b));
    }
    case BAR:
        return smaller(0.14f - av, 1.2f - au);
    }
    return -1.0f;
}

/* out[i] = field at (u + i*du, v + i*dv). One loop per shape, so that `shape` is a constant inside it. */
static void field_row(enum shape shape, float u, float v, float du, float dv, int n, float *out)
{
#define ROW(name)                                                       \
    case name:                                                          \
        for (int i = 0; i < n; i++)                                     \
            out[i] = field(name, u + (float)i * du, v + (float)i * dv); \
        break
    switch (shape) {
        ROW(DISC);
        ROW(RING);
        ROW(SQUARE);
        ROW(FRAME);
        ROW(TRIANGLE);
        ROW(CROSS);
        ROW(STAR);
        ROW(STRIPES);
        ROW(CHECKER);
        ROW(DOTS);
        ROW(BAR);
    }
#undef ROW
}

/* Cover of each of the row's n pixels, 0 to 1, edges one pixel soft. */
static void brush_row(const struct brush *b, int x0, int y, int n, float *cover)
{
    float rival[SHAPES_SIDE], scale = 1.0f / b->radius;
    float dx = (float)x0 - b->x, dy = (float)y - b->y;
    float u = (dx * b->cosine + dy * b->sine) * scale, v = (dy * b->cosine - dx * b->sine) * scale;
    float du = b->cosine * scale, dv = -b->sine * scale;
    field_row(b->shape, u, v, du, dv, n, cover);
    if (b->morph > 0.0f) {
        field_row(b->rival, u, v, du, dv, n, rival);
        for (int i = 0; i < n; i++)
            cover[i] = mix(cover[i], rival[i], b->morph);
    }
    for (int i = 0; i < n; i++)
        cover[i] = smaller(larger(cover[i] * b->radius + 0.5f, 0.0f), 1.0f);
}

static void paint(struct canvas *c, const struct brush *b)
{
    float reach = b->radius * 1.3f + 1.0f, cover[SHAPES_SIDE];
    int x0 = (int)larger(b->x - reach, 0.0f), x1 = (int)smaller(b->x + reach + 1.0f, (float)SHAPES_SIDE);
    int y0 = (int)larger(b->y - reach, 0.0f), y1 = (int)smaller(b->y + reach + 1.0f, (float)SHAPES_SIDE);
    if (x1 <= x0)
        return;
    for (int y = y0; y < y1; y++) {
        brush_row(b, x0, y, x1 - x0, cover);
        for (int k = 0; k < 3; k++) {
            float *row = &c->plane[k][y * SHAPES_SIDE + x0];
            for (int i = 0; i < x1 - x0; i++)
                row[i] = mix(row[i], b->colour[k], cover[i]);
        }
    }
}

/* A colour at `contrast` (mean of the channels' differences) from `from`. */
static void colour_against(struct random *r, const float from[3], float contrast, float out[3])
{
    float sign = random_next(r) & 1 ? 1.0f : -1.0f;
    for (int k = 0; k < 3; k++) {
        float step = sign * contrast * random_between(r, 0.6f, 1.4f);
        out[k] = from[k] + step;
        if (out[k] < 0.0f || out[k] > 255.0f)
            out[k] = from[k] - step;
        out[k] = smaller(larger(out[k], 0.0f), 255.0f);
    }
}

/* The plain, gently shaded ground; its middle colour goes to `ground`. */
static void paint_ground(struct canvas *c, struct random *r, float difficulty, float ground[3])
{
    float slope = mix(0.6f, 2.0f, difficulty);
    for (int k = 0; k < 3; k++) {
        ground[k] = random_between(r, 30.0f, 225.0f);
        float sx = random_between(r, -slope, slope), sy = random_between(r, -slope, slope);
        for (int y = 0; y < SHAPES_SIDE; y++)
            for (int x = 0; x < SHAPES_SIDE; x++)
                c->plane[k][y * SHAPES_SIDE + x] =
                    ground[k] + sx * ((float)x - 15.5f) + sy * ((float)y - 15.5f);
    }
}

/* Turns by up to `limit`, the tangent of half of the angle (1: a quarter turn). */
static void turn(struct brush *b, struct random *r, float limit)
{
    float t = random_between(r, -limit, limit), d = 1.0f / (1.0f + t * t);
    b->cosine = (1.0f - t * t) * d;
    b->sine = 2.0f * t * d;
}

/* `count` small things that are not the answer: blobs, bars, and small copies of other shapes. */
static void paint_clutter(struct canvas *c, struct random *r, int count, const float ground[3],
                          float contrast)
{
    for (int i = 0; i < count; i++) {
        struct brush b = {.x = random_between(r, 0.0f, 31.0f), .y = random_between(r, 0.0f, 31.0f)};
        b.shape = b.rival = (enum shape)random_below(r, BAR + 1);
        b.radius = b.shape == BAR ? random_between(r, 5.0f, 9.0f) : random_between(r, 1.5f, 4.0f);
        turn(&b, r, 1.0f);
        colour_against(r, ground, contrast * random_between(r, 0.4f, 0.9f), b.colour);
        paint(c, &b);
    }
}

/* The shape itself. Only pictures that are not easy morph. */
static void paint_subject(struct canvas *c, struct random *r, struct shapes_truth *t, const float ground[3],
                          float contrast, float morph_from)
{
    float d = t->difficulty, drift = mix(1.0f, 5.0f, d);
    struct brush b = {.shape = (enum shape)t->label, .rival = (enum shape)t->label};
    b.radius = random_between(r, mix(10.5f, 6.5f, d), mix(13.0f, 11.0f, d));
    b.x = 15.5f + random_between(r, -drift, drift);
    b.y = 15.5f + random_between(r, -drift, drift);
    turn(&b, r, d < SHAPES_EASY ? 0.06f : mix(0.06f, 1.0f, d));
    colour_against(r, ground, contrast, b.colour);
    if (d >= SHAPES_EASY && random_between(r, 0.0f, 1.0f) < mix(0.1f, 0.75f, d)) {
        t->rival = (t->label + 1 + random_below(r, SHAPES_CLASSES - 1)) % SHAPES_CLASSES;
        t->morph = random_between(r, morph_from, 0.5f);
        b.rival = (enum shape)t->rival;
        b.morph = t->morph;
    }
    paint(c, &b);
}

/* One pass of the 1-2-1 kernel along both axes; the border repeats. */
static void blur(struct canvas *c)
{
    float padded[SHAPES_PIXELS + 2 * SHAPES_SIDE];
    for (int k = 0; k < 3; k++) {
        float *p = c->plane[k];
        memcpy(padded, p, SHAPES_SIDE * sizeof *p);
        memcpy(padded + SHAPES_SIDE, p, SHAPES_PIXELS * sizeof *p);
        memcpy(padded + SHAPES_SIDE + SHAPES_PIXELS, p + SHAPES_PIXELS - SHAPES_SIDE,
               SHAPES_SIDE * sizeof *p);
        for (int i = 0; i < SHAPES_PIXELS; i++)
            p[i] = 0.25f * (padded[i] + padded[i + 2 * SHAPES_SIDE]) + 0.5f * padded[i + SHAPES_SIDE];
        for (int y = 0; y < SHAPES_SIDE; y++) {
            float *row = p + y * SHAPES_SIDE, line[SHAPES_SIDE + 2];
            memcpy(line + 1, row, SHAPES_SIDE * sizeof *row);
            line[0] = row[0], line[SHAPES_SIDE + 1] = row[SHAPES_SIDE - 1];
            for (int x = 0; x < SHAPES_SIDE; x++)
                row[x] = 0.25f * (line[x] + line[x + 2]) + 0.5f * line[x + 1];
        }
    }
}

/* Adds triangular noise of standard deviation `sigma` and rounds to bytes. One random word serves four
 * values. */
static void develop(const struct canvas *c, struct random *r, float sigma, uint8_t planes[SHAPES_BYTES])
{
    const float *from = &c->plane[0][0], scale = sigma / 104.5f; /* sd of a sum of two bytes: 104.5 */
    for (int i = 0; i < SHAPES_BYTES; i += 4) {
        uint64_t bits = random_next(r);
        for (int j = 0; j < 4; j++, bits >>= 16) {
            float noise = (float)((int)(bits & 255) + (int)(bits >> 8 & 255) - 255);
            float value = from[i + j] + scale * noise + 0.5f;
            planes[i + j] = (uint8_t)smaller(larger(value, 0.0f), 255.0f);
        }
    }
}

int shapes_draw(uint64_t seed, uint64_t index, float morph_from, uint8_t planes[SHAPES_BYTES],
                struct shapes_truth *truth)
{
    struct canvas canvas;
    struct random r = {seed};
    r.state = random_next(&r) ^ (index * 0xd1342543de82ef95ull + 1);
    struct shapes_truth t = {.label = random_below(&r, SHAPES_CLASSES)};
    t.rival = t.label;
    float luck = random_between(&r, 0.0f, 1.0f);
    float d = luck < 0.6f ? SHAPES_EASY * luck / 0.6f : mix(SHAPES_EASY, 1.0f, (luck - 0.6f) / 0.4f);
    t.difficulty = d;

    float ground[3], contrast = random_between(&r, mix(90.0f, 35.0f, d), mix(130.0f, 70.0f, d));
    paint_ground(&canvas, &r, d, ground);
    int clutter = random_below(&r, 1 + (int)(d * 7.0f));
    paint_clutter(&canvas, &r, clutter, ground, contrast);
    paint_subject(&canvas, &r, &t, ground, contrast, morph_from);
    if (d >= SHAPES_EASY && random_between(&r, 0.0f, 1.0f) < d)
        paint_clutter(&canvas, &r, 1 + random_below(&r, 2), ground, contrast); /* lies over the shape */
    if (d >= 0.4f && random_between(&r, 0.0f, 1.0f) < 0.4f)
        blur(&canvas);
    develop(&canvas, &r, mix(3.0f, 32.0f, d * random_between(&r, 0.4f, 1.0f)), planes);
    if (truth)
        *truth = t;
    return t.label;
}

const char *shapes_label(int label)
{
    return label >= 0 && label < SHAPES_CLASSES ? labels[label] : NULL;
}
