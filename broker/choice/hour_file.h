/* hour_file.h - what the last hour has cost, kept in a file, so that a broker that starts again goes on with
 * it
 *
 * Text: "freezeline hour 1", when it was written, the credit for bursts, then a line for each minute: how
 * long ago it was, requests, points that they cost; "end". Written without waiting for the disk: a machine
 * that crashes may leave half of it, which is found out.
 */
#ifndef FREEZELINE_HOUR_FILE_H
#define FREEZELINE_HOUR_FILE_H

#include "allowance.h"
#include "base/error.h"

/* wall_s: seconds of the calendar, since `now` means something else after a restart. FL_IO. */
int hour_file_write(const struct allowance *a, uint64_t now, int64_t wall_s, const char *path,
                    struct error *e);
/* Puts into *a, which is new, what is not older than an hour. A calendar that was set back makes it no older.
 * Errors as file_read; FL_CORRUPT: *a then allows no bursts for an hour (allowance_doubt). */
int hour_file_read(struct allowance *a, uint64_t now, int64_t wall_s, const char *path, struct error *e);

#endif
