/* epoch_report.c - see epoch_report.h */
#include "epoch_report.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cache_service/promise/betting.h"
#include "deploy/process/roles.h"
#include "deploy/tool/report.h"
#include "deploy/tool/table.h"

#define EPOCH_SENTENCE_BYTES 400

const struct process_status *epoch_learner(const struct status_reply *r)
{
    for (int i = 0; i < r->n_processes; i++)
        if (r->process[i].role == ROLE_LEARNER && r->process[i].last.told.state != EPOCH_NOT &&
            strcmp(r->process[i].state, "dead") != 0)
            return &r->process[i];
    return NULL;
}

/* "cold", "teaching", "certifying", "serving", "tightened", "off", "frozen". */
static const char *epoch_word(const struct epoch_told *told)
{
    if (told->frozen)
        return "frozen";
    switch (told->state) {
    case EPOCH_TIGHTENED:
        return "tightened";
    case EPOCH_OFF:
        return "off";
    case EPOCH_SERVING:
        return "serving";
    case EPOCH_COLD:
        return told->judged ? "certifying" : told->teaching ? "teaching" : "cold";
    default:
        return "unknown";
    }
}

/* "12 s", "3 min", "2 h". */
static char *age(uint64_t ms, char text[32])
{
    double s = (double)ms / 1000;
    snprintf(text, 32,
             s < 120    ? "%.0f s"
             : s < 7200 ? "%.0f min"
                        : "%.1f h",
             s < 120    ? s
             : s < 7200 ? s / 60
                        : s / 3600);
    return text;
}

/* "epoch 7 serves for 12 s; candidate 9: 812 of about 1500 audits". Returns `text`. */
static char *epoch_sentence(const struct epoch_told *t, char text[EPOCH_SENTENCE_BYTES])
{
    char since[32], now[128] = "", serves[128];
    if (t->state == EPOCH_COLD)
        snprintf(serves, sizeof serves, "nothing is certified yet, the network answers");
    else if (t->state == EPOCH_OFF)
        snprintf(serves, sizeof serves, "after an alarm the network answers until caches are certified anew");
    else
        snprintf(serves, sizeof serves, "epoch %" PRIu64 " serves for %s%s", t->serial, age(t->age_ms, since),
                 t->state == EPOCH_TIGHTENED ? ", tightened after an alarm" : "");
    if (t->judged)
        snprintf(now, sizeof now,
                 "; candidate %" PRIu64 " is certified: %" PRIu64 " audits of about %" PRIu64, t->candidate,
                 t->judged, t->needed);
    snprintf(text, EPOCH_SENTENCE_BYTES, "%s%s%s%s", serves, now,
             t->teaching ? "; a candidate is being taught" : "",
             t->frozen ? "; frozen by an operator (`freezeline cache thaw`)" : "");
    return text;
}

/* --- numbers --- */

static double mean(const struct epoch_told *t, const struct caches_promise *p)
{
    uint64_t lost = p->agreement ? t->differ : t->lost - t->won;
    return t->audits ? (double)(int64_t)lost / (double)t->audits : NAN;
}

static double used(const struct epoch_told *t, const struct caches_promise *p)
{
    return p->made && p->max_loss > 0 ? mean(t, p) / p->max_loss : NAN;
}

/* What one exit loses, of all audits: between these bounds with the promise's certainty. */
struct exit_loss {
    double mean, lower, upper;
};

static struct exit_loss loss_of(const struct epoch_told *t, const struct caches_promise *p, int i)
{
    struct gap_counts c = {.n = (int64_t)t->audits, .lost = (int64_t)t->exit_lost[i]};
    double delta = 1 - (p->made ? p->certainty : 0.95);
    if (c.n <= 0 || c.lost < 0 || c.lost > c.n || !(delta > 0 && delta < 1))
        return (struct exit_loss){NAN, NAN, NAN};
    return (struct exit_loss){(double)c.lost / (double)c.n, betting_lower(&c, delta),
                              betting_upper(&c, delta)};
}

static double hit_rate(const struct status_reply *r, int i)
{
    return i < r->n_exits && r->answered ? (double)r->exit[i].answered / (double)r->answered : NAN;
}

/* --- for people --- */

static const char *percent(double share, char text[16])
{
    if (isfinite(share))
        snprintf(text, 16, "%.2f%%", 100 * share);
    else
        snprintf(text, 16, "-");
    return text;
}

/* Without true labels, audits count as lost where the answer differs. That is never less than accuracy, so it
 * can show that a budget of accuracy is kept, not that it is exceeded. */
static void print_losses(const struct epoch_told *t, const struct caches_promise *p, bool labels, FILE *to)
{
    const char *what = p->agreement ? "agreement" : "accuracy";
    bool differ = p->made && !p->agreement && !labels;
    double lower = (differ || p->agreement) && t->lower < 0
                       ? 0
                       : t->lower; /* a share, unlike accuracy, is not negative */
    char a[16], b[16], c[16], d[16], e[16], certain[16];

    snprintf(certain, sizeof certain, "%g%%", 100 * (p->made ? p->certainty : 0.95));
    if (!t->audits || t->state == EPOCH_COLD)
        return;
    fprintf(to, "  %" PRIu64 " audits since then: %s %s (%s certain: %s to %s)", t->audits,
            percent(mean(t, p), a), differ ? "differ from the network" : "lost", certain, percent(lower, b),
            percent(t->upper, c));
    if (differ && t->upper > p->max_loss)
        fprintf(
            to,
            "; only true labels (`freezeline feedback`) tell how much of the budget of %s accuracy that is",
            percent(p->max_loss, e));
    else if (p->made && t->lower <= p->max_loss && p->max_loss < t->upper)
        fprintf(to, ", too few to tell whether it is within %s of %s", percent(p->max_loss, e), what);
    else if (p->made)
        fprintf(to, ", %s of the budget of %s %s", percent(used(t, p), d), percent(p->max_loss, e), what);
    fprintf(to, "\n");
}

