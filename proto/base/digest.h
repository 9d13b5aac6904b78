/* digest.h - a model's digest as text: hexadecimal, in files and for people */
#ifndef FREEZELINE_DIGEST_H
#define FREEZELINE_DIGEST_H

#include <stdint.h>

#define DIGEST_BYTES      16
#define DIGEST_TEXT_BYTES (2 * DIGEST_BYTES + 1)

/* Returns `text`. */
char *digest_text(const uint8_t digest[DIGEST_BYTES], char text[DIGEST_TEXT_BYTES]);

#endif
