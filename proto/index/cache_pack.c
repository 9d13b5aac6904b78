/* cache_pack.c - a cache as bytes, and bytes as a cache
 *
 * Layout, little-endian, no padding between fields:
 *   header (struct pack_header), then sections (struct pack_section) x n_sections, then the arrays, each at a
 * multiple of 64. The checksum is XXH3-64 of all bytes after the checksum field. What is read may come from
 * anywhere: every length is checked against limits before it is used, every number for being finite, every
 * label for being a class.
 */
#include "cache_body.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "numbers/floats.h"
#include "wire/message.h"
#include "half.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "packed caches are little-endian");

#define PACK_MAGIC    "FLCACHE"
#define PACK_VERSION  3u
#define PACK_BEFORE   2u /* without sections of bytes: read too */
#define PACK_SECTIONS 12
#define PACK_ALIGN    64u

#define AGAINST_RUNNER_UP 1 /* what the confidence of a learned cache is; packs of before have 0 */

enum pack_dtype { PACK_F32 = 1, PACK_F16, PACK_I32, PACK_U32, PACK_I8 };
static const uint64_t dtype_size[] = {0, 4, 2, 4, 4, 1};

struct pack_header {
    char magic[8];
    uint64_t checksum;
    uint64_t size; /* of the whole */
    uint32_t version, n_sections;
    char kind[16];
    char exit[64];
    uint8_t identity[16];
    uint64_t epoch, tag;
    int32_t dim, nodes, classes, k; /* k: of knn; of learned, AGAINST_RUNNER_UP or 0 */
    int64_t entries, oldest;
    float threshold;
    int32_t side; /* of a map; 0: the projection is dense */
};
_Static_assert(sizeof(struct pack_header) == 184, "no padding in the header");

struct pack_section {
    char name[16];
    uint32_t dtype, reserved;
    uint64_t rows, cols, offset;
};
_Static_assert(sizeof(struct pack_section) == 48, "no padding in a section");

struct packer {
    struct pack_section section[PACK_SECTIONS];
    const void *data[PACK_SECTIONS];
    int n;
    float level[2 * CACHE_LEVELS]; /* losses in millionths, which a float has exactly; and thresholds */
};

