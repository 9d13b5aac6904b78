/* live.c - see live.h */
#include "live.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 16384 /* as much as is handed to libmicrohttpd at once */

struct watcher {
    struct live *live;
    struct watcher *before, *after;
    struct MHD_Connection *connection;
    struct json_text event; /* what is on its way */
    size_t sent;            /* of it */
    bool waits;             /* suspended: it has had everything */
};

struct live {
    struct watcher *watchers; /* list */
    int n;
    bool ended;
};

struct live *live_new(void)
{
    return calloc(1, sizeof(struct live));
}

/* libmicrohttpd has freed the watchers with their replies. */
void live_free(struct live *l)
{
    free(l);
}

static ssize_t read_event(void *arg, uint64_t at, char *to, size_t room)
{
    struct watcher *w = arg;
    size_t n = w->event.n - w->sent;
    (void)at;
    if (!n && w->live->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (!n) {
        w->waits = true;
        MHD_suspend_connection(w->connection);
        return 0;
    }
    n = n < room ? n : room;
    memcpy(to, w->event.at + w->sent, n);
    w->sent += n;
    return (ssize_t)n;
}

static void leave(void *arg)
{
    struct watcher *w = arg;
    if (w->after)
        w->after->before = w->before;
    if (w->before)
        w->before->after = w->after;
    else
        w->live->watchers = w->after;
    w->live->n--;
    json_text_free(&w->event);
    free(w);
}

struct MHD_Response *live_watch(struct live *l, struct MHD_Connection *c, struct json_text *first)
{
    struct watcher *w = l->n < LIVE_MOST && !l->ended ? calloc(1, sizeof *w) : NULL;
    struct MHD_Response *r =
        w ? MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_event, w, leave) : NULL;
    if (!r) {
        free(w);
        json_text_free(first);
        return NULL;
    }
    *w = (struct watcher){.live = l, .after = l->watchers, .connection = c, .event = *first};
    *first = (struct json_text){.at = NULL};
    if (l->watchers)
        l->watchers->before = w;
    l->watchers = w;
    l->n++;
    return r;
}

bool live_watched(const struct live *l)
{
    return l->n > 0;
}

bool live_tell(struct live *l, const struct json_text *event)
{
    bool resumed = false;
    for (struct watcher *w = l->watchers; w; w = w->after) {
        if (!w->waits)
            continue;
        w->event.n = w->sent = 0;
        json_text_bytes(&w->event, event->at, event->n);
        if (w->event.failed) /* this event is not had */
            w->event.failed = false;
        w->waits = false;
        resumed = true;
        MHD_resume_connection(w->connection);
    }
    return resumed;
}

void live_end(struct live *l)
{
    static const struct json_text nothing;
    l->ended = true;
    live_tell(l, &nothing);
}
