/* map.h - descriptors that are maps of cells, and the 3x3 patches of which convolutions are made
 *
 * A map lies in memory as [row][column][channel]. Where a descriptor is one, a learned cache looks at it with
 * two 3x3 convolutions: the first with padding 1 and a stride that leaves at most half of a side of 5 or
 * more, the second without padding. As matrix products: rows of patches times weights. Channels may be in
 * groups: the second convolution of a group looks at what the first one of that group makes, and at nothing
 * else. What a group makes lies together: [group][row][column][channel of the group]. Pure functions.
 */
#ifndef FREEZELINE_MAP_H
#define FREEZELINE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAP_TAPS      9
#define MAP_MIN_SIDE  3
#define MAP_MAX_SIDE  64
#define MAP_MAX_WIDTH 4096

struct map {
    int side, channels; /* [side][side][channels]; side 0: the descriptor is no map */
    int width;          /* channels that either convolution makes */
    int groups;         /* of these, of equal width; 0 is 1 */
};

/* Whether convolutions can be taken of it. */
bool map_valid(const struct map *m);
/* One group alone. */
struct map map_group(const struct map *m);
int map_middle(const struct map *m); /* side of what the first convolution makes */
int map_last(const struct map *m);   /* side of what the second one makes */
int map_nodes(const struct map *m);  /* last x last x width */
int64_t map_multiply_adds(const struct map *m);

/* rows x 9 x channels: for each place of the result, row by row, the 3x3 cells of `in` (side x side x
 * channels) that it is made of; zeros beyond the edge. First: stride and padding of the first convolution.
 * Second: of a map without groups. */
void map_first_patches(const struct map *m, const float *in, float *patches);
void map_second_patches(const struct map *m, const float *in, float *patches);
/* The same of maps of bytes: `zero` beyond the edge; patches begin `stride` bytes apart. */
void map_first_bytes(const struct map *m, const uint8_t *in, uint8_t zero, uint8_t *patches, size_t stride);
void map_second_bytes(const struct map *m, const uint8_t *in, uint8_t *patches, size_t stride);
/* The other way: adds each patch of the second convolution to the cells that it was taken from. `out` is
 * cleared first. */
void map_sum_second_patches(const struct map *m, const float *patches, float *out);

#endif
