/* student.c - between the keeper, the reservoir, the brain and the classroom */
#include "student.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cache_service/promise/burst.h"
#include "annals.h"
#include "catch_up.h"
#include "cache_service/teach/candidates.h"
#include "cache_service/teach/classroom.h"
#include "drift_watch.h"
#include "epoch.h"
#include "feedback_trust.h"
#include "learner_folder.h"
#include "syllabus.h"

#define AGAIN_NS (5 * NS_PER_S)  /* until the reservoir is tried again */
#define AWAY_NS  (10 * NS_PER_S) /* without the lease: then others may want what it has open */
#define AT_ONCE  64              /* audits that a new candidate catches up with in one turn */

struct student {
    const struct pipeline *p; /* borrowed */
    struct keeper_student hooks;
    struct keeper *keeper;        /* borrowed; to wake */
    struct learner_folder folder; /* taken while it works */
    struct classroom *classroom;
    struct annals *annals;

    /* while it works */
    struct reservoir *reservoir;
    struct learner_brain *brain;
    struct candidates *candidates;
    struct burst *burst;
    struct drift_watch drift;          /* of what serves */
    struct textbook book;              /* of the build that it learned from; empty: it is not here */
    struct snapshot *base;             /* what serves */
    struct snapshot *offered;          /* not known yet whether it will */
    int64_t teaching, certifying;      /* requests that teach and certify, ever */
    uint64_t number, serial, serves;   /* candidate: last used; epoch: of base; candidate that serves */
    uint64_t again_ns;                 /* not before then */
    uint64_t away_ns;                  /* since when it is not the learner; 0: it is */
    uint8_t build[DIGEST_BYTES];       /* the last one that it learned from */
    struct learner_decision taught_of; /* what is in the classroom */
    struct catch_up *catch_up;         /* since what is taught there is fixed .. */
    uint64_t late;                     /* .. and until this candidate is up with them; 0: none */
    struct learner_decision decision;  /* what was offered */

    struct feedback_trust trust; /* in true labels */
    uint64_t taken, refused;
    uint64_t since_ns, lag_ms; /* of base; of the newest record */
    pthread_mutex_t mutex;     /* of `view` */
    struct student_view view;
};

static void note(struct student *s, const struct snapshot *of, const struct learner_decision *d,
                 enum history_kind kind)
{
    struct history_event event;
    epoch_event(&event, of, d, kind);
    annals_add(s->annals, &event);
}

/* --- beginning and leaving --- */

static bool is_base(const struct student *s, const struct snapshot *c)
{
    return s->base && snapshot_same_build(s->base, c) &&
           s->base->manifest.generation == c->manifest.generation;
}

/* What is of the state before. */
static void forget(struct student *s)
{
    drift_watch_forget(&s->drift);
    classroom_call_off(s->classroom);
    learner_brain_free(s->brain);
    candidates_free(s->candidates);
    burst_free(s->burst);
    catch_up_clear(s->catch_up);
    s->late = 0;
    s->burst = NULL;
    textbook_close(&s->book);
    snapshot_free(s->offered);
    snapshot_free(s->base);
    s->brain = NULL;
    s->candidates = NULL;
    s->offered = s->base = NULL;
}

static void leave(struct student *s)
{
    if (s->folder.lock < 0)
        return;
    if (classroom_busy(s->classroom)) {
        classroom_call_off(s->classroom);
        if (s->brain)
            learner_brain_not_taught(s->brain, s->taught_of.number, "the lease was lost", clock_ns());
        log_info("teaching is called off: this is no longer the learner");
    }
    reservoir_close(s->reservoir);
    s->reservoir = NULL;
    learner_folder_leave(&s->folder);
}

/* What is not up with earlier audits yet is asked about later ones when it is. */
static int look(void *arg, uint64_t number, int32_t *label, float *confidence)
{
    struct student *s = arg;
    return number != 0 && number == s->late ? FL_NOT_FOUND
                                            : candidates_look(s->candidates, number, label, confidence);
}

