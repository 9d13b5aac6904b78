/* cancel_set.c - a 4-way set-associative table */
#include "cancel_set.h"

static unsigned set_of(uint64_t id)
{
    return (unsigned)(id * 0x9e3779b97f4a7c15u >> 54); /* the top 10 bits: CANCEL_SETS */
}

bool cancel_set_has(const struct cancel_set *s, uint64_t id)
{
    const uint64_t *way = s->id[set_of(id)];
    return s->used && (way[0] == id || way[1] == id || way[2] == id || way[3] == id);
}

void cancel_set_add(struct cancel_set *s, uint64_t id)
{
    unsigned set = set_of(id);
    if (!s->used)
        *s = (struct cancel_set){.used = true};
    if (cancel_set_has(s, id))
        return;
    s->id[set][s->oldest[set]] = id;
    s->oldest[set] = (uint8_t)((s->oldest[set] + 1) % CANCEL_WAYS);
}
