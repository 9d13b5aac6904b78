/* pays.c - the sum of a pipeline's parts against one process, and how it is said */
#include "pays.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "deploy/tool/report.h"

double pays_messages_ms(const struct message_cost *c, double input_bytes, const double *cut_bytes, int stages)
{
    double bytes = 2 * input_bytes; /* client to broker, broker to stage 0; scores are small */

    for (int s = 0; s < stages - 1; s++)
        bytes += cut_bytes[s];
    return (stages + 3) * c->fixed_ms + bytes * c->per_byte_ms;
}

double pays_pipeline_ms(const struct pays *p)
{
    return p->one_process_ms * p->time_share + p->messages_ms;
}

double pays_from_ms(const struct pays *p)
{
    return p->time_share < 1 ? p->messages_ms / (1 - p->time_share) : INFINITY;
}

/* "2.77 times as fast", "2.20 times slower"; "no difference" where rounding leaves none. Returns `text`. */
static char *relation(double pipeline, double one_process, char text[32])
{
    bool faster = pipeline < one_process;
    double times = faster ? one_process / pipeline : pipeline / one_process;

    if (times < 1.005)
        snprintf(text, 32, "no difference");
    else
        snprintf(text, 32, "%.2f times %s", times, faster ? "as fast" : "slower");
    return text;
}

char *pays_sentence(const struct pays *p, char *buf, size_t size)
{
    double pipeline = pays_pipeline_ms(p), from = pays_from_ms(p);
    char than[32];
    int n = snprintf(buf, size,
                     "a request alone takes about %.2f ms in %d stage%s (%.2f ms of it are messages, as "
                     "measured here) and %.2f ms in one process: ",
                     pipeline, p->stages, p->stages == 1 ? "" : "s", p->messages_ms, p->one_process_ms);

    if (n < 0 || (size_t)n >= size)
        return buf;
    buf += n;
    size -= (size_t)n;
    relation(pipeline, p->one_process_ms, than);
    if (pipeline < p->one_process_ms)
        snprintf(buf, size, "%s; networks gain from %.2f ms on", than, from);
    else if (isfinite(from))
        snprintf(buf, size, "%s; networks gain from %.2f ms on, this one answers sooner in one process", than,
                 from);
    else
        snprintf(buf, size,
                 "%s; without caches stages answer more requests a second on more cores, not one sooner",
                 than);
    return buf - n;
}

json_t *pays_json(const struct pays *p)
{
    double pipeline = pays_pipeline_ms(p);
    return json_pack("{s:o, s:o, s:o, s:b, s:o}", "one_process_ms", report_rounded(p->one_process_ms, 6),
                     "pipeline_ms", report_rounded(pipeline, 6), "messages_ms",
                     report_rounded(p->messages_ms, 6), "faster", pipeline < p->one_process_ms, "from_ms",
                     report_rounded(pays_from_ms(p), 6));
}
