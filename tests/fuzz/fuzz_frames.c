/* fuzz_frames.c - any bytes as an envelope: decoded or refused; what is decoded encodes again to the same
 * message */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct message first, second;
    static uint8_t buf[MESSAGE_MAX_ENCODED];
    struct error e = {0};
    size_t encoded;

    memset(&first, 0, fuzz_extent(first.type)); /* of the last run */
    memset(&second, 0, fuzz_extent(second.type));
    if (message_decode(&first, data, size, &e)) {
        if (!e.text[0] || strchr(e.text, '\n'))
            abort(); /* refused without one clear line */
        return 0;
    }
    if (message_payload_bytes(&first) < 0 || message_encode(&first, buf, sizeof buf, &encoded) ||
        message_decode(&second, buf, encoded, &e) || memcmp(&first, &second, fuzz_extent(first.type)))
        abort();
    return 0;
}
