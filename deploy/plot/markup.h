/* markup.h - text inside SVG and HTML: escaping, widths, and the style that all plots share
 *
 * Everything that comes from a file or a user passes through markup_text, whose output is well-formed XML and
 * HTML whatever the input: & < > " ' become entities; what is not UTF-8, and characters that XML 1.0 does not
 * allow, become U+FFFD.
 */
#ifndef FREEZELINE_MARKUP_H
#define FREEZELINE_MARKUP_H

#include <stdio.h>

#define MARKUP_COLOURS 7

void markup_text(FILE *to, const char *text);
/* As much of `text` as fits into `width` units at this font size, with an ellipsis in the middle: names
 * differ at their ends, too. */
void markup_fit(FILE *to, const char *text, double width, double font);
/* Estimated width at this font size, on the generous side: the reader's font is not known. */
double markup_width(const char *text, double font);

/* Opens an <svg class="plot">, `width` units wide, with its title for screen readers and its style: classes
 * c0..c6 (Okabe-Ito colours, chosen for a light and for a dark background), rest (a quiet grey), grid, axis,
 * title, label. Text is 12 units, and 9 where the picture is shown wide. "</svg>" closes it. */
void markup_svg_open(FILE *to, const char *title, double width, double height);

#endif