static int open_reservoir(struct student *s, const struct manifest *m, struct error *e)
{
    struct reservoir_setup setup;
    syllabus_reservoir(&setup, m, s->folder.reservoir, s->p->updates.reservoir_mb);
    return reservoir_open(&s->reservoir, &setup, e);
}

static int make_brain(struct student *s, const struct snapshot *c, uint64_t now)
{
    const struct manifest *m = &c->manifest;
    struct learner_setup setup = {.n_exits = m->n_exits,
                                  .terms = m->promise.live,
                                  .spent = fmax(0, m->promise.terms.budget - m->promise.live.budget),
                                  .audit = s->p->updates.audit,
                                  .audit_most = s->p->updates.audit_most,
                                  .interval_ns = (uint64_t)s->p->updates.interval_ms * NS_PER_MS,
                                  .frozen = annals_frozen(s->annals),
                                  .serves = snapshot_caches(c) > 0,
                                  /* Later epochs were certified by what differs itself. */
                                  .differs = m->learned.serial ? NAN : m->promise.differ};
    s->number = reservoir_candidate(s->reservoir);
    if (s->number < m->learned.candidate)
        reservoir_set_candidate(s->reservoir, s->number = m->learned.candidate);
    setup.candidate = s->number;
    for (int i = 0; i < m->n_exits; i++) {
        memcpy(setup.exit[i].name, m->exit[i].name, sizeof setup.exit[i].name);
        setup.exit[i].before = m->exit[i].before;
        setup.exit[i].lookup = m->exit[i].lookup;
        setup.placed[i] = c->cache[i] != NULL;
        setup.threshold[i] = c->cache[i] ? cache_info(c->cache[i]).threshold : INFINITY;
    }
    if (burst_new(&s->burst) || candidates_new(&s->candidates, m) ||
        candidates_put(s->candidates, 0, c->cache))
        return FL_NOMEM;
    return learner_brain_new(&s->brain, &setup, look, s, now);
}

static void say_begun(const struct student *s)
{
    struct reservoir_counts r = reservoir_counts(s->reservoir);
    char build[MANIFEST_BUILD_BYTES];
    log_info(
        "learns from build %s, generation %llu (%d caches serve): %lld requests that teach and %lld that "
        "certify are kept, candidates so far: %llu",
        manifest_build_text(s->base->manifest.build, build), (unsigned long long)s->base->manifest.generation,
        snapshot_caches(s->base), (long long)r.teaching, (long long)r.certifying,
        (unsigned long long)s->number);
}

static void note_build(struct student *s, const struct snapshot *current)
{
    const struct manifest *m = &current->manifest;
    if (!m->generation && snapshot_caches(current) && memcmp(s->build, m->build, sizeof s->build))
        note(s, current, &(struct learner_decision){.why = "as built"}, HISTORY_PUBLISHED);
    memcpy(s->build, m->build, sizeof s->build);
}

/* Takes what serves as its base; what was begun from something else ends. */
static int begin(struct student *s, struct snapshot *current, uint64_t now, struct error *e)
{
    struct reservoir_counts r;
    int rc;
    if (!(current->manifest.promise.live.budget > 0))
        return error_set(
            e, FL_CONFIG,
            "nothing is left to lose for caches that learn beside what lower precision loses, or the "
            "build does not say: build again, allow more, or compute in float32");
    forget(s);
    reservoir_close(s->reservoir);
    s->reservoir = NULL;
    if ((rc = open_reservoir(s, &current->manifest, e)))
        return rc;
    if (make_brain(s, current, now)) {
        forget(s);
        return error_set(e, FL_NOMEM, "no memory to learn with");
    }
    if (snapshot_caches(current) && textbook_open(&s->book, &current->manifest, s->p->state))
        log_info("%lld rows that the build learned from teach too", (long long)s->book.scores.rows);
    s->base = snapshot_retain(current);
    s->serial = current->manifest.learned.serial;
    s->since_ns = now;
    s->serves = 0;
    annals_doubt(s->annals);
    annals_keep(s->annals, current);
    r = reservoir_counts(s->reservoir);
    s->teaching = r.teaching;
    s->certifying = r.certifying;
    learner_brain_grown(s->brain, s->teaching, s->certifying, now);
    note_build(s, current);
    say_begun(s);
    return FL_OK;
}

