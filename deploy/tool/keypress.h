/* keypress.h - single keys of the terminal, without Enter */
#ifndef FREEZELINE_KEYPRESS_H
#define FREEZELINE_KEYPRESS_H

/* From here on keys come one by one and are not shown. Does nothing where standard input is no terminal, or
 * one that another job has. */
void keypress_begin(void);
/* Waits for the next key, `ms` at most. 0: none came, or there are none. */
char keypress_wait(int ms);
/* The terminal is as it was. */
void keypress_end(void);

#endif
