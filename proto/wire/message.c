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
