/* retell.c - one line for a message that was read */
#include "retell.h"

#include <stdio.h>

void retell(uint64_t now_ns, const struct world_process *who, const struct message *m)
{
    static const char *const names[] = {"?",       "request", "answer",       "job",       "look-up",
                                        "verdict", "result",  "hello",        "heartbeat", "cancel",
                                        "outcome", "status",  "status reply", "drain",     "spans"};
    static const char *const roles[] = {"?", "broker", "stage", "cache", "client"};
    printf("  %8.3f ms  %s %d.%d (life %u) reads %s", (double)now_ns / 1e6, roles[who->role], who->stage,
           who->replica, who->life, names[m->type]);
    if (m->type == MESSAGE_RESULT)
        printf(" %llx.%u: %s, label %d, exit %d %s", (unsigned long long)m->result.request, m->result.attempt,
               error_name((int)m->result.error), m->result.label, m->result.exit, m->result.text);
    else if (m->type == MESSAGE_JOB)
        printf(" %llx.%u", (unsigned long long)m->job.request, m->job.attempt);
    else if (m->type == MESSAGE_ANSWER)
        printf(" %llu: %s %s", (unsigned long long)m->answer.id, error_name((int)m->answer.error),
               m->answer.text);
    else if (m->type == MESSAGE_HELLO)
        printf(" of %u.%u incarnation %llx, ready %d, leaving %d, plan %u", m->hello.stage, m->hello.replica,
               (unsigned long long)m->hello.incarnation >> 48, m->hello.ready, m->hello.leaving,
               m->hello.plan[0]);
    else if (m->type == MESSAGE_HEARTBEAT)
        printf(" of %llx, clock error %llu, reaches %x", (unsigned long long)m->heartbeat.incarnation >> 48,
               (unsigned long long)m->heartbeat.clock_error_ns, m->heartbeat.reaches);
    printf("\n");
}
