/* onnx_external.h - tensors whose bytes lie in files beside the model
 *
 * A tensor names a LOCATION: a relative path without `..`. It is looked for beside the model as it is named
 * and, where that name is a link, beside the file that it leads to. What is found may be a link as well, as
 * in download caches (Hugging Face's: names are links to blobs), but has to lie in or below one of those two
 * folders once all links are followed. So a model can read no file that was not put next to it.
 */
#ifndef FREEZELINE_ONNX_EXTERNAL_H
#define FREEZELINE_ONNX_EXTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct external_files;

/* For the model at that path. FL_IO when its folder cannot be resolved, FL_NOMEM. */
int external_files_new(struct external_files **out, const char *model_path, struct error *e);
void external_files_free(struct external_files *f);
/* From now on `told` hears of each file when it is first opened; NULL: nobody does. */
void external_files_tell(struct external_files *f,
                         void (*told)(void *arg, const char *location, const char *path), void *arg);
/* Opens LOCATION and checks that `bytes` from `offset` on are there. Then external_files_read copies them.
 * FL_MODEL when the location is refused, the file too short, or when the tensors of a model together ask for
 * much more than its files have; FL_IO. `f` NULL refuses. */
int external_files_open(struct external_files *f, const char *location, int64_t offset, int64_t bytes,
                        struct error *e);
/* From the file that was opened last. FL_IO. */
int external_files_read(struct external_files *f, void *to, int64_t bytes, int64_t offset, struct error *e);
/* Of the files opened so far, each counted once. 0 for NULL. */
int64_t external_files_bytes(const struct external_files *f);

#endif
