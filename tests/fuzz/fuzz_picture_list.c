/* fuzz_picture_list.c - any bytes as a list of pictures and labels: read line by line, or refused with the
 * line */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "deploy/data/picture_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char cat[] = "cat", dog[] = "big dog", path[64], name[256];
    char *labels[] = {cat, dog};
    const struct pipeline p = {.n_labels = 2, .label = labels};
    struct error e = {FL_OK, ""};
    struct picture_list l;
    int fd = memfd_create("list", MFD_CLOEXEC);

    need(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (picture_list_file(&l, path, &p, &e))
        need(e.text[0] && !strchr(e.text, '\n'));
    else
        for (int64_t i = 0; i < l.n; i++) {
            need(*picture_list_path(&l, i, name, sizeof name) != '\0');
            need((picture_list_label(&l, i) >= 0) == l.labelled);
        }
    picture_list_release(&l);
    close(fd);
    return 0;
}
