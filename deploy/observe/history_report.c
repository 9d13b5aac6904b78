/* history_report.c - see history_report.h */
#include "history_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "deploy/tool/table.h"

bool history_serves(enum history_kind kind)
{
    return kind == HISTORY_PUBLISHED || kind == HISTORY_CERTIFIED || kind == HISTORY_BOLDER ||
           kind == HISTORY_TIGHTENED || kind == HISTORY_OFF || kind == HISTORY_ROLLBACK;
}

bool history_serving(const struct history_event *event, int n, uint64_t *serial)
{
    *serial = 0;
    for (int i = 0; i < n; i++)
        if (history_serves(event[i].kind)) {
            *serial = event[i].serial;
            return true;
        }
    return false;
}

char *history_time(uint64_t at_ms, char text[HISTORY_TIME_BYTES])
{
    time_t at = (time_t)(at_ms / 1000);
    struct tm tm;
    if (!localtime_r(&at, &tm) || !strftime(text, HISTORY_TIME_BYTES, "%m-%d %H:%M:%S", &tm))
        strcpy(text, "?");
    return text;
}

/* "exit1 41.0%, exit2 off"; as much of it as fits. Returns `text`. */
static char *history_answered(const struct history_event *event, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (int i = 0; i < event->n_exits && n < size; i++) {
        const struct history_exit *x = &event->exit[i];
        char share[16] = "";
        if (isinf(x->threshold))
            strcpy(share, " off");
        else if (isfinite(x->share))
            snprintf(share, sizeof share, " %.1f%%", 100 * x->share);
        n += (size_t)snprintf(text + n, size - n, "%s%s%s", i ? ", " : "", x->name, share);
    }
    return text;
}

static void percent(struct table *t, double share, bool known)
{
    table_number(t, "%.2f%%", known ? 100 * share : NAN);
}

static void row(struct table *t, const struct history_event *x)
{
    char text[HISTORY_WHY_BYTES];
    bool promised = x->terms.certainty > 0;
    table_cells(t, "%s|%s|%llu", history_time(x->at_ms, text), history_word(x->kind),
                (unsigned long long)x->serial);
    if (x->points)
        table_cells(t, "%lld", (long long)x->points);
    else
        table_cells(t, "-");
    percent(t, x->loss, true);
    percent(t, x->upper, true);
    percent(t, x->terms.budget, promised);
    table_cells(t, "%s", !promised ? "-" : x->terms.agreement ? "agreement" : "accuracy");
    percent(t, x->early_share, true);
    table_cells(t, "%s|%s", history_answered(x, text, sizeof text), x->why);
}

int history_table(const struct history_event *event, int n, struct error *e)
{
    struct table *t =
        table_new("when|what|epoch|audits|lost|at most|budget|of|early|who answered|why", "llrrrrrlrll");
    for (int i = 0; i < n; i++)
        row(t, &event[i]);
    return table_end(t, e);
}

json_t *history_json(const struct history_event *event)
{
    char *text = history_format(event);
    json_t *o = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return o;
}

/* --- from Redis --- */

static int read_last(const struct pipeline *p, int most, struct history_event **event)
{
    struct redis_link *link = NULL;
    struct store *store = NULL;
    int n = 0, strange;
    *event = NULL;
    if (pipeline_learns(p) && !redis_link_new(&link, &p->redis, &p->security, NULL) &&
        !redis_link_open(link, NULL) && !store_new(&store, link, p->name, "operator", NULL))
        store_history_read(store, most, event, &n, &strange, NULL);
    store_free(store);
    redis_link_free(link);
    return n;
}

void history_print_last(const struct pipeline *p, int most, FILE *to)
{
    struct history_event *event;
    char text[HISTORY_TIME_BYTES];
    int n = read_last(p, most, &event);
    if (n)
        fprintf(to, "\nlast events (`freezeline cache history`)\n");
    for (int i = 0; i < n; i++)
        fprintf(to, "  %s  %-9s epoch %llu  %s\n", history_time(event[i].at_ms, text),
                history_word(event[i].kind), (unsigned long long)event[i].serial, event[i].why);
    free(event);
}

json_t *history_last_json(const struct pipeline *p, int most)
{
    struct history_event *event;
    json_t *list = json_array();
    int n = read_last(p, most, &event);
    for (int i = 0; i < n; i++)
        json_array_append_new(list, history_json(&event[i]));
    free(event);
    return list;
}
