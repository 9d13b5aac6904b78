/* ledger.h - what was promised to clients, and what they got
 *
 * - Each request gets one answer by its deadline, or one clear error. It is excused where nobody could tell
 * its client: the broker died, or their connection broke. Time in which the broker did nothing or was not
 * reached does not count.
 * - An answer has the label that the whole network, or a cache of it, would give.
 * - Where one thing goes wrong and another way is open, every good request is answered, not failed.
 * - Nothing is learned twice from one request by one cache service, and nothing wrong. An audit ends once,
 * with the full answer's label.
 * - What the broker counts is what clients saw.
 */
#ifndef FREEZELINE_FAULTS_LEDGER_H
#define FREEZELINE_FAULTS_LEDGER_H

#include "broker/dispatch_inside.h"
#include "story.h"

struct finding {
    const char *what; /* which promise: the same for all findings of one kind */
    char text[320];
    uint64_t at_ns;
};

struct asked {
    int client, bad; /* bad: as in struct happening, b */
    uint32_t token;
    uint64_t sent_ns, time_ns;
    uint64_t request; /* the broker's id, as its answer told */
    int answers;
    bool excused, must_work;
};

struct trouble {
    uint64_t from_ns, until_ns;
};

#define LEDGER_UPDATES 1024

/* An update that a cache service gave away. */
struct learned {
    int service;
    uint64_t incarnation, request;
};

/* What a cache service heard of an audit. */
struct truth {
    uint64_t incarnation, request; /* the first id */
    int32_t label;
};

struct ledger {
    uint64_t slack_ns;
    uint64_t right, hits, errors, admitted_ok, admitted_failed; /* answers that came */
    bool gentle;                                                /* every good request is to be answered */
    uint64_t prompt_ns;     /* .. within this time; 0: within its deadline */
    bool lossy;             /* some may not have come */
    struct finding finding; /* the first; what NULL: none */
    int n, n_troubles, n_updates, n_truths;
    struct asked asked[STORY_MAX + 8]; /* a request's id is its place + 1 */
    struct trouble trouble[STORY_MAX];
    struct learned update[LEDGER_UPDATES];
    struct truth truth[LEDGER_UPDATES];
};

void ledger_begin(struct ledger *l, uint64_t slack_ns);
/* Returns the request's id. */
uint64_t ledger_ask(struct ledger *l, const struct happening *h, uint32_t token, uint64_t time_ns,
                    uint64_t now);
void ledger_answer(struct ledger *l, int client, const struct answer *a, uint64_t now);
/* The broker neither hears nor speaks from now on until then. */
void ledger_trouble(struct ledger *l, uint64_t now, uint64_t until);
/* What these clients (a bit for each) are waiting for may be lost. */
void ledger_excuse(struct ledger *l, unsigned clients);
/* One update for each request, exit and life of a cache service at most, with the full answer's label. */
void ledger_update(struct ledger *l, const struct world_process *p, const struct update *u, uint64_t now);
/* A cache service hears of an outcome. */
void ledger_outcome(struct ledger *l, const struct world_process *p, const struct outcome *o, uint64_t now);
void ledger_end(struct ledger *l, uint64_t now);
/* The broker's counters against what was seen; of a broker that lived all the time. */
void ledger_audit(struct ledger *l, const struct dispatch *d, uint64_t now);
void ledger_finds(struct ledger *l, uint64_t now, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
