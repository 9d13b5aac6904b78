/* fuzz_npy.c - any bytes as an array of pictures: every number that is read lies in the file, or it is
 * refused in one line */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/data/npy.h"
#include "deploy/data/array_view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool condition)
{
    if (!condition)
        abort();
}

/* As a model would take it whose sizes are those of the array, channels first or last. */
static void read_as(const struct tensor *t, bool fortran, bool last)
{
    static const struct pipeline plain;
    struct picture p = {(int)t->dim[last ? 3 : 1], (int)t->dim[last ? 1 : 2], (int)t->dim[last ? 2 : 3],
                        last};
    struct error e = {FL_OK, ""};
    float *planes = malloc((size_t)p.channels * (size_t)p.height * (size_t)p.width * sizeof *planes + 1);
    struct array_view v;

    need(planes != NULL);
    if (!array_view_open(&v, t, fortran, &p, false, "array", &e)) {
        need(v.count == t->dim[0]);
        array_view_planes(&v, 0, &p, &plain, planes);
        array_view_planes(&v, v.count - 1, &p, &plain, planes);
        array_view_put(&v, v.count / 2, &p, &plain, TENSOR_F32, planes);
    } else {
        need(e.text[0] && !strchr(e.text, '\n'));
    }
    free(planes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e = {FL_OK, ""};
    struct tensor t;
    size_t offset = 0;
    bool fortran;

    if (npy_parse(&t, &fortran, &offset, data, size, &e)) {
        need(e.text[0] && !strchr(e.text, '\n'));
        return 0;
    }
    need(offset <= size && t.rank <= TENSOR_MAX_RANK && tensor_bytes(&t) >= 0);
    if ((size_t)tensor_bytes(&t) > size - offset || tensor_count(&t) < 1 || t.rank != 4)
        return 0;
    t.data = (void *)(uintptr_t)(data + offset);
    read_as(&t, fortran, false);
    read_as(&t, fortran, true);
    return 0;
}
