/* dispatch_feedback.c - true labels, told after the fact: which can be of a request, and who is told
 *
 * One cache service is told, so that each label becomes one update. Nothing is remembered of requests that
 * were answered: whether one was audited, and whether its label came before, is known where the updates are
 * kept. The rate is limited, so that labels never fill the queues that updates wait in.
 */
#include <string.h>

#include "base/clock.h"
#include "dispatch_inside.h"

#define LABELS_PER_S 20000.0
#define LABELS_MOST  20000.0 /* at once */

const struct member *dispatch_who_learns(const struct dispatch *d)
{
    const uint8_t *serving = registry_identity(d->registry);
    for (int i = 0; i < registry_caches(d->registry); i++) {
        const struct member *m = registry_cache(d->registry, i);
        if (m->alive && m->last.learns && serving &&
            !memcmp(m->hello.identity, serving, sizeof m->hello.identity))
            return m;
    }
    return NULL;
}

static void refill(struct dispatch *d, uint64_t now)
{
    double more = (double)(now - d->feedback_ns) / NS_PER_S * LABELS_PER_S;
    d->feedback_room = d->feedback_room + more < LABELS_MOST ? d->feedback_room + more : LABELS_MOST;
    d->feedback_ns = now;
}

/* Those that may be true go to *out, all are counted in *reply. */
static void sort_out(struct dispatch *d, const struct feedback *f, struct feedback *out,
                     struct feedback *reply)
{
    for (int i = 0; i < f->n; i++) {
        enum requests_when when = requests_when(d->requests, f->item[i].request);
        if (f->item[i].label < 0 || f->item[i].label > MESSAGE_MAX_LABEL)
            reply->wrong++;
        else if (when == REQUESTS_FOREIGN)
            reply->foreign++;
        else if (when != REQUESTS_PAST)
            reply->early++;
        else if (d->feedback_room < 1) {
            reply->later = (uint32_t)(f->n - i);
            return;
        } else {
            d->feedback_room--;
            out->item[out->n++] = f->item[i];
        }
    }
}

/* What the choice among variants learns from them. False: it learns nothing. */
static bool teach_choice(struct dispatch *d, const struct feedback *f, struct feedback *reply)
{
    if (!d->choice || (d->pipeline->choose != CHOOSE_EXP3 && d->pipeline->choose != CHOOSE_EXP4))
        return false;
    for (int i = 0; i < f->n; i++) {
        int rc = choice_feedback(d->choice, f->item[i].request, f->item[i].label);
        reply->taken += rc == FL_OK;
        reply->wrong += rc == FL_VALUE;
        reply->foreign += rc == FL_NOT_FOUND;
    }
    return true;
}

/* To a cache service that learns. */
static void teach_caches(struct dispatch *d, const struct feedback *f, struct feedback *reply)
{
    const struct member *m = dispatch_who_learns(d);
    struct feedback *out = &d->out.feedback;

    d->out.type = MESSAGE_FEEDBACK;
    memset(out, 0, sizeof *out);
    if (d->pipeline->cache.rule != THRESHOLD_RISK || !d->pipeline->updates.learn)
        reply->error = FL_UNSUPPORTED;
    else if (!m)
        reply->error = FL_UNAVAILABLE;
    else
        sort_out(d, f, out, reply);
    if (out->n && d->io.control(d->io.arg, &m->peer, &d->out))
        reply->error = FL_UNAVAILABLE;
    reply->taken = reply->error ? 0 : (uint32_t)out->n;
}

void dispatch_feedback(struct dispatch *d, const struct peer *from, const struct feedback *f, uint64_t now)
{
    struct feedback reply = {.sequence = f->sequence};
    refill(d, now);
    if (!teach_choice(d, f, &reply))
        teach_caches(d, f, &reply);
    d->counters.feedback_taken += reply.taken;
    d->counters.feedback_refused += reply.early + reply.foreign + reply.wrong;
    d->out.type = MESSAGE_FEEDBACK;
    d->out.feedback = reply;
    d->io.client(d->io.arg, from, &d->out, NULL);
}