/* With the lease: all that is needed to work, or not yet. */
static void enter(struct student *s, struct snapshot *current, uint64_t now)
{
    struct error e = {0};
    int rc;
    if (now < s->again_ns)
        return;
    rc = learner_folder_take(&s->folder, &e);
    if (!rc && (!s->brain || !is_base(s, current)))
        rc = begin(s, current, now, &e);
    else if (!rc && !s->reservoir)
        rc = open_reservoir(s, &current->manifest, &e);
    if (!rc)
        return;
    if (!s->again_ns || now > s->again_ns + AGAIN_NS)
        log_error("cannot learn: %s", e.text);
    s->again_ns = now + AGAIN_NS;
    leave(s);
}

static bool works(const struct student *s)
{
    return s->reservoir && s->brain;
}

/* --- what comes --- */

static void watch_looks(struct student *s, uint64_t now)
{
    int32_t label[PIPELINE_MAX_EXITS];
    float confidence[PIPELINE_MAX_EXITS];
    char why[160];
    if (snapshot_caches(s->base) && !candidates_look(s->candidates, s->serves, label, confidence) &&
        drift_watch_see(&s->drift, s->base, label, confidence, why, sizeof why))
        learner_brain_signal(s->brain, why, now);
}

/* Whether the true label of an audit is to be believed. */
static bool believes(struct student *s, const struct reservoir_row *row)
{
    bool before = feedback_trusted(&s->trust);
    feedback_trust_see(&s->trust, row->label, row->truth);
    if (before && !feedback_trusted(&s->trust))
        log_warn("true labels contradict the network too often: they do not count, the promise is kept by "
                 "agreement until they do so less");
    return feedback_trusted(&s->trust);
}

/* missed: a candidate that is being made has read all that it depends on before this row was there. */
static void take_row(struct student *s, const struct reservoir_row *row, enum reservoir_what what,
                     bool missed, uint64_t now)
{
    struct learner_audit audit = {row->request, row->label, row->truth, row->moment_ms};
    const float *first;
    int dim;
    if (audit.truth >= 0 && row->audit && !believes(s, row))
        audit.truth = -1;
    if (what == RESERVOIR_TRUTH && audit.truth >= 0 && row->audit) {
        catch_up_truth(s->catch_up, row->request, row->truth);
        learner_brain_truth(s->brain, row->request, row->truth, now);
    }
    if (what != RESERVOIR_WHOLE)
        return;
    if (row->certifies)
        s->certifying++;
    else
        s->teaching++;
    if (!row->audit)
        return;
    candidates_take(s->candidates, s->reservoir, row);
    first = candidates_first(s->candidates, &dim);
    if (!first || !burst_counts(s->burst, first, dim))
        return;
    if (missed)
        catch_up_add(s->catch_up, &audit, row);
    watch_looks(s, now);
    learner_brain_audit(s->brain, &audit, now);
}

/* A shadow that came to nothing. A candidate that is being made hears of it in its place: it has no
 * descriptors, so it is lost there, too. */
static void take_lost(struct student *s, const struct reservoir_row *row, bool missed, uint64_t now)
{
    const struct learner_audit audit = {row->request, 0, -1, row->moment_ms};
    if (missed)
        catch_up_add(s->catch_up, &audit, row);
    learner_brain_audit_lost(s->brain, row->moment_ms, now);
}

