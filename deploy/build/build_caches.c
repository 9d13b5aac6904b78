/* build_caches.c - the candidates of all exits: one core makes those of one exit
 *
 * Exits have nothing to do with one another, so no core waits for another one; a single exit has all of them.
 */
#include "build.h"

#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blank_manifest.h"
#include "deploy/data/augment.h"
#include "deploy/tool/interrupt.h"
#include "plausibility.h"
#include "stages/simd/team.h"
#include "deploy/tool/state.h"

#define WHOLE 1000 /* of an exit's progress */

/* All candidates of one exit. */
struct job {
    struct making *of;
    int exit, kinds, made; /* kinds: how many there will be; made: of them */
    char phase[64];        /* "" when nobody works at it */
    double share;          /* of the kind in work, 0..1 */
    int rc;
    struct error problem;
};

struct making {
    struct build *b;
    pthread_mutex_t lock; /* of progress, and of what the jobs tell of it */
    bool failed;          /* then the others need not go on */
    int n;
    struct job job[PIPELINE_MAX_EXITS];
};

/* The pipeline file names a kind for this very exit. */
static bool pinned(const struct build *b, int i)
{
    for (int j = 0; j < b->pipeline->n_exits; j++)
        if (!strcmp(b->pipeline->exit[j].name, b->place.exit[i].name))
            return b->pipeline->exit[j].kind != NULL;
    return false;
}

bool build_wants(const struct build *b, int i, int k)
{
    const struct placed_exit *exit = &b->place.exit[i];

    if (!placed_has_cache(exit) || (b->again && !b->kept[i]))
        return false;
    if (b->again)
        return kinds_index(exit->kind) == k;
    return b->compare && !pinned(b, i) ? b->wanted[k] : kinds_index(exit->kind) == k;
}

/* ---- progress ---- */

/* Of all jobs, under the lock. Tells whether to stop. */
static int show(struct making *m)
{
    struct progress *p = &m->b->progress;
    double done = 0;
    size_t used = 0;

    p->note[0] = 0;
    for (int i = 0; i < m->n; i++) {
        const struct job *j = &m->job[i];
        done += WHOLE * (j->made + j->share) / j->kinds;
        if (j->phase[0] && used < sizeof p->note)
            used +=
                (size_t)snprintf(p->note + used, sizeof p->note - used, "%s%s", used ? ", " : "", j->phase);
    }
    p->unit = "caches";
    p->parts = WHOLE;
    progress_update(p, m->b->again ? "give them all of the memory" : "build caches", (int64_t)done,
                    (int64_t)m->n * WHOLE, NAN);
    p->unit = NULL;
    p->parts = 0;
    return interrupt_seen() || m->failed;
}

static int on_progress(void *arg, const char *phase, int64_t done, int64_t total, double number)
{
    struct job *j = arg;
    int stop;

    (void)number;
    pthread_mutex_lock(&j->of->lock);
    snprintf(j->phase, sizeof j->phase, "%s", phase);
    j->share = total > 0 ? (double)done / (double)total : 0;
    stop = show(j->of);
    pthread_mutex_unlock(&j->of->lock);
    return stop;
}

/* ---- */

/* The true label where it is known and a promise is about accuracy: a cache that imitates mistakes makes its
 * own besides. A mixed copy shows two classes, so there the model's own label stands, as where labels look
 * like those of another model. */
int build_lesson(struct build *b, struct error *e)
{
    const struct extracted *x = &b->train;
    struct plausibility a = {0};

    for (int64_t i = 0; i < x->records; i++)
        plausibility_add(&a, dataset_label(b->train_data, i), x->label[i]);
    if (b->pipeline->cache.rule != THRESHOLD_RISK || promised_terms(b->pipeline).agreement || !a.n ||
        plausibility_is_low(&a))
        return FL_OK;
    if (!(b->lesson = malloc(sizeof *b->lesson * (size_t)x->rows)))
        return error_set(e, FL_NOMEM, "no memory for labels");
    for (int64_t i = 0; i < x->rows; i++) {
        int32_t label = i / x->records < AUGMENT_MIXED ? dataset_label(b->train_data, i % x->records) : -1;
        b->lesson[i] = label >= 0 && label < x->classes ? label : x->label[i];
    }
    return FL_OK;
}

