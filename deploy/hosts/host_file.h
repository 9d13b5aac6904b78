/* host_file.h - a list of machines as mpirun, PBS and others have it
 *
 *   # a comment
 *   node1 slots=4
 *   user@10.7.0.2 slots=2
 *   [fd00::3]
 *
 * One machine a line; one that stands there twice has the slots of both lines. Hostile files are bounded.
 */
#ifndef FREEZELINE_HOST_FILE_H
#define FREEZELINE_HOST_FILE_H

#include <stddef.h>

#include "base/error.h"

#define HOST_FILE_MAX   256
#define HOST_NAME_BYTES 254

struct host_line {
    char name[HOST_NAME_BYTES];
    char user[64]; /* "" where none is named */
    int slots;     /* 0: not said */
};

struct host_file {
    int n;
    struct host_line line[HOST_FILE_MAX];
};

/* FL_CONFIG with PATH:LINE and what is wrong. */
int host_file_parse(struct host_file *out, const char *text, size_t size, const char *path, struct error *e);
int host_file_load(struct host_file *out, const char *path, struct error *e);

#endif
