/* kinds.c - the winner of each exit by what all exits together take: from the best single kind on, one exit
 * after the other takes the kind with which the whole is fastest, until no change helps */
#include "kinds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/report.h"
#include "deploy/tool/table.h"

#define ROUNDS 4    /* in practice the second changes nothing */
#define GAIN   1e-9 /* of the network's time: less is no gain */

const char *const kinds_name[KINDS] = {"knn", "kmeans", "learned"};

int kinds_index(const char *name)
{
    for (int k = 0; k < KINDS; k++)
        if (!strcmp(kinds_name[k], name))
            return k;
    return -1;
}

int kinds_parse(bool wanted[KINDS], const char *text, struct error *e)
{
    bool all = !strcmp(text, "all");

    for (int k = 0; k < KINDS; k++)
        wanted[k] = all;
    while (!all && *text) {
        size_t n = strcspn(text, ",");
        int found = -1;
        for (int k = 0; k < KINDS; k++)
            if (n == strlen(kinds_name[k]) && !strncmp(text, kinds_name[k], n))
                found = k;
        if (found < 0)
            return error_set(e, FL_USAGE,
                             "--kinds: there is no kind of cache '%.*s': all, or some of knn,kmeans,learned",
                             (int)(n < 40 ? n : 40), text);
        wanted[found] = true;
        text += text[n] ? n + 1 : n;
    }
    for (int k = 0; k < KINDS; k++)
        all = all || wanted[k];
    return all ? FL_OK : error_set(e, FL_USAGE, "--kinds: which? all, or some of knn,kmeans,learned");
}

/* --- evidence of a choice: kind[i] of each exit, -1: no cache --- */

/* The evidence of a choice; arrays are borrowed. Times before an exit are the first kind's that was built
 * there, so that noise in them favours none. */
static void view(struct evidence *out, float threshold[PIPELINE_MAX_EXITS], const struct kinds_contest *c,
                 const int *kind)
{
    memset(out, 0, sizeof *out);
    for (int i = 0; i < c->n_exits; i++) {
        const struct kinds_entry *from = kind[i] < 0 ? NULL : &c->entry[i][kind[i]];
        if (!from || !from->evidence)
            continue;
        if (!out->n_exits) {
            const struct evidence *first = from->evidence;
            memcpy(out->identity, first->identity, sizeof out->identity);
            out->network_ms = first->network_ms;
            out->points = first->points;
            out->full = first->full;
            out->truth = first->truth;
            out->last = first->last;
        }
        threshold[out->n_exits] = from->threshold;
        out->exit[out->n_exits] = from->evidence->exit[from->column];
        out->exit[out->n_exits].placed = true;
        for (int k = KINDS - 1; k >= 0; k--)
            if (c->entry[i][k].evidence)
                out->exit[out->n_exits].before = c->entry[i][k].evidence->exit[c->entry[i][k].column].before;
        out->n_exits++;
    }
}

/* Mean time of a choice, and the share that it answers early. */
static int weigh(double *time, double *share, const struct kinds_contest *c, const int *kind, bool may_drop,
                 struct error *e)
{
    float threshold[PIPELINE_MAX_EXITS];
    bool placed[PIPELINE_MAX_EXITS];
    struct evidence ev;
    struct promise_forecast f;
    struct promise_result r;
    int rc = FL_OK;

    view(&ev, threshold, c, kind);
    if (c->promised) {
        rc = promise_foresee(&f, &ev, &c->terms, may_drop, e);
        *time = f.time;
        *share = f.share;
    } else {
        for (int k = 0; k < ev.n_exits; k++)
            placed[k] = true;
        promise_judge(&r, &ev, 0, ev.points, threshold, placed, true);
        *time = r.time;
        *share = r.share;
    }
    return rc;
}

/* --- each entry by itself --- */

static double agreement(const struct kinds_entry *x)
{
    const struct evidence *ev = x->evidence;
    const int32_t *label = ev->exit[x->column].label;
    int64_t same = 0;

    for (int64_t p = 0; p < ev->points; p++)
        same += label[p] == ev->full[p];
    return ev->points ? (double)same / (double)ev->points : NAN;
}

static int judge_alone(struct kinds_contest *c, struct error *e)
{
    int alone[PIPELINE_MAX_EXITS], rc = FL_OK;

    for (int i = 0; i < c->n_exits; i++)
        alone[i] = -1;
    for (int i = 0; i < c->n_exits; i++) {
        for (int k = 0; k < KINDS && !rc; k++) {
            struct kinds_entry *x = &c->entry[i][k];
            if (!x->evidence)
                continue;
            alone[i] = k;
            x->agreement = agreement(x);
            rc = weigh(&x->time, &x->share, c, alone, false, e);
        }
        alone[i] = -1;
    }
    return rc;
}

/* --- all exits together --- */

/* `like` at all exits that have it; elsewhere what is fastest alone. False: no exit has it. */
static bool uniform(int *kind, const struct kinds_contest *c, int like)
{
    bool any = false;

    for (int i = 0; i < c->n_exits; i++) {
        kind[i] = -1;
        for (int k = 0; k < KINDS; k++)
            if (c->entry[i][k].evidence && (kind[i] < 0 || c->entry[i][k].time < c->entry[i][kind[i]].time))
                kind[i] = k;
        if (c->entry[i][like].evidence) {
            kind[i] = like;
            any = true;
        }
    }
    return any;
}

