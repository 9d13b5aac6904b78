/* precedence.h - the sender's threads go before others that want their core
 *
 * A load generator that waits for the server's processes measures its own waiting. Only where the system
 * allows it (root); elsewhere nothing changes. Threads that are started meanwhile, as ZeroMQ's, inherit it.
 */
#ifndef FREEZELINE_PRECEDENCE_H
#define FREEZELINE_PRECEDENCE_H

/* Of the calling thread; returns what it was, for precedence_restore. */
int precedence_raise(void);
void precedence_restore(int before);

#endif
