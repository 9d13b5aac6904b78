/* digest.c - xxh3-128 in its canonical byte order, and sixteen bytes in hexadecimal */
#include "digest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define CHUNK_BYTES (1u << 20)

void digest_of(uint8_t out[DIGEST_BYTES], const void *bytes, size_t size)
{
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, XXH3_128bits(bytes, size));
    memcpy(out, c.digest, DIGEST_BYTES);
}

/* Feeds the whole file to `state`, by `chunk`. */
static int feed_file(XXH3_state_t *state, char *chunk, uint64_t *bytes, const char *path, struct error *e)
{
    FILE *f = fopen(path, "re");
    size_t n;
    int rc = FL_OK;

    if (!f)
        return error_set(e, errno == ENOENT ? FL_NOT_FOUND : FL_IO, "cannot open %s: %s", path,
                         strerror(errno));
    setvbuf(f, NULL, _IONBF, 0);
    XXH3_128bits_reset(state);
    for (*bytes = 0; (n = fread(chunk, 1, CHUNK_BYTES, f)) > 0; *bytes += n)
        XXH3_128bits_update(state, chunk, n);
    if (ferror(f))
        rc = error_set(e, FL_IO, "cannot read %s: %s", path, strerror(errno));
    fclose(f);
    return rc;
}

int digest_of_file(uint8_t out[DIGEST_BYTES], uint64_t *bytes, const char *path, struct error *e)
{
    XXH3_state_t *state = XXH3_createState();
    char *chunk = malloc(CHUNK_BYTES);
    XXH128_canonical_t c;
    int rc = state && chunk ? feed_file(state, chunk, bytes, path, e) : error_set(e, FL_NOMEM, "no memory");

    if (!rc) {
        XXH128_canonicalFromHash(&c, XXH3_128bits_digest(state));
        memcpy(out, c.digest, DIGEST_BYTES);
    }
    XXH3_freeState(state);
    free(chunk);
    return rc;
}

void digest_add(uint8_t digest[DIGEST_BYTES], const void *bytes, size_t size)
{
    uint8_t both[2 * DIGEST_BYTES];
    memcpy(both, digest, DIGEST_BYTES);
    digest_of(both + DIGEST_BYTES, bytes, size);
    digest_of(digest, both, sizeof both);
}

uint64_t digest_short(const uint8_t digest[DIGEST_BYTES])
{
    uint64_t n = 0;
    for (int i = 0; i < 8; i++)
        n = n << 8 | digest[i];
    return n;
}

char *digest_text(const uint8_t digest[DIGEST_BYTES], char text[DIGEST_TEXT_BYTES])
{
    for (int i = 0; i < DIGEST_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return text;
}
