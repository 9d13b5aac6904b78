/* arena.h - place buffers that live at different times in one block of memory
 *
 * Pure: works on numbers. Buffers whose lives overlap never share a byte, unless one takes over the other's
 * storage.
 */
#ifndef FREEZELINE_ARENA_H
#define FREEZELINE_ARENA_H

#include <stddef.h>

struct arena_item {
    size_t bytes;    /* 0: nothing is placed, offset 0 */
    int first, last; /* steps in which it lives, both inclusive */
    int takes; /* the item whose storage it takes over, which must live until `first` and be no smaller; or
                * -1. Those that take come after those that are taken. */
    size_t offset; /* set by arena_plan, a multiple of 64 */
};

/* Sets the offsets: greedy by size, each at the lowest place that is free during its life. *total gets the
 * size of the block. FL_NOMEM. */
int arena_plan(struct arena_item *item, int n, size_t *total);

#endif
