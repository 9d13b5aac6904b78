/* precedence.h - the sender's threads go before others that want their core
 *
 * A load generator that waits for the server's processes measures its own waiting: where all cores compute
 * one send in thirty is milliseconds late, for all of nice values and short turns. So it asks for the least
 * real-time priority, which it mostly sleeps with. Only where the system allows it (root, CAP_SYS_NICE);
 * elsewhere it has short turns alone. Threads that are started meanwhile, as ZeroMQ's, inherit it.
 */
#ifndef FREEZELINE_PRECEDENCE_H
#define FREEZELINE_PRECEDENCE_H

/* Of the calling thread; returns what it was, for precedence_restore. */
int precedence_raise(void);
void precedence_restore(int before);

#endif
