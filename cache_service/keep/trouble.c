/* trouble.c - failures of steps, put off and said once */
#include "trouble.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

static const struct {
    const char *does;
    uint64_t first_ns, last_ns;
} rules[STEPS] = {
    [STEP_CONNECT] = {"connecting", 50 * NS_PER_MS, 2 * NS_PER_S},
    [STEP_LOOK] = {"reading the head", 50 * NS_PER_MS, 2 * NS_PER_S},
    [STEP_LISTEN] = {"listening to hints", NS_PER_S, 30 * NS_PER_S},
    [STEP_FOLLOW] = {"exchanging caches", NS_PER_S, 60 * NS_PER_S},
    [STEP_LEASE] = {"the learner's lease", 200 * NS_PER_MS, 2 * NS_PER_S},
    [STEP_APPEND] = {"adding updates", 200 * NS_PER_MS, 2 * NS_PER_S},
    [STEP_LEARN] = {"learning", 200 * NS_PER_MS, 2 * NS_PER_S},
};

/* --- one thing --- */

void retry_init(struct retry *r, uint64_t first_ns, uint64_t last_ns)
{
    *r = (struct retry){.first_ns = first_ns, .last_ns = last_ns};
}

bool retry_due(const struct retry *r, uint64_t now_ns)
{
    return now_ns >= r->next_ns;
}

/* FNV-1a; never 0. */
static uint64_t digest(const char *text)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * 0x100000001b3u;
    return h ? h : 1;
}

bool retry_failed(struct retry *r, const char *why, uint64_t now_ns)
{
    uint64_t kind = digest(why);
    bool news = kind != r->said;
    if (!r->while_ns)
        r->while_ns = r->first_ns;
    r->next_ns = now_ns + r->while_ns;
    r->while_ns = r->while_ns * 2 < r->last_ns ? r->while_ns * 2 : r->last_ns;
    r->said = kind;
    r->failing = true;
    return news;
}

bool retry_worked(struct retry *r)
{
    bool news = r->failing;
    retry_init(r, r->first_ns, r->last_ns);
    return news;
}

void retry_idle(struct retry *r)
{
    r->failing = false;
}

/* --- all steps --- */

void trouble_init(struct trouble *t, const char *endpoint)
{
    *t = (struct trouble){.endpoint = endpoint};
    for (int i = 0; i < STEPS; i++)
        retry_init(&t->step[i], rules[i].first_ns, rules[i].last_ns);
}

bool trouble_from(const struct trouble *t, enum step first)
{
    for (int i = (int)first; i < STEPS; i++)
        if (t->step[i].failing)
            return true;
    return false;
}

/* Another step met the same: said once. */
static bool said_already(const struct trouble *t, enum step step)
{
    for (int i = 0; i < STEPS; i++)
        if (i != (int)step && t->step[i].failing && t->step[i].said == t->step[step].said)
            return true;
    return false;
}

/* What an operator can do about an answer of Redis. */
static const char *advice(const char *text)
{
    if (strstr(text, "OOM "))
        return " (Redis is full: raise its maxmemory)";
    if (strstr(text, "WRONGTYPE"))
        return " (something else wrote to a key of this pipeline: delete it)";
    if (strstr(text, "NOPERM") || strstr(text, "user executing the script") || strstr(text, "ACL failure in"))
        return " (this user may not do what is wanted: give it +@all on keys and channels freezeline:*)";
    if (strstr(text, "READONLY"))
        return " (it has become a replica)";
    if (strstr(text, "LOADING"))
        return " (it reads its files yet)";
    if (strstr(text, "MISCONF"))
        return " (it can't write its files: see its log)";
    return "";
}

void trouble_failed(struct trouble *t, enum step step, const char *why, uint64_t now)
{
    if (!retry_failed(&t->step[step], why, now) || step == STEP_LISTEN || said_already(t, step))
        return;
    t->complained = true;
    log_warn("Redis at %s, %s: %s%s; look-ups go on%s", t->endpoint, rules[step].does, why, advice(why),
             step == STEP_FOLLOW ? "" : ", updates wait");
}

void trouble_look_up(struct trouble *t, bool connected)
{
    bool up = connected && !t->step[STEP_LOOK].failing;
    if (up && !t->complained && !t->answers)
        log_info("Redis at %s answers", t->endpoint);
    if (up && t->complained && !trouble_from(t, STEP_CONNECT)) {
        t->complained = false;
        log_info("Redis at %s does again all that is wanted of it", t->endpoint);
    }
    t->answers = up;
}
