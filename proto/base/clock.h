/* clock.h - time in nanoseconds
 *
 * clock_ns is CLOCK_MONOTONIC: the same for all processes of one host. Processes on another host than the
 * broker learn their offset from heartbeats and add it, so that every point in time on the wire is "broker
 * time".
 */
#ifndef FREEZELINE_CLOCK_H
#define FREEZELINE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

uint64_t clock_ns(void);
uint64_t clock_wall_ms(void); /* since 1970: for people and for other hosts; it may jump */
/* What CLOCK_THREAD_CPUTIME_ID, CLOCK_PROCESS_CPUTIME_ID or another process's clock has counted, in us: what
 * else the machine does hardly counts. 0 where there is no such clock. */
double clock_cpu_us(clockid_t id);
/* The host's boot id and this process's time namespace: processes with equal texts have the same
 * CLOCK_MONOTONIC.
 * "" where the kernel does not tell: such a clock counts as shared with nobody. */
void clock_boot_id(char *buf, size_t size);
/* A digest of a boot id: equal clocks have equal ones. 0: shared with nobody. */
uint64_t clock_id(const char *boot_id);
bool clock_is_shared(const char *boot_id, const char *other);

#endif
