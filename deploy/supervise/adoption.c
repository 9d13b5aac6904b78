/* adoption.c - from pid files to a crew */
#include "adoption.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "deploy/process/leftovers.h"
#include "deploy/process/word.h"

#define HEIR_END_MS 5000

/* The process of a role; one that has taken over from another may still have the name of an heir. */
static bool find(struct process *out, const struct pipeline *p, const char *role)
{
    char heir[48];

    if (!pid_file_load(p, role, out) && leftovers_is_ours(p, out))
        return true;
    snprintf(heir, sizeof heir, "%s.heir", role);
    return !pid_file_load(p, heir, out) && leftovers_is_ours(p, out);
}

static bool has(const struct argument_list *sets, const char *set)
{
    for (int i = 0; i < sets->n; i++)
        if (!strcmp(sets->item[i], set))
            return true;
    return false;
}

/* Of the same file, with nothing set that does not serve? */
static bool is_wanted(const struct serving *now, const struct pipeline *p, const struct argument_list *sets)
{
    char *one = realpath(p->path, NULL), *other = realpath(now->pipeline->path, NULL);
    bool same = one && other && !strcmp(one, other) && !strcmp(p->state, now->pipeline->state);

    for (int i = 0; same && i < sets->n; i++)
        same = has(&now->arguments.sets, sets->item[i]);
    free(one);
    free(other);
    return same;
}

bool adoption_possible(struct serving *out, const struct pipeline *p, const struct argument_list *sets)
{
    struct role role[ROLES_MAX];
    struct process it;
    bool lives = false;
    int n = 0;

    memset(out, 0, sizeof *out);
    if (!word_there(p, "ready") || word_there(p, "pipeline.next.yaml") || serving_recall(out, p, NULL))
        return false;
    if (is_wanted(out, p, sets) && !roles_list_here(out->pipeline, role, &n, NULL))
        for (int i = 0; !lives && i < n; i++)
            lives = find(&it, out->pipeline, role[i].name);
    if (!lives)
        serving_free(out);
    return lives;
}

int adoption_take(struct crew *c)
{
    const struct pipeline *p = c->serving->pipeline;
    struct process it, heir;
    pid_t keep[ROLES_MAX];
    char name[48];
    int n = 0;

    for (int i = 0; i < c->n; i++) {
        const char *role = c->child[i].role.name;
        bool found = find(&it, p, role);
        snprintf(name, sizeof name, "%s.heir", role);
        if (!pid_file_load(p, name, &heir) && heir.pid != it.pid && leftovers_is_ours(p, &heir))
            process_end(&heir, HEIR_END_MS); /* the order that it was for is forgotten */
        pid_file_remove(p, name);
        if (found && crew_adopt(c, i, &it))
            keep[n++] = it.pid;
    }
    leftovers_end_others(p, keep, n);
    return n;
}
