/* no_kernel.h - files and large blocks without system calls: no_kernel.c */
#ifndef FREEZELINE_NO_KERNEL_H
#define FREEZELINE_NO_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FUZZ_FILE "fuzz-file"

/* Who opens FUZZ_FILE by fopen reads these bytes, which are borrowed. */
void no_kernel_file(const uint8_t *data, size_t size);
/* Has somebody, since? */
bool no_kernel_opened(void);
/* May these bytes be touched? AddressSanitizer looks. */
void no_kernel_touch(const void *at, size_t bytes, bool may);

#endif
