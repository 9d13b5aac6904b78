/* fuzz_image.c - any bytes as a picture: whole pixels of a bounded size, or refused in one line */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "picture/image.h"

#define MOST_PIXELS (1 << 18) /* a head of 150 bytes may ask for a second's work */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e = {FL_OK, ""};
    struct image i;
    uint64_t sum = 0;

    if (image_decode_within(&i, data, size, "picture", MOST_PIXELS, &e)) {
        need(!i.rgb && e.text[0] && !strchr(e.text, '\n'));
        return 0;
    }
    need(i.width > 0 && i.height > 0 && (int64_t)i.width * i.height <= MOST_PIXELS && i.orientation >= 1 &&
         i.orientation <= 8);
    for (int64_t k = 0; k < 3ll * i.width * i.height; k++)
        sum += i.rgb[k];
    need(sum <= 3ull * 255 * MOST_PIXELS); /* every pixel was read */
    image_release(&i);
    return 0;
}
