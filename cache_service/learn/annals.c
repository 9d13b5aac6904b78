/* annals.c - events, epochs and the operator's word */
#include "annals.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define POLL_NS NS_PER_S /* between looks at the operator's word */
#define EVENTS  64

struct annals {
    struct history_event *event[EVENTS]; /* the oldest first */
    int n_events;
    struct snapshot *keep; /* NULL: it is kept already */
    bool ready, frozen;
    uint64_t last, polled_ns;
};

int annals_new(struct annals **out)
{
    return (*out = calloc(1, sizeof **out)) ? FL_OK : FL_NOMEM;
}

static void drop_event(struct annals *a)
{
    free(a->event[0]);
    memmove(a->event, a->event + 1, sizeof *a->event * (size_t)--a->n_events);
}

void annals_free(struct annals *a)
{
    if (!a)
        return;
    while (a->n_events)
        drop_event(a);
    snapshot_free(a->keep);
    free(a);
}

void annals_add(struct annals *a, const struct history_event *event)
{
    if (a->n_events == EVENTS)
        drop_event(a);
    if ((a->event[a->n_events] = malloc(sizeof *event)))
        *a->event[a->n_events++] = *event;
}

void annals_keep(struct annals *a, struct snapshot *s)
{
    snapshot_free(a->keep);
    a->keep = snapshot_caches(s) ? snapshot_retain(s) : NULL;
}

void annals_doubt(struct annals *a)
{
    a->ready = false;
}

bool annals_due(const struct annals *a, uint64_t now_ns)
{
    return a->n_events || a->keep || !a->ready || now_ns >= annals_next_ns(a);
}

uint64_t annals_next_ns(const struct annals *a)
{
    return a->polled_ns + POLL_NS;
}

/* --- writing --- */

/* False: the connection is lost. Whatever else went wrong is said, and over. */
static bool is_over(int rc, const char *what, const struct error *e)
{
    if (rc && rc != FL_UNAVAILABLE)
        log_warn("%s: %s", what, e->text);
    return rc != FL_UNAVAILABLE;
}

static int look_at_word(struct annals *a, struct store *store, struct error *e)
{
    struct store_frozen word;
    int rc = store_frozen(store, &word, e);
    if (rc || word.frozen == a->frozen)
        return rc;
    a->frozen = word.frozen;
    if (a->frozen)
        log_info("learning is frozen by %s: what serves stays", word.by);
    else
        log_info("learning is no longer frozen");
    return FL_OK;
}

static int look_at_kept(struct annals *a, struct store *store, struct error *e)
{
    uint64_t serial[STORE_KEPT];
    int n, rc = store_kept_list(store, serial, &n, e);
    if (!rc)
        a->last = n ? serial[0] : 0;
    return rc;
}

static int keep_epoch(struct annals *a, struct store *store, struct error *e)
{
    uint64_t serial = a->keep->manifest.learned.serial;
    int rc = store_keep(store, serial, a->keep, e);
    if (!rc && serial > a->last)
        a->last = serial;
    return rc;
}

int annals_write(struct annals *a, struct store *store, struct error *e)
{
    if (!is_over(look_at_word(a, store, e), "whether learning is frozen is not known", e))
        return FL_UNAVAILABLE;
    a->polled_ns = clock_ns();
    if (!a->ready && !is_over(look_at_kept(a, store, e), "which epochs are kept is not known", e))
        return FL_UNAVAILABLE;
    a->ready = true;
    if (a->keep && !is_over(keep_epoch(a, store, e), "an epoch is not kept", e))
        return FL_UNAVAILABLE;
    snapshot_free(a->keep);
    a->keep = NULL;
    for (; a->n_events; drop_event(a))
        if (!is_over(store_history_add(store, a->event[0], e), "an event is not in the history", e))
            return FL_UNAVAILABLE;
    return FL_OK;
}

bool annals_ready(const struct annals *a)
{
    return a->ready;
}

uint64_t annals_last(const struct annals *a)
{
    return a->last;
}

bool annals_frozen(const struct annals *a)
{
    return a->frozen;
}
