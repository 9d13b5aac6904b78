/* promise_record.c - the promise of the caches in STATE beside that of the pipeline file */
#include "promise_record.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string.h>

#include "promised.h"
#include "deploy/tool/report.h"
#include "built_exits.h"

char *promise_text(const struct promise_terms *t, char text[PROMISE_TEXT_BYTES])
{
    snprintf(text, PROMISE_TEXT_BYTES, "at most %g points of %s lost, certainty %g%%", 100 * t->budget,
             t->agreement ? "agreement" : "accuracy", 100 * t->certainty);
    return text;
}

bool promise_same(const struct promise_terms *a, const struct promise_terms *b)
{
    return a->agreement == b->agreement && fabs(a->budget - b->budget) < 1e-9 &&
           fabs(a->certainty - b->certainty) < 1e-9;
}

/* Where the pipeline file asks for something else. */
static void compare(struct promise_record *out, const struct pipeline *p)
{
    struct promise_terms asks = promised_terms(p);
    bool wanted = p->cache.rule == THRESHOLD_RISK;

    if (!wanted && out->promised)
        snprintf(out->asked, sizeof out->asked, "no promise");
    else if (wanted && (!out->promised || !promise_same(&asks, &out->promise.terms)))
        promise_text(&asks, out->asked);
}

void promise_record_take(struct promise_record *out, const struct manifest *m, const struct pipeline *p)
{
    *out = (struct promise_record){.known = true, .promised = m->promised, .promise = m->promise};
    memcpy(out->build, m->build, sizeof out->build);
    memcpy(out->identity, m->identity.digest, sizeof out->identity);
    for (int i = 0; i < m->n_exits; i++)
        out->n_caches += m->exit[i].file[0] != '\0';
    compare(out, p);
}

void promise_record_hear(struct promise_record *out, const struct caches_told *told, const struct pipeline *p)
{
    const struct caches_promise *t = &told->promise;

    *out = (struct promise_record){.known = true, .promised = t->made, .n_caches = (int)told->loaded};
    memcpy(out->build, told->build, sizeof out->build);
    if (t->made)
        out->promise = (struct manifest_promise){.terms = {t->agreement, t->max_loss, t->certainty},
                                                 .planning_points = (int64_t)t->planning_points,
                                                 .certifying_points = (int64_t)t->certifying_points,
                                                 .loss = t->loss,
                                                 .upper = t->loss_upper};
    compare(out, p);
}

void promise_record_load(struct promise_record *out, const struct pipeline *p)
{
    struct manifest *m = malloc(sizeof *m);

    *out = (struct promise_record){0};
    if (m && !built_manifest(m, p, NULL))
        promise_record_take(out, m, p);
    free(m);
}

void promise_record_warn(const struct promise_record *r, const char *command)
{
    char text[PROMISE_TEXT_BYTES] = "nothing";

    if (!r->known || !r->asked[0])
        return;
    if (r->promised)
        promise_text(&r->promise.terms, text);
    fprintf(
        stderr,
        "freezeline %s: the caches that were built promise %s; the pipeline file asks for %s: build again\n",
        command, text, r->asked);
}

void promise_warn_of_updates(const struct pipeline *p, const char *command)
{
    if (p->updates.in_vain > 0)
        fprintf(stderr,
                "freezeline %s: updates.sample: %g teaches nothing under cache.threshold: risk %s; it is "
                "taken as 0\n",
                command, p->updates.in_vain,
                p->updates.learn ? "without Redis (set redis.endpoint, or redis.managed: true)"
                                 : "with updates.learn: false");
}

void promise_record_report(const struct promise_record *r, json_t *root)
{
    const struct manifest_promise *p = &r->promise;
    json_t *promise = json_null();

    if (r->promised)
        promise = json_pack(
            "{s:s, s:f, s:f, s:I, s:I, s:o, s:o}", "of", p->terms.agreement ? "agreement" : "accuracy",
            "max_loss", p->terms.budget, "certainty", p->terms.certainty, "planning_points",
            (json_int_t)p->planning_points, "certifying_points", (json_int_t)p->certifying_points, "loss",
            report_rounded(p->loss, 6), "loss_upper", report_rounded(p->upper, 6));
    json_object_set_new(root, "promise", promise);
    json_object_set_new(root, "promise_asked", r->asked[0] ? json_string(r->asked) : json_null());
}
