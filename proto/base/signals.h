/* signals.h - what signals do to a service
 *
 * SIGTERM and SIGINT ask it to end. SIGHUP opens its log again (log_to). SIGPIPE is ignored: a peer that is
 * gone is an error of the write.
 */
#ifndef FREEZELINE_SIGNALS_H
#define FREEZELINE_SIGNALS_H

/* How often the process was asked to end. */
extern volatile int signals_stop;

/* Blocking calls return when one of them comes. */
void signals_catch(void);

#endif