static int study(void *arg, const struct snapshot *current, const struct store_batch *batch, struct error *e)
{
    struct student *s = arg;
    uint64_t now = clock_ns(), wall;
    int rc = FL_OK;
    if (!works(s) || !is_base(s, current))
        return error_set(e, FL_AGAIN, "updates wait until this learner can keep them");
    for (int i = 0; !rc && i < batch->n; i++) {
        enum reservoir_what what;
        struct reservoir_row row;
        bool missed = s->late != 0 || classroom_fixed(s->classroom);
        if (!batch->update[i])
            continue;
        wall = clock_wall_ms();
        s->lag_ms = wall > batch->update[i]->moment_ms ? wall - batch->update[i]->moment_ms : 0;
        rc = reservoir_add(s->reservoir, batch->update[i], batch->id[i], &what, &row, e);
        s->taken += !rc && what != RESERVOIR_REFUSED;
        s->refused += !rc && what == RESERVOIR_REFUSED;
        if (!rc && (what == RESERVOIR_WHOLE || what == RESERVOIR_TRUTH))
            take_row(s, &row, what, missed, now);
        if (!rc && what == RESERVOIR_LOST)
            take_lost(s, &row, missed, now);
    }
    if (!rc)
        rc = reservoir_sync(s->reservoir, e);
    if (!rc)
        learner_brain_grown(s->brain, s->teaching, s->certifying, now);
    return rc;
}

/* --- what is to be done --- */

static void teach(struct student *s, const struct learner_decision *d, uint64_t now)
{
    struct teaching *t = malloc(sizeof *t);
    struct error e = {0};
    int rc = t ? FL_OK : error_set(&e, FL_NOMEM, "out of memory");
    s->taught_of = *d;
    catch_up_clear(s->catch_up);
    s->late = 0;
    log_info("%s", d->why);
    if (classroom_busy(s->classroom))
        classroom_call_off(s->classroom);
    if (!rc) {
        syllabus_teaching(t, &s->base->manifest, s->p, d, candidates_caches(s->candidates, d->of), &s->book);
        t->reservoir = s->reservoir;
        t->work_dir = s->folder.work;
        rc = classroom_begin(s->classroom, t, d->what == LEARNER_TUNE, &e);
    }
    free(t);
    if (rc)
        learner_brain_not_taught(s->brain, d->number, e.text, now);
}

static void take_lesson(struct student *s, const struct classroom_result *r, uint64_t now)
{
    struct learner_decision *d = &s->taught_of;
    if (r->rc) {
        learner_brain_not_taught(s->brain, r->number, r->error.text, now);
    } else if (candidates_put(s->candidates, r->number, r->taught.cache) ||
               !learner_brain_taught(s->brain, r->number, &r->taught.order, r->taught.points, now)) {
        log_info("candidate %llu: its caches promise too little", (unsigned long long)r->number);
        candidates_drop(s->candidates, r->number);
    } else {
        s->late = r->number;
        snprintf(d->why, sizeof d->why,
                 "candidate %llu: taught by %lld requests, order planned on %lld audits, in %.1f s",
                 (unsigned long long)r->number, (long long)r->taught.points, (long long)r->taught.planned_on,
                 r->seconds);
        log_info("%s", d->why);
        note(s, s->base, d, HISTORY_TAUGHT);
    }
}

static void take_lessons(struct student *s, uint64_t now)
{
    struct classroom_result *r = malloc(sizeof *r);
    if (r && classroom_take(s->classroom, r)) {
        take_lesson(s, r, now);
        taught_release(&r->taught);
    }
    free(r);
}

/* Audits that came while the newest candidate was taught judge it, some in each turn. */
static void catch_up(struct student *s)
{
    int32_t label[PIPELINE_MAX_EXITS];
    float confidence[PIPELINE_MAX_EXITS];
    struct learner_audit audit;
    struct reservoir_row row;
    for (int i = 0; i < AT_ONCE && s->late != 0; i++) {
        if (!catch_up_next(s->catch_up, learner_brain_waits(s->brain), &audit, &row)) {
            s->late = 0;
            break;
        }
        candidates_take(s->candidates, s->reservoir, &row);
        if (candidates_look(s->candidates, s->late, label, confidence) == FL_OK)
            learner_brain_recall(s->brain, s->late, &audit, label, confidence);
        else
            learner_brain_recall_lost(s->brain, s->late, &audit);
    }
}

