/* json_text.c - growing by half, escaping */
#include "json_text.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT_BYTES 1024

static bool make_room(struct json_text *t, size_t n)
{
    size_t room = t->room ? t->room : 512;
    char *at;
    if (t->failed || n > SIZE_MAX / 4 - t->n) {
        t->failed = true;
        return false;
    }
    while (room - t->n < n)
        room += room / 2;
    if (room == t->room)
        return true;
    if (!(at = realloc(t->at, room))) {
        t->failed = true;
        return false;
    }
    t->at = at;
    t->room = room;
    return true;
}

void json_text_bytes(struct json_text *t, const void *bytes, size_t n)
{
    if (!n || !make_room(t, n))
        return;
    memcpy(t->at + t->n, bytes, n);
    t->n += n;
}

void json_text_put(struct json_text *t, const char *s)
{
    json_text_bytes(t, s, strlen(s));
}

void json_text_number(struct json_text *t, uint64_t n)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    json_text_bytes(t, digits + at, sizeof digits - at);
}

void json_text_format(struct json_text *t, const char *format, ...)
{
    char text[FORMAT_BYTES];
    va_list args;
    int n;
    va_start(args, format);
    n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_text_bytes(t, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
}

/* Length of the UTF-8 character at `s`; 0: it is none. */
static size_t utf8(const unsigned char *s)
{
    size_t n = *s < 0x80                 ? 1
               : *s >= 0xc2 && *s < 0xe0 ? 2
               : *s >= 0xe0 && *s < 0xf0 ? 3
               : *s >= 0xf0 && *s < 0xf5 ? 4
                                         : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) || (*s == 0xf0 && s[1] < 0x90) ||
        (*s == 0xf4 && s[1] > 0x8f))
        return 0; /* longer than it need be, half of a pair, or beyond the last character */
    return n;
}

/* How many characters at `s` stand for themselves. */
static size_t plain(const char *s)
{
    size_t n = 0;
    while ((unsigned char)s[n] >= 0x20 && (unsigned char)s[n] < 0x7f && s[n] != '"' && s[n] != '\\')
        n++;
    return n;
}

void json_text_string(struct json_text *t, const char *s)
{
    json_text_bytes(t, "\"", 1);
    while (*s) {
        size_t n = plain(s);
        if (n) {
            json_text_bytes(t, s, n);
            s += n;
            continue;
        }
        n = utf8((const unsigned char *)s);
        if (*s == '"' || *s == '\\')
            json_text_format(t, "\\%c", *s);
        else if ((unsigned char)*s < 0x20 || *s == 0x7f)
            json_text_format(t, "\\u%04x", (unsigned char)*s);
        else
            json_text_bytes(t, n ? s : "?", n ? n : 1);
        s += n ? n : 1;
    }
    json_text_bytes(t, "\"", 1);
}

/* As "%.9g" has it, where that writes no exponent. Such a float times a power of ten up to 10^12 is exact as
 * a double, so that one rounding gives the nine digits. 0: it is another one. */
static size_t print_float(char *to, float f)
{
    static const double ten[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12};
    double x = fabs((double)f);
    char digits[16], *at = digits + sizeof digits, *out = to;
    int places = 12;
    uint64_t n;

    if (!(x >= 1e-4 && x < 999999999)) {
        *to = '0';
        return x == 0 && !signbit(f);
    }
    while (places && x * ten[places] >= 1e9)
        places--;
    n = (uint64_t)llrint(x * ten[places]);
    for (; places && !(n % 10); places--)
        n /= 10;
    for (int i = 0; n || i <= places; i++, n /= 10) {
        if (i == places && i)
            *--at = '.';
        *--at = (char)('0' + n % 10);
    }
    *out = '-';
    out += f < 0;
    memcpy(out, at, (size_t)(digits + sizeof digits - at));
    return (size_t)(out - to) + (size_t)(digits + sizeof digits - at);
}

void json_text_float(struct json_text *t, float f)
{
    char text[32];
    size_t n;
    if (!isfinite(f))
        f = isnan(f) ? 0 : f > 0 ? FLT_MAX : -FLT_MAX;
    if (!(n = print_float(text, f)))
        n = (size_t)snprintf(text, sizeof text, "%.9g", (double)f);
    json_text_bytes(t, text, n);
}

void json_text_free(struct json_text *t)
{
    free(t->at);
    *t = (struct json_text){.at = NULL};
}
