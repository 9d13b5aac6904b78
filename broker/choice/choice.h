/* choice.h - which variant answers a request: the brain behind `choose` and `budget`
 *
 * Variants are models for the same question: the same inputs, the same classes. Four ways to choose:
 * - CHOOSE_BUDGET: the most accurate one that is expected to answer in time, cheaper ones as queues grow, and
 *   back again. What that costs in accuracy stays within the budget over any hour (allowance.h), what it
 * costs in processor time within another. After MCDNN (Han et al., MobiSys 2016).
 * - CHOOSE_CASCADE: the cheapest one first, and the next one where it is unsure of its answer. How sure is
 * sure enough was certified by `freezeline variants`, like the threshold of an exit.
 * - CHOOSE_EXP3: one variant, drawn by what feedback said of each. CHOOSE_EXP4: all of them, and a vote that
 *   feedback weighs. Both apart for each context of a request. After Auer, Cesa-Bianchi, Freund and Schapire
 *   (2002), as Clipper (Crankshaw et al., NSDI 2017) uses them: bandit.h.
 *
 * A request's own state is a struct choice_course that the caller keeps with the request. The caller asks the
 * variants that choice_begin says, tells each answer, failure or silence by choice_answered, and does what
 * that returns. A variant that is not ready is never chosen, so no request waits for one to be loaded.
 *
 * Pure: time and answers come in as arguments, and the seed decides every draw. Bounded: all memory is taken
 * by choice_new. One thread.
 */
#ifndef FREEZELINE_CHOICE_H
#define FREEZELINE_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "config/pipeline.h"

#define CHOICE_MAX        8 /* variants */
#define CHOICE_NAME_BYTES 64

/* A variant as `freezeline variants` measured it. The first one of the list is the pipeline itself. */
struct choice_variant {
    char name[CHOICE_NAME_BYTES];
    double loss,
        loss_upper;   /* points of accuracy lost against the best one; a bound of it at the certainty */
    double ms, cpu_s; /* a request alone: its latency, and the processor time that it takes */
    uint64_t bytes;   /* of memory while it is loaded */
    double sure;      /* cascade: an answer needs more confidence than this; infinity: never enough */
};

struct choice_budget {
    enum choose_rule how;
    double max_accuracy_loss;      /* points, as a mean over any hour; infinity: no bound */
    double cascade_loss;           /* points that the certified cascade loses, a bound at the certainty */
    double latency_ms;             /* 0: a request's deadline alone decides */
    double cpu_seconds_per_second; /* 0: no bound */
    uint64_t memory;               /* bytes, of all that are loaded; 0: no bound */
};

struct choice;

/* Copies the variants. FL_VALUE where figures are out of range, names repeat, or the budget is one that no
 * variant meets (*e says which part, and what the nearest variant needs); FL_NOMEM. */
int choice_new(struct choice **out, const struct choice_variant *variants, int n,
               const struct choice_budget *b, uint64_t seed, struct error *e);
void choice_free(struct choice *c);
/* So many processors are there for all variants but those of the mask, which run elsewhere. Until then it is
 * not known how many there are, and all share them. */
void choice_runs_on(struct choice *c, double cpus, uint32_t elsewhere);

/* What a request asks for. */
struct choice_request {
    uint64_t id;      /* as feedback will name it */
    uint64_t context; /* a hash; 0: none */
    uint64_t left_ns; /* until its deadline */
    double max_loss;  /* points that it allows; negative or NaN: the budget's */
};

/* How a variant is doing, when a request comes. */
struct choice_load {
    bool ready;          /* loaded, serving, trusted */
    uint32_t ahead;      /* requests under way there */
    uint64_t expects_ns; /* how long one more is expected to take; 0: not known to the caller */
};

/* One request's way through the variants: open, so that it lies in the caller's entry. Only choice.c reads
 * it.
 */
struct choice_course {
    uint64_t id, context, began_ns, time_ns; /* time_ns: how long it should take at most */
    uint64_t until_ns;                       /* its deadline */
    uint32_t asked, came, failed;            /* masks of variants */
    bool over;                               /* served, or given up */
    double charged, max_loss; /* points: of the hour's budget, below 0: none yet; that the request allows */
    double chance;            /* with which the first one was drawn */
    uint32_t ahead[CHOICE_MAX];
    int32_t label[CHOICE_MAX];
    float confidence[CHOICE_MAX];
};

/* Which variants to ask now, as a mask: one, or in CHOOSE_EXP4 all that can answer in time. 0: none is ready.
 * `load` has an entry for each variant. */
uint32_t choice_begin(struct choice *c, uint64_t now, const struct choice_request *r,
                      const struct choice_load *load, struct choice_course *course);

struct choice_answer {
    int variant;
    bool failed;      /* an error, or no answer in time: label and confidence are not read */
    bool crowded;     /* it failed because it had too much to do */
    uint64_t took_ns; /* since it was asked */
    int32_t label;
    float confidence; /* the largest probability, as stages give it (a cascade asks without look-ups) */
};

struct choice_step {
    enum { CHOICE_WAIT, CHOICE_ASK, CHOICE_SERVE, CHOICE_FAIL } what;
    int variant;      /* to ask; or whose answer (scores and all) goes to the client */
    float confidence; /* to serve: of a vote, the share of all the weight that was asked */
    uint32_t voted;   /* mask: who had a part in it */
};

/* What to do after this answer: wait for others, ask one more, serve, or give up: nobody is left to ask.
 * Answers that come after the request was served teach, too; the step is then CHOICE_WAIT. */
struct choice_step choice_answered(struct choice *c, uint64_t now, struct choice_course *course,
                                   const struct choice_answer *a, const struct choice_load *load);
/* Time is nearly up: serve what there is. CHOICE_WAIT where nothing has come yet. Who is late counts as
 * failed. */
struct choice_step choice_hurry(struct choice *c, uint64_t now, struct choice_course *course);
/* How long to wait before choice_hurry, counted from choice_begin. */
uint64_t choice_patience(const struct choice_course *course);

/* The request ended otherwise: refused, cancelled, too late. It counts no more in the hour's mean. Without
 * effect after CHOICE_SERVE, and twice. */
void choice_end(struct choice *c, struct choice_course *course);

/* The true label of a request that was served. FL_NOT_FOUND: it is not remembered (any more); FL_UNSUPPORTED:
 * this way of choosing learns nothing from labels; FL_VALUE. */
int choice_feedback(struct choice *c, uint64_t id, int32_t label);

/* Which variants should be loaded, as a mask, where these are: within `memory`, those that requests would use
 * most. It changes slowly, so that what is put away is not fetched again at once. The first one always is. */
uint32_t choice_wants(struct choice *c, uint64_t now, uint32_t loaded);

/* What the last hour has cost goes to a file, and comes back from it into a choice that is new: hour_file.h.
 */
int choice_keep_hour(const struct choice *c, uint64_t now, int64_t wall_s, const char *path, struct error *e);
int choice_recall_hour(struct choice *c, uint64_t now, int64_t wall_s, const char *path, struct error *e);

struct choice_status {
    int n;
    struct {
        char name[CHOICE_NAME_BYTES];
        uint64_t asked, served, failed, late;
        double share, weight; /* of what was served over the last hour; by feedback, all contexts together */
    } variant[CHOICE_MAX];
    uint64_t served_hour;          /* requests */
    double loss_hour, loss_budget; /* points, mean over the last hour; what it may be */
    double level;                  /* 0: full quality wherever possible, n - 1: the cheapest one */
    uint64_t feedback_taken, feedback_unknown;
};
void choice_status(const struct choice *c, uint64_t now, struct choice_status *out);

#endif