static int best_uniform(int *best, struct kinds_contest *c, struct error *e)
{
    int kind[PIPELINE_MAX_EXITS], rc;
    double share;

    c->time = INFINITY;
    for (int k = 0; k < KINDS; k++) {
        c->uniform[k] = NAN;
        if (!uniform(kind, c, k))
            continue;
        if ((rc = weigh(&c->uniform[k], &share, c, kind, c->may_drop, e)))
            return rc;
        if (c->uniform[k] < c->time) {
            c->time = c->uniform[k];
            memcpy(best, kind, sizeof kind);
        }
    }
    return FL_OK;
}

/* Exit i takes the kind with which the whole is fastest. */
static int improve(int *kind, int i, bool *changed, struct kinds_contest *c, struct error *e)
{
    int keep = kind[i], rc = FL_OK;
    double time, share;

    for (int k = 0; k < KINDS && !rc; k++) {
        if (!c->entry[i][k].evidence || k == keep)
            continue;
        kind[i] = k;
        rc = weigh(&time, &share, c, kind, c->may_drop, e);
        if (!rc && time < c->time - GAIN) {
            c->time = time;
            keep = k;
            *changed = true;
        }
    }
    kind[i] = keep;
    return rc;
}

int kinds_compare(struct kinds_contest *c, struct error *e)
{
    int kind[PIPELINE_MAX_EXITS], rc;
    bool changed = true;

    for (int i = 0; i < PIPELINE_MAX_EXITS; i++)
        kind[i] = -1;
    if ((rc = judge_alone(c, e)) || (rc = best_uniform(kind, c, e)))
        return rc;
    for (int round = 0; round < ROUNDS && changed; round++) {
        changed = false;
        for (int i = c->n_exits - 1; i >= 0 && !rc; i--)
            rc = improve(kind, i, &changed, c, e);
    }
    for (int i = 0; i < c->n_exits; i++)
        for (int k = 0; k < KINDS; k++)
            c->entry[i][k].won = kind[i] == k;
    return rc;
}

int kinds_evidence(struct evidence *out, const struct kinds_contest *c, struct error *e)
{
    float threshold[PIPELINE_MAX_EXITS];
    int kind[PIPELINE_MAX_EXITS], rc;
    struct evidence ev;
    int32_t *row;

    for (int i = 0; i < c->n_exits; i++) {
        kind[i] = -1;
        for (int k = 0; k < KINDS; k++)
            if (c->entry[i][k].won)
                kind[i] = k;
    }
    view(&ev, threshold, c, kind);
    if (!(row = malloc(sizeof *row * ((size_t)ev.points + 1))))
        return error_set(e, FL_NOMEM, "no memory for evidence");
    for (int64_t p = 0; p < ev.points; p++)
        row[p] = (int32_t)p;
    rc = evidence_take(out, &ev, row, ev.points);
    free(row);
    return rc ? error_set(e, (enum fl_code)rc, "no memory for evidence") : FL_OK;
}

/* --- report --- */

static void table_entry(struct table *t, const struct kinds_entry *x)
{
    const struct evidence_exit *at = &x->evidence->exit[x->column];
    char text[32];

    table_cells(t, "%s|%s|%.1f%%|%.1f%%|%.2f%%|%s|%.1f%%|%s", at->name, at->kind, 100 * x->agreement,
                100 * x->share, 100 * at->lookup, table_bytes((double)x->bytes, text, sizeof text),
                100 * x->time, x->won ? "wins" : "");
}

int kinds_print(const struct kinds_contest *c, struct error *e)
{
    struct table *t;
    int rc;

    printf(
        "\nkinds      each on the same calibration points; 'answers' and 'time' are of that cache alone, ");
    if (c->promised)
        printf("within a loss of %.2f points, as planned", 100 * c->terms.budget);
    else
        printf("with its threshold");
    printf("\n\n");
    t = table_new("exit|kind|labels agree|answers|look-up|memory|time|", "llrrrrrl");
    for (int i = 0; i < c->n_exits; i++)
        for (int k = 0; k < KINDS; k++)
            if (c->entry[i][k].evidence)
                table_entry(t, &c->entry[i][k]);
    rc = table_end(t, e);
    printf("\ntogether   the winners: %.1f%% of the network's time", 100 * c->time);
    for (int k = 0; k < KINDS; k++)
        if (!isnan(c->uniform[k]))
            printf("; %s everywhere: %.1f%%", kinds_name[k], 100 * c->uniform[k]);
    printf("\n");
    return rc;
}

json_t *kinds_json(const struct kinds_contest *c)
{
    json_t *entries = json_array(), *everywhere = json_object();

    for (int i = 0; i < c->n_exits; i++) {
        for (int k = 0; k < KINDS; k++) {
            const struct kinds_entry *x = &c->entry[i][k];
            if (!x->evidence)
                continue;
            const struct evidence_exit *at = &x->evidence->exit[x->column];
            json_array_append_new(
                entries,
                json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:o, s:b}", "exit", at->name, "kind", at->kind,
                          "label_agreement", report_rounded(x->agreement, 6), "answered_alone",
                          report_rounded(x->share, 6), "lookup_time", report_rounded(at->lookup, 6), "bytes",
                          (json_int_t)x->bytes, "time_alone", report_rounded(x->time, 6), "won", x->won));
        }
    }
    for (int k = 0; k < KINDS; k++)
        if (!isnan(c->uniform[k]))
            json_object_set_new(everywhere, kinds_name[k], report_rounded(c->uniform[k], 6));
    return json_pack("{s:o, s:o, s:o}", "entries", entries, "time", report_rounded(c->time, 6),
                     "time_everywhere", everywhere);
}
