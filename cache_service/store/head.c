/* head.c - heads as text */
#include "head.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_UPDATES "0-0"

static void write_text(struct head *h)
{
    char build[DIGEST_TEXT_BYTES], identity[DIGEST_TEXT_BYTES];
    snprintf(h->text, sizeof h->text, "%" PRIu64 " %s %" PRIu64 " %s %s", h->sequence,
             digest_text(h->build, build), h->generation, digest_text(h->identity, identity), h->applied);
}

void head_of(struct head *h, const struct manifest *m, const struct head *before)
{
    uint64_t sequence = before ? before->sequence : 0; /* `before` may be this one */
    memset(h, 0, sizeof *h);
    h->sequence = sequence + 1;
    h->generation = m->generation;
    memcpy(h->build, m->build, sizeof h->build);
    memcpy(h->identity, m->identity.digest, sizeof h->identity);
    snprintf(h->applied, sizeof h->applied, "%s", m->applied[0] ? m->applied : NO_UPDATES);
    write_text(h);
}

static bool take_digest(const char *text, uint8_t out[DIGEST_BYTES])
{
    if (strlen(text) != 2 * DIGEST_BYTES)
        return false;
    for (int i = 0; i < DIGEST_BYTES; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

int head_parse(struct head *h, const char *text, size_t size, struct error *e)
{
    char build[33], identity[33];
    struct head read = {0};
    memset(h, 0, sizeof *h);
    memcpy(h->text, text, strnlen(text, size < sizeof h->text ? size : sizeof h->text - 1));
    if (strlen(h->text) != size)
        return error_set(e, FL_PROTOCOL,
                         "the epoch key holds no head of caches: it is too long or has a 0 byte");
    if (sscanf(h->text, "%" SCNu64 " %32[0-9a-f] %" SCNu64 " %32[0-9a-f] %47[0-9-]", &read.sequence, build,
               &read.generation, identity, read.applied) == 5 &&
        take_digest(build, read.build) && take_digest(identity, read.identity))
        write_text(&read);
    /* What is read is compared as text when it is replaced, so it has to be exactly what is written. */
    if (strcmp(h->text, read.text) || !strchr(read.applied, '-'))
        return error_set(e, FL_PROTOCOL, "the epoch key holds \"%.80s\", no head of caches", h->text);
    *h = read;
    return FL_OK;
}

int stream_id_compare(const char *a, const char *b)
{
    unsigned long long a_ms = 0, a_seq = 0, b_ms = 0, b_seq = 0;
    sscanf(a, "%llu-%llu", &a_ms, &a_seq);
    sscanf(b, "%llu-%llu", &b_ms, &b_seq);
    if (a_ms != b_ms)
        return a_ms < b_ms ? -1 : 1;
    return a_seq == b_seq ? 0 : a_seq < b_seq ? -1 : 1;
}
