/* pays.h - whether a pipeline answers sooner than its model in one process: layers saved against messages
 *
 * Pure. A request's messages are one after another: client to broker, broker to the first stage, from stage
 * to stage, the last stage to the broker, broker to client. Those that an early answer spares are not counted
 * as spared, so the estimate is careful.
 */
#ifndef FREEZELINE_PAYS_H
#define FREEZELINE_PAYS_H

#include <jansson.h>

#include "message_cost.h"

struct pays {
    double one_process_ms; /* the whole model */
    double time_share;     /* of it that a request computes on average, look-ups included; 1 without caches */
    double messages_ms;
    int stages;
};

/* `input_bytes` of a request; `cut_bytes[stages - 1]` of what crosses each cut. */
double pays_messages_ms(const struct message_cost *c, double input_bytes, const double *cut_bytes,
                        int stages);
double pays_pipeline_ms(const struct pays *p);
/* The least time of a network in one process from which on the pipeline is faster; infinity: never. */
double pays_from_ms(const struct pays *p);
/* One sentence for people; returns buf. */
char *pays_sentence(const struct pays *p, char *buf, size_t size);
/* {"one_process_ms", "pipeline_ms", "messages_ms", "faster", "from_ms" (null: never)} */
json_t *pays_json(const struct pays *p);

#endif
