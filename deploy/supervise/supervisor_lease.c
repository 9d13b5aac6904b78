/* supervisor_lease.c - the file, and since when it is as it is */
#include "supervisor_lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "deploy/process/word.h"
#include "deploy/tool/state.h"

#define LOOK_NS (500 * NS_PER_MS)

int supervisor_lease_grant(const struct pipeline *p, int seconds, struct error *e)
{
    char path[STATE_PATH_BYTES], text[16];
    int rc = state_path(path, p, e, "run");

    if (rc || (rc = state_make(path, e)))
        return rc;
    snprintf(text, sizeof text, "%d", seconds);
    word_leave(p, LEASE_WORD, text);
    return word_there(p, LEASE_WORD) ? FL_OK : error_set(e, FL_IO, "cannot write %s/" LEASE_WORD, path);
}

bool supervisor_lease_over(struct supervisor_lease *l, const struct pipeline *p, uint64_t now)
{
    char path[STATE_PATH_BYTES], text[16];
    struct stat st;

    if (now < l->looked_ns + LOOK_NS)
        return false;
    l->looked_ns = now;
    if (state_path(path, p, NULL, "run/" LEASE_WORD) || stat(path, &st) ||
        !word_read(p, LEASE_WORD, text, sizeof text)) {
        l->since_ns = 0;
        return false;
    }
    if (!l->since_ns || st.st_mtim.tv_sec != l->written.tv_sec || st.st_mtim.tv_nsec != l->written.tv_nsec) {
        l->written = st.st_mtim;
        l->since_ns = now;
    }
    return now - l->since_ns > (uint64_t)atoi(text) * NS_PER_S;
}
