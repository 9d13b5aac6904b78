/* relay_report.c - see relay_report.h */
#include "relay_report.h"

#include <stdio.h>

#include "base/clock.h"
#include "deploy/tool/report.h"

static double mean_ms(const struct relay_status *r)
{
    return r->answered ? (double)r->answered_ns / (double)r->answered / NS_PER_MS : 0;
}

void relay_print(const struct status_reply *s)
{
    for (int i = 0; i < s->n_relays; i++) {
        const struct relay_status *r = &s->relay[i];
        printf("%s (%s): %.4g%% of the requests go there; %llu answered (%llu early) in %.3f ms on average, "
               "%llu "
               "failed, %llu turned away%s%s\n",
               r->name, r->state, r->share_ppm / 1e4, (unsigned long long)r->answered,
               (unsigned long long)r->early, mean_ms(r), (unsigned long long)r->failed,
               (unsigned long long)r->turned, r->why[0] ? "; last failure: " : "", r->why);
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
