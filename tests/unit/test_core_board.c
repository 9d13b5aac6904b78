/* test_core_board.c - workers that tell one another where they compute, as processes of their own */
#include "tests/testing.h"
#include "system/core_board.h"
#include "numbers/shuffle.h"

#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 30000

static cpu_set_t all;
static int page;

/* A process at place 1 that does what it is told, letter by letter, and answers each. */
struct worker {
    pid_t pid;
    int to, from;
};

static void bind_to(int core)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    if (sched_setaffinity(0, sizeof one, &one))
        _exit(1);
}

static _Noreturn void work(int in, int out)
{
    struct core_board *b;
    struct error e;
    char c;
    if (core_board_map(&b, page, 1, &e))
        _exit(1);
    while (write(out, "", 1) == 1 && read(in, &c, 1) == 1 && c != 'q') {
        if (c >= '0' && c <= '9') { /* computes on that core, to which nobody has bound it */
            bind_to(c - '0');
            core_board_compute(b);
            sched_setaffinity(0, sizeof all, &all);
        } else if (c == 'c')
            core_board_compute(b);
        else if (c == 'r')
            core_board_rest(b);
        else if (c == 'l') /* again and again, while others lead it */
            for (int i = 0; i < ROUNDS; i++) {
                core_board_compute(b);
                core_board_rest(b);
            }
        else if (c == 'b')
            bind_to(sched_getcpu());
    }
    core_board_free(b);
    _exit(0);
}

static void tell(struct worker *w, char what)
{
    char done;
    if (what)
        assert_int_equal(write(w->to, &what, 1), 1);
    assert_int_equal(read(w->from, &done, 1), 1);
}

