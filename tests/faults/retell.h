/* retell.h - messages in plain words, for a person who follows a story */
#ifndef FREEZELINE_RETELL_H
#define FREEZELINE_RETELL_H

#include "deploy/world/world.h"

/* Prints what `who` has read, and when. */
void retell(uint64_t now_ns, const struct world_process *who, const struct message *m);

#endif
