/* relay_report.c - see relay_report.h */
#include "relay_report.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/tool/report.h"

static double mean_ms(const struct relay_status *r)
{
    return r->answered ? (double)r->answered_ns / (double)r->answered / NS_PER_MS : 0;
}

static bool is_loaded(const struct status_reply *s, int variant)
{
    for (int i = 0; i < s->n_relays; i++)
        if (!strcmp(s->relay[i].name, s->variant[variant].name))
            return strcmp(s->relay[i].state, "away") != 0;
    return true;
}

static const char *memory_note(const struct status_reply *s, int variant)
{
    if (is_loaded(s, variant))
        return s->variant[variant].wanted ? "" : " (to be put away: budget.memory_mb has room for others)";
    return s->variant[variant].wanted ? " (not there)" : " (put away: budget.memory_mb has room for others)";
}

static void print_variants(const struct status_reply *s)
{
    if (!s->n_variants)
        return;
    printf("variants, over the last hour:");
    for (int i = 0; i < s->n_variants; i++)
        printf("%s %s %.1f%%%s", i ? "," : "", s->variant[i].name, 100 * s->variant[i].share,
               memory_note(s, i));
    printf("; %.3f points of accuracy lost of %.3g allowed\n", s->loss, s->loss_budget);
}

static void print_share(const struct relay_status *r)
{
    if (r->share_ppm)
        printf("%.4g%% of the requests go there; ", r->share_ppm / 1e4);
}

void relay_print(const struct status_reply *s)
{
    print_variants(s);
    for (int i = 0; i < s->n_relays; i++) {
        const struct relay_status *r = &s->relay[i];
        printf("%s (%s): ", r->name, r->state);
        print_share(r);
        printf("%llu answered (%llu early) in %.3f ms on average, %llu failed, %llu turned away%s%s\n",
               (unsigned long long)r->answered, (unsigned long long)r->early, mean_ms(r),
               (unsigned long long)r->failed, (unsigned long long)r->turned,
               r->why[0] ? "; last failure: " : "", r->why);
        if (r->mirror_ppm || r->pairs)
            printf("  %.4g%% are asked of both: of %llu, %llu were answered by both, %llu of them the same\n",
                   r->mirror_ppm / 1e4, (unsigned long long)r->pairs, (unsigned long long)r->both,
                   (unsigned long long)r->agreed);
    }
}

json_t *relay_json(const struct status_reply *s)
{
    json_t *all = json_array();

    for (int i = 0; i < s->n_relays; i++) {
        const struct relay_status *r = &s->relay[i];
        json_array_append_new(
            all,
            json_pack("{s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I}", "name",
                      r->name, "state", r->state, "last_failure", r->why, "share",
                      report_rounded(r->share_ppm / 1e6, 6), "mirror", report_rounded(r->mirror_ppm / 1e6, 6),
                      "outstanding", (json_int_t)r->outstanding, "sent", (json_int_t)r->sent, "turned",
                      (json_int_t)r->turned, "failed", (json_int_t)r->failed, "answered",
                      (json_int_t)r->answered, "early", (json_int_t)r->early, "mean_ms",
                      report_rounded(mean_ms(r), 3), "pairs", (json_int_t)r->pairs, "both",
                      (json_int_t)r->both, "agreed", (json_int_t)r->agreed));
    }
    return all;
}

json_t *variant_shares_json(const struct status_reply *s)
{
    json_t *shares = json_object(), *memory = json_object();

    for (int i = 0; i < s->n_variants; i++) {
        json_object_set_new(shares, s->variant[i].name, report_rounded(s->variant[i].share, 6));
        json_object_set_new(
            memory, s->variant[i].name,
            json_pack("{s:b, s:b}", "loaded", is_loaded(s, i), "wanted", s->variant[i].wanted));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "shares", shares, "memory", memory, "loss",
                     report_rounded(s->loss, 6), "loss_budget", report_rounded(s->loss_budget, 6), "level",
                     report_rounded(s->level, 3));
}
