/* mischief.h - how faults begin and end, and what must hold then: the functions of the table in mischief.c */
#ifndef FREEZELINE_TEST_MISCHIEF_H
#define FREEZELINE_TEST_MISCHIEF_H

#include "siege.h"

/* Words before `up` in which %1$s is where the programs are, %2$s the siege's folder. */
#define CLOCK_STEP "env LD_PRELOAD=%1$s/tests/faults/real/clock_step.so FREEZELINE_CLOCK_STEP=%2$s/clock"

/* Has a name one of these beginnings (words)? */
bool mischief_is_of(const char *name, const char *beginnings);
/* Draws t->name[i] and t->process[i] among living members of those names, none twice. FL_NOT_FOUND. */
int mischief_draw(struct siege *s, struct trial *t, const char *beginnings, int count, struct error *e);

#define MISCHIEF_BEGIN(name) int mischief_##name(struct siege *s, struct trial *t, struct error *e)
#define MISCHIEF_END(name)   void mischief_##name(struct siege *s, struct trial *t)
#define MISCHIEF_HOLDS(name) bool mischief_##name(struct siege *s, struct trial *t)

/* mischief_links.c */
MISCHIEF_BEGIN(cut);
MISCHIEF_BEGIN(cut_brokers);
MISCHIEF_BEGIN(delay);
MISCHIEF_END(mend);
MISCHIEF_HOLDS(well_soon);
MISCHIEF_BEGIN(slow);
MISCHIEF_END(quick_again);
MISCHIEF_BEGIN(kill_host);
MISCHIEF_BEGIN(half_open);
MISCHIEF_END(boot_host);

/* mischief_liars.c */
MISCHIEF_BEGIN(lie);
MISCHIEF_END(truth);
MISCHIEF_HOLDS(is_named);
MISCHIEF_HOLDS(crash_is_told);
MISCHIEF_HOLDS(slow_hardly_shows);

/* mischief_limits.c */
MISCHIEF_BEGIN(fill_disk);
MISCHIEF_END(empty_disk);
MISCHIEF_BEGIN(connect_many);
MISCHIEF_END(disconnect);
MISCHIEF_HOLDS(refusals_are_told);
MISCHIEF_BEGIN(limit_memory);
MISCHIEF_END(unlimit_memory);
MISCHIEF_BEGIN(fill_group);
MISCHIEF_END(remove_group);
MISCHIEF_HOLDS(want_is_told);
MISCHIEF_BEGIN(step_clock);
MISCHIEF_END(step_back);

/* mischief_soak.c */
MISCHIEF_BEGIN(soak);
bool mischief_soak_look(struct siege *s);
MISCHIEF_HOLDS(soak_holds);

/* mischief.c */
MISCHIEF_BEGIN(signal);
MISCHIEF_BEGIN(overload);
MISCHIEF_END(steady);

#endif
