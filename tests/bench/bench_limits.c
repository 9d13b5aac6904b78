/* bench_limits.c - what one core can do at most: multiply and add in each precision, and read memory
 *
 * A part of table.py (rounds.h). float32 is the faster of OpenBLAS's product of two matrices and a loop of
 * fused multiply-adds in registers; bfloat16 and int8 are such a loop with the CPU's own instructions, AMX
 * before AVX-512, and null where it has none. Reading is a dot product over more than any cache holds.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cblas.h>

#include "base/clock.h"
#include "rounds.h"
#include "stages/kernels/engine.h"

#define SIDE       768
#define READ_BYTES ((size_t)256 << 20)
#define STEPS      200000
#define SUMS       12 /* independent ones: an addition takes a few cycles */
#define TRIES      3

/* One way of multiplying and adding: what it takes of the CPU, and operations per step. */
struct way {
    const char *flag; /* as /proc/cpuinfo has it */
    void (*run)(void);
    double operations;
};

#if defined(__x86_64__)
#include <immintrin.h>

/* clang-format off */
#define LOOP(name, isa, sum_type, type, add)                                          \
    __attribute__((target(isa), noinline)) static void name(void)                     \
    {                                                                                 \
        sum_type sum[SUMS];                                                           \
        type x, y;                                                                    \
        memset(sum, 0, sizeof sum);                                                   \
        memset(&x, 0x3f, sizeof x);                                                     \
        memset(&y, 0x3f, sizeof y);                                                     \
        _Pragma("GCC unroll 12") for (int j = 0; j < SUMS; j++)                       \
            __asm__("" : "+v"(sum[j])); /* or they were one, known to be the same */  \
        for (long i = 0; i < STEPS; i++) {                                            \
            _Pragma("GCC unroll 12") for (int j = 0; j < SUMS; j++)                   \
                sum[j] = add(sum[j], x, y);                                           \
        }                                                                             \
        _Pragma("GCC unroll 12") for (int j = 0; j < SUMS; j++)                       \
            __asm__ volatile("" : : "v"(sum[j]));                                     \
    }
#define FMA_256(sum, x, y) _mm256_fmadd_ps(x, y, sum)
#define FMA_512(sum, x, y) _mm512_fmadd_ps(x, y, sum)
LOOP(f32_avx2, "avx2,fma", __m256, __m256, FMA_256)
LOOP(f32_avx512, "avx512f", __m512, __m512, FMA_512)
LOOP(bf16_avx512, "avx512f,avx512bf16", __m512, __m512bh, _mm512_dpbf16_ps)
LOOP(int8_avx512, "avx512f,avx512vnni", __m512i, __m512i, _mm512_dpbusd_epi32)
LOOP(int8_avx2, "avx2,avxvnni", __m256i, __m256i, _mm256_dpbusd_avx_epi32)
/* clang-format on */

#define AMX_ASK  0x1023 /* arch_prctl: may this process use a state? */
#define AMX_DATA 18

/* Eight full tiles: 16 rows of 64 bytes. */
struct tiles {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

__attribute__((target("amx-tile"))) static bool amx_begin(void)
{
    struct tiles t = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        t.bytes[i] = 64;
        t.rows[i] = 16;
    }
    if (syscall(SYS_arch_prctl, AMX_ASK, AMX_DATA))
        return false;
    _tile_loadconfig(&t);
    return true;
}

__attribute__((target("amx-tile,amx-bf16"))) static void bf16_amx(void)
{
    if (!amx_begin())
        return;
    for (long i = 0; i < STEPS / 16; i++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
}

__attribute__((target("amx-tile,amx-int8"))) static void int8_amx(void)
{
    if (!amx_begin())
        return;
    for (long i = 0; i < STEPS / 16; i++) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_release();
}

/* The best first. */
static const struct way f32[] = {
    {"avx512f", f32_avx512, 2 * 16.0 * SUMS *STEPS}, {"fma", f32_avx2, 2 * 8.0 * SUMS *STEPS}, {0}};
static const struct way bf16[] = {{"amx_bf16", bf16_amx, 2 * 16.0 * 16 * 32 * 4 * (STEPS / 16)},
                                  {"avx512_bf16", bf16_avx512, 2 * 32.0 * SUMS *STEPS},
                                  {0}};
static const struct way int8[] = {{"amx_int8", int8_amx, 2 * 16.0 * 16 * 64 * 4 * (STEPS / 16)},
                                  {"avx512_vnni", int8_avx512, 2 * 64.0 * SUMS *STEPS},
                                  {"avx_vnni", int8_avx2, 2 * 32.0 * SUMS *STEPS},
                                  {0}};
#else
static const struct way f32[] = {{0}}, bf16[] = {{0}}, int8[] = {{0}};
#endif

static float *memory;

static bool has(const char *flag)
{
    char line[16384], word[64];
    FILE *f = fopen("/proc/cpuinfo", "re");
    bool found = false;
    snprintf(word, sizeof word, " %s ", flag);
    while (f && !found && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = ' ';
        found = !strncmp(line, "flags", 5) && strstr(line, word);
    }
    if (f)
        fclose(f);
    return found;
}

/* Billions of operations or bytes per second of CPU time, of the fastest try: the others were disturbed. */
static double rate(void (*run)(void), double amount)
{
    double best = 0;
    for (int i = 0; i < TRIES; i++) {
        double from = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID);
        run();
        best = fmax(best, amount / 1e3 / (clock_cpu_us(CLOCK_THREAD_CPUTIME_ID) - from));
    }
    return best;
}

static void multiply(void)
{
    const float *a = memory, *b = memory + SIDE * SIDE;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIDE, SIDE, SIDE, 1, a, SIDE, b, SIDE, 0,
                memory + 2 * SIDE * SIDE, SIDE);
}

static void read_all(void)
{
    volatile float sum;
    int n = (int)(READ_BYTES / sizeof *memory);
    sum = cblas_sdot(n, memory, 1, memory, 1);
    (void)sum;
}

static const struct way *best_of(const struct way *w)
{
    while (w->flag && !has(w->flag))
        w++;
    return w->flag ? w : NULL;
}

static void print_rate(const char *name, const struct way *w)
{
    if (w)
        printf(", \"%s\": %.1f", name, rate(w->run, w->operations));
    else
        printf(", \"%s\": null", name);
}

int main(int argc, char **argv)
{
    const struct way *ways[] = {best_of(f32), best_of(bf16), best_of(int8)};
    (void)argc;
    engine_start(argv);
    openblas_set_num_threads(1);
    rounds_need((memory = malloc(READ_BYTES)) != NULL, "bench_limits");
    memset(memory, 0, READ_BYTES);
    printf("{\"bfloat16\": \"%s\", \"int8\": \"%s\"}\n", ways[1] ? ways[1]->flag : "",
           ways[2] ? ways[2]->flag : "");
    while (rounds_next()) {
        double product = rate(multiply, 2.0 * SIDE * SIDE * SIDE);
        double loop = ways[0] ? rate(ways[0]->run, ways[0]->operations) : 0;
        printf("{\"float32\": %.1f", fmax(product, loop));
        print_rate("bfloat16", ways[1]);
        print_rate("int8", ways[2]);
        printf(", \"read\": %.2f}\n", rate(read_all, (double)READ_BYTES));
    }
    return 0;
}
