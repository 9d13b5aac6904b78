/* comparison_report.c - see comparison_report.h */
#include "comparison_report.h"

#include <stdio.h>

#include "base/clock.h"
#include "deploy/tool/report.h"

static double quantile_ms(const struct comparison_side *s, double share)
{
    return (double)histogram_quantile(&s->latency, share) / NS_PER_MS;
}

static void print_side(const char *name, const struct comparison_side *s, bool labelled)
{
    printf("%-12s %6lld answered (%lld early) %4lld failed   p50 %8.3f ms   p99 %8.3f ms", name,
           (long long)s->answered, (long long)s->early, (long long)s->errors, quantile_ms(s, 0.5),
           quantile_ms(s, 0.99));
    if (labelled && s->answered)
        printf("   %6.2f%% right", 100.0 * (double)s->right / (double)s->answered);
    putchar('\n');
}

void comparison_print(const struct comparison *c)
{
    print_side("what serves", &c->now, c->labelled > 0);
    print_side("the new one", &c->next, c->labelled > 0);
    if (c->both)
        printf("of %lld requests that both answered, %lld got the same answer\n", (long long)c->both,
               (long long)c->agreed);
}

static json_t *side_json(const struct comparison_side *s, bool labelled)
{
    double right = s->answered ? (double)s->right / (double)s->answered : 0;

    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o}", "answered", (json_int_t)s->answered, "errors",
                     (json_int_t)s->errors, "early", (json_int_t)s->early, "accuracy",
                     labelled && s->answered ? report_rounded(right, 6) : json_null(), "p50_ms",
                     report_rounded(quantile_ms(s, 0.5), 3), "p99_ms",
                     report_rounded(quantile_ms(s, 0.99), 3));
}

json_t *comparison_measures(const struct comparison *c)
{
    json_t *measures = json_array();

    for (int k = 0; k < MEASURES; k++) {
        struct measure m;
        comparison_measure(c, (enum measure_kind)k, &m);
        json_array_append_new(measures,
                              json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "name", measure_names[k], "pairs",
                                        (json_int_t)m.n, "low", report_rounded(m.low, 6), "share",
                                        report_rounded(m.share, 6), "high", report_rounded(m.high, 6),
                                        "limit", report_rounded(m.limit, 6)));
    }
    return measures;
}

void comparison_report(const struct comparison *c, json_t *root)
{
    json_object_set_new(root, "pairs", json_integer((json_int_t)c->pairs));
    json_object_set_new(root, "now", side_json(&c->now, c->labelled > 0));
    json_object_set_new(root, "next", side_json(&c->next, c->labelled > 0));
    json_object_set_new(root, "agreed", json_integer((json_int_t)c->agreed));
    json_object_set_new(root, "measures", comparison_measures(c));
}
