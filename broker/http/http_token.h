/* http_token.h - bearer tokens: who has one may ask over HTTP
 *
 * A token is 256 random bits as text. The list of who may come in, KEYS/tokens, has the form of allow_list.h;
 * where a key would stand, the SHA-256 of a token does, in Z85. So the file opens nothing to whoever reads
 * it.
 */
#ifndef FREEZELINE_HTTP_TOKEN_H
#define FREEZELINE_HTTP_TOKEN_H

#include "keys/allow_list.h"

#define HTTP_TOKEN_FILE  "tokens"
#define HTTP_TOKEN_BYTES 48 /* "fz_", 43 characters of base64url, and the 0 behind them */

/* A new one. FL_IO: no random numbers. */
int http_token_new(char token[HTTP_TOKEN_BYTES], struct error *e);
/* What stands for it in the list. */
void http_token_hash(char hash[KEY_TEXT_BYTES], const char *token, size_t length);
/* The entry of a token, in a time that does not depend on how much of it is right; NULL: it is none. */
const struct allowed *http_token_find(const struct allow_list *list, const char *token, size_t length);

#endif
