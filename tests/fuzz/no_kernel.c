/* no_kernel.c - files and large blocks without system calls, which cost more than a run does
 *
 * Fuzz targets are linked with --wrap=fopen and the others that are wrapped here. A parser that opens
 * FUZZ_FILE reads the input where it lies. Blocks of at least LARGE_BYTES, which malloc would map anew for
 * each run, lie in a few places that stay. They are cleared when calloc takes them, and full of FILL when
 * another does: what is read before it was written is the same in each run. With AddressSanitizer a place is
 * poisoned around its block, and all of it as soon as that is freed. A leak is seen once it has all places.
 * One thread.
 */
#include "no_kernel.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHED 1
#endif
#endif
#ifdef WATCHED
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes)   ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

#define LARGE_BYTES ((size_t)128 << 10)
#define PLACES      8
#define FILL        0xbe
#define PLACE_BYTES ((size_t)2 << 20)
#define EDGE        64 /* bytes before a block, and at least so many behind it, that nobody may touch */

FILE *__real_fopen64(const char *path, const char *mode);
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *block, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *block);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode); /* what fopen is with offsets of 64 bits */
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *block, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void __wrap_free(void *block);

static const uint8_t *file;
static size_t file_bytes;
static bool opened;
static _Alignas(EDGE) uint8_t place[PLACES][PLACE_BYTES];
static size_t taken[PLACES]; /* bytes; 0: free */

void no_kernel_file(const uint8_t *data, size_t size)
{
    file = data;
    file_bytes = size;
    opened = false;
}

bool no_kernel_opened(void)
{
    return opened;
}

FILE *__wrap_fopen64(const char *path, const char *mode)
{
    if (strcmp(path, FUZZ_FILE))
        return __real_fopen64(path, mode);
    opened = true;
    return fmemopen((void *)(uintptr_t)file, file_bytes, "r");
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    return __wrap_fopen64(path, mode);
}

/* NULL: it is not large, or too large, or there is no place. */
static void *take(size_t bytes, int filled)
{
    static int poisoned;
    int i = 0;
    if (bytes < LARGE_BYTES || bytes > PLACE_BYTES - 2 * EDGE)
        return NULL;
    while (i < PLACES && taken[i])
        i++;
    if (i == PLACES)
        return NULL;
    if (!poisoned++)
        ASAN_POISON_MEMORY_REGION(place, sizeof place);
    taken[i] = bytes;
    ASAN_UNPOISON_MEMORY_REGION(place[i] + EDGE, bytes);
    return memset(place[i] + EDGE, filled, bytes);
}

void *__wrap_malloc(size_t bytes)
{
    void *block = take(bytes, FILL);
    return block ? block : __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t size)
{
    size_t bytes;
    void *block = __builtin_mul_overflow(n, size, &bytes) ? NULL : take(bytes, 0);
    return block ? block : __real_calloc(n, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    void *block = alignment <= EDGE ? take(bytes, FILL) : NULL;
    return block ? block : __real_aligned_alloc(alignment, bytes);
}

void *__wrap_realloc(void *block, size_t bytes)
{
    size_t at = (uintptr_t)block - (uintptr_t)place, had;
    void *to;
    if (at >= sizeof place)
        return __real_realloc(block, bytes);
    had = taken[at / PLACE_BYTES];
    if ((to = __wrap_malloc(bytes))) {
        memcpy(to, block, had < bytes ? had : bytes);
        __wrap_free(block);
    }
    return to;
}

void __wrap_free(void *block)
{
    size_t at = (uintptr_t)block - (uintptr_t)place, i = at / PLACE_BYTES;
    if (at >= sizeof place) {
        __real_free(block);
        return;
    }
    if (at % PLACE_BYTES != EDGE || !taken[i]) {
        fprintf(stderr, "no_kernel: freed what is no block, or twice\n");
        abort();
    }
    ASAN_POISON_MEMORY_REGION(place[i] + EDGE, taken[i]);
    taken[i] = 0;
}

void no_kernel_touch(const void *at, size_t bytes, bool may)
{
    if (may)
        ASAN_UNPOISON_MEMORY_REGION(at, bytes);
    else
        ASAN_POISON_MEMORY_REGION(at, bytes);
}
