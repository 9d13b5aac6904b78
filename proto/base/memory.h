/* memory.h - large objects of which only a part is cleared */
#ifndef FREEZELINE_MEMORY_H
#define FREEZELINE_MEMORY_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* `size` bytes whose first `cleared` are zero; NULL: no memory. What lies behind holds scratch, and arrays
 * whose counters say what is in use: clearing those is most of what it costs to make a brain. */
static inline void *memory_cleared(size_t size, size_t cleared)
{
    void *p = malloc(size);
    if (p)
        memset(p, 0, cleared);
    return p;
}

#endif
