/* message.c - what can be said about a message without its encoding */
#include "message.h"

int64_t message_payload_bytes(const struct message *m)
{
    switch (m->type) {
    case MESSAGE_REQUEST:
        return tensor_bytes(&m->request.input);
    case MESSAGE_ANSWER:
        return tensor_bytes(&m->answer.scores);
    case MESSAGE_JOB:
        return tensor_bytes(&m->job.activation);
    case MESSAGE_RESULT:
        return tensor_bytes(&m->result.scores);
    case MESSAGE_LOOKUP:
        return (int64_t)m->lookup.n * m->lookup.dim * (int64_t)sizeof(float);
    default:
        return 0;
    }
}

bool job_is_late(const struct job *j, int stage, uint64_t now)
{
    uint64_t rest_ns = stage < j->n_rest ? j->rest_us[stage] * 1000ull : 0;
    return now >= j->deadline_ns || j->deadline_ns - now < rest_ns;
}
