/* account.c - entries by number, and what they sum up to */
#include "account.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/tool/statistics.h"

#define USUAL_FACTOR 3
#define USUAL_MS     20

/* What the cache of one exit and epoch said of one input; a table with open addressing. */
struct cache_word {
    uint64_t epoch;
    int32_t input, exit, label; /* exit -1: free */
};

void account_init(struct account *a, const int32_t *truth, int inputs, uint64_t deadline_ns)
{
    *a = (struct account){.truth = truth, .inputs = inputs, .deadline_ns = deadline_ns};
}

void account_release(struct account *a)
{
    free(a->entry);
    free(a->word);
    memset(a, 0, sizeof *a);
}

int64_t account_sent(struct account *a, int32_t input, uint64_t due_ns, uint64_t now)
{
    if (a->n == a->capacity) {
        int64_t capacity = a->capacity ? 2 * a->capacity : 4096;
        struct account_entry *entry = realloc(a->entry, sizeof *entry * (size_t)capacity);
        if (!entry)
            return -1;
        a->entry = entry;
        a->capacity = capacity;
    }
    a->entry[a->n] = (struct account_entry){
        .due_ns = due_ns, .sent_ns = now, .input = input, .exit = -1, .seen_label = -1};
    return a->n++;
}

static struct cache_word *find(struct cache_word *word, int64_t room, const struct cache_word *w)
{
    uint64_t hash = ((uint64_t)w->input * 32 + (uint64_t)w->exit) * 0x9e3779b97f4a7c15ull + w->epoch * 31;
    struct cache_word *at;

    for (hash ^= hash >> 29;; hash++) {
        at = &word[hash % (uint64_t)room];
        if (at->exit < 0 || (at->input == w->input && at->exit == w->exit && at->epoch == w->epoch))
            return at;
    }
}

static bool grow(struct account *a)
{
    int64_t room = a->words_room ? 2 * a->words_room : 4096;
    struct cache_word *word = malloc(sizeof *word * (size_t)room);

    if (!word)
        return false;
    for (int64_t i = 0; i < room; i++)
        word[i].exit = -1;
    for (int64_t i = 0; i < a->words_room; i++)
        if (a->word[i].exit >= 0)
            *find(word, room, &a->word[i]) = a->word[i];
    free(a->word);
    a->word = word;
    a->words_room = room;
    return true;
}

/* Has this cache said another label of this input before? */
static bool cache_contradicts_itself(struct account *a, const struct cache_word *w)
{
    struct cache_word *at;

    if (2 * a->words >= a->words_room && !grow(a))
        return false;
    at = find(a->word, a->words_room, w);
    if (at->exit < 0) {
        *at = *w;
        a->words++;
    }
    return at->label != w->label;
}

static bool is_wrong(struct account *a, const struct account_entry *e, const struct answer *answer)
{
    struct cache_word w = {answer->epoch, e->input, answer->exit, answer->label};

    if (answer->exit < 0)
        return answer->label != a->truth[e->input];
    return answer->exit >= PIPELINE_MAX_EXITS || answer->label < 0 || cache_contradicts_itself(a, &w);
}

void account_seen(struct account *a, int64_t number, const struct answer *answer)
{
    struct account_entry *e;

    if (number < 0 || number >= a->n) {
        a->strangers++;
        return;
    }
    e = &a->entry[number];
    e->seen++;
    if (answer->error)
        return;
    e->contradicted |= e->seen_label >= 0 && e->seen_label != answer->label;
    if (e->seen_label < 0)
        e->seen_label = answer->label;
}

void account_heard(struct account *a, int64_t number, const struct answer *answer, uint64_t now)
{
    struct account_entry *e = number >= 0 && number < a->n ? &a->entry[number] : NULL;

    if (!e || e->ended_ns)
        return;
    e->ended_ns = now;
    e->error = answer->error;
    e->attempts = answer->attempts;
    e->retry_after_ms = answer->retry_after_ms;
    e->nameless = answer->error && !answer->text[0];
    e->label = answer->label;
    e->exit = answer->exit;
    e->wrong = !answer->error && is_wrong(a, e, answer);
}

static double latency_ms(const struct account_entry *e)
{
    return (double)(e->ended_ns - e->due_ns) / NS_PER_MS;
}

static bool is_answered(const struct account_entry *e)
{
    return e->ended_ns && !e->error;
}

