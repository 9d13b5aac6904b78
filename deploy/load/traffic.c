/* traffic.c - orders, popularities and drifting frames */
#include "traffic.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest_word.h"
#include "numbers/shuffle.h"

#define STREAM_PICKS  21
#define SCENE_FRAMES  16.0
#define SCENE_MOST    1e6
#define ZIPF_S_MAX    10.0
#define RECORDS_LIMIT (1ll << 31)

static const char *const names[] = {"order", "shuffled", "uniform", "zipf", "stream"};

enum kind { ORDER, SHUFFLED, UNIFORM, ZIPF, STREAM, KINDS };

struct traffic {
    enum kind kind;
    int64_t records, picked, next; /* next: place in `order` */
    double number;                 /* S of zipf, N of stream */
    struct shuffle random;
    int32_t *order;     /* shuffled, stream: the order; zipf: the record of each rank */
    double *cumulative; /* zipf: probability of a rank up to this one */
    uint8_t *shown;     /* a bit per record */
    struct traffic_pick frame;
    bool began; /* stream: there was a frame */
};

/* What follows the colon; `usual` where there is none. */
static int parse_number(struct traffic *t, const char *spec, const char *text, double usual, double least,
                        double most, struct error *e)
{
    char *end;

    t->number = text ? strtod(text, &end) : usual;
    if (text && (end == text || *end || !(t->number >= least && t->number <= most)))
        return error_set(e, FL_USAGE, "'%s': behind the colon comes a number %s %g to %g", spec,
                         least < 1 ? "above" : "from", least < 1 ? 0 : least, most);
    return FL_OK;
}

