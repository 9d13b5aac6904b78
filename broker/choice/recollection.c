/* recollection.c - a table by the hash of a request's id */
#include "recollection.h"

#include <string.h>

static struct recollection *place_of(struct recollection *table, uint64_t id)
{
    return &table[(id * 0x9e3779b97f4a7c15u >> 32) % RECOLLECTION_MOST];
}

void recollection_keep(struct recollection *table, const struct choice_course *x, int served)
{
    struct recollection *r = place_of(table, x->id);
    *r = (struct recollection){x->id, x->context, x->came, served, (float)x->chance, {0}};
    memcpy(r->label, x->label, sizeof r->label);
}

struct recollection *recollection_find(struct recollection *table, uint64_t id)
{
    struct recollection *r = place_of(table, id);
    return id && r->id == id ? r : NULL;
}