/* Entries are in the order of their due times: the first one that is due at `ns` or later. */
static int64_t first_due(const struct account *a, uint64_t ns)
{
    int64_t low = 0, high = a->n;

    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (a->entry[middle].due_ns < ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int64_t account_calm(const struct account *a, uint64_t from, uint64_t to, double *p50_ms, double *p99_ms)
{
    int64_t first = first_due(a, from), end = first_due(a, to), n = 0;
    double *ms = malloc(sizeof *ms * (size_t)(end > first ? end - first : 1));
    struct summary s = {0};

    for (int64_t i = first; ms && i < end; i++)
        if (is_answered(&a->entry[i]))
            ms[n++] = latency_ms(&a->entry[i]);
    if (ms)
        s = statistics_summary(ms, n);
    free(ms);
    *p50_ms = s.p50;
    *p99_ms = s.p99;
    return n;
}

static bool is_lost(const struct account *a, const struct account_entry *e, uint64_t grace_ns, uint64_t now)
{
    return !e->ended_ns && now > e->sent_ns + a->deadline_ns + grace_ns;
}

/* Everything but the latencies. */
static void count(const struct account *a, const struct account_entry *e, uint64_t grace_ns, uint64_t now,
                  struct account_sum *out)
{
    bool lost = is_lost(a, e, grace_ns, now), refused = e->ended_ns && e->error == FL_OVERLOADED;

    out->sent++;
    out->right += is_answered(e) && !e->wrong;
    out->early += is_answered(e) && e->exit >= 0;
    out->differ += is_answered(e) && e->exit >= 0 && e->label != a->truth[e->input];
    out->wrong += e->wrong;
    out->lost += lost;
    out->doubled += !a->several && e->seen > 1;
    out->contradicted += e->contradicted;
    out->nameless += e->nameless;
    out->late += e->ended_ns > e->sent_ns + a->deadline_ns + grace_ns;
    if (e->ended_ns && e->error)
        out->error[e->error < FL_CODES ? e->error : FL_INTERNAL]++;
    out->without_hint += refused && !e->retry_after_ms;
    out->retried += is_answered(e) && e->attempts > 1;
    if (lost || (e->ended_ns && e->error && !refused) || (is_answered(e) && e->attempts > 1) ||
        (is_answered(e) && latency_ms(e) > out->usual_ms)) {
        uint64_t over = lost ? e->sent_ns + a->deadline_ns : e->ended_ns;
        out->met++;
        out->last_met_ns = over > out->last_met_ns ? over : out->last_met_ns;
    }
}

int account_sum(const struct account *a, uint64_t from, uint64_t to, double calm_p50_ms, double calm_p99_ms,
                uint64_t grace_ns, uint64_t now, struct account_sum *out)
{
    int64_t first = first_due(a, from), end = first_due(a, to), size = end > first ? end - first : 1;
    int64_t n = 0, met = 0, refused = 0;
    double *ms = malloc(3 * sizeof *ms * (size_t)size), *added = ms + size, *refusal = added + size;
    struct summary s;

    *out = (struct account_sum){.usual_ms = USUAL_FACTOR * calm_p99_ms + USUAL_MS};
    if (!ms)
        return FL_NOMEM;
    for (int64_t i = first; i < end; i++) {
        const struct account_entry *e = &a->entry[i];
        int64_t before = out->met;
        count(a, e, grace_ns, now, out);
        if (e->ended_ns && e->error == FL_OVERLOADED)
            refusal[refused++] = (double)(e->ended_ns - e->sent_ns) / NS_PER_MS;
        if (!is_answered(e))
            continue;
        ms[n++] = latency_ms(e);
        if (out->met > before)
            added[met++] = latency_ms(e) > calm_p50_ms ? latency_ms(e) - calm_p50_ms : 0;
    }
    s = statistics_summary(ms, n);
    out->p50_ms = s.p50;
    out->p99_ms = s.p99;
    s = statistics_summary(added, met);
    out->added_p50_ms = s.p50;
    out->added_p99_ms = s.p99;
    out->refusal_p99_ms = statistics_summary(refusal, refused).p99;
    free(ms);
    return FL_OK;
}

int64_t account_open(const struct account *a, uint64_t grace_ns, uint64_t now)
{
    int64_t open = 0;

    for (int64_t i = a->n - 1; i >= 0 && a->entry[i].sent_ns + a->deadline_ns + grace_ns >= now; i--)
        open += !a->entry[i].ended_ns;
    return open;
}
