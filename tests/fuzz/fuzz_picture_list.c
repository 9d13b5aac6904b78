/* fuzz_picture_list.c - any bytes as a list of pictures and labels: read line by line, or refused with the
 * line */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/data/picture_list.h"
#include "no_kernel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char cat[] = "cat", dog[] = "big dog", name[256];
    char *labels[] = {cat, dog};
    static struct pipeline p;
    struct error e = {FL_OK, ""};
    struct picture_list l;

    p.n_labels = 2;
    p.label = labels;
    no_kernel_file(data, size);
    if (picture_list_file(&l, FUZZ_FILE, &p, &e))
        need(e.text[0] && !strchr(e.text, '\n'));
    else
        for (int64_t i = 0; i < l.n; i++) {
            need(*picture_list_path(&l, i, name, sizeof name) != '\0');
            need((picture_list_label(&l, i) >= 0) == l.labelled);
        }
    picture_list_release(&l);
    need(no_kernel_opened());
    return 0;
}
