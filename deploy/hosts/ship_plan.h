/* ship_plan.h - what a host has, and what it has to be sent: from text to a list, nothing else */
#ifndef FREEZELINE_SHIP_PLAN_H
#define FREEZELINE_SHIP_PLAN_H

#include "shipment.h"

#define PLAN_PATH_BYTES 512

/* What a host said of itself (the script is in ship.c), one fact a line. */
struct host_facts {
    char directory[PLAN_PATH_BYTES]; /* of the store, absolute */
    char machine[64];                /* "Linux x86_64" */
    int glibc;                       /* it has 2.N; -1: it does not say, so it is no glibc */
    int64_t free_bytes;              /* -1: it does not say */
    char *text;                      /* its lines, each ended by 0 */
    size_t size;
};

/* Takes `text` (owned, 0-terminated) in any case. FL_PROTOCOL where the folder of the store is not told. */
int host_facts_read(struct host_facts *out, char *text, size_t size, struct error *e);
void host_facts_free(struct host_facts *f);

/* Whether programs of this machine run there. FL_UNSUPPORTED with what is different. */
int host_facts_check(const struct host_facts *f, const char *host, const char *machine, int glibc,
                     struct error *e);

/* Of one host: for each file of the shipment, what is to be done. */
struct ship_step {
    bool wanted;     /* false: not for this host, or a library that it has itself */
    bool sent;       /* to be sent; false: in the store, or the same content as an earlier file */
    uint64_t offset; /* bytes of it that lie there from a copy that broke off */
};

/* Fills step[s->n]; `part` is what the names of our half copies end with. `bad` counts for missing: objects
 * found to have other contents, by spaces. Returns the bytes to send. */
int64_t ship_plan(struct ship_step *step, const struct shipment *s, int host, const struct host_facts *f,
                  const char *part, const char *bad);

#endif
