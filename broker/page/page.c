/* page.c - page.html as bytes of the binary */
#include "page.h"

__asm__(".pushsection .rodata\n"
        ".global page_html, page_html_end\n"
        "page_html:\n"
        ".incbin \"broker/page/page.html\"\n"
        "page_html_end:\n"
        ".byte 0\n"
        ".popsection\n");
