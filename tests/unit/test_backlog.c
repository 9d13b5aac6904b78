/* test_backlog.c - updates on the disk: order, bounds, what a torn end, damage and a full disk leave */
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/testing.h"
#include "base/log.h"
#include "cache_service/keep/backlog.h"

#define SIZE 100 /* of a record */
#define MOST 64

static char folder[64];
static struct backlog *disk;
static uint8_t bytes[MOST][SIZE];

static void open_disk(uint64_t max_bytes)
{
    assert_int_equal(backlog_new(&disk, folder, max_bytes), FL_OK);
    assert_int_equal(backlog_open(disk, NULL), FL_OK);
}

/* The process dies, another begins. */
static void again(uint64_t max_bytes)
{
    backlog_free(disk);
    open_disk(max_bytes);
}

static void begin(uint64_t max_bytes)
{
    char command[128];
    log_threshold = LOG_LEVEL_ERROR + 1;
    snprintf(folder, sizeof folder, "/tmp/freezeline-backlog-%d/caches/spool-0", (int)getpid());
    snprintf(command, sizeof command, "rm -rf /tmp/freezeline-backlog-%d; mkdir -p %s", (int)getpid(),
             folder);
    assert_int_equal(system(command), 0);
    open_disk(max_bytes);
}

static void end(void)
{
    char command[128];
    backlog_free(disk);
    snprintf(command, sizeof command, "rm -rf /tmp/freezeline-backlog-%d", (int)getpid());
    assert_int_equal(system(command), 0);
}

/* n records that begin with their numbers. */
static int add(const char *producer, uint64_t first, int n)
{
    struct update_record record[MOST];
    struct store_parcel p = {.first = first, .n = n, .record = record};
    struct error e;
    snprintf(p.producer, sizeof p.producer, "%s", producer);
    for (int i = 0; i < n; i++) {
        uint64_t number = first + (unsigned)i;
        memset(bytes[i], producer[0], SIZE);
        memcpy(bytes[i], &number, sizeof number);
        record[i] = (struct update_record){bytes[i], SIZE};
    }
    return backlog_add(disk, &p, false, &e);
}

/* Reads up to `most`; all are of that producer and follow one another. Returns how many. */
static int read_some(const char *producer, uint64_t first, int most)
{
    char who[STORE_PRODUCER_BYTES] = "";
    struct update_record record[MOST];
    uint64_t from = 0;
    int n = most;
    assert_int_equal(backlog_read(disk, who, &from, record, &n, 1 << 20, NULL), FL_OK);
    if (n) {
        assert_string_equal(who, producer);
        assert_int_equal(from, first);
    }
    for (int i = 0; i < n; i++) {
        uint64_t number;
        memcpy(&number, record[i].bytes, sizeof number);
        assert_int_equal(number, from + (unsigned)i);
        assert_int_equal(record[i].size, SIZE);
        free(record[i].bytes);
    }
    return n;
}

static int files(char last[300])
{
    DIR *d = opendir(folder);
    struct dirent *entry;
    char best[256] = "";
    int n = 0;
    assert_non_null(d);
    while ((entry = readdir(d)))
        if (strstr(entry->d_name, ".seg")) {
            n++;
            if (strcmp(entry->d_name, best) > 0)
                snprintf(best, sizeof best, "%s", entry->d_name);
        }
    closedir(d);
    snprintf(last, 300, "%.64s/%.200s", folder, best);
    return n;
}

static void what_is_added_is_read_in_order_until_it_is_acknowledged(void **state)
{
    char path[300];
    begin(1 << 20);
    assert_int_equal(read_some("a", 0, 5), 0);
    assert_int_equal(add("a", 1, 10), FL_OK);
    assert_int_equal(add("a", 11, 5), FL_OK);
    assert_int_equal(backlog_count(disk), 15);
    assert_int_equal(read_some("a", 1, 12), 12);
    assert_int_equal(read_some("a", 1, 12), 12);
    backlog_acknowledge(disk, "b", 7);
    backlog_acknowledge(disk, "a", 12);
    backlog_acknowledge(disk, "a", 3);
    backlog_acknowledge(disk, "a", 99);
    assert_int_equal(backlog_count(disk), 3);
    assert_int_equal(read_some("a", 13, 12), 3);
    backlog_acknowledge(disk, "a", 15);
    assert_int_equal(backlog_count(disk), 0);
    assert_int_equal(add("a", 20, 2), FL_OK); /* numbers between were not written: a file of its own */
    assert_int_equal(read_some("a", 20, 12), 2);
    backlog_acknowledge(disk, "a", 21);
    assert_int_equal(backlog_lost(disk), 0);
    again(1 << 20);
    assert_int_equal(backlog_count(disk), 0);
    assert_int_equal(files(path), 0);
    end();
}

