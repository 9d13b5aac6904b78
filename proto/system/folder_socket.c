/* folder_socket.c - see folder_socket.h */
#include "folder_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A socket's address has room for 107 bytes; the way through a descriptor of the folder is short. */
int folder_socket(int *fd, const char *folder, const char *name, bool listens, struct error *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int at = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC), rc = FL_OK;

    *fd = -1;
    if (at < 0)
        return error_set(e, FL_UNAVAILABLE, "%s: %s", folder, strerror(errno));
    snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/%s", at, name);
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (listens ? SOCK_NONBLOCK : 0), 0);
    if (*fd < 0 || (listens ? bind(*fd, (struct sockaddr *)&a, sizeof a) || listen(*fd, 16)
                            : connect(*fd, (struct sockaddr *)&a, sizeof a))) {
        rc = error_set(e, listens ? FL_IO : FL_UNAVAILABLE, "%s/%s: %s", folder, name, strerror(errno));
        if (*fd >= 0)
            close(*fd);
        *fd = -1;
    }
    close(at);
    return rc;
}