static uint64_t align(uint64_t n)
{
    return (n + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN;
}

static void add(struct packer *p, const char *name, enum pack_dtype dtype, int64_t rows, int64_t cols,
                const void *data)
{
    struct pack_section *s = &p->section[p->n];
    memset(s, 0, sizeof *s);
    strncpy(s->name, name, sizeof s->name - 1);
    s->dtype = dtype;
    s->rows = (uint64_t)rows;
    s->cols = (uint64_t)cols;
    p->data[p->n++] = data;
}

/* Left out where there are none. */
static void add_levels(struct packer *p, const struct cache_levels *l)
{
    for (int i = 0; i < l->n; i++) {
        p->level[2 * i] = (float)l->of[i].loss_ppm;
        p->level[2 * i + 1] = l->of[i].threshold;
    }
    if (l->n > 0)
        add(p, "levels", PACK_F32, l->n, 2, p->level);
}

/* Panels as they lie in memory (int8.h), a row for each group, and the scales. */
static void add_bytes(struct packer *p, const char *name, const char *scale, const struct int8_rows *w)
{
    add(p, name, PACK_I8, w->groups, (int64_t)(int8_bytes(w) / (size_t)w->groups), w->panel);
    add(p, scale, PACK_F32, 1, (int64_t)w->groups * w->rows, w->scale);
}

static void add_projection(struct packer *p, const struct projection *j)
{
    int features = projection_features(j), width = j->map.width;
    add(p, "mean", PACK_F32, 1, features, j->mean);
    add(p, "scale", PACK_F32, 1, features, j->scale);
    add(p, "bias", PACK_F32, 1, (int64_t)projection_biases(j), j->bias);
    if (j->rounded) {
        add_bytes(p, "first8", "first_scale", &j->first);
        add_bytes(p, "second8", "second_scale", &j->second);
    } else if (j->map.side > 0) {
        int64_t first = MAP_TAPS * (int64_t)j->map.channels;
        add(p, "weights", PACK_F16, width, first, j->weights);
        add(p, "weights2", PACK_F16, width, MAP_TAPS * (int64_t)map_group(&j->map).width,
            j->weights + first * width);
    } else {
        add(p, "weights", PACK_F16, j->nodes, j->dim, j->weights);
    }
}

static void add_all(struct packer *p, const struct cache *c)
{
    const struct projection *j = c->projection;
    add_projection(p, j);
    if (c->kind == CACHE_KNN) {
        add(p, "points", PACK_F16, c->knn.points.n, j->nodes, c->knn.points.data);
        add(p, "label", PACK_I32, 1, c->knn.points.n, c->knn.label);
    } else if (c->kind == CACHE_LEARNED) {
        if (c->learned.rounded)
            add_bytes(p, "head8", "head_scale", &c->learned.bytes);
        else
            add(p, "head", PACK_F32, c->classes, j->nodes, c->learned.weights);
        add(p, "head_bias", PACK_F32, 1, c->classes, c->learned.bias);
    } else {
        add(p, "points", PACK_F16, c->kmeans.points.n, j->nodes, c->kmeans.points.data);
        add(p, "count", PACK_U32, c->kmeans.points.n, c->classes, c->kmeans.count);
    }
    add_levels(p, &c->levels);
}

static struct pack_header header_of(const struct cache *c, const struct packer *p, uint64_t size)
{
    struct cache_info i = cache_info(c);
    struct pack_header h;
    memset(&h, 0, sizeof h);
    memcpy(h.magic, PACK_MAGIC, sizeof h.magic);
    h.size = size;
    h.version = PACK_VERSION;
    h.n_sections = (uint32_t)p->n;
    memcpy(h.kind, i.kind, sizeof h.kind);
    memcpy(h.exit, i.exit, sizeof h.exit);
    memcpy(h.identity, i.identity, sizeof h.identity);
    h.epoch = c->epoch;
    h.tag = c->tag;
    h.dim = i.dim;
    h.nodes = i.nodes;
    h.classes = c->classes;
    h.entries = i.entries;
    h.threshold = c->threshold;
    h.side = c->projection->map.side;
    if (c->kind == CACHE_KNN) {
        h.k = c->knn.k;
        h.oldest = c->knn.oldest;
    } else if (c->kind == CACHE_LEARNED) {
        h.k = c->learned.against_all ? 0 : AGAINST_RUNNER_UP;
    }
    return h;
}

static uint64_t checksum(const uint8_t *data, size_t size)
{
    size_t from = offsetof(struct pack_header, size);
    return XXH3_64bits(data + from, size - from);
}

void cache_pack_seal(void *data, size_t size)
{
    struct pack_header h;
    memcpy(&h, data, sizeof h);
    h.checksum = checksum(data, size);
    memcpy(data, &h, sizeof h);
}

uint64_t cache_pack_digest(const void *data)
{
    struct pack_header h;
    memcpy(&h, data, sizeof h);
    return h.checksum;
}

int cache_pack(const struct cache *c, void **out, size_t *size)
{
    struct packer p = {.n = 0};
    struct pack_header h;
    uint64_t at;
    uint8_t *bytes;
    add_all(&p, c);
    at = align(sizeof h + (size_t)p.n * sizeof p.section[0]);
    for (int i = 0; i < p.n; i++) {
        p.section[i].offset = at;
        at = align(at + p.section[i].rows * p.section[i].cols * dtype_size[p.section[i].dtype]);
    }
    if (at > CACHE_MAX_BYTES)
        return FL_TOO_LARGE;
    bytes = calloc(1, at);
    if (bytes == NULL)
        return FL_NOMEM;
    h = header_of(c, &p, at);
    memcpy(bytes, &h, sizeof h);
    memcpy(bytes + sizeof h, p.section, (size_t)p.n * sizeof p.section[0]);
    for (int i = 0; i < p.n; i++) {
        size_t n = p.section[i].rows * p.section[i].cols * dtype_size[p.section[i].dtype];
        if (n > 0)
            memcpy(bytes + p.section[i].offset, p.data[i], n);
    }
    cache_pack_seal(bytes, at);
    *out = bytes;
    *size = at;
    return FL_OK;
}

/* --- reading --- */

static bool named(const char *field, size_t size)
{
    return field[0] != 0 && memchr(field, 0, size) != NULL;
}

static int check_header(const struct pack_header *h, const uint8_t *data, size_t size,
                        const uint8_t *identity, struct error *e)
{
    if (memcmp(h->magic, PACK_MAGIC, sizeof h->magic) != 0)
        return error_set(e, FL_CORRUPT, "this is no packed cache (wrong magic)");
    if (h->version != PACK_VERSION && h->version != PACK_BEFORE)
        return error_set(e, FL_UNSUPPORTED,
                         "the cache has format version %u, this build reads %u: build it again", h->version,
                         PACK_VERSION);
    if (h->size != size)
        return error_set(e, FL_CORRUPT, "the cache says it has %llu bytes but %zu are there",
                         (unsigned long long)h->size, size);
    if (h->checksum != checksum(data, size))
        return error_set(e, FL_CORRUPT,
                         "the cache's checksum does not match: it was damaged, build or publish it again");
    if (!named(h->kind, sizeof h->kind) || !named(h->exit, sizeof h->exit))
        return error_set(e, FL_CORRUPT, "the cache's kind or exit name is not a string");
    if (identity != NULL && memcmp(identity, h->identity, sizeof h->identity) != 0)
        return error_set(e, FL_STALE,
                         "the cache of %s was built for another model (network, `input`, precision or "
                         "labels): run `freezeline "
                         "build` again",
                         h->exit);
    if (h->side < 0 || h->dim < 1 || h->dim > PROJECTION_MAX_DIM || h->nodes < 1 ||
        h->nodes > PROJECTION_MAX_NODES || h->classes < 1 || h->classes > CACHE_MAX_CLASSES ||
        h->entries < 0 || h->entries > POINTS_MAX || isnan(h->threshold))
        return error_set(e, FL_CORRUPT, "the cache of %s has sizes out of range", h->exit);
    if (h->n_sections > PACK_SECTIONS || sizeof *h + h->n_sections * sizeof(struct pack_section) > size)
        return error_set(e, FL_CORRUPT, "the cache of %s has too many sections", h->exit);
    return FL_OK;
}

struct unpacker {
    const uint8_t *data;
    size_t size;
    const struct pack_header *header;
    bool in_place; /* arrays stay where they are */
    struct error *e;
    int rc; /* of the first array that could not be had: none is looked for after it */
};

static void *array_new(enum pack_dtype dtype, uint64_t n)
{
    if (dtype == PACK_I8) /* whole vectors of it are read */
        return aligned_alloc(PACK_ALIGN, align(n + 1));
    return dtype == PACK_F16 ? (void *)half_alloc(n) : malloc(n * dtype_size[dtype] + 1);
}

static bool find(const struct unpacker *u, const char *name, struct pack_section *s)
{
    for (uint32_t i = 0; i < u->header->n_sections; i++) {
        memcpy(s, u->data + sizeof *u->header + i * sizeof *s, sizeof *s);
        if (strncmp(s->name, name, sizeof s->name) == 0)
            return true;
    }
    return false;
}

/* The number of rows of a section; 0: it is not there. */
static uint64_t rows_of(const struct unpacker *u, const char *name)
{
    struct pack_section s;
    return find(u, name, &s) ? s.rows : 0;
}

/* A section of exactly this type and shape, as an array of the cache's own or where it lies; NULL: u->rc says
 * why. rows x cols is within the limits above: no overflow. */
static void *take(struct unpacker *u, const char *name, enum pack_dtype dtype, int64_t rows, int64_t cols)
{
    uint64_t n = (uint64_t)rows * (uint64_t)cols, bytes = n * dtype_size[dtype];
    struct pack_section s;
    void *to;
    if (!u->rc && find(u, name, &s) && s.dtype == dtype && s.rows == (uint64_t)rows &&
        s.cols == (uint64_t)cols && s.offset <= u->size && bytes <= u->size - s.offset &&
        s.offset % PACK_ALIGN == 0) {
        if (u->in_place)
            return (void *)(uintptr_t)(u->data + s.offset);
        if (!(to = array_new(dtype, n)))
            u->rc = error_set(u->e, FL_NOMEM, "no memory for the cache of %s", u->header->exit);
        else if (bytes > 0)
            memcpy(to, u->data + s.offset, bytes);
        return to;
    }
    if (!u->rc)
        u->rc = error_set(u->e, FL_CORRUPT, "the cache of %s lacks a well-formed section '%s'",
                          u->header->exit, name);
    return NULL;
}

/* Panels and scales of `groups` groups of rows, and sums of their own. */
static void take_bytes(struct unpacker *u, const char *name, const char *scale, struct int8_rows *w,
                       int groups, int rows, int cols)
{
    struct int8_rows shape = {.groups = groups, .rows = rows, .cols = cols, .borrowed = u->in_place};
    *w = shape;
    if (!u->rc && cols > INT8_MAX_COLS)
        u->rc = error_set(u->e, FL_CORRUPT, "the cache of %s has rows of %d bytes", u->header->exit, cols);
    w->panel = take(u, name, PACK_I8, groups, (int64_t)(int8_bytes(&shape) / (size_t)groups));
    w->scale = take(u, scale, PACK_F32, 1, (int64_t)groups * rows);
    if (u->rc)
        return;
    if (!floats_finite(w->scale, (int64_t)groups * rows))
        u->rc =
            error_set(u->e, FL_CORRUPT, "the cache of %s has a scale that is not finite", u->header->exit);
    else if (int8_measure(w) != FL_OK)
        u->rc = error_set(u->e, FL_NOMEM, "no memory for the cache of %s", u->header->exit);
}

static void take_rounded(struct unpacker *u, struct projection *p)
{
    const struct map *m = &p->map;
    int width = map_group(m).width;
    p->rounded = true;
    take_bytes(u, "first8", "first_scale", &p->first, 1, m->width, MAP_TAPS * m->channels);
    take_bytes(u, "second8", "second_scale", &p->second, m->width / width, width, MAP_TAPS * width);
}

/* The weights of a map are one array: in place where its second section lies right behind the first one. */
static void take_map_weights(struct unpacker *u, struct projection *p)
{
    int64_t width = p->map.width, first = MAP_TAPS * (int64_t)p->map.channels,
            second = MAP_TAPS * (int64_t)map_group(&p->map).width;
    bool in_place = u->in_place;
    uint16_t *a, *b;
    u->in_place = true;
    a = take(u, "weights", PACK_F16, width, first);
    b = take(u, "weights2", PACK_F16, width, second);
    u->in_place = in_place;
    if (u->rc)
        return;
    p->weights_borrowed = in_place && b == a + width * first;
    if (p->weights_borrowed) {
        p->weights = a;
    } else if (!(p->weights = half_alloc(projection_weights(p)))) {
        u->rc = error_set(u->e, FL_NOMEM, "no memory for the cache of %s", u->header->exit);
    } else {
        memcpy(p->weights, a, (size_t)(width * first) * sizeof *a);
        memcpy(p->weights + width * first, b, (size_t)(width * second) * sizeof *b);
    }
}

static int take_projection(struct unpacker *u, struct projection *p)
{
    int features = projection_features(p), biases = (int)projection_biases(p);
    p->borrowed = p->weights_borrowed = u->in_place;
    p->mean = take(u, "mean", PACK_F32, 1, features);
    p->scale = take(u, "scale", PACK_F32, 1, features);
    p->bias = take(u, "bias", PACK_F32, 1, biases);
    if (p->map.side > 0 && rows_of(u, "first8") > 0)
        take_rounded(u, p);
    else if (p->map.side > 0)
        take_map_weights(u, p);
    else
        p->weights = take(u, "weights", PACK_F16, p->nodes, p->dim);
    if (u->rc)
        return u->rc;
    if (!floats_finite(p->mean, features) || !floats_finite(p->scale, features) ||
        !floats_finite(p->bias, biases) ||
        (!p->rounded && !half_all_finite(p->weights, projection_weights(p))))
        return error_set(u->e, FL_CORRUPT, "the projection of %s has numbers that are not finite",
                         u->header->exit);
    return FL_OK;
}

/* How many groups the second convolution has: its section has a row for each, or says how many channels each
 * output looks at. */
static int groups_of(const struct unpacker *u, int width)
{
    struct pack_section s;
    uint64_t of_one, rows = rows_of(u, "second8");
    if (rows > 0)
        return rows <= (uint64_t)width && (uint64_t)width % rows == 0 ? (int)rows : 1;
    if (!find(u, "weights2", &s) || s.cols % MAP_TAPS != 0)
        return 1;
    of_one = s.cols / MAP_TAPS;
    return of_one > 0 && of_one <= (uint64_t)width && (uint64_t)width % of_one == 0 ? width / (int)of_one : 1;
}

/* The shape that a pack tells of: 0 x 0 when it is none, or when its weights would not fit into its size. */
static struct map map_of(const struct unpacker *u)
{
    static const struct map none = {0, 0, 0, 0};
    const struct pack_header *h = u->header;
    struct map m = {h->side, h->side > 0 ? h->dim / h->side / h->side : 0, 1, 1};
    int last = map_valid(&m) ? map_last(&m) : 0;
    uint64_t most = rows_of(u, "first8") > 0 ? u->size : u->size / 2;
    if (last < 1 || h->nodes % (last * last) != 0)
        return none;
    m.width = h->nodes / (last * last);
    m.groups = groups_of(u, m.width);
    if (!map_valid(&m) || m.side * m.side * m.channels != h->dim ||
        MAP_TAPS * ((uint64_t)m.channels + (uint64_t)map_group(&m).width) * (uint64_t)m.width > most)
        return none;
    return m;
}

static int new_projection(struct projection **out, const struct unpacker *u)
{
    const struct pack_header *h = u->header;
    struct map map = map_of(u);
    int rc;
    if (h->side != 0 ? map.side == 0 : (uint64_t)h->dim * (uint64_t)h->nodes > u->size / 2)
        return error_set(u->e, FL_CORRUPT,
                         "the cache of %s is shorter than its sizes say, or they contradict", h->exit);
    rc = projection_empty(out, h->dim, h->nodes, &map);
    return rc == FL_OK ? rc : error_set(u->e, rc, "no memory for the cache of %s", h->exit);
}

static int take_knn(struct unpacker *u, struct cache *c)
{
    const struct pack_header *h = u->header;
    c->knn.k = h->k;
    c->knn.oldest = h->oldest;
    if (!(c->knn.label = take(u, "label", PACK_I32, 1, h->entries)))
        return u->rc;
    if (h->k < 1 || h->k > KNN_MAX_K || h->oldest < 0 || h->oldest > h->entries)
        return error_set(u->e, FL_CORRUPT, "the cache of %s has k or its ring out of range", h->exit);
    for (int64_t i = 0; i < h->entries; i++) {
        if (c->knn.label[i] < 0 || c->knn.label[i] >= h->classes)
            return error_set(u->e, FL_CORRUPT, "the cache of %s has a label that is no class", h->exit);
    }
    return FL_OK;
}

static int take_kmeans(struct unpacker *u, struct cache *c)
{
    c->kmeans.count = take(u, "count", PACK_U32, u->header->entries, u->header->classes);
    return u->rc;
}

static int take_learned(struct unpacker *u, struct cache *c)
{
    const struct pack_header *h = u->header;
    struct predictor *p = &c->learned;
    p->nodes = h->nodes;
    p->classes = h->classes;
    p->against_all = h->k != AGAINST_RUNNER_UP;
    p->borrowed = u->in_place;
    p->rounded = rows_of(u, "head8") > 0;
    if (p->rounded)
        take_bytes(u, "head8", "head_scale", &p->bytes, 1, h->classes, h->nodes);
    else
        p->weights = take(u, "head", PACK_F32, h->classes, h->nodes);
    p->bias = take(u, "head_bias", PACK_F32, 1, h->classes);
    if (u->rc)
        return u->rc;
    if ((!p->rounded && !floats_finite(p->weights, (int64_t)h->classes * h->nodes)) ||
        !floats_finite(p->bias, h->classes))
        return error_set(u->e, FL_CORRUPT, "the predictor of %s has numbers that are not finite", h->exit);
    return FL_OK;
}

static int take_points(struct unpacker *u, struct cache *c)
{
    struct points *p = cache_points(c);
    int64_t n = u->header->entries;
    p->nodes = u->header->nodes;
    p->borrowed = u->in_place;
    if (!(p->data = take(u, "points", PACK_F16, n, p->nodes)))
        return u->rc;
    if (!(p->norm2 = malloc((size_t)(n > 0 ? n : 1) * sizeof *p->norm2)))
        return error_set(u->e, FL_NOMEM, "no memory for the points of %s", u->header->exit);
    if (!half_all_finite(p->data, (size_t)n * (size_t)p->nodes))
        return error_set(u->e, FL_CORRUPT, "the cache of %s has points that are not finite", u->header->exit);
    p->n = p->capacity = n;
    points_measure(p);
    return FL_OK;
}

static int take_levels(struct unpacker *u, struct cache_levels *l)
{
    uint64_t n = rows_of(u, "levels");
    bool in_place = u->in_place, ok = n <= CACHE_LEVELS;
    const float *level;
    u->in_place = true; /* they are copied here */
    level = ok && n > 0 ? take(u, "levels", PACK_F32, (int64_t)n, 2) : NULL;
    u->in_place = in_place;
    if (level == NULL && ok)
        return u->rc;
    l->n = (int)n;
    for (int i = 0; ok && i < l->n; i++) {
        float loss = level[2 * i], threshold = level[2 * i + 1];
        ok = loss >= 0 && loss <= (float)SHARE_PPM && !isnan(threshold) &&
             (i == 0 || (loss < level[2 * i - 2] && threshold >= level[2 * i - 1]));
        l->of[i] = (struct cache_level){ok ? (uint32_t)loss : 0, threshold};
    }
    return ok ? FL_OK
              : error_set(u->e, FL_CORRUPT, "the cache of %s has levels that are none", u->header->exit);
}

static int take_cache(struct unpacker *u, struct cache *c)
{
    const struct pack_header *h = u->header;
    int rc;
    memcpy(c->exit, h->exit, sizeof c->exit);
    memcpy(c->identity, h->identity, sizeof c->identity);
    c->epoch = h->epoch;
    c->tag = h->tag;
    c->digest = h->checksum;
    c->threshold = h->threshold;
    c->borrowed = u->in_place;
    rc = take_projection(u, c->projection);
    if (rc == FL_OK)
        rc = take_levels(u, &c->levels);
    if (rc == FL_OK && c->kind == CACHE_LEARNED)
        return take_learned(u, c);
    if (rc == FL_OK)
        rc = c->kind == CACHE_KNN ? take_knn(u, c) : take_kmeans(u, c);
    return rc == FL_OK ? take_points(u, c) : rc;
}

/* A copy of the header is what counts: it is read once. */
static int open_pack(struct cache **out, const void *data, size_t size, const uint8_t *identity,
                     bool in_place, struct error *e)
{
    struct pack_header h;
    struct unpacker u = {data, size, &h, in_place, e, FL_OK};
    struct projection *p = NULL;
    struct cache *c = NULL;
    enum cache_kind kind;
    int rc;
    if (size < sizeof h)
        return error_set(e, FL_CORRUPT, "%zu bytes are too few for a packed cache", size);
    if (size > CACHE_MAX_BYTES)
        return error_set(e, FL_TOO_LARGE, "%zu bytes are too many for a packed cache (at most %llu)", size,
                         CACHE_MAX_BYTES);
    memcpy(&h, data, sizeof h);
    rc = check_header(&h, data, size, identity, e);
    if (rc != FL_OK)
        return rc;
    if (cache_kind_parse(h.kind, &kind) != FL_OK)
        return error_set(e, FL_UNSUPPORTED, "the cache of %s is of a kind that this build does not have",
                         h.exit);
    /* The arrays lie in `size` bytes: sizes that could not are refused before memory is taken for them. */
    if ((uint64_t)h.entries * (uint64_t)h.nodes > size / 2 ||
        (kind == CACHE_KMEANS && (uint64_t)h.entries * (uint64_t)h.classes > size / 4) ||
        (kind == CACHE_LEARNED && (uint64_t)h.nodes * (uint64_t)h.classes > size))
        return error_set(e, FL_CORRUPT, "the cache of %s is shorter than its sizes say", h.exit);
    rc = new_projection(&p, &u);
    if (rc != FL_OK)
        return rc;
    rc = cache_new(&c, kind, p, h.classes);
    projection_release(p);
    if (rc != FL_OK)
        return error_set(e, rc, "no memory for the cache of %s", h.exit);
    rc = take_cache(&u, c);
    if (rc != FL_OK) {
        cache_free(c);
        return rc;
    }
    *out = c;
    return FL_OK;
}

int cache_unpack(struct cache **out, const void *data, size_t size, const uint8_t *identity, struct error *e)
{
    return open_pack(out, data, size, identity, false, e);
}

int cache_map(struct cache **out, const void *data, size_t size, const uint8_t *identity, struct error *e)
{
    if ((uintptr_t)data % PACK_ALIGN)
        return error_set(e, FL_VALUE, "a packed cache must lie at a multiple of %u", PACK_ALIGN);
    return open_pack(out, data, size, identity, true, e);
}

/* By way of its packed form. */
static int copy(struct cache **out, const struct cache *c)
{
    void *data;
    size_t size;
    int rc = cache_pack(c, &data, &size);
    if (rc != FL_OK)
        return rc;
    rc = cache_unpack(out, data, size, NULL, NULL);
    free(data);
    return rc;
}

int cache_with_threshold(struct cache **out, const struct cache *c, float threshold,
                         const struct cache_levels *levels)
{
    int rc = copy(out, c);
    if (rc != FL_OK)
        return rc;
    (*out)->threshold = threshold;
    (*out)->levels = *levels;
    (*out)->digest = 0;
    return FL_OK;
}

int cache_sealed(struct cache **out, const struct cache *c, float threshold,
                 const struct cache_levels *levels, uint64_t epoch)
{
    struct cache *changed;
    int rc = cache_with_threshold(&changed, c, threshold, levels);
    if (rc != FL_OK)
        return rc;
    changed->epoch = epoch;
    rc = copy(out, changed);
    cache_free(changed);
    return rc;
}
