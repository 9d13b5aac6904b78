/* counted_malloc.h - the program that includes this brings its own malloc and kin, which count
 *
 * What libraries allocate counts too, apart: the return address tells who called. Under a sanitizer, which
 * brings its own malloc, nothing is counted. Include it in one file of a program.
 */
#ifndef FREEZELINE_COUNTED_MALLOC_H
#define FREEZELINE_COUNTED_MALLOC_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

static atomic_int allocations_of_program, allocations_of_libraries;
/* In this thread nothing counts. volatile: compilers think they know what malloc reads. */
static _Thread_local volatile bool allocations_skipped;

static inline int allocations_ours(void)
{
    return atomic_load(&allocations_of_program);
}

static inline int allocations(void)
{
    return allocations_ours() + atomic_load(&allocations_of_libraries);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#if !defined(SANITIZED)
extern char __executable_start, etext;
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

/* Not inlined: the return address tells who called. */
#define SEEN __attribute__((noinline, used))

static inline __attribute__((always_inline)) void note(const char *caller)
{
    bool ours = caller >= &__executable_start && caller < &etext;
    if (!allocations_skipped)
        atomic_fetch_add(ours ? &allocations_of_program : &allocations_of_libraries, 1);
}

SEEN void *malloc(size_t size)
{
    note(__builtin_return_address(0));
    return __libc_malloc(size);
}

SEEN void *calloc(size_t n, size_t size)
{
    note(__builtin_return_address(0));
    return __libc_calloc(n, size);
}

SEEN void *realloc(void *p, size_t size)
{
    note(__builtin_return_address(0));
    return __libc_realloc(p, size);
}

SEEN void *aligned_alloc(size_t alignment, size_t size)
{
    note(__builtin_return_address(0));
    return __libc_memalign(alignment, size);
}

SEEN int posix_memalign(void **p, size_t alignment, size_t size)
{
    note(__builtin_return_address(0));
    *p = __libc_memalign(alignment, size);
    return *p ? 0 : ENOMEM;
}
#endif

#endif
