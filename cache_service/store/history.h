/* history.h - what happened to a pipeline's caches, one event a line of JSON; pure
 *
 * The learner and the operator's commands write events, `freezeline cache history`, `status` and `top` show
 * them. A line comes back from Redis, where anybody may have written: it is read with care, and one that is
 * no event is refused as a whole.
 */
#ifndef FREEZELINE_HISTORY_H
#define FREEZELINE_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"
#include "cache_service/promise/promise.h"
#include "config/pipeline.h"

#define HISTORY_LINE_BYTES 8192 /* of one event; longer ones are refused */
#define HISTORY_WHY_BYTES  200

/* X(enum suffix, word, what it means to an operator). */
#define HISTORY_KINDS_LIST(X)                                                     \
    X(PUBLISHED, "published", "the caches of a build serve")                      \
    X(TAUGHT, "taught", "a candidate was taught; it does not serve yet")          \
    X(CERTIFIED, "certified", "a candidate was certified and serves")             \
    X(BOLDER, "bolder", "evidence grew: lower thresholds are certified")          \
    X(SIGNAL, "signal", "look-ups look different: audits are drawn more often")   \
    X(ALARM, "alarm", "audits say that the promise is at risk")                   \
    X(TIGHTENED, "tightened", "the exit that lost most answers less from now on") \
    X(OFF, "off", "no exit answers until caches are certified again")             \
    X(ROLLBACK, "rollback", "an operator brought back an epoch that was kept")    \
    X(FROZEN, "frozen", "an operator stopped learning")                           \
    X(THAWED, "thawed", "an operator let learning go on")

enum history_kind {
#define X(name, word, text) HISTORY_##name,
    HISTORY_KINDS_LIST(X)
#undef X
        HISTORY_KINDS
};

struct history_exit {
    char name[64];
    float threshold; /* infinity: answers nothing */
    double share;    /* of the points that it answered; NAN: not known */
};

struct history_event {
    uint64_t at_ms; /* wall clock, for people */
    enum history_kind kind;
    uint64_t serial; /* of the epoch that it is about; 0: none */
    uint8_t build[DIGEST_BYTES];
    int64_t points;             /* audits behind the numbers; 0: none */
    double loss, upper;         /* of them, and the bound that holds with terms.certainty; NAN: none */
    struct promise_terms terms; /* certainty 0: nothing was promised */
    double early_share;         /* answered by any exit; NAN: not known */
    int n_exits;
    struct history_exit exit[PIPELINE_MAX_EXITS];
    char why[HISTORY_WHY_BYTES];
};

const char *history_word(enum history_kind kind);

/* An event of this kind now, with no numbers. */
void history_event_now(struct history_event *out, enum history_kind kind);
/* One line without a newline, malloc'ed, owned by the caller; NULL when out of memory. */
char *history_format(const struct history_event *event);
/* FL_CORRUPT: this is no event. Control characters in its texts come out as '?'. */
int history_parse(struct history_event *out, const char *text, size_t size, struct error *e);

#endif
