/* digest.c - xxh3-128 in its canonical byte order, and sixteen bytes in hexadecimal */
#include "digest.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

void digest_of(uint8_t out[DIGEST_BYTES], const void *bytes, size_t size)
{
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, XXH3_128bits(bytes, size));
    memcpy(out, c.digest, DIGEST_BYTES);
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
