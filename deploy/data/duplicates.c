/* duplicates.c - digests of all pictures, sorted */
#include "duplicates.h"

#include <stdlib.h>
#include <xxhash.h>

/* A record and a digest of its pixels. */
struct digest {
    uint64_t pixels;
    int64_t record;
};

static int by_pixels(const void *a, const void *b)
{
    const struct digest *x = a, *y = b;

    if (x->pixels != y->pixels)
        return x->pixels < y->pixels ? -1 : 1;
    return (x->record > y->record) - (x->record < y->record);
}

/* Sorted, malloc'ed; NULL when out of memory. Not the bytes of the files: the same picture may lie there as
 * bytes and as floats. */
static struct digest *digest_all(const struct dataset *data)
{
    struct tensor shape = dataset_shape(data);
    size_t bytes = (size_t)tensor_bytes(&shape);
    int64_t n = dataset_count(data);
    struct digest *all = malloc(((size_t)n + 1) * sizeof *all);
    void *image = malloc(bytes + 1);

    for (int64_t i = 0; all && image && i < n; i++) {
        dataset_image(data, i, image);
        all[i] = (struct digest){XXH3_64bits(image, bytes), i};
    }
    if (all && image)
        qsort(all, (size_t)n, sizeof *all, by_pixels);
    else {
        free(all);
        all = NULL;
    }
    free(image);
    return all;
}

/* c[0..n): one picture of the calibration data, records ascending. t: the same in the
 * training data, or NULL. */
static void count_picture(struct duplicates *out, const struct digest *c, int64_t n, const struct digest *t)
{
    if (!t)
        out->distinct++;
    if (!t && n > 1 && (out->repeat < 0 || c[1].record < out->repeat)) {
        out->repeated = c[0].record;
        out->repeat = c[1].record;
    }
    if (!t)
        return;
    if (!out->shared || c[0].record < out->shared_with) {
        out->shared_train = t->record;
        out->shared_with = c[0].record;
    }
    out->shared += n;
    for (int64_t i = 0; i < n; i++)
        out->is_shared[c[i].record] = true;
}

int duplicates_find(struct duplicates *out, const struct dataset *train, const struct dataset *calibrate,
                    struct error *e)
{
    struct digest *t = digest_all(train), *c = digest_all(calibrate);
    int64_t n_train = dataset_count(train), n = dataset_count(calibrate), at = 0, same;
    int rc;

    *out = (struct duplicates){
        .repeated = -1, .repeat = -1, .is_shared = calloc((size_t)n + 1, sizeof *out->is_shared)};
    rc = t && c && out->is_shared ? FL_OK : error_set(e, FL_NOMEM, "no memory to compare the data");
    for (int64_t i = 0; !rc && i < n; i += same) {
        for (same = 1; i + same < n && c[i + same].pixels == c[i].pixels;)
            same++;
        while (at < n_train && t[at].pixels < c[i].pixels)
            at++;
        count_picture(out, c + i, same, at < n_train && t[at].pixels == c[i].pixels ? t + at : NULL);
    }
    free(t);
    free(c);
    return rc;
}

void duplicates_release(struct duplicates *d)
{
    free(d->is_shared);
    d->is_shared = NULL;
}
