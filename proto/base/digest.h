/* digest.h - sixteen bytes that stand for a content (xxh3-128); as text they are hexadecimal
 *
 * Digests tell contents apart that differ by accident; they keep nobody out who wants in.
 */
#ifndef FREEZELINE_DIGEST_H
#define FREEZELINE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define DIGEST_BYTES      16
#define DIGEST_TEXT_BYTES (2 * DIGEST_BYTES + 1)

/* Of these bytes alone. */
void digest_of(uint8_t out[DIGEST_BYTES], const void *bytes, size_t size);
/* Of what is in a file, and how much that is. FL_NOT_FOUND, FL_IO, FL_NOMEM. */
int digest_of_file(uint8_t out[DIGEST_BYTES], uint64_t *bytes, const char *path, struct error *e);
/* Of what `digest` stood for, and these bytes after it. Each call is a part of its own: "ab" then "c" is not
 * "a" then "bc". */
void digest_add(uint8_t digest[DIGEST_BYTES], const void *bytes, size_t size);

/* Its first eight bytes as a number, where a message has room for no more. */
uint64_t digest_short(const uint8_t digest[DIGEST_BYTES]);

/* Returns `text`. */
char *digest_text(const uint8_t digest[DIGEST_BYTES], char text[DIGEST_TEXT_BYTES]);

#endif