static struct worker begin(void)
{
    int to[2], from[2];
    struct worker w;
    assert_int_equal(pipe(to) || pipe(from), 0);
    w.to = to[1];
    w.from = from[0];
    if (!(w.pid = fork())) {
        close(to[1]);
        close(from[0]);
        work(to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    tell(&w, 0);
    return w;
}

static void end(struct worker *w)
{
    int status;
    assert_int_equal(write(w->to, "q", 1), 1);
    close(w->to);
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    assert_int_equal(status, 0);
    close(w->from);
}

/* How many cores it may use, and whether that one is among them. */
static int may_use(pid_t pid, int core, bool *it)
{
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(pid, sizeof set, &set), 0);
    *it = CPU_ISSET(core, &set);
    return CPU_COUNT(&set);
}

static int setup(void **state)
{
    struct error e;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    assert_int_equal(core_board_make(&page, &e), FL_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close(page);
    return sched_setaffinity(0, sizeof all, &all);
}

/* Of the first ten: the worker gets its number as a digit. */
static int a_core(void)
{
    for (int i = 0; i < 10; i++)
        if (CPU_ISSET(i, &all))
            return i;
    return -1;
}

static void need_two_cores(void)
{
    if (CPU_COUNT(&all) < 2 || CPU_COUNT(&all) > 64 || a_core() < 0)
        skip();
}

static void test_who_is_woken_goes_where_nobody_computes(void **state)
{
    struct worker w;
    struct core_board *b;
    struct error e;
    int core;
    bool it;
    (void)state;
    need_two_cores();
    w = begin();
    assert_int_equal(core_board_map(&b, page, 0, &e), FL_OK);
    core_board_lead(b, 1); /* nobody computes */
    assert_int_equal(may_use(w.pid, 0, &it), CPU_COUNT(&all));
    bind_to(core = sched_getcpu());
    core_board_compute(b);
    core_board_lead(b, 1);
    assert_int_equal(may_use(w.pid, core, &it), CPU_COUNT(&all) - 1);
    assert_false(it);
    tell(&w, 'c'); /* it is awake */
    assert_int_equal(may_use(w.pid, core, &it), CPU_COUNT(&all));
    core_board_lead(b, 1); /* it computes already */
    assert_int_equal(may_use(w.pid, core, &it), CPU_COUNT(&all));
    tell(&w, 'r');
    tell(&w, 'b'); /* somebody binds it */
    core_board_lead(b, 1);
    assert_int_equal(may_use(w.pid, core, &it), 1);
    core_board_free(b);
    end(&w);
}

static void test_who_is_displaced_goes_to_a_free_core(void **state)
{
    struct worker w;
    struct core_board *b;
    struct error e;
    int core = 0;
    bool it;
    (void)state;
    need_two_cores();
    w = begin();
    assert_int_equal(core_board_map(&b, page, 0, &e), FL_OK);
    bind_to(core = a_core());
    core_board_compute(b);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    usleep(2000);
    tell(&w, (char)('0' + core));
    assert_int_equal(may_use(0, core, &it), CPU_COUNT(&all) - 1);
    assert_false(it);
    core_board_compute(b); /* the next batch */
    assert_int_equal(may_use(0, core, &it), CPU_COUNT(&all));
    core_board_free(b);
    end(&w);
}

/* Whoever is led while it takes its cores back gets them with the next batch. */
static void test_nobody_stays_bound(void **state)
{
    struct pollfd done = {.events = POLLIN};
    struct worker w;
    struct core_board *b;
    struct error e;
    bool it;
    (void)state;
    need_two_cores();
    w = begin();
    done.fd = w.from;
    assert_int_equal(core_board_map(&b, page, 0, &e), FL_OK);
    assert_int_equal(write(w.to, "l", 1), 1);
    while (!poll(&done, 1, 0)) {
        core_board_compute(b);
        core_board_lead(b, 1);
    }
    core_board_rest(b);
    tell(&w, 0);
    tell(&w, 'c');
    assert_int_equal(may_use(w.pid, 0, &it), CPU_COUNT(&all));
    core_board_free(b);
    end(&w);
}

/* Another process that takes a place over keeps it when the one before ends. */
static void test_a_successor_is_led(void **state)
{
    struct worker before, after;
    struct core_board *b;
    struct error e;
    int core;
    bool it;
    (void)state;
    need_two_cores();
    before = begin();
    after = begin();
    end(&before);
    assert_int_equal(core_board_map(&b, page, 0, &e), FL_OK);
    bind_to(core = a_core());
    core_board_compute(b);
    core_board_lead(b, 1);
    assert_int_equal(may_use(after.pid, core, &it), CPU_COUNT(&all) - 1);
    assert_false(it);
    core_board_free(b);
    end(&after);
}

/* Nothing in the page can do harm. */
static void test_a_page_full_of_nonsense(void **state)
{
    size_t bytes = (size_t)lseek(page, 0, SEEK_END);
    uint8_t *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
    struct core_board *b;
    struct shuffle random;
    struct error e;
    bool it;
    (void)state;
    assert_true(at != MAP_FAILED);
    shuffle_seed(&random, 1, 0);
    assert_int_equal(core_board_map(&b, page, 3, &e), FL_OK);
    for (int i = 0; i < 1000; i++) {
        for (size_t k = 0; k < bytes; k++)
            at[k] = (uint8_t)shuffle_u32(&random);
        core_board_compute(b);
        core_board_lead(b, i % CORE_BOARD_PLACES);
        core_board_rest(b);
    }
    memset(at, 0, bytes);
    core_board_free(b);
    munmap(at, bytes);
    sched_setaffinity(0, sizeof all, &all);
    assert_int_equal(may_use(0, 0, &it), CPU_COUNT(&all));
}

static void test_other_memory_is_refused(void **state)
{
    int plain = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct core_board *b;
    struct error e;
    (void)state;
    assert_int_equal(ftruncate(plain, 1 << 20), 0);
    assert_int_equal(core_board_map(&b, plain, 0, &e), FL_CORRUPT); /* it could shrink */
    assert_null(b);
    close(plain);
    core_board_free(NULL);
    core_board_lead(NULL, 0);
    core_board_compute(NULL);
    core_board_rest(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_who_is_woken_goes_where_nobody_computes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_is_displaced_goes_to_a_free_core, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_stays_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_successor_is_led, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_page_full_of_nonsense, setup, teardown),
        cmocka_unit_test(test_other_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
