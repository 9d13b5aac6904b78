/* signals.c - handlers that count, or open a file */
#include "signals.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

volatile int signals_stop, signals_hang_ups;

static pid_t tender; /* whose word alone counts while it lives; 0: everybody's */

static void on_end(int number, siginfo_t *from, void *context)
{
    (void)number;
    (void)context;
    if (!tender || getppid() != tender || from->si_pid == tender)
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
    tender = getenv(SIGNALS_TENDED) ? getppid() : 0;
    a.sa_flags = SA_SIGINFO;
    a.sa_sigaction = on_end;
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGINT, &a, NULL);
    a.sa_flags = 0;
    a.sa_handler = on_hang_up;
    sigaction(SIGHUP, &a, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (getpid() == 1)
        signal(SIGCHLD,
               SIG_IGN); /* of a container: the kernel reaps others' orphans, a service has no children */
}
