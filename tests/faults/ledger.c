/* ledger.c - answers against requests */
#include "ledger.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "numbers/floats.h"
#include "network.h"

void ledger_begin(struct ledger *l, uint64_t slack_ns)
{
    memset(l, 0, offsetof(struct ledger, asked));
    l->slack_ns = slack_ns;
}

void ledger_finds(struct ledger *l, uint64_t now, const char *what, const char *format, ...)
{
    va_list args;
    if (l->finding.what)
        return;
    l->finding.what = what;
    l->finding.at_ns = now;
    va_start(args, format);
    vsnprintf(l->finding.text, sizeof l->finding.text, format, args);
    va_end(args);
}

uint64_t ledger_ask(struct ledger *l, const struct happening *h, uint32_t token, uint64_t time_ns,
                    uint64_t now)
{
    l->asked[l->n] =
        (struct asked){.client = h->a, .bad = h->b, .token = token, .sent_ns = now, .time_ns = time_ns};
    return (uint64_t)++l->n;
}

void ledger_trouble(struct ledger *l, uint64_t now, uint64_t until)
{
    if (l->n_troubles < STORY_MAX)
        l->trouble[l->n_troubles++] = (struct trouble){now, until};
}

void ledger_excuse(struct ledger *l, unsigned clients)
{
    l->lossy = true;
    for (int i = 0; i < l->n; i++)
        if (!l->asked[i].answers && clients >> l->asked[i].client & 1)
            l->asked[i].excused = true;
}

/* By when its answer has to be there. Troubles are in the order in which they began. */
static uint64_t latest(const struct ledger *l, const struct asked *a)
{
    uint64_t start = a->sent_ns;
    for (int i = 0; i < l->n_troubles; i++)
        if (l->trouble[i].from_ns <= start + a->time_ns + l->slack_ns && l->trouble[i].until_ns > start)
            start = l->trouble[i].until_ns;
    return start + a->time_ns + l->slack_ns;
}

static void check_error(struct ledger *l, uint64_t id, const struct asked *a, const struct answer *r,
                        uint64_t now)
{
    bool final = r->error == FL_VALUE || r->error == FL_SHAPE || r->error == FL_DTYPE;
    l->errors++;
    if (!r->text[0])
        ledger_finds(l, now, "an error without a reason", "request %llu: error %u", (unsigned long long)id,
                     r->error);
    if (final && !a->bad)
        ledger_finds(l, now, "a good input is called bad", "request %llu: %s", (unsigned long long)id,
                     r->text);
    if (l->gentle && !a->bad)
        ledger_finds(l, now, "it failed though another way was open", "request %llu: %s",
                     (unsigned long long)id, r->text);
    if (a->must_work)
        ledger_finds(l, now, "it does not work again", "request %llu, after all trouble was over: %s",
                     (unsigned long long)id, r->text);
}

static void check_label(struct ledger *l, uint64_t id, const struct asked *a, const struct answer *r,
                        uint64_t now)
{
    int32_t right = r->exit >= 0 ? network_cached(a->token, r->exit) : network_truth(a->token);
    l->right++;
    l->hits += r->exit >= 0;
    if (a->bad)
        ledger_finds(l, now, "a bad input is answered", "request %llu: label %d", (unsigned long long)id,
                     r->label);
    else if (r->label != right)
        ledger_finds(l, now, "a wrong label", "request %llu: %d, right would be %d (exit %d, attempt %u)",
                     (unsigned long long)id, r->label, right, r->exit, r->attempts);
}

void ledger_answer(struct ledger *l, int client, const struct answer *r, uint64_t now)
{
    struct asked *a;
    l->admitted_ok += r->request && !r->error;
    l->admitted_failed += r->request && r->error;
    if (client == WORLD_NOBODY)
        return;
    if (!r->id || r->id > (uint64_t)l->n || l->asked[r->id - 1].client != client) {
        ledger_finds(l, now, "an answer that nobody asked for", "client %d got an answer to request %llu",
                     client, (unsigned long long)r->id);
        return;
    }
    a = &l->asked[r->id - 1];
    a->request = r->request;
    if (++a->answers > 1)
        ledger_finds(l, now, "answered twice", "request %llu got %d answers", (unsigned long long)r->id,
                     a->answers);
    if (!a->excused && now > latest(l, a))
        ledger_finds(l, now, "answered too late",
                     "request %llu: %.3f ms after it was sent, with %.3f ms to live",
                     (unsigned long long)r->id, (double)(now - a->sent_ns) / 1e6, (double)a->time_ns / 1e6);
    if (l->gentle && l->prompt_ns && now - a->sent_ns > l->prompt_ns)
        ledger_finds(l, now, "it took long though another way was open", "request %llu: %.3f ms",
                     (unsigned long long)r->id, (double)(now - a->sent_ns) / 1e6);
    if (r->error)
        check_error(l, r->id, a, r, now);
    else
        check_label(l, r->id, a, r, now);
}