static void what_a_process_left_keeps_its_producer_and_numbers(void **state)
{
    struct backlog *other;
    struct error e;
    begin(1 << 20);
    add("a", 5, 10);
    read_some("a", 5, 4);
    backlog_acknowledge(disk, "a", 8);
    again(1 << 20);
    assert_int_equal(backlog_count(disk), 6);
    add("b", 1, 3);
    assert_int_equal(read_some("a", 9, 64), 6);
    backlog_acknowledge(disk, "a", 14);
    assert_int_equal(read_some("b", 1, 64), 3);
    assert_int_equal(backlog_new(&other, folder, 1 << 20), FL_OK);
    assert_int_equal(backlog_open(other, &e), FL_AGAIN); /* in use */
    backlog_free(other);
    end();
}

static void the_oldest_go_first(void **state)
{
    char path[300];
    begin(8 * 1024);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(add("a", 1 + i * 10, 10), FL_OK);
    assert_true(files(path) <= 9);
    assert_true(backlog_count(disk) + backlog_lost(disk) == 1000);
    assert_in_range(backlog_count(disk), 40, 70);
    assert_int_equal(read_some("a", 1 + backlog_lost(disk), 20), 10);
    backlog_acknowledge(disk, "a", 1); /* of what is gone */
    assert_true(backlog_count(disk) + backlog_lost(disk) == 1000);
    end();
}

static void a_torn_end_is_left_out(void **state)
{
    char path[300];
    for (off_t cut = 1; cut < SIZE + 16; cut += 7) {
        begin(1 << 20);
        add("a", 1, 3);
        backlog_free(disk);
        files(path);
        assert_int_equal(truncate(path, 64 + 3 * (16 + SIZE) - cut), 0);
        open_disk(1 << 20);
        assert_int_equal(backlog_count(disk), 2);
        assert_int_equal(read_some("a", 1, 64), 2);
        end();
    }
}

static void flip(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    uint8_t byte;
    assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* Whatever bit is wrong: what is read is right, and nothing is read twice or in another order. */
static void damage_is_passed_over(void **state)
{
    char path[300];
    for (off_t at = 0; at < 64 + 3 * (16 + SIZE); at += 3) {
        uint64_t next = 1;
        int n, rounds = 0;
        begin(1 << 20);
        add("a", 1, 3);
        backlog_free(disk);
        files(path);
        flip(path, at);
        open_disk(1 << 20);
        while (backlog_count(disk) && rounds++ < 5) {
            char who[STORE_PRODUCER_BYTES];
            struct update_record record[MOST];
            uint64_t first;
            n = MOST;
            assert_int_equal(backlog_read(disk, who, &first, record, &n, 1 << 20, NULL), FL_OK);
            for (int i = 0; i < n; i++) {
                uint64_t number;
                memcpy(&number, record[i].bytes, sizeof number);
                assert_true(number == first + (unsigned)i && number >= next);
                next = number + 1;
                free(record[i].bytes);
            }
            if (n)
                backlog_acknowledge(disk, who, first + (unsigned)n - 1);
        }
        assert_int_equal(backlog_count(disk), 0);
        end();
    }
}

/* A limit of files stands for the end of the disk. */
static void a_full_disk_takes_none_of_it(void **state)
{
    struct rlimit before, tight;
    begin(1 << 20);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(add("a", 1, 10), FL_OK);
    getrlimit(RLIMIT_FSIZE, &before);
    tight = before;
    tight.rlim_cur = 64 + 15 * (16 + SIZE);
    setrlimit(RLIMIT_FSIZE, &tight);
    assert_int_equal(add("a", 11, 10), FL_IO);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(backlog_count(disk), 10);
    assert_int_equal(add("a", 21, 10), FL_OK);
    assert_int_equal(read_some("a", 1, 64), 10);
    backlog_acknowledge(disk, "a", 10);
    assert_int_equal(read_some("a", 21, 64), 10);
    again(1 << 20);
    assert_int_equal(read_some("a", 21, 64), 10);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_is_read_in_order_until_it_is_acknowledged),
        cmocka_unit_test(what_a_process_left_keeps_its_producer_and_numbers),
        cmocka_unit_test(the_oldest_go_first),
        cmocka_unit_test(a_torn_end_is_left_out),
        cmocka_unit_test(damage_is_passed_over),
        cmocka_unit_test(a_full_disk_takes_none_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
