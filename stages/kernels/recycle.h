/* recycle.h - operator new and delete that keep small blocks, so that oneDNN's executions do not allocate */
#ifndef FREEZELINE_RECYCLE_H
#define FREEZELINE_RECYCLE_H

/* Pulls recycle.c into the program: its operators take the place of the C++ library's from the program's
 * start. */
void recycle_link(void);

#endif
