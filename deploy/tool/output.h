/* output.h - files that a command writes: whole or not at all
 *
 * A regular file is replaced in one step, so nobody reads half of one. Devices, pipes and where
 * a link leads to (/dev/stdout) are written straight.
 */
#ifndef FREEZELINE_OUTPUT_H
#define FREEZELINE_OUTPUT_H

#include <stdio.h>

#include <jansson.h>

#include "base/error.h"

#define OUTPUT_MOST 8 /* files to check at once */

/* Has `write` fill the file at `path`. FL_IO when that fails (a full disk), or what `write` returns: a
 * regular file is then as it was. Whether writing to the stream fails `write` need not look. */
int output_write(const char *path, int (*write)(FILE *to, const void *arg, struct error *e), const void *arg,
                 struct error *e);
/* JSON, indented, reals with `digits` digits. FL_NOMEM when root is NULL. */
int output_json(const json_t *root, int digits, const char *path, struct error *e);
/* Whether all these can be written (NULLs are passed over), before anything long is done for them. FL_IO with
 * the one that cannot; FL_USAGE when two are the same file: the later would replace the earlier. */
int output_check(const char *const *path, int n, struct error *e);

#endif
