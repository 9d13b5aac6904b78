/* settings.c - see settings.h */
#include "settings.h"

void settings_init(struct settings *s, const struct pipeline *p)
{
    (void)p;
    atomic_init(&s->unloaded, false);
}
