/* whole_file.h - files that are read and written as a whole */
#ifndef FREEZELINE_WHOLE_FILE_H
#define FREEZELINE_WHOLE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* The bytes of a regular file, owned by the caller, followed by a 0 that *size does not count. FL_NOT_FOUND,
 * FL_IO, FL_TOO_LARGE when there are more than `most`, FL_NOMEM. */
int file_read(void **out, size_t *size, const char *path, uint64_t most, struct error *e);

/* The parts one behind the other become the file at `path`, on the disk before it returns. Whoever reads it
 * finds the old file or the new one, never half of one. FL_IO, FL_NOMEM. */
struct file_part {
    const void *data;
    size_t size;
};
int file_replace(const char *path, const struct file_part *part, int n, struct error *e);
/* The same for a file that others than its owner may not read. */
int file_replace_private(const char *path, const struct file_part *part, int n, struct error *e);

#endif
