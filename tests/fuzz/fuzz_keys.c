/* fuzz_keys.c - any bytes as a key file, or as the list of who is let in: read as what can be written again,
 * or refused in one line
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "keys/allow_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_list(const char *text, size_t size)
{
    struct allow_list list = {0};
    char moment[MOMENT_BYTES];
    struct error e = {0};
    int64_t again;
    if (allow_list_parse(&list, text, size, "fuzz", &e) && (!e.text[0] || strchr(e.text, '\n')))
        abort();
    for (int i = 0; i < list.n; i++) {
        const struct allowed *a = &list.entry[i];
        if (a->role == PARTY_NOBODY || a->role >= PARTIES || !key_text_ok(a->key) || !key_name_ok(a->name) ||
            allow_list_find(&list, a->key) != a || !moment_parse(&again, moment_text(a->until_s, moment)) ||
            again != a->until_s)
            abort();
    }
    allow_list_free(&list);
}

static void check_key(const char *text, size_t size)
{
    struct error e = {0};
    struct key_pair k;
    if (key_file_parse(&k, text, size, "fuzz", &e)) {
        if (!e.text[0] || strchr(e.text, '\n') || k.secret_key[0])
            abort();
    } else if (!k.role || !key_name_ok(k.name) || !key_text_ok(k.public_key) || !key_text_ok(k.secret_key)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    if (*data & 1)
        check_list((const char *)data + 1, size - 1);
    else
        check_key((const char *)data + 1, size - 1);
    return 0;
}
