/* account.h - what became of each request of a load: sent, answered, with which label, late, twice or never
 *
 * Requests are numbered from 0 in the order in which they were sent. A label is right when it is the
 * network's own for that input, or one by a cache: such may differ from the network's as often as was
 * promised, so that is counted over many requests; but the same cache (exit and epoch) always says the same
 * of one input. Pure: time comes in as an argument.
 */
#ifndef FREEZELINE_TEST_ACCOUNT_H
#define FREEZELINE_TEST_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/message.h"

struct account_entry {
    uint64_t due_ns, sent_ns, ended_ns; /* ended_ns 0: nothing was heard of it */
    int32_t input, label, exit;
    uint32_t error, attempts, retry_after_ms;
    uint32_t seen;      /* answers that came to its client, be they the same; .. */
    int32_t seen_label; /* .. the label of the first of them without an error; -1: there was none */
    bool nameless;      /* an error without a word of why */
    bool wrong;         /* a label that neither the network nor that cache gives */
    bool contradicted;  /* a later answer was another one */
};

struct account {
    uint64_t deadline_ns;
    int inputs;
    bool several;         /* brokers: the same answer may come from two of them, and after an error of one */
    const int32_t *truth; /* per input, the network's label; borrowed */
    int64_t n, capacity;
    struct account_entry *entry;
    struct cache_word *word; /* what caches said; grows */
    int64_t words, words_room;
    int64_t strangers; /* answers to what was never asked */
};

/* What became of the requests that were due in a span of time. */
struct account_sum {
    int64_t sent, right, early, differ; /* differ: of the early ones, from the network's label */
    int64_t wrong, lost, doubled, contradicted, nameless;
    int64_t late;                      /* heard of after the deadline and `grace` */
    int64_t error[FL_CODES];           /* answers that say why not */
    int64_t without_hint;              /* of the overloaded ones, not told when to come back */
    int64_t retried;                   /* answered in a second attempt or a later one */
    int64_t met;                       /* were disturbed: retried, failed, lost, or slower than `usual` */
    double usual_ms;                   /* three times the p99 of the calm, and 20 ms */
    double added_p50_ms, added_p99_ms; /* latency beyond the calm's median, of the answered ones of `met` */
    double p50_ms, p99_ms;             /* of all that were answered */
    double refusal_p99_ms;             /* until "overloaded" was heard */
    uint64_t last_met_ns;              /* when the last disturbed one was over; 0: none was */
};

void account_init(struct account *a, const int32_t *truth, int inputs, uint64_t deadline_ns);
void account_release(struct account *a);

/* Returns its number, or -1: no memory. */
int64_t account_sent(struct account *a, int32_t input, uint64_t due_ns, uint64_t now);
/* An answer has come to the client, which may keep it for itself. `number` as account_sent gave it; any other
 * is a stranger's. */
void account_seen(struct account *a, int64_t number, const struct answer *answer);
/* The client has handed out the answer. */
void account_heard(struct account *a, int64_t number, const struct answer *answer, uint64_t now);

/* Latencies of the right answers to what was due in [from, to): median and p99 in ms; how many. */
int64_t account_calm(const struct account *a, uint64_t from, uint64_t to, double *p50_ms, double *p99_ms);
/* Sums up what was due in [from, to), beside a calm with that median and p99. What nobody was told of before
 * deadline and grace are over at `now` is lost. FL_NOMEM. */
int account_sum(const struct account *a, uint64_t from, uint64_t to, double calm_p50_ms, double calm_p99_ms,
                uint64_t grace_ns, uint64_t now, struct account_sum *out);
/* Requests that were sent and are neither answered nor over their deadline and grace. */
int64_t account_open(const struct account *a, uint64_t grace_ns, uint64_t now);

#endif
