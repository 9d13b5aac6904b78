/* interrupt.h - Ctrl-C asks long work to stop at a point from which it can go on */
#ifndef FREEZELINE_INTERRUPT_H
#define FREEZELINE_INTERRUPT_H

#include <stdbool.h>

/* From here on SIGINT and SIGTERM set the flag; a second one ends the process as usual. */
void interrupt_catch(void);
bool interrupt_seen(void);

#endif
