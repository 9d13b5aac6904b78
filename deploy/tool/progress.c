/* progress.c - on a terminal drawn at most ten times a second; elsewhere a line every ten seconds and at a
 * phase's end */
#include "progress.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define BAR_CELLS 28

void progress_open(struct progress *p, FILE *to)
{
    memset(p, 0, sizeof *p);
    p->to = to;
    p->terminal = isatty(fileno(to));
}

void progress_close(struct progress *p)
{
    if (p->terminal && p->phase[0])
        fputc('\n', p->to);
    p->phase[0] = 0;
    fflush(p->to);
}

static void begin_phase(struct progress *p, const char *phase, int64_t done)
{
    progress_close(p);
    snprintf(p->phase, sizeof p->phase, "%s", phase);
    p->phase_ns = clock_ns();
    p->drawn_ns = p->terminal ? 0 : p->phase_ns;
    p->first = done;
}

/* "1:05 left", or "" while there is nothing to reckon with. */
static void time_left(const struct progress *p, int64_t done, int64_t total, uint64_t now, char *buf,
                      size_t size)
{
    double spent = (double)(now - p->phase_ns) / NS_PER_S, left;

    buf[0] = 0;
    if (done <= p->first || spent < 0.5 || done >= total)
        return;
    left = spent * (double)(total - done) / (double)(done - p->first);
    if (left < 360000)
        snprintf(buf, size, "%d:%02d left", (int)left / 60, (int)left % 60);
}

static void draw_bar(struct progress *p, double share, const char *left, const char *number)
{
    int full = (int)(share * BAR_CELLS);

    fprintf(p->to, "\r\033[K%-22s [", p->phase);
    for (int i = 0; i < BAR_CELLS; i++)
        fputc(i < full ? '#' : '.', p->to);
    fprintf(p->to, "] %3d%% %s%s", (int)(100 * share), number, left);
    fflush(p->to);
}

/* "3 of 12 requests", "10.0 of 12.0 s"; "3" where nobody knows of how many */
static void print_line(const struct progress *p, int64_t done, int64_t total, double share)
{
    double parts = p->parts > 0 ? p->parts : 1;
    int digits = p->parts > 0;

    if (total <= 0) {
        fprintf(p->to, "%s%s: %lld ", p->terminal ? "\r\033[K" : "", p->phase, (long long)done);
        return;
    }
    fprintf(p->to, "%s: %.*f of %.*f%s%s (%d%%) ", p->phase, digits, (double)done / parts, digits,
            (double)total / parts, p->unit ? " " : "", p->unit ? p->unit : "", (int)(100 * share));
}

void progress_update(struct progress *p, const char *phase, int64_t done, int64_t total, double number)
{
    double share = total > 0 ? (double)done / (double)total : 1;
    char left[32], shown[32 + sizeof p->note] = "";
    uint64_t now;

    if (strncmp(phase, p->phase, sizeof p->phase - 1))
        begin_phase(p, phase, done);
    now = clock_ns();
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    if ((done < total || total <= 0) && now - p->drawn_ns < (p->terminal ? 100 * NS_PER_MS : 10 * NS_PER_S))
        return;
    p->drawn_ns = now;
    time_left(p, done, total, now, left, sizeof left);
    if (isfinite(number) && number != 0)
        snprintf(shown, sizeof shown, "%.4g ", number);
    if (*p->note)
        snprintf(shown + strlen(shown), sizeof shown - strlen(shown), "%s ", p->note);
    if (p->terminal && total > 0) {
        draw_bar(p, share, left, shown);
        return;
    }
    print_line(p, done, total, share);
    fprintf(p->to, "%s%s%s", shown, left, p->terminal ? "" : "\n");
    fflush(p->to);
}
