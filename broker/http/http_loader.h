/* http_loader.h - the model is loaded and unloaded, by a thread that may wait for minutes
 *
 * To unload: the broker admits no more, what it has admitted is answered, and this host's supervisor ends the
 * stage workers, where they are this broker's alone. To load: the supervisor starts new ones from the files
 * as they are, ready before those before them go; then the broker admits again. Where there is no supervisor,
 * workers stay as they are.
 *
 * One at a time, in the order in which they came. Whoever asked and goes away calls nothing off.
 */
#ifndef FREEZELINE_HTTP_LOADER_H
#define FREEZELINE_HTTP_LOADER_H

#include "broker/state/settings.h"

struct http_loader;

struct http_loading {
    struct http_loading *next; /* the loader's */
    void *call;                /* whoever waits; NULL: nobody does any more */
    bool loads;
    int rc;
    struct error error;
};

/* Borrows p and settings for its life. wake_fd, an eventfd, is written to when something has ended. The
 * thread begins with the first order. */
int http_loader_new(struct http_loader **out, const struct pipeline *p, struct settings *settings,
                    int wake_fd, struct error *e);
/* What is under way goes on without it. NULL is fine. */
void http_loader_free(struct http_loader *l);

/* Takes a heap object over; http_loader_done gives it back. FL_OVERLOADED: many wait already; FL_UNAVAILABLE:
 * no thread. */
int http_loader_ask(struct http_loader *l, struct http_loading *what, struct error *e);
/* One that has ended; NULL: none. */
struct http_loading *http_loader_done(struct http_loader *l);

#endif
