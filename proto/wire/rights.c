/* rights.c - the table */
#include "rights.h"

#define BIT(p)   (1u << (p))
#define ASKERS   (BIT(PARTY_CLIENT) | BIT(PARTY_OPERATOR) | BIT(PARTY_BROKER))
#define REPORTER (BIT(PARTY_WORKER) | BIT(PARTY_CACHE) | BIT(PARTY_LEARNER))

static const struct right {
    enum gate at;
    enum message_type type;
    unsigned who;
} rights[] = {
    {GATE_REQUESTS, MESSAGE_REQUEST, ASKERS},
    {GATE_REQUESTS, MESSAGE_CANCEL, ASKERS},
    {GATE_REQUESTS, MESSAGE_STATUS, ASKERS},
    {GATE_REQUESTS, MESSAGE_SPANS, ASKERS},
    {GATE_REQUESTS, MESSAGE_TIMES, ASKERS},
    {GATE_REQUESTS, MESSAGE_FEEDBACK, ASKERS},
    {GATE_CONTROL, MESSAGE_HELLO, REPORTER},
    {GATE_CONTROL, MESSAGE_HEARTBEAT, REPORTER},
    {GATE_CONTROL, MESSAGE_SPANS, REPORTER},
    {GATE_CONTROL, MESSAGE_DRAIN, BIT(PARTY_OPERATOR)},
    {GATE_CONTROL, MESSAGE_RELAYS, BIT(PARTY_OPERATOR)},
    {GATE_RESULTS, MESSAGE_RESULT, BIT(PARTY_WORKER) | BIT(PARTY_CACHE)},
    {GATE_JOBS, MESSAGE_JOB, BIT(PARTY_WORKER) | BIT(PARTY_BROKER)},
    {GATE_LOOKUPS, MESSAGE_LOOKUP, BIT(PARTY_WORKER)},
};

/* Nobody says hello as what its key is not. */
static bool introduces_itself(enum party who, uint32_t role)
{
    return (who == PARTY_WORKER && role == ROLE_STAGE) || (who == PARTY_CACHE && role == ROLE_CACHE) ||
           (who == PARTY_LEARNER && role == ROLE_LEARNER);
}

bool rights_may(enum party who, enum gate at, const struct message *m)
{
    if (at == GATE_NONE || who == PARTY_LOCAL)
        return true;
    for (size_t i = 0; i < sizeof rights / sizeof *rights; i++)
        if (rights[i].at == at && rights[i].type == m->type)
            return (rights[i].who & BIT(who)) &&
                   (m->type != MESSAGE_HELLO || introduces_itself(who, m->hello.role));
    return false;
}
