/* http_coding.c - compressed replies, and trace contexts that go on */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "http_call.h"

#define WORTH_BYTES 1024 /* less fits one packet anyway */
#define GZIP_BITS   (15 + 16)
#define ZLIB_BITS   15

/* One of the header's codings: its name, and whether its weight is not 0. */
static bool takes(const char *at, size_t n, const char *name)
{
    size_t own = strlen(name);
    const char *weight = memchr(at, ';', n);

    if (n < own || strncasecmp(at, name, own) || (n > own && !strchr("; \t", at[own])))
        return false;
    if (!weight)
        return true;
    for (weight++; weight < at + n && (*weight == ' ' || *weight == 'q' || *weight == '='); weight++)
        ;
    return weight < at + n && strtod(weight, NULL) > 0;
}

enum http_coding http_accepts(const char *header)
{
    enum http_coding found = CODING_PLAIN;

    while (header && *header) {
        size_t n;
        header += strspn(header, ", \t");
        n = strcspn(header, ",");
        if (takes(header, n, "gzip") || takes(header, n, "x-gzip") || takes(header, n, "*"))
            return CODING_GZIP;
        if (takes(header, n, "deflate"))
            found = CODING_DEFLATE;
        header += n;
    }
    return found;
}

void http_reply_pack(struct http_reply *r, enum http_coding coding)
{
    z_stream z = {.next_in = (unsigned char *)r->text.at, .avail_in = (uInt)r->text.n};
    struct json_text out = {.at = NULL};

    if (coding == CODING_PLAIN || r->text.failed || r->text.n < WORTH_BYTES || r->text.n > UINT32_MAX)
        return;
    if (deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, coding == CODING_GZIP ? GZIP_BITS : ZLIB_BITS, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return;
    out.room = deflateBound(&z, r->text.n);
    out.at = malloc(out.room);
    z.next_out = (unsigned char *)out.at;
    z.avail_out = out.at ? (uInt)out.room : 0;
    if (out.at && deflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out < r->text.n) {
        out.n = z.total_out;
        json_text_free(&r->text);
        r->text = out;
        r->coding = coding;
    } else {
        free(out.at);
    }
    deflateEnd(&z);
}

/* Lower-case digits of base 16, not all of them 0. */
static bool is_id(const char *at, size_t n)
{
    return strspn(at, "0123456789abcdef") >= n && strspn(at, "0") < n;
}

static uint64_t base16(const char *at)
{
    char digits[17];
    snprintf(digits, sizeof digits, "%.16s", at);
    return strtoull(digits, NULL, 16);
}

void http_trace(struct http_call *c, const char *header, uint64_t span)
{
    *c->trace = '\0';
    c->context = (struct http_context){.high = 0};
    if (!header || strlen(header) < TRACE_BYTES - 1 || strspn(header, "0123456789abcdef") != 2 ||
        !strncmp(header, "ff", 2) || header[2] != '-' || !is_id(header + 3, 32) || header[35] != '-' ||
        !is_id(header + 36, 16) || header[52] != '-' || strspn(header + 53, "0123456789abcdef") != 2)
        return;
    if (header[55] && (header[55] != '-' || !strncmp(header, "00", 2))) /* later versions may say more */
        return;
    snprintf(c->trace, TRACE_BYTES, "00-%.32s-%016llx-%.2s", header + 3, (unsigned long long)span,
             header + 53);
    c->context = (struct http_context){base16(header + 3), base16(header + 19), base16(header + 36), span,
                                       strtoul(header + 53, NULL, 16) & 1};
}
