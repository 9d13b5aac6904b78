/* shapes.h - pictures of ten shapes, from trivial to ambiguous, made up by rule
 *
 * The demo's data. Each picture is 32x32 RGB in CIFAR-10's layout (planes R, G, B) and shows one of ten
 * shapes or textures. Its difficulty decides contrast, noise, blur, rotation, clutter, what lies over the
 * shape, and whether the shape is on its way to becoming another one: near half-way nobody can tell which it
 * was. Six in ten are easy.
 *
 * A picture is a function of (seed, index) alone: no state, any thread, the same bytes on every machine (no
 * libm but sqrtf, no fused multiply-add).
 */
#ifndef FREEZELINE_SHAPES_H
#define FREEZELINE_SHAPES_H

#include <stdint.h>

#define SHAPES_CLASSES 10
#define SHAPES_SIDE    32
#define SHAPES_PIXELS  (SHAPES_SIDE * SHAPES_SIDE)
#define SHAPES_BYTES   (3 * SHAPES_PIXELS)
#define SHAPES_RECORD  (1 + SHAPES_BYTES) /* label byte, then the planes */

/* What a picture was made from. */
struct shapes_truth {
    int label;
    int rival;        /* what the shape is becoming; == label when it is not */
    float morph;      /* how far: 0 (it is not), or up to 0.5 */
    float difficulty; /* 0 to 1; easy is below SHAPES_EASY */
};

#define SHAPES_EASY 0.25f

/* How far a shape that morphs has gone at least: what requests are made with, and a gentler start for
 * training. */
#define SHAPES_MORPH_FROM 0.35f

/* Draws picture `index` of the endless row that `seed` names. Morphs run from `morph_from` (0 to 0.5) to 0.5.
 * `truth` may be NULL. Returns the label. */
int shapes_draw(uint64_t seed, uint64_t index, float morph_from, uint8_t planes[SHAPES_BYTES],
                struct shapes_truth *truth);

/* "disc", "ring", ...; NULL for a number that is no class. */
const char *shapes_label(int label);

#endif
