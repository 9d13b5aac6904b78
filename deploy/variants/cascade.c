/* cascade.c - labels and confidences of small variants as the evidence of exits */
#include "cascade.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "numbers/shuffle.h"

/* Those that are quicker than the best one, the quickest first. */
static void order(struct cascade *c, const struct measurements *m)
{
    for (int i = 0; i < m->n; i++) {
        int at = c->n;
        c->sure[i] = INFINITY;
        if (i == m->best || m->one[i].of.full_ms.mean >= m->one[m->best].of.served_ms.mean)
            continue;
        for (; at && m->one[c->of[at - 1]].of.served_ms.mean > m->one[i].of.served_ms.mean; at--)
            c->of[at] = c->of[at - 1];
        c->of[at] = i;
        c->n++;
    }
}

/* In a random order, so that each part is a sample of the whole. */
static int gather(struct evidence *ev, const struct cascade *c, const struct measurements *m)
{
    int32_t *row = malloc((size_t)m->records * sizeof *row);
    struct shuffle s;
    int rc = row ? evidence_new(ev, c->n, m->records, m->labelled) : FL_NOMEM;

    for (int64_t i = 0; !rc && i < m->records; i++)
        row[i] = (int32_t)i;
    shuffle_seed(&s, m->front->cache.seed, 15);
    if (!rc)
        shuffle_order(&s, row, m->records);
    for (int k = 0; !rc && k < c->n; k++) {
        const struct measured *x = &m->one[c->of[k]];
        struct evidence_exit *exit = &ev->exit[k];
        snprintf(exit->name, sizeof exit->name, "%.63s", x->name);
        exit->placed = true;
        exit->lookup = x->of.full_ms.mean / c->best_ms;
        for (int64_t i = 0; i < m->records; i++) {
            exit->label[i] = x->answers[row[i]].last;
            exit->confidence[i] = x->answers[row[i]].confidence;
        }
    }
    for (int64_t i = 0; !rc && i < m->records; i++) {
        ev->full[i] = m->one[m->best].answers[row[i]].served;
        if (m->labelled)
            ev->truth[i] = dataset_label(m->data, row[i]);
    }
    free(row);
    return rc;
}

int cascade_make(struct cascade *out, const struct measurements *m, struct error *e)
{
    struct evidence ev = {0};
    struct error why = {0};
    bool any = false;
    int rc;

    memset(out, 0, sizeof *out);
    out->best_ms = m->one[m->best].of.served_ms.mean;
    out->bytes = m->one[m->best].bytes;
    order(out, m);
    out->terms = (struct promise_terms){!m->labelled, m->front->budget.max_accuracy_loss / 100, m->certainty};
    if (!out->n) {
        snprintf(out->why_not, sizeof out->why_not, "no variant is quicker than the most accurate one");
        return FL_OK;
    }
    if (!(rc = gather(&ev, out, m)))
        rc = promise_choose(&out->choice, &ev, &out->terms, true, &why);
    evidence_release(&ev);
    if (rc == FL_NOMEM)
        return error_set(e, FL_NOMEM, "no memory for a cascade");
    if (rc) {
        snprintf(out->why_not, sizeof out->why_not, "%s", why.text);
        return FL_OK;
    }
    for (int k = 0; k < out->n; k++)
        if (out->choice.placed[k]) {
            out->sure[out->of[k]] = out->choice.threshold[k];
            out->bytes += m->one[out->of[k]].bytes;
            any = true;
        }
    out->ms = out->choice.certified.time * out->best_ms;
    if (!any || out->ms >= out->best_ms) {
        snprintf(out->why_not, sizeof out->why_not, "it would take no less time than %s alone",
                 m->one[m->best].name);
        for (int i = 0; i < m->n; i++)
            out->sure[i] = INFINITY;
    }
    return FL_OK;
}
