/* keeper_task.c - an empty task */
#include "keeper_task.h"

#include <string.h>

struct keeper_task *keeper_ask(struct keeper_task *t, enum keeper_act act)
{
    memset(t, 0, sizeof *t);
    t->act = act;
    return t;
}
