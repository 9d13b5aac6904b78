/* ticks.h - round numbers along an axis, and how they are written
 *
 * Units: NULL or "" gives plain numbers (thousands as k, M, G from 100,000 on); "%" is put behind; any other
 * unit takes SI prefixes ("s": 250 µs, 1.5 ms, 20 s; "B": 64 kB; "/s": 10k/s).
 */
#ifndef FREEZELINE_TICKS_H
#define FREEZELINE_TICKS_H

#include <stdbool.h>

#define TICKS_MAX         24
#define TICKS_LABEL_BYTES 40

struct ticks {
    int n;
    double at[TICKS_MAX]; /* ascending, within [from, to] */
    char label[TICKS_MAX][TICKS_LABEL_BYTES];
};

/* At most `most` (2..TICKS_MAX) ticks: multiples of 1, 2 or 5 times a power of ten; on a log axis 1, 2, 5 per
 * decade or powers of ten. from < to, both finite, and above 0 on a log axis. */
void ticks_make(struct ticks *out, bool log, double from, double to, int most, const char *unit);

/* One value in its unit, to three digits: "1.23 ms". Returns buf. */
char *ticks_format(char *buf, int size, double value, const char *unit);

#endif
