/* signals.c - handlers that count, or open a file */
#include "signals.h"

#include <signal.h>
#include <string.h>

#include "log.h"

volatile int signals_stop, signals_hang_ups;

static void on_end(int number)
{
    (void)number;
    signals_stop = signals_stop + 1;
}

static void on_hang_up(int number)
{
    (void)number;
    signals_hang_ups = signals_hang_ups + 1;
    log_reopen();
}

void signals_catch(void)
{
    struct sigaction a;

    memset(&a, 0, sizeof a); /* no SA_RESTART: poll returns */
    a.sa_handler = on_end;
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGINT, &a, NULL);
    a.sa_handler = on_hang_up;
    sigaction(SIGHUP, &a, NULL);
    signal(SIGPIPE, SIG_IGN);
}
