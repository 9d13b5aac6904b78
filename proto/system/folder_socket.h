/* folder_socket.h - a unix stream socket in a folder, however long the folder's path is */
#ifndef FREEZELINE_FOLDER_SOCKET_H
#define FREEZELINE_FOLDER_SOCKET_H

#include <stdbool.h>

#include "base/error.h"

/* Bound to FOLDER/NAME, listening and never blocking; or connected to it. FL_UNAVAILABLE: the folder is not
 * there, or nobody listens. */
int folder_socket(int *fd, const char *folder, const char *name, bool listens, struct error *e);

#endif
