/* page.h - the page that shows the pipeline: one file without others, which page.c puts into the binary */
#ifndef FREEZELINE_PAGE_H
#define FREEZELINE_PAGE_H

#include <stddef.h>
#include <stdint.h>

extern const char page_html[], page_html_end[];

#define PAGE_BYTES ((size_t)((uintptr_t)page_html_end - (uintptr_t)page_html))

#endif
