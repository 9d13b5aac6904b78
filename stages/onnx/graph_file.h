/* graph_file.h - a file mapped read-only, with a limit on its size */
#ifndef FREEZELINE_GRAPH_FILE_H
#define FREEZELINE_GRAPH_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct file_map {
    const uint8_t *bytes;
    size_t size;
};

/* FL_IO, FL_TOO_LARGE; an empty file is FL_IO. */
int file_map_open(struct file_map *m, const char *path, int64_t max_bytes, struct error *e);
void file_map_close(struct file_map *m);

#endif
