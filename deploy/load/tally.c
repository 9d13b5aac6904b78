/* tally.c - counting */
#include "tally.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

int tally_new(struct tally **out)
{
    struct tally *t = *out = calloc(1, sizeof *t);

    if (!t || !(t->slot = calloc(TALLY_SLOTS, sizeof *t->slot)) || attribution_new(&t->attribution)) {
        tally_free(t);
        *out = NULL;
        return FL_NOMEM;
    }
    t->slot_ns = NS_PER_S;
    t->deadline_ns = UINT64_MAX;
    return FL_OK;
}

void tally_free(struct tally *t)
{
    if (!t)
        return;
    attribution_free(t->attribution);
    free(t->slot);
    free(t);
}

void tally_merge(struct tally *to, const struct tally *from)
{
    to->sent += from->sent;
    to->answered += from->answered;
    to->errors += from->errors;
    to->repeats += from->repeats;
    to->lost += from->lost;
    to->garbage += from->garbage;
    to->known += from->known;
    to->retried += from->retried;
    to->in_time += from->in_time;
    to->deadline_ns = from->deadline_ns;
    to->labelled += from->labelled;
    to->right += from->right;
    to->seconds += from->seconds;
    to->sending_seconds += from->sending_seconds;
    for (int i = 0; i < FL_CODES; i++)
        to->error[i] += from->error[i];
    histogram_merge(&to->latency, &from->latency);
    histogram_merge(&to->refusal, &from->refusal);
    histogram_merge(&to->lateness, &from->lateness);
    histogram_merge(&to->query, &from->query);
    for (int i = 0; i <= TALLY_NETWORK; i++) {
        to->exit[i].answered += from->exit[i].answered;
        to->exit[i].labelled += from->exit[i].labelled;
        to->exit[i].right += from->exit[i].right;
        histogram_merge(&to->exit[i].latency, &from->exit[i].latency);
    }
    attribution_merge(to->attribution, from->attribution);
}

/* Two slots become one, so that the time line has room for twice the time. */
static void halve(struct tally *t)
{
    for (int i = 0; i < TALLY_SLOTS; i++) {
        struct tally_slot *to = &t->slot[i / 2], *from = &t->slot[i];
        if (i % 2) {
            to->sent += from->sent;
            to->answered += from->answered;
            to->errors += from->errors;
            to->early += from->early;
            histogram_merge(&to->latency, &from->latency);
        } else if (i) {
            *to = *from;
        }
    }
    memset(&t->slot[TALLY_SLOTS / 2], 0, sizeof *t->slot * (TALLY_SLOTS - TALLY_SLOTS / 2));
    t->slot_ns *= 2;
    t->n_slots = (t->n_slots + 1) / 2;
}

static struct tally_slot *slot_at(struct tally *t, uint64_t at_ns)
{
    int i;

    while (at_ns / t->slot_ns >= TALLY_SLOTS)
        halve(t);
    i = (int)(at_ns / t->slot_ns);
    if (i >= t->n_slots)
        t->n_slots = i + 1;
    return &t->slot[i];
}

static void note_time(struct tally *t, uint64_t at_ns)
{
    t->seconds = fmax(t->seconds, (double)at_ns / NS_PER_S);
}

void tally_sent(struct tally *t, uint64_t at_ns, uint64_t late_ns, bool repeat)
{
    t->sent++;
    t->repeats += repeat;
    histogram_record(&t->lateness, late_ns);
    slot_at(t, at_ns)->sent++;
    note_time(t, at_ns);
}

void tally_error(struct tally *t, uint64_t at_ns, int code)
{
    t->errors++;
    if (code) {
        t->error[code > 0 && code < FL_CODES ? code : FL_INTERNAL]++;
        note_time(t, at_ns);
    } else {
        t->lost++; /* at the end of somebody's patience, which is no time of the load's */
    }
    slot_at(t, at_ns)->errors++;
}

void tally_refusal(struct tally *t, uint64_t at_ns, uint64_t latency_ns)
{
    tally_error(t, at_ns, FL_OVERLOADED);
    histogram_record(&t->refusal, latency_ns);
}

void tally_answer(struct tally *t, uint64_t at_ns, const struct answer *a, uint64_t latency_ns, int32_t label)
{
    bool early = a->exit >= 0 && a->exit < PIPELINE_MAX_EXITS;
    struct tally_exit *by = &t->exit[early ? a->exit : TALLY_NETWORK];
    struct tally_slot *slot = slot_at(t, at_ns);
    bool labelled = label >= 0, right = labelled && a->label == label;

    t->answered++;
    t->in_time += latency_ns <= t->deadline_ns;
    t->known += a->known;
    t->retried += a->attempts > 1;
    t->labelled += labelled;
    t->right += right;
    by->answered++;
    by->labelled += labelled;
    by->right += right;
    slot->answered++;
    slot->early += early;
    histogram_record(&t->latency, latency_ns);
    histogram_record(&by->latency, latency_ns);
    histogram_record(&slot->latency, latency_ns);
    attribution_add(t->attribution, a, latency_ns);
    note_time(t, at_ns);
}
