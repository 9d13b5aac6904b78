/* recycle.c - operator new and delete that keep small blocks for the next time
 *
 * Each execution of a oneDNN primitive builds a few small C++ containers and drops them. The C++ library
 * lets a program replace operator new and operator delete; these keep what a thread gives back in lists by
 * size, so that after the first runs nothing is asked of malloc. All other forms of new and delete in the C++
 * library end in these two, except the aligned ones, which come in pairs of their own. Left out of sanitizer
 * builds, which bring their own operators.
 *
 * A block is 16 bytes of header, then what the caller gets. Lists are per thread and bounded; a block that
 * was given back by another thread than took it simply changes lists. A thread's lists are freed when it
 * ends.
 */
#include "recycle.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

#if defined(FREEZELINE_DNNL) && !defined(SANITIZED)

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define CLASSES   9 /* 16, 32, ... 4096 bytes */
#define SMALLEST  16
#define KEEP_MOST 64 /* of a class, per thread */
#define HEADER    16

struct block {
    uint32_t class; /* CLASSES: too large to keep */
    struct block *next;
};

struct kept {
    struct block *first;
    int n;
};

static _Thread_local struct kept lists[CLASSES];
static _Thread_local int registered; /* 1: the lists are freed at the thread's end; 2: they were */
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* As the C++ library declares them. */
void *replaced_new(size_t size) __asm__("_Znwm");
void replaced_delete(void *p) __asm__("_ZdlPv");

static void free_lists(void *unused)
{
    (void)unused;
    registered = 2;
    for (int i = 0; i < CLASSES; i++)
        while (lists[i].first) {
            struct block *b = lists[i].first;
            lists[i].first = b->next;
            lists[i].n--;
            free(b);
        }
}

static void make_key(void)
{
    pthread_key_create(&key, free_lists);
}

static void watch_thread(void)
{
    pthread_once(&once, make_key);
    registered = 1;
    pthread_setspecific(key, &registered);
}

/* The C++ library is oneDNN's dependency, not ours, so it is asked for by name. */
static void throw_bad_alloc(void)
{
    void (*throw_it)(void);
    *(void **)&throw_it = dlsym(RTLD_DEFAULT, "_ZSt17__throw_bad_allocv");
    if (throw_it)
        throw_it();
    abort();
}

static uint32_t class_of(size_t size)
{
    uint32_t class = 0;
    while (class < CLASSES && (size_t)SMALLEST << class < size)
        class ++;
    return class;
}

void *replaced_new(size_t size)
{
    uint32_t class = class_of(size);
    struct block *b;
    if (class < CLASSES && lists[class].first) {
        b = lists[class].first;
        lists[class].first = b->next;
        lists[class].n--;
        return (char *)b + HEADER;
    }
    b = size > SIZE_MAX - HEADER ? NULL
                                 : malloc(HEADER + (class < CLASSES ? (size_t)SMALLEST << class : size));
    if (!b)
        throw_bad_alloc();
    b->class = class;
    return (char *)b + HEADER;
}

void replaced_delete(void *p)
{
    struct block *b;
    if (!p)
        return;
    b = (struct block *)(void *)((char *)p - HEADER);
    if (!registered)
        watch_thread();
    if (b->class == CLASSES || lists[b->class].n >= KEEP_MOST || registered == 2) {
        free(b);
        return;
    }
    b->next = lists[b->class].first;
    lists[b->class].first = b;
    lists[b->class].n++;
}

#endif

void recycle_link(void)
{
}