/* Copies are for what learns; points and centroids are made of the data themselves. */
static int64_t rows_for(const struct build *b, int k)
{
    return !strcmp(kinds_name[k], "learned") ? b->train.rows : b->train.records;
}

static int make(struct job *j, int k, struct error *e)
{
    struct build *b = j->of->b;
    struct identity identity;
    int i = j->exit, rc;
    const struct placed_exit *exit = &b->place.exit[i];
    struct matrix_file train = b->train.descriptor[i], scores = b->train.scores;
    char work[STATE_PATH_BYTES];
    struct builder_input in = {
        .exit_name = exit->name,
        .kind = kinds_name[k],
        .classes = b->train.classes,
        .train = &train,
        .train_labels = b->lesson && !strcmp(kinds_name[k], "learned") ? b->lesson : b->train.label,
        .train_scores = &scores,
        .pictures = b->train.records,
        .calibrate = &b->calibrate.descriptor[i],
        .calibrate_labels = b->calibrate.label,
        .config = &b->pipeline->cache,
        .budget_bytes = b->budget,
        .work_dir = work,
        .progress = on_progress,
        .progress_arg = j,
        .map_side = b->train.side[i],
        .most_work = blank_most_work(b->graph),
        .recipe = &b->recipe[i],
    };

    train.rows = scores.rows = rows_for(b, k);
    identity_of(&identity, b->graph->digest, b->pipeline);
    memcpy(in.identity, identity.digest, sizeof in.identity);
    if ((rc = state_path(work, b->pipeline, e, "build/exits/%s", exit->name)) || (rc = state_make(work, e)))
        return rc;
    if ((rc = builder_build(&b->made[k][i], &in, e)))
        return error_wrap(e, (enum fl_code)rc, "exit %s", exit->name);
    return FL_OK;
}

static void run_job(void *arg, int i, int thread)
{
    struct making *m = arg;
    struct job *j = &m->job[i];

    (void)thread;
    for (int k = 0; !j->rc && k < KINDS; k++) {
        if (!build_wants(m->b, j->exit, k))
            continue;
        j->rc = make(j, k, &j->problem);
        pthread_mutex_lock(&m->lock);
        j->made++;
        j->share = 0;
        j->phase[0] = 0;
        m->failed = m->failed || j->rc;
        pthread_mutex_unlock(&m->lock);
    }
}

/* What went wrong first; that the others were stopped for it says nothing. */
static int first_problem(const struct making *m, struct error *e)
{
    const struct job *worst = NULL;

    for (int i = 0; i < m->n; i++)
        if (m->job[i].rc && (!worst || worst->rc == FL_CANCELLED))
            worst = &m->job[i];
    if (worst)
        *e = worst->problem;
    return worst ? worst->rc : FL_OK;
}

int build_candidates(struct build *b, struct error *e)
{
    struct making m = {.b = b, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct team *team;
    int workers;

    for (int i = 0; i < b->place.n_exits; i++) {
        struct job *j = &m.job[m.n];
        *j = (struct job){.of = &m, .exit = i};
        for (int k = 0; k < KINDS; k++)
            j->kinds += build_wants(b, i, k);
        m.n += j->kinds > 0;
    }
    workers = m.n < b->threads ? m.n : b->threads;
    if (team_new(&team, workers))
        return error_set(e, FL_UNAVAILABLE, "cannot start %d threads", workers);
    openblas_set_num_threads(workers > 1 ? 1 : b->threads);
    team_run(team, run_job, &m, m.n);
    team_free(team);
    return first_problem(&m, e);
}
