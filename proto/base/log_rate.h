/* log_rate.h - a bound on lines that repeat
 *
 * Lines are alike when they differ in digits alone: "worker 3 is gone" and "worker 7 is gone". Of lines that
 * are alike LOG_RATE_BURST may come at once, then one every LOG_RATE_EVERY_NS; the rest is counted. So what
 * goes wrong many times a second does not fill a disk, nor hide the other lines. Pure.
 */
#ifndef FREEZELINE_LOG_RATE_H
#define FREEZELINE_LOG_RATE_H

#include <stdbool.h>
#include <stdint.h>

#define LOG_RATE_BURST    20
#define LOG_RATE_EVERY_NS (5ull * 1000 * 1000 * 1000)
#define LOG_RATE_KINDS    64 /* that are remembered; then the one that was quiet for longest is forgotten */

struct log_kind {
    uint64_t key, last_ns, credit_ns;
    uint32_t left_out;
};

struct log_rate {
    struct log_kind kind[LOG_RATE_KINDS];
};

/* May this line be written now? *left_out: how many like it were not, since the last that was. */
bool log_rate_allows(struct log_rate *r, const char *text, uint64_t now_ns, uint32_t *left_out);

#endif