void ledger_update(struct ledger *l, const struct world_process *p, const struct update *u, uint64_t now)
{
    for (int i = 0; i < u->n; i++) {
        int right = (int)half_to_float(u->exit[i].half[NETWORK_LABEL]);
        if (u->label != right)
            ledger_finds(l, now, "something wrong is learned",
                         "cache service %d at exit %llu: label %d, right would be %d", p->replica,
                         (unsigned long long)u->exit[i].origin, u->label, right);
    }
    for (int i = 0; i < l->n_updates; i++) {
        const struct learned *x = &l->update[i];
        if (x->service == p->replica && x->incarnation == p->incarnation && x->request == u->request)
            ledger_finds(l, now, "an update is there twice", "cache service %d, request %llx", p->replica,
                         (unsigned long long)u->request);
    }
    if (l->n_updates < LEDGER_UPDATES)
        l->update[l->n_updates++] =
            (struct learned){.service = p->replica, .incarnation = p->incarnation, .request = u->request};
}

void ledger_outcome(struct ledger *l, const struct world_process *p, const struct outcome *o, uint64_t now)
{
    const struct truth t = {p->incarnation, o->original ? o->original : o->request, o->label};
    if (!o->audit)
        return;
    for (int i = 0; i < l->n_truths; i++)
        if (l->truth[i].incarnation == t.incarnation && l->truth[i].request == t.request)
            ledger_finds(l, now, "an audit ends twice", "request %llx", (unsigned long long)t.request);
    if (l->n_truths < LEDGER_UPDATES)
        l->truth[l->n_truths++] = t;
}

static void check_truth(struct ledger *l, const struct truth *t, uint64_t now)
{
    for (int i = 0; i < l->n; i++)
        if (l->asked[i].request == t->request && t->label >= 0 &&
            t->label != network_truth(l->asked[i].token))
            ledger_finds(l, now, "an audit has a wrong label", "request %d: %d, right would be %d", i + 1,
                         t->label, network_truth(l->asked[i].token));
}

void ledger_end(struct ledger *l, uint64_t now)
{
    for (int i = 0; i < l->n_truths; i++)
        check_truth(l, &l->truth[i], now);
    for (int i = 0; i < l->n; i++)
        if (!l->asked[i].answers && !l->asked[i].excused)
            ledger_finds(l, now, "never answered", "request %d, sent at %.3f ms with %.3f ms to live", i + 1,
                         (double)l->asked[i].sent_ns / 1e6, (double)l->asked[i].time_ns / 1e6);
}

void ledger_audit(struct ledger *l, const struct dispatch *d, uint64_t now)
{
    const struct counters *c = &d->counters;
    uint64_t by_exit = 0;
    for (int i = 0; i < PIPELINE_MAX_EXITS; i++)
        by_exit += c->exit[i];
    if (c->admitted != c->answered + c->failed || c->hits != by_exit)
        ledger_finds(l, now, "counted wrongly",
                     "%llu admitted, %llu answered, %llu failed; %llu hits, %llu by exits",
                     (unsigned long long)c->admitted, (unsigned long long)c->answered,
                     (unsigned long long)c->failed, (unsigned long long)c->hits, (unsigned long long)by_exit);
    if (!l->lossy && (c->answered != l->admitted_ok || c->failed != l->admitted_failed || c->undeliverable))
        ledger_finds(
            l, now, "counted wrongly",
            "the broker says %llu answered, %llu failed, %llu undeliverable; clients saw %llu and %llu",
            (unsigned long long)c->answered, (unsigned long long)c->failed,
            (unsigned long long)c->undeliverable, (unsigned long long)l->admitted_ok,
            (unsigned long long)l->admitted_failed);
}