static int offer_number(struct student *s, const struct learner_decision *d, struct snapshot **out)
{
    struct error e;
    s->number = d->number;
    reservoir_set_candidate(s->reservoir, d->number);
    if (reservoir_sync(s->reservoir, &e))
        log_error("%s", e.text);
    return annals_frozen(s->annals) ? FL_OK : epoch_number(out, s->base, d->number);
}

static int offer_epoch(struct student *s, const struct learner_decision *d, struct snapshot **out)
{
    struct cache *const *caches = candidates_caches(s->candidates, d->number);
    uint64_t kept = annals_last(s->annals), serial = (s->serial > kept ? s->serial : kept) + 1;
    return caches ? epoch_serve(out, s->base, caches, d->number == s->serves, d, s->number, serial)
                  : FL_NOT_FOUND;
}

static void tell(struct student *s, const struct learner_decision *d)
{
    log_info("%s", d->why);
    if (!strncmp(d->why, "looks closer", 12))
        note(s, s->base, d, HISTORY_SIGNAL);
    else if (!strncmp(d->why, "alarm", 5))
        note(s, s->base, d, HISTORY_ALARM);
}

/* Does one thing; what is to be committed is in *offer. */
static void act(struct student *s, const struct learner_decision *d, struct snapshot **offer, uint64_t now)
{
    int rc = FL_OK;
    switch (d->what) {
    case LEARNER_NUMBER:
        rc = offer_number(s, d, offer);
        break;
    case LEARNER_TEACH:
    case LEARNER_TUNE:
        teach(s, d, now);
        break;
    case LEARNER_FORGET:
        candidates_drop(s->candidates, d->number);
        s->late = s->late == d->number ? 0 : s->late;
        break;
    case LEARNER_SERVE:
        rc = offer_epoch(s, d, offer);
        break;
    case LEARNER_EVENT:
        tell(s, d);
        break;
    }
    if (rc)
        log_error("candidate %llu: %s", (unsigned long long)d->number, error_sentence(rc));
    if (*offer) {
        s->decision = *d;
        s->offered = snapshot_retain(*offer);
    }
}

static enum history_kind kind_of_serving(const struct student *s, const struct learner_decision *d)
{
    return d->state == LEARNER_TIGHTENED ? HISTORY_TIGHTENED
           : d->state == LEARNER_OFF     ? HISTORY_OFF
           : d->number == s->serves      ? HISTORY_BOLDER
                                         : HISTORY_CERTIFIED;
}

/* What was offered serves. */
static void take_committed(struct student *s)
{
    const struct learner_decision *d = &s->decision;
    snapshot_free(s->base);
    s->base = s->offered;
    s->offered = NULL;
    if (d->what != LEARNER_SERVE)
        return;
    drift_watch_forget(&s->drift);
    s->serial = s->base->manifest.learned.serial;
    s->since_ns = clock_ns();
    log_info("epoch %llu: %s", (unsigned long long)s->serial, d->why);
    note(s, s->base, d, kind_of_serving(s, d));
    s->serves = d->number;
    annals_keep(s->annals, s->base);
}

/* Whether what was offered has come to serve is seen by what serves. */
static void take_answer(struct student *s, const struct snapshot *current)
{
    if (snapshot_same_build(s->offered, current) &&
        s->offered->manifest.generation == current->manifest.generation) {
        take_committed(s);
        return;
    }
    log_info("what serves has become another while an epoch was to be committed: learning begins again from "
             "that");
    forget(s);
}

/* --- turns --- */

static void look_at_base(struct student_view *v, const struct snapshot *base)
{
    v->n_exits = base->manifest.n_exits;
    for (int i = 0; i < v->n_exits; i++)
        v->threshold[i] = base->cache[i] ? cache_info(base->cache[i]).threshold : INFINITY;
}

