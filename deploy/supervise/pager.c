/* pager.c - see pager.h */
#include "pager.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "deploy/tool/state.h"

#define AGAIN_NS (5 * NS_PER_S)
#define END_MS   10000

static const struct relay_status *relay_of(const struct status_reply *said, const char *name)
{
    for (int i = 0; i < said->n_relays; i++)
        if (!strcmp(said->relay[i].name, name))
            return &said->relay[i];
    return NULL;
}

/* The variant that is to be brought up, or to be put away: those first. NULL: all is as it should be. */
static const char *next(const struct status_reply *said, bool wanted)
{
    for (int i = 1; i < said->n_variants; i++) {
        const struct relay_status *r = relay_of(said, said->variant[i].name);
        if (r && said->variant[i].wanted == wanted && !strcmp(r->state, "away") == wanted)
            return said->variant[i].name;
    }
    return NULL;
}

static int run(struct pager *p, const struct serving *serving, const char *command, const char *variant,
               struct error *e)
{
    const struct argument_list *sets = &serving->arguments.sets;
    char *argv[2 * ARGUMENTS_MAX_LIST + 8], log[STATE_PATH_BYTES], self[PROCESS_SELF_BYTES];
    int n = 0, rc = state_path(log, serving->pipeline, e, "logs/variants.log");

    if (rc || (rc = process_self(self, e)))
        return rc;
    argv[n++] = self;
    argv[n++] = (char *)(uintptr_t)command;
    argv[n++] = "-c";
    argv[n++] = serving->pipeline->path;
    argv[n++] = "--variant";
    argv[n++] = (char *)(uintptr_t)variant;
    for (int i = 0; i < sets->n; i++) {
        argv[n++] = "--set";
        argv[n++] = (char *)(uintptr_t)sets->item[i];
    }
    argv[n] = NULL;
    unlink(log); /* that of the one before */
    log_info("variant %s: %s", variant, command);
    return process_spawn(&p->command, argv, log, -1, e);
}

void pager_turn(struct pager *p, const struct serving *serving, const struct status_reply *said, uint64_t now)
{
    const struct pipeline *front = serving->pipeline;
    const char *away, *here;
    struct error e;

    if (p->command.pid && process_alive(&p->command))
        return;
    p->command.pid = 0;
    if (!(front->budget.memory_mb > 0) || !said->n_variants || said->broker || front->n_hosts ||
        now < p->next_ns)
        return;
    away = next(said, false);
    here = away ? NULL : next(said, true);
    if (!away && !here)
        return;
    p->next_ns = now + AGAIN_NS;
    if (run(p, serving, away ? "down" : "up", away ? away : here, &e))
        log_error("%s", e.text);
}

void pager_end(struct pager *p)
{
    if (p->command.pid)
        process_end(&p->command, END_MS);
}