static void print_exit(const struct status_reply *r, const struct process_status *l, const char *name, int i,
                       FILE *to)
{
    const struct epoch_told *t = &l->last.told;
    struct exit_loss loss = loss_of(t, &l->caches.promise, i);
    char a[16], b[16], c[16], d[16], threshold[24] = "off";
    if (isfinite(t->threshold[i]))
        snprintf(threshold, sizeof threshold, "%.4g", (double)t->threshold[i]);
    fprintf(to, "  %-12.12s threshold %8s  answers %7s of all requests  loses %7s (%s to %s)\n", name,
            threshold, percent(hit_rate(r, i), a), percent(loss.mean, b), percent(loss.lower, c),
            percent(loss.upper, d));
}

void epoch_print(const struct status_reply *r, const struct model_shape *m, FILE *to)
{
    const struct process_status *l = epoch_learner(r);
    char name[32], sentence[EPOCH_SENTENCE_BYTES], memory[32], lag[32];
    const struct epoch_told *t;
    if (!l)
        return;
    t = &l->last.told;
    fprintf(to, "\n%s, %s: %s\n", roles_name(l, name, sizeof name), epoch_word(t),
            epoch_sentence(t, sentence));
    print_losses(t, &l->caches.promise, r->feedback_taken > 0, to);
    for (int i = 0; i < t->n_exits && t->state != EPOCH_COLD; i++)
        print_exit(r, l, m ? model_shape_exit(m, i) : "exit", i, to);
    fprintf(to,
            "  updates: %" PRIu64 " taken, %" PRIu64 " refused, the newest after %s; %" PRIu64
            " requests kept; %s of memory, cached files included\n",
            l->last.learning.accepted, l->last.learning.rejected, age(t->lag_ms, lag), t->kept,
            table_bytes((double)l->last.resident_bytes, memory, sizeof memory));
    if (r->feedback_taken || r->feedback_refused)
        fprintf(to, "  true labels: %" PRIu64 " taken, %" PRIu64 " refused\n", r->feedback_taken,
                r->feedback_refused);
}

/* --- JSON --- */

static json_t *exits_json(const struct status_reply *r, const struct process_status *l,
                          const struct model_shape *m)
{
    const struct epoch_told *t = &l->last.told;
    json_t *list = json_array();
    for (int i = 0; i < t->n_exits; i++) {
        struct exit_loss loss = loss_of(t, &l->caches.promise, i);
        json_array_append_new(
            list,
            json_pack("{s:s, s:o, s:o, s:I, s:I, s:o, s:o, s:o}", "name", m ? model_shape_exit(m, i) : "",
                      "threshold", report_number((double)t->threshold[i]), "hit_rate",
                      report_rounded(hit_rate(r, i), 6), "answered_audits", (json_int_t)t->answered[i],
                      "lost_audits", (json_int_t)t->exit_lost[i], "loss", report_rounded(loss.mean, 6),
                      "loss_lower", report_rounded(loss.lower, 6), "loss_upper",
                      report_rounded(loss.upper, 6)));
    }
    return list;
}

json_t *epoch_json(const struct status_reply *r, const struct model_shape *m)
{
    const struct process_status *l = epoch_learner(r);
    char name[32];
    const struct epoch_told *t;
    const struct caches_promise *p;
    json_t *o;
    if (!l)
        return json_null();
    t = &l->last.told;
    p = &l->caches.promise;
    o = json_pack("{s:s, s:s, s:b, s:b, s:I, s:o, s:I, s:I, s:I}", "role", roles_name(l, name, sizeof name),
                  "state", epoch_word(t), "teaching", t->teaching, "frozen", t->frozen, "epoch",
                  (json_int_t)t->serial, "epoch_age_s", report_rounded((double)t->age_ms / 1000, 3),
                  "candidate", (json_int_t)t->candidate, "certified_audits", (json_int_t)t->judged,
                  "needed_audits", (json_int_t)t->needed);
    if (!o)
        return NULL;
    json_object_update_missing_new(
        o, json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:s}", "audits", (json_int_t)t->audits,
                     "differ", (json_int_t)t->differ, "lost", (json_int_t)t->lost, "won", (json_int_t)t->won,
                     "loss", report_rounded(mean(t, p), 6), "loss_lower", report_rounded(t->lower, 6),
                     "loss_upper", report_rounded(t->upper, 6), "budget",
                     report_number(p->made ? p->max_loss : NAN), "budget_used", report_rounded(used(t, p), 6),
                     "of", p->agreement ? "agreement" : "accuracy"));
    json_object_update_missing_new(
        o, json_pack("{s:o, s:I, s:I, s:o, s:I, s:I, s:o}", "alarm", report_rounded(t->alarm, 6),
                     "updates_taken", (json_int_t)l->last.learning.accepted, "updates_refused",
                     (json_int_t)l->last.learning.rejected, "lag_s",
                     report_rounded((double)t->lag_ms / 1000, 3), "kept", (json_int_t)t->kept,
                     "resident_bytes", (json_int_t)l->last.resident_bytes, "exits", exits_json(r, l, m)));
    return o;
}