static void look_around(struct student *s, bool fenced)
{
    pthread_mutex_lock(&s->mutex);
    s->view = (struct student_view){.works = fenced && works(s), .serial = s->serial};
    if (s->view.works)
        s->view.view = learner_brain_view(s->brain);
    if (s->view.works && s->base)
        look_at_base(&s->view, s->base);
    s->view.since_ns = s->since_ns;
    s->view.lag_ms = s->lag_ms;
    if (s->view.works) {
        struct reservoir_counts r = reservoir_counts(s->reservoir);
        s->view.kept = r.teaching + r.certifying;
    }
    s->view.taken = s->taken;
    s->view.refused = s->refused;
    pthread_mutex_unlock(&s->mutex);
}

static void work(struct student *s, struct keeper_turn *t)
{
    struct learner_decision d;
    uint64_t due;
    take_lessons(s, t->now);
    catch_up(s);
    learner_brain_tick(s->brain, t->now);
    while (!s->offered && annals_ready(s->annals) && learner_brain_next(s->brain, &d))
        act(s, &d, &t->offer, t->now);
    t->errand = annals_due(s->annals, t->now);
    t->due_ns = annals_next_ns(s->annals);
    due = learner_brain_due(s->brain);
    t->due_ns = s->late != 0 ? t->now : due < t->due_ns ? due : t->due_ns;
}

/* On a busy host the lease may be lost and be back soon: what is open and what is being taught stays
 * meanwhile, or nothing would ever be done there. */
static void stay_away(struct student *s, struct keeper_turn *t)
{
    if (s->folder.lock < 0)
        return;
    if (!s->away_ns)
        s->away_ns = t->now;
    if (t->now - s->away_ns < AWAY_NS) {
        t->due_ns = s->away_ns + AWAY_NS;
        return;
    }
    log_info("lets go of what it learns from: for %d s this is not the learner", (int)(AWAY_NS / NS_PER_S));
    leave(s);
}

static void turn(void *arg, struct keeper_turn *t)
{
    struct student *s = arg;
    if (!t->fence || !t->current) {
        stay_away(s, t);
    } else {
        s->away_ns = 0;
        if (s->offered && !t->offers)
            take_answer(s, t->current);
        if (!s->offered)
            enter(s, (struct snapshot *)t->current, t->now);
        if (works(s) && s->base)
            work(s, t);
        else if (s->again_ns > t->now)
            t->due_ns = s->again_ns;
    }
    look_around(s, t->fence);
}

static int errand(void *arg, const struct snapshot *current, struct store *store, struct error *e)
{
    struct student *s = arg;
    bool frozen = annals_frozen(s->annals);
    int rc = annals_write(s->annals, store, e);
    (void)current;
    if (s->brain && frozen != annals_frozen(s->annals))
        learner_brain_frozen(s->brain, !frozen, clock_ns());
    return rc;
}

/* --- life --- */

static void wake(void *arg)
{
    keeper_wake(((struct student *)arg)->keeper);
}

int student_new(struct student **out, const struct pipeline *p, struct error *e)
{
    struct student *s = calloc(1, sizeof *s);
    int rc;
    if (!s)
        return error_set(e, FL_NOMEM, "out of memory");
    s->p = p;
    s->hooks = (struct keeper_student){s, study, errand, turn};
    pthread_mutex_init(&s->mutex, NULL);
    if ((rc = learner_folder_make(&s->folder, p->state, e))) {
        student_free(s);
        return rc;
    }
    if (catch_up_new(&s->catch_up) || classroom_new(&s->classroom, wake, s) || annals_new(&s->annals)) {
        student_free(s);
        return error_set(e, FL_NOMEM, "out of memory");
    }
    *out = s;
    return FL_OK;
}

void student_free(struct student *s)
{
    if (!s)
        return;
    if (s->classroom)
        forget(s);
    leave(s);
    classroom_free(s->classroom);
    annals_free(s->annals);
    catch_up_free(s->catch_up);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

const struct keeper_student *student_hooks(const struct student *s)
{
    return &s->hooks;
}

void student_wakes(struct student *s, struct keeper *k)
{
    s->keeper = k;
}

struct student_view student_view(struct student *s)
{
    struct student_view v;
    pthread_mutex_lock(&s->mutex);
    v = s->view;
    pthread_mutex_unlock(&s->mutex);
    return v;
}
