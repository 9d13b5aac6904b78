/* learner_folder.c - see learner_folder.h */
#include "learner_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int learner_folder_make(struct learner_folder *f, const char *state, struct error *e)
{
    f->lock = -1;
    if ((size_t)snprintf(f->dir, sizeof f->dir, "%s/learner", state) >= sizeof f->dir)
        return error_set(e, FL_CONFIG, "state: the path is too long");
    snprintf(f->reservoir, sizeof f->reservoir, "%s/reservoir", f->dir);
    snprintf(f->work, sizeof f->work, "%s/work", f->dir);
    mkdir(state, 0755);
    mkdir(f->dir, 0755);
    if (mkdir(f->work, 0755) && access(f->work, W_OK))
        return error_set(e, FL_IO, "%s: the folder cannot be made, or not written to", f->work);
    return FL_OK;
}

int learner_folder_take(struct learner_folder *f, struct error *e)
{
    char path[3200];
    if (f->lock >= 0)
        return FL_OK;
    snprintf(path, sizeof path, "%s/lock", f->dir);
    if ((f->lock = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644)) < 0)
        return error_set(e, FL_IO, "%s: cannot be opened", path);
    if (!flock(f->lock, LOCK_EX | LOCK_NB))
        return FL_OK;
    learner_folder_leave(f);
    return error_set(e, FL_UNAVAILABLE, "%s: another learner of this host has it", path);
}

void learner_folder_leave(struct learner_folder *f)
{
    if (f->lock >= 0)
        close(f->lock);
    f->lock = -1;
}
