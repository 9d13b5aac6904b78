/* loading.h - what an order to load the model means: the files as they are now, beside what serves
 *
 * Only stage workers start anew, so what others read may not have changed; caches that lie there are the
 * model's, as `freezeline apply` checks it.
 */
#ifndef FREEZELINE_LOADING_H
#define FREEZELINE_LOADING_H

#include "config/pipeline.h"
#include "wire/message.h"

struct loading {
    bool serve;        /* in: stage workers run */
    bool together;     /* they serve another plan than the files have now */
    bool reads_caches; /* another build lies in STATE/caches, of the files' model */
};

/* FL_UNSUPPORTED: stage workers run on other hosts, too. */
int loading_here(const struct pipeline *p, struct error *e);
/* `now` serves, `next` are the files; said: what the broker said last. Reads the model. FL_CONFIG, FL_STALE:
 * it takes `freezeline apply`, or a build; FL_UNAVAILABLE: nobody tells what serves. */
int loading_look(struct loading *l, const struct pipeline *now, const struct pipeline *next,
                 const struct status_reply *said, struct error *e);

#endif
