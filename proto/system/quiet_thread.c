/* quiet_thread.c - see quiet_thread.h */
#include "quiet_thread.h"

#include <signal.h>

int quiet_thread(pthread_t *out, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    int rc;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(out, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}
