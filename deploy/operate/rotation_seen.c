/* rotation_seen.c - one line a process: pid, host, name */
#include "rotation_seen.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "deploy/process/roles.h"
#include "keys/allow_list.h"

#define LINE 400

/* The i-th process of a status as a line; false: there are no more. The one broker is not in its own list. */
static bool line_of(const struct status_reply *s, int i, char line[LINE])
{
    char name[32];

    if (i > s->n_processes)
        return false;
    if (i == s->n_processes)
        snprintf(line, LINE, "%llu %.255s broker\n", (unsigned long long)s->pid, s->host);
    else
        snprintf(line, LINE, "%llu %.255s %s\n", (unsigned long long)s->process[i].pid, s->process[i].host,
                 roles_name(&s->process[i], name, sizeof name));
    return true;
}

static bool lives(const struct status_reply *s, int i)
{
    return i == s->n_processes ? s->pid && s->brokers < 2 : strcmp(s->process[i].state, "dead") != 0;
}

int rotation_seen_keep(const char *directory, const struct status_reply *s, struct error *e)
{
    char path[KEY_PATH_BYTES], line[LINE];
    int rc = key_path(path, directory, ".rotation", e);
    FILE *f = rc ? NULL : fopen(path, "we");

    for (int i = 0; f && line_of(s, i, line); i++)
        if (lives(s, i))
            fputs(line, f);
    if (!rc && (!f || fclose(f)))
        rc = error_set(e, FL_IO, "cannot write %s: %s", path, strerror(errno));
    return rc;
}

void rotation_seen_forget(const char *directory)
{
    char path[KEY_PATH_BYTES];
    if (!key_path(path, directory, ".rotation", NULL))
        unlink(path);
}

bool rotation_seen_any(const char *directory)
{
    char path[KEY_PATH_BYTES];
    return !key_path(path, directory, ".rotation", NULL) && !access(path, F_OK);
}

int rotation_seen_still(const char *directory, const struct status_reply *s, char *still, size_t size)
{
    char path[KEY_PATH_BYTES], was[LINE], now[LINE];
    FILE *f = key_path(path, directory, ".rotation", NULL) ? NULL : fopen(path, "re");
    size_t used = 0;
    int n = 0;

    still[0] = '\0';
    while (f && fgets(was, sizeof was, f))
        for (int i = 0; line_of(s, i, now); i++) {
            if (!lives(s, i) || strcmp(was, now))
                continue;
            now[strcspn(now, "\n")] = '\0';
            if (used < size)
                used +=
                    (size_t)snprintf(still + used, size - used, "%s%s", n ? ", " : "", strrchr(now, ' ') + 1);
            n++;
        }
    if (f)
        fclose(f);
    return n;
}
