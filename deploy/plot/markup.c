/* markup.c - escaping and measuring text, the style of the plots */
#include "markup.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"
#define ELLIPSIS    "\xe2\x80\xa6"

/* Code points that XML 1.0 lets stand in a document (section 2.2). */
static bool allowed(uint32_t c)
{
    return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c < 0xd800) || (c >= 0xe000 && c <= 0xfffd) ||
           (c >= 0x10000 && c <= 0x10ffff);
}

/* The character at text: its length in bytes, *c its code point or 0 when it is none that may be written. */
static int next_character(const char *text, uint32_t *c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)text;
    int length = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;

    *c = 0;
    if (length == 1) {
        *c = allowed(p[0]) ? p[0] : 0;
        return 1;
    }
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 1;
    uint32_t value = p[0] & (0xffu >> (length + 1));
    for (int i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 1;
        value = value << 6 | (p[i] & 0x3f);
    }
    if (value < least[length])
        return 1;
    *c = allowed(value) ? value : 0;
    return length;
}

static void put_character(FILE *to, const char *text, int length, uint32_t c)
{
    switch (c) {
    case 0:
        fputs(REPLACEMENT, to);
        break;
    case '&':
        fputs("&amp;", to);
        break;
    case '<':
        fputs("&lt;", to);
        break;
    case '>':
        fputs("&gt;", to);
        break;
    case '"':
        fputs("&quot;", to);
        break;
    case '\'':
        fputs("&#39;", to);
        break;
    default:
        fwrite(text, 1, (size_t)length, to);
    }
}

void markup_text(FILE *to, const char *text)
{
    uint32_t c;

    for (int length; *text; text += length) {
        length = next_character(text, &c);
        put_character(to, text, length, c);
    }
}

/* In ems: capitals and m, w are wide, some are narrow, and East Asian characters fill the square. */
static double character_width(uint32_t c)
{
    if (c >= 0x1100)
        return c >= 0x2000 && c < 0x2e80 ? 0.7 : 1;
    if (c && c < 0x80 && strchr("iljft.,:;|!'()[] ", (int)c))
        return 0.37;
    if ((c >= 'A' && c <= 'Z') || c == 'm' || c == 'w' || c == '%' || c == '@')
        return 0.76;
    return 0.6;
}

double markup_width(const char *text, double font)
{
    double width = 0;
    uint32_t c;

    while (*text) {
        text += next_character(text, &c);
        width += font * character_width(c);
    }
    return width;
}

/* Looks no further than it has to: a name may be very long. */
static bool fits(const char *text, double width, double font)
{
    uint32_t c;

    while (*text && width >= 0) {
        text += next_character(text, &c);
        width -= font * character_width(c);
    }
    return width >= 0;
}

/* Where the last characters begin that fit into `width`, from `text` on. */
static const char *last_that_fit(const char *text, double width, double font)
{
    const char *end = text + strlen(text), *at = end;
    uint32_t c;

    for (; at > text; end = at) {
        for (at = end - 1; at > text && ((unsigned char)*at & 0xc0) == 0x80 && end - at < 4;)
            at--;
        next_character(at, &c);
        if ((width -= font * character_width(c)) < 0)
            return end;
    }
    return at;
}

void markup_fit(FILE *to, const char *text, double width, double font)
{
    double half = (width - font * 0.7) / 2, used = 0;
    uint32_t c;

    if (fits(text, width, font)) {
        markup_text(to, text);
        return;
    }
    for (int length; *text; text += length) {
        length = next_character(text, &c);
        used += font * character_width(c);
        if (used > half)
            break;
        put_character(to, text, length, c);
    }
    fputs(ELLIPSIS, to);
    markup_text(to, last_that_fit(text, half, font));
}

/* Okabe and Ito, "Color Universal Design", 2008. Their yellow is too pale for white paper and their blue too
 * dark for black, so each background takes its own order; shapes and dashes tell series apart as well. */
static void plot_style(FILE *to)
{
    fputs(
        "<style>.plot{--paper:#fff;--ink:#1c2128;--soft:#57606a;--grid:#dfe3e8;--axis:#8c959f;--c0:#0072b2;"
        "--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#e69f00;--c5:#56b4e9;--c6:#1c2128;"
        "background:var(--paper);font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',"
        "sans-serif;font-variant-numeric:tabular-nums}"
        "@media(prefers-color-scheme:dark){.plot{--paper:#161a20;--ink:#e8eaed;--soft:#a9b1bb;--grid:#2c333c;"
        "--axis:#6b7480;--c0:#56b4e9;--c1:#e69f00;--c2:#1fbf92;--c3:#cc79a7;--c4:#f0e442;--c5:#e8743b;"
        "--c6:#e8eaed}}"
        ".plot text{fill:var(--soft)}.plot .ink{fill:var(--ink)}.plot .title{fill:var(--ink);font-weight:600}"
        ".plot .grid{stroke:var(--grid)}.plot .axis{stroke:var(--axis)}"
        ".plot path,.plot line{fill:none;stroke:currentColor;stroke-width:2;vector-effect:non-scaling-stroke;"
        "stroke-linejoin:round;stroke-linecap:round}"
        ".plot .grid,.plot .axis,.plot .thin{stroke-width:1}.plot .mark{fill:currentColor;stroke:none}"
        ".plot .label{paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}"
        ".plot .dots{stroke-width:4}.plot .dashed{stroke-dasharray:5 5;stroke-linecap:butt}",
        to);
    for (int i = 0; i < MARKUP_COLOURS; i++)
        fprintf(to, ".plot .c%d{color:var(--c%d)}", i, i);
    fputs(".plot .rest{color:var(--axis)}@media(min-width:600px){.plot{font-size:9px}}</style>", to);
}

void markup_svg_open(FILE *to, const char *title, double width, double height)
{
    fprintf(to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" role=\"img\" viewBox=\"0 0 %.0f %.0f\">"
            "<title>",
            width, height);
    markup_text(to, title);
    fputs("</title>", to);
    plot_style(to);
}