static int parse(struct traffic *t, const char *spec, struct error *e)
{
    size_t name = strcspn(spec, ":");
    const char *near, *number = spec[name] ? spec + name + 1 : NULL;

    for (int i = 0; i < KINDS; i++) {
        t->kind = (enum kind)i;
        if (strlen(names[i]) != name || strncmp(spec, names[i], name))
            continue;
        if (t->kind == ZIPF)
            return parse_number(t, spec, number, 1, DBL_MIN, ZIPF_S_MAX, e);
        if (t->kind == STREAM)
            return parse_number(t, spec, number, SCENE_FRAMES, 1, SCENE_MOST, e);
        if (!number)
            return FL_OK;
    }
    near = nearest_word(spec, names, KINDS);
    return error_set(e, FL_USAGE,
                     "traffic '%s' is unknown%s%s%s: order, shuffled, uniform, zipf:S or stream:N", spec,
                     near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static void rank_probabilities(struct traffic *t)
{
    double sum = 0;

    for (int64_t i = 0; i < t->records; i++)
        t->cumulative[i] = sum += pow((double)(i + 1), -t->number);
    for (int64_t i = 0; i < t->records; i++)
        t->cumulative[i] /= sum;
}

static int prepare(struct traffic *t, struct error *e)
{
    size_t n = (size_t)t->records;

    t->shown = calloc(n / 8 + 1, 1);
    if (t->kind == SHUFFLED || t->kind == ZIPF || t->kind == STREAM)
        t->order = malloc(n * sizeof *t->order);
    if (t->kind == ZIPF)
        t->cumulative = malloc(n * sizeof *t->cumulative);
    if (!t->shown || (t->kind != ORDER && t->kind != UNIFORM && !t->order) ||
        (t->kind == ZIPF && !t->cumulative))
        return error_set(e, FL_NOMEM, "no memory for the order of %lld records", (long long)t->records);
    for (int64_t i = 0; t->order && i < t->records; i++)
        t->order[i] = (int32_t)i;
    if (t->order)
        shuffle_order(&t->random, t->order, t->records);
    if (t->kind == ZIPF)
        rank_probabilities(t);
    return FL_OK;
}

int traffic_new(struct traffic **out, const char *spec, int64_t records, uint64_t seed, struct error *e)
{
    struct traffic *t = calloc(1, sizeof *t);
    int rc;

    *out = NULL;
    if (!t)
        return error_set(e, FL_NOMEM, "no memory for traffic");
    t->records = records;
    shuffle_seed(&t->random, seed, STREAM_PICKS);
    if (records < 1 || records >= RECORDS_LIMIT)
        rc = error_set(e, records < 1 ? FL_USAGE : FL_TOO_LARGE, "traffic needs 1 to 2^31 records, not %lld",
                       (long long)records);
    else if (!(rc = parse(t, spec, e)))
        rc = prepare(t, e);
    if (rc) {
        traffic_free(t);
        return rc;
    }
    *out = t;
    return FL_OK;
}

void traffic_free(struct traffic *t)
{
    if (!t)
        return;
    free(t->order);
    free(t->cumulative);
    free(t->shown);
    free(t);
}

/* The next of `order`; at its end a new order begins. */
static int64_t next_in_order(struct traffic *t)
{
    if (t->next == t->records) {
        t->next = 0;
        if (t->order)
            shuffle_order(&t->random, t->order, t->records);
    }
    return t->order ? t->order[t->next++] : t->next++;
}

/* The first rank whose cumulative probability is above a uniform number. */
static int64_t next_popular(struct traffic *t)
{
    double u = shuffle_uniform(&t->random);
    int64_t low = 0, high = t->records - 1;

    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (t->cumulative[middle] > u)
            high = middle;
        else
            low = middle + 1;
    }
    return t->order[low];
}

static int drift(struct traffic *t, int at)
{
    at += (int)shuffle_below(&t->random, 3) - 1;
    return at < -TRAFFIC_DRIFT ? -TRAFFIC_DRIFT : at > TRAFFIC_DRIFT ? TRAFFIC_DRIFT : at;
}

static struct traffic_pick next_frame(struct traffic *t)
{
    if (!t->began || shuffle_uniform(&t->random) < 1 / t->number) {
        t->began = true;
        t->frame = (struct traffic_pick){.record = next_in_order(t)};
    } else {
        t->frame.dx = drift(t, t->frame.dx);
        t->frame.dy = drift(t, t->frame.dy);
    }
    return t->frame;
}

struct traffic_pick traffic_next(struct traffic *t)
{
    struct traffic_pick pick = {0};

    t->picked++;
    switch (t->kind) {
    case UNIFORM:
        pick.record = shuffle_below(&t->random, (uint32_t)t->records);
        break;
    case ZIPF:
        pick.record = next_popular(t);
        break;
    case STREAM:
        pick = next_frame(t);
        break;
    default:
        pick.record = next_in_order(t);
    }
    return pick;
}

bool traffic_show(struct traffic *t, int64_t record)
{
    uint8_t *byte = &t->shown[record / 8], bit = (uint8_t)(1u << record % 8);
    bool before = (*byte & bit) != 0;

    *byte |= bit;
    return before;
}

int64_t traffic_picked(const struct traffic *t)
{
    return t->picked;
}

void traffic_skip(struct traffic *t, int64_t until)
{
    while (t->picked < until)
        traffic_next(t);
}

const char *traffic_name(const struct traffic *t)
{
    return names[t->kind];
}

double traffic_zipf_s(const struct traffic *t)
{
    return t->kind == ZIPF ? t->number : 0;
}

double traffic_scene_frames(const struct traffic *t)
{
    return t->kind == STREAM ? t->number : 0;
}

static int within(int at, int size)
{
    return at < 0 ? 0 : at >= size ? size - 1 : at;
}

void traffic_shift(const float *from, float *to, int channels, int height, int width, int dx, int dy)
{
    for (int c = 0; c < channels; c++, from += (int64_t)height * width)
        for (int y = 0; y < height; y++) {
            const float *row = from + (int64_t)within(y - dy, height) * width;
            for (int x = 0; x < width; x++)
                *to++ = row[within(x - dx, width)];
        }
}
