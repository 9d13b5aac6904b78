/* log_rate.c - credit per kind of line, in time */
#include "log_rate.h"

#define FULL_NS (LOG_RATE_BURST * LOG_RATE_EVERY_NS)

/* FNV-1a over all but the digits; never 0, which marks a free place. */
static uint64_t key_of(const char *text)
{
    uint64_t hash = 1469598103934665603ull;

    for (; *text; text++)
        if (*text < '0' || *text > '9')
            hash = (hash ^ (unsigned char)*text) * 1099511628211ull;
    return hash ? hash : 1;
}

static struct log_kind *kind_of(struct log_rate *r, uint64_t key, uint64_t now_ns)
{
    struct log_kind *quietest = &r->kind[0];

    for (int i = 0; i < LOG_RATE_KINDS; i++) {
        if (r->kind[i].key == key)
            return &r->kind[i];
        if (r->kind[i].last_ns < quietest->last_ns)
            quietest = &r->kind[i];
    }
    *quietest = (struct log_kind){.key = key, .last_ns = now_ns, .credit_ns = FULL_NS};
    return quietest;
}

bool log_rate_allows(struct log_rate *r, const char *text, uint64_t now_ns, uint32_t *left_out)
{
    struct log_kind *k = kind_of(r, key_of(text), now_ns);

    k->credit_ns += now_ns > k->last_ns ? now_ns - k->last_ns : 0;
    k->credit_ns = k->credit_ns < FULL_NS ? k->credit_ns : FULL_NS;
    k->last_ns = now_ns;
    *left_out = k->left_out;
    if (k->credit_ns < LOG_RATE_EVERY_NS) {
        k->left_out++;
        return false;
    }
    k->credit_ns -= LOG_RATE_EVERY_NS;
    k->left_out = 0;
    return true;
}
