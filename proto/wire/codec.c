/* codec.c - the per-thread scratch of the codec */
#include "codec.h"

#include <pthread.h>
#include <stdlib.h>

static _Thread_local struct scratch *mine;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_key(void)
{
    pthread_key_create(&key, free); /* frees the scratch when its thread ends */
}

struct scratch *scratch_start(void)
{
    if (!mine) {
        pthread_once(&once, make_key);
        mine = malloc(sizeof *mine);
        if (!mine)
            return NULL;
        pthread_setspecific(key, mine);
    }
    mine->used = 0;
    return mine;
}

void *scratch_take(struct scratch *s, size_t size)
{
    void *p;
    if (size > SCRATCH_BYTES - s->used)
        return NULL;
    p = s->bytes + s->used;
    s->used += (size + 15) / 16 * 16;
    if (s->used > SCRATCH_BYTES)
        s->used = SCRATCH_BYTES;
    return p;
}
