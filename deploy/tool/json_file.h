/* json_file.h - a JSON file that a user hands to a command */
#ifndef FREEZELINE_JSON_FILE_H
#define FREEZELINE_JSON_FILE_H

#include <jansson.h>

#include "base/error.h"

#define JSON_FILE_MAX_BYTES (64 << 20)

/* *out is owned. FL_NOT_FOUND, FL_IO, FL_TOO_LARGE, or FL_CORRUPT with line and column; the text of the error
 * has no control characters of the file. */
int json_file_load(json_t **out, const char *path, struct error *e);

#endif
