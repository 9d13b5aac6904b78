/* http_token.c - random numbers, SHA-256, comparing */
#include "http_token.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <string.h>
#include <sys/random.h>
#include <zmq.h>

#define RANDOM_BYTES 32

int http_token_new(char token[HTTP_TOKEN_BYTES], struct error *e)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t bytes[RANDOM_BYTES + 1] = {0};
    char *to = token;

    if (getrandom(bytes, RANDOM_BYTES, 0) != RANDOM_BYTES)
        return error_set(e, FL_IO, "no random numbers: %s", strerror(errno));
    memcpy(to, "fz_", 3);
    to += 3;
    for (size_t bit = 0; bit < RANDOM_BYTES * 8; bit += 6) {
        unsigned two = (unsigned)bytes[bit / 8] << 8 | bytes[bit / 8 + 1];
        *to++ = digit[two >> (10 - bit % 8) & 63];
    }
    *to = '\0';
    explicit_bzero(bytes, sizeof bytes);
    return FL_OK;
}

void http_token_hash(char hash[KEY_TEXT_BYTES], const char *token, size_t length)
{
    uint8_t sha[32];
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, token, length, sha))
        memset(hash, 0, KEY_TEXT_BYTES); /* it stands for nobody */
    else
        zmq_z85_encode(hash, sha, sizeof sha);
}

static unsigned differs(const char *a, const char *b)
{
    unsigned differences = 0;
    for (int i = 0; i < KEY_TEXT_BYTES; i++)
        differences |= (unsigned)(unsigned char)(a[i] ^ b[i]);
    return differences;
}

const struct allowed *http_token_find(const struct allow_list *list, const char *token, size_t length)
{
    const struct allowed *found = NULL;
    char hash[KEY_TEXT_BYTES];
    http_token_hash(hash, token, length);
    for (int i = 0; i < list->n; i++)
        if (!differs(hash, list->entry[i].key))
            found = &list->entry[i];
    return found;
}
