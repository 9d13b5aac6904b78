/* claim.c - flock on two files */
#include "claim.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "deploy/tool/state.h"
#include "word.h"

#define RETRY_US 5000

int claim_take(int *fd, const struct pipeline *p, int wait_ms, struct error *e)
{
    uint64_t until = clock_ns() + (uint64_t)wait_ms * NS_PER_MS;
    char path[STATE_PATH_BYTES];
    int rc = state_path(path, p, e, "run");

    *fd = -1;
    if (rc)
        return rc;
    if (access(path, F_OK) && errno == ENOENT)
        return error_set(e, FL_NOT_FOUND, "%s is not there", path);
    if ((rc = state_path(path, p, e, "run/lock")))
        return rc;
    while ((rc = state_lock(fd, path, "running the pipeline", e)) == FL_UNAVAILABLE && clock_ns() < until)
        usleep(RETRY_US); /* claim_look holds it for a moment */
    return rc;
}

bool claim_holds(int fd, const struct pipeline *p)
{
    char path[STATE_PATH_BYTES];
    struct stat own, file;

    return !state_path(path, p, NULL, "run/lock") && !fstat(fd, &own) && !stat(path, &file) &&
           own.st_ino == file.st_ino && own.st_dev == file.st_dev && !flock(fd, LOCK_EX | LOCK_NB);
}

/* Can `how` not be had? */
static bool is_locked(const struct pipeline *p, const char *name, int how)
{
    char path[STATE_PATH_BYTES];
    int fd = state_path(path, p, NULL, "run/%s", name) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    bool locked = fd >= 0 && flock(fd, how | LOCK_NB) && errno == EWOULDBLOCK;

    if (fd >= 0)
        close(fd);
    return locked;
}

enum claim_holder claim_look(const struct pipeline *p, struct process *who)
{
    bool locked = is_locked(p, "lock", LOCK_SH), known;

    memset(who, 0, sizeof *who);
    known = !pid_file_load(p, "supervisor", who);
    if (!locked)
        return known ? CLAIM_GONE : CLAIM_NOBODY;
    if (known && !process_visible(who))
        return CLAIM_ELSEWHERE;
    return known && process_alive(who) ? CLAIM_HERE : CLAIM_STARTING;
}

int claim_open_alive(int *fd, const struct pipeline *p, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc = state_path(path, p, e, "run/alive");

    *fd = -1;
    if (rc)
        return rc;
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (*fd >= 0 && !flock(*fd, LOCK_SH | LOCK_NB))
        return FL_OK;
    rc = error_set(e, FL_IO, "cannot lock %s: %s", path, strerror(errno));
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return rc;
}

bool claim_anyone_alive(const struct pipeline *p)
{
    return is_locked(p, "alive", LOCK_EX);
}
