/* page.h - the page that shows the pipeline: one file without others, which page.c puts into the binary */
#ifndef FREEZELINE_PAGE_H
#define FREEZELINE_PAGE_H

#include <stddef.h>

extern const char page_html[], page_html_end[];

#define PAGE_BYTES ((size_t)(page_html_end - page_html))

#endif
