/* retry.c - put off, doubled, ended by success */
#include "retry.h"

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
