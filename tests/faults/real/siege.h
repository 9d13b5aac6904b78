/* siege.h - one run of trials: a town under steady load, a fault, and what became of each request */
#ifndef FREEZELINE_TEST_SIEGE_H
#define FREEZELINE_TEST_SIEGE_H

#include "numbers/shuffle.h"
#include "steady_load.h"
#include "town.h"

#define SIEGE_MOST_TRIALS 512
#define SIEGE_MOST_LOADS  64
#define SIEGE_VICTIMS     2

struct siege;
struct trial;

/* What must hold beside the ledger. A kind of error that is not allowed fails the trial. */
enum allowance {
    ALLOW_DEADLINE = 1,    /* errors at the deadline: nobody was there to compute */
    ALLOW_UNAVAILABLE = 2, /* a stage, or the broker, was gone */
    ALLOW_OVERLOADED = 4,  /* refusals with a hint */
    ALLOW_LOST = 8,        /* the one broker died: nobody could tell the client */
    ALLOW_LATE = 16,       /* an answer after the deadline: the one broker stood still */
    ALLOW_NO_MEMORY = 32   /* there was none */
};

enum ground { GROUND_ONE, GROUND_BROKERS, GROUND_THREE, GROUND_APART, GROUND_LIARS, GROUND_LIMITS, GROUNDS };

struct fault {
    const char *name, *what;
    enum ground ground;
    bool quick;                  /* part of `make test` */
    double hold_s, quick_hold_s; /* hold_s -1: as long as --soak says */
    unsigned allow;
    /* Begins it and notes in t->victim on whom; ends it. `end` may be NULL. */
    int (*begin)(struct siege *s, struct trial *t, struct error *e);
    void (*end)(struct siege *s, struct trial *t);
    bool (*watch)(struct siege *s); /* called meanwhile; true: it may end. May be NULL */
    /* Beyond the ledger: false with t->why. May be NULL. */
    bool (*holds)(struct siege *s, struct trial *t);
    bool until_holds;    /* the fault goes on until `holds`: a busy machine finds it out later */
    const char *victims; /* beginnings of names, one word each */
    int count;           /* of victims */
    int number;          /* signal, or what `begin` takes it for */
    double bound_ms;     /* wanted of added p99, beside one recomputation; 0: none */
    /* GROUND_LIMITS, each with a town of its own: words before `up`; a small disk; no room in /dev/shm */
    const char *under;
    int disk_mb;
    bool full_shm;
};

struct trial {
    const struct fault *fault;
    char victim[200];
    struct process process[SIEGE_VICTIMS];
    char name[SIEGE_VICTIMS][32];
    int host[2];
    double calm_p50_ms, calm_p99_ms;
    uint64_t begun_ns, ended_ns, whole_ns, over_ns; /* fault begins, ends; all is well again; trial is over */
    struct account_sum sum;
    uint64_t broker_ns, admitted,
        retried;         /* by the broker's word before: since when it counts, and so many */
    int64_t rss_before;  /* of the broker */
    int told_before;     /* by logs */
    double figure;       /* of the fault's own, named in `holds` */
    bool failed, missed; /* a promise was broken; a bound was not kept */
    char why[400], note[200];
};

struct siege {
    const char *bin, *caches, *model;
    char lies[TOWN_PATH], folder[64]; /* what liar.c reads; where it is */
    struct town *town;
    struct steady_load *load[SIEGE_MOST_LOADS]; /* of each ground so far; the newest sends */
    int n_loads;
    struct load_inputs in;
    int32_t *truth;
    float *images;
    double rate, capacity; /* requests a second: of the steady load; what the town can do, once it is known */
    double soak_s;         /* 0: no soak */
    bool quick, strict, mounts; /* mounts: it has a mount namespace of its own */
    uint64_t seed, begun_ns;
    struct shuffle random;
    int n;
    struct trial trial[SIEGE_MOST_TRIALS];
};

extern const struct fault siege_faults[];
extern const int siege_n_faults;

struct steady_load *siege_load(struct siege *s);
/* Random below n, by the seed. */
unsigned siege_draw(struct siege *s, unsigned n);
/* Tends the town for so long, or until `done` (may be NULL) says so; true when it did. */
bool siege_wait(struct siege *s, double seconds, bool (*done)(struct siege *s));
double siege_seconds(const struct siege *s, uint64_t ns); /* since the run began */

/* siege_report.c */
void siege_print(const struct siege *s, const struct trial *t);
int siege_table(const struct siege *s, struct error *e);
int siege_json(const struct siege *s, struct error *e);
int siege_plot(const struct siege *s, const char *path, struct error *e);

#endif
