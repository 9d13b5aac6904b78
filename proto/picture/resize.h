/* resize.h - resizing of 8-bit pictures, number for number as Pillow does it (torchvision's Resize of PIL
 * images)
 *
 * Filters widen as pictures shrink (antialiasing). Columns first, rounded to bytes, then rows; weights are
 * whole numbers of 22 bits. Only the part of the result that is asked for is computed.
 */
#ifndef FREEZELINE_RESIZE_H
#define FREEZELINE_RESIZE_H

#include <stdbool.h>
#include <stdint.h>

/* The result has `width` x `height` pixels, of which the window is wanted. */
struct resize_target {
    int64_t width, height;
    int64_t left, top; /* of the window, which lies inside */
    int window_width, window_height;
};

/* From [height][width][channels] to the window, [window_height][window_width][channels]; 1 to 4 channels,
 * sides of the source up to 65536. False: no memory. */
bool resize_pixels(const uint8_t *from, int width, int height, int channels, const char *filter,
                   const struct resize_target *to, uint8_t *out);

#endif
