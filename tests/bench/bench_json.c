/* bench_json.c - an inference request of 3,072 numbers in JSON: our reader, and jansson's parser of the same
 * text
 *
 * usage: bench_json [ROUNDS]     (15)
 *
 * Each round reads each text some times by either, in turn; times are of the thread's processor, medians.
 * Ours ends in floats that the broker takes, jansson's in a tree of values, which is what a server built on
 * it would go on from.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "broker/oip/oip_request.h"

#define NUMBERS 3072
#define MOST    1001
#define EACH    20 /* times in a round */

static const struct oip_model model = {
    .input = {.name = "input", .tensor = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 32, 32}}},
    .output = {.name = "output", .tensor = {.dtype = TENSOR_F32, .rank = 2, .dim = {1, 10}}},
    .most_rows = 64};

static const struct {
    const char *name, *format;
} kinds[] = {{"whole numbers of pixels, 0 to 255", "%.0f"},
             {"4 decimals", "%.4f"},
             {"float32, as short as they are", "%.9g"},
             {"float32, as Python prints them", "%.17g"}};

static char *make_text(const char *format)
{
    char *text = malloc(NUMBERS * 32 + 256);
    int n =
        text ? sprintf(text, "{\"inputs\":[{\"name\":\"input\",\"shape\":[1,3,32,32],\"datatype\":\"FP32\","
                             "\"data\":[")
             : 0;
    bool pixels = !strcmp(format, "%.0f");
    uint64_t seed = 88172645463325252u;

    for (int i = 0; text && i < NUMBERS; i++) {
        double value;
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        value = pixels ? (double)(seed >> 56) : (double)(float)((double)(seed >> 11) / (1ull << 51) - 2);
        n += sprintf(text + n, i ? "," : "");
        n += sprintf(text + n, format, value);
    }
    if (text)
        strcpy(text + n, "]}]}");
    return text;
}

static uint64_t processor_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void fail(const char *who, const char *why)
{
    fprintf(stderr, "bench_json: %s does not read it: %s\n", who, why);
    exit(1);
}

static double read_ours(const char *text, size_t size)
{
    uint64_t begin = processor_ns();
    for (int i = 0; i < EACH; i++) {
        struct oip_request request;
        struct error e;
        if (oip_request_read(&request, text, size, OIP_NO_HEADER, &model, &e))
            fail("ours", e.text);
        oip_request_release(&request);
    }
    return (double)(processor_ns() - begin) / EACH / NS_PER_US;
}

static double read_theirs(const char *text, size_t size)
{
    uint64_t begin = processor_ns();
    for (int i = 0; i < EACH; i++) {
        json_error_t e;
        json_t *root = json_loadb(text, size, 0, &e);
        if (!root)
            fail("jansson", e.text);
        json_decref(root);
    }
    return (double)(processor_ns() - begin) / EACH / NS_PER_US;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 15;
    static double ours[MOST], theirs[MOST], ratio[MOST];

    if (rounds < 1 || rounds > MOST) {
        fprintf(stderr, "usage: bench_json [ROUNDS]     (1 to %d)\n", MOST);
        return 2;
    }
    printf("%-34s %8s %10s %10s %20s\n", "3,072 numbers in JSON", "bytes", "ours", "jansson",
           "jansson / ours");
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        char *text = make_text(kinds[k].format);
        size_t size = text ? strlen(text) : 0;
        if (!text)
            fail("malloc", "no memory");
        for (int i = 0; i < rounds; i++) {
            ours[i] = read_ours(text, size);
            theirs[i] = read_theirs(text, size);
            ratio[i] = theirs[i] / ours[i];
        }
        qsort(ours, (size_t)rounds, sizeof *ours, ascending);
        qsort(theirs, (size_t)rounds, sizeof *theirs, ascending);
        qsort(ratio, (size_t)rounds, sizeof *ratio, ascending);
        printf("%-34s %8zu %7.1f us %7.1f us %6.1f [%.1f .. %.1f]\n", kinds[k].name, size, ours[rounds / 2],
               theirs[rounds / 2], ratio[rounds / 2], ratio[0], ratio[rounds - 1]);
        free(text);
    }
    return 0;
}
