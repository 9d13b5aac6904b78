/* interrupt.h - Ctrl-C, or a terminal that closes, asks long work to stop at a point from
 * which it can go on */
#ifndef FREEZELINE_INTERRUPT_H
#define FREEZELINE_INTERRUPT_H

#include <stdbool.h>

/* From here on SIGINT, SIGTERM and SIGHUP set the flag; a second one ends the process as usual. A
 * SIGHUP that is ignored (nohup) stays ignored. Called again, it begins anew. */
void interrupt_catch(void);
bool interrupt_seen(void);

#endif
