/* heirs.c - starting, finding and ending the successors that wait */
#include "heirs.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "deploy/tool/state.h"
#include "word.h"

#define LIMIT_NS (600 * NS_PER_S) /* for large models to load; the command has its own limit */

static bool differ(const char *a, const char *b)
{
    return (a || b) && (!a || !b || strcmp(a, b) != 0);
}

static int obstacle(const char *what, struct error *e)
{
    return error_set(
        e, FL_CONFIG,
        "%s in the pipeline file is another than that of the running pipeline, which the broker keeps: "
        "`freezeline down`, then `freezeline up`",
        what);
}

static int check_stage(const struct stage_config *now, const struct stage_config *file, int stage,
                       struct error *e)
{
    char what[64];

    snprintf(what, sizeof what, "stages.%d.replicas", stage);
    if (now->n_replicas != file->n_replicas)
        return obstacle(what, e);
    for (int i = 0; i < now->n_replicas; i++) {
        snprintf(what, sizeof what, "stages.%d.replicas.%d.endpoint", stage, i);
        if (differ(now->replica[i].endpoint, file->replica[i].endpoint))
            return obstacle(what, e);
    }
    return FL_OK;
}

/* Whether processes from `file` can take over from those of `now` while the broker and the cache services
 * stay. FL_CONFIG, with what stands in the way. */
static int check(const struct pipeline *now, const struct pipeline *file, struct error *e)
{
    const struct {
        const char *name, *now, *file;
    } fixed[] = {{"name", now->name, file->name},
                 {"state", now->state, file->state},
                 {"broker.requests", now->broker.requests, file->broker.requests},
                 {"broker.control", now->broker.control, file->broker.control},
                 {"broker.results", now->broker.results, file->broker.results},
                 {"redis.endpoint", now->redis.endpoint, file->redis.endpoint}};
    int rc = roles_are_here(file, e);

    for (size_t i = 0; !rc && i < sizeof fixed / sizeof *fixed; i++)
        if (differ(fixed[i].now, fixed[i].file))
            rc = obstacle(fixed[i].name, e);
    if (!rc && now->n_stages != file->n_stages)
        rc = obstacle("the number of stages", e);
    for (int s = 0; !rc && s < now->n_stages; s++)
        rc = check_stage(&now->stage[s], &file->stage[s], s, e);
    if (!rc && now->cache.n_endpoints != file->cache.n_endpoints)
        rc = obstacle("cache.endpoints", e);
    for (int i = 0; !rc && i < now->cache.n_endpoints; i++)
        if (differ(now->cache.endpoint[i], file->cache.endpoint[i]))
            rc = obstacle("cache.endpoints", e);
    return rc;
}

/* Sections of the file that have changed and that processes which stay do not take: "`broker`, `updates`" or
 * "". Returns buf. */
static char *ignored_by(const struct pipeline *now, const struct pipeline *file, char *buf, size_t size)
{
    static const char *const sections[] = {"broker", "updates", "redis", "logs"};
    size_t n = 0;

    buf[0] = '\0';
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        char a[512], b[512];
        pipeline_section_text(now, sections[i], a, sizeof a);
        pipeline_section_text(file, sections[i], b, sizeof b);
        if (strcmp(a, b) && n < size)
            n += (size_t)snprintf(buf + n, size - n, "%s`%s`", n ? ", " : "", sections[i]);
    }
    return buf;
}

static const char *file_name(const struct heir *it, char buf[48])
{
    snprintf(buf, 48, "%s.heir", it->role->name);
    return buf;
}

static void remove_pid_file(const struct heirs *h, const struct heir *it)
{
    char name[48];
    pid_file_remove(h->pipeline, file_name(it, name));
}

static int add(struct heirs *h, int i, const struct heirs_place *place, const struct pipeline_arguments *a,
               int alive, struct error *e)
{
    static struct role_command command; /* large */
    const struct role *r = place->role;
    char log[STATE_PATH_BYTES], name[48], after[16];
    int n = 0, rc = roles_command(&command, r, h->pipeline, a, e);

    if (rc || (rc = state_path(log, h->pipeline, e, "logs/%s.log", r->name)))
        return rc;
    while (command.argv[n])
        n++;
    snprintf(after, sizeof after, "%d", (int)place->process->pid);
    command.argv[n++] = "--after";
    command.argv[n++] = after;
    command.argv[n] = NULL;
    if ((rc = process_spawn(&h->of[i].process, command.argv, log, alive, e)))
        return rc;
    h->of[i].role = r;
    h->n++;
    return pid_file_save(h->pipeline, file_name(&h->of[i], name), &h->of[i].process, e);
}

void heirs_begin(struct heirs *h, const struct pipeline *now, const struct pipeline_arguments *a,
                 const struct heirs_place *place, int n, int alive)
{
    struct error e = {0};
    int rc;

    if (h->pipeline)
        return;
    log_info("reload: asked for");
    if (!(rc = arguments_load(&h->pipeline, a, &e)))
        rc = check(now, h->pipeline, &e);
    for (int i = 0; !rc && i < n; i++)
        if (place[i].role->kind == ROLE_KIND_STAGE && place[i].process)
            rc = add(h, i, &place[i], a, alive, &e);
    h->until_ns = clock_ns() + LIMIT_NS;
    if (rc)
        heirs_fail(h, now, "-", e.text);
    else
        word_leave(now, HEIRS_WORD, "starting");
}

static void end_with(struct heirs *h, const struct pipeline *now, const char *word)
{
    log_info("reload: %s", word);
    heirs_end(h, 0);
    word_leave(now, HEIRS_WORD, word);
}

void heirs_fail(struct heirs *h, const struct pipeline *now, const char *who, const char *text)
{
    char word[ERROR_TEXT_BYTES + 64];
    snprintf(word, sizeof word, "failed %s %s", who, text);
    end_with(h, now, word);
}

void heirs_lost(struct heirs *h, const struct pipeline *now, pid_t pid, const char *how)
{
    struct process gone;
    char text[192], who[32];

    for (int i = 0; h->pipeline && i < ROLES_MAX; i++) {
        if (h->of[i].process.pid != pid)
            continue;
        snprintf(who, sizeof who, "%s", h->of[i].role->name);
        snprintf(text, sizeof text, "its successor %s before it could take over", how);
        heirs_take(h, i, &gone);
        heirs_fail(h, now, who, text);
    }
}

bool heirs_take(struct heirs *h, int i, struct process *out)
{
    struct heir *it = &h->of[i];

    if (!h->pipeline || !it->process.pid)
        return false;
    *out = it->process;
    remove_pid_file(h, it);
    it->process.pid = 0;
    h->n--;
    return true;
}

struct pipeline *heirs_done(struct heirs *h, const struct pipeline *now, uint64_t now_ns)
{
    struct pipeline *done = h->pipeline;
    char ignored[128], word[192];

    if (!done)
        return NULL;
    if (h->n) {
        if (now_ns > h->until_ns)
            heirs_fail(h, now, "-", "the successors did not all come, or what serves did not end");
        return NULL;
    }
    h->pipeline = NULL;
    snprintf(word, sizeof word, "done %s", ignored_by(now, done, ignored, sizeof ignored));
    end_with(h, now, word);
    return done;
}

void heirs_end(struct heirs *h, int wait_ms)
{
    for (int i = 0; i < ROLES_MAX; i++)
        if (h->of[i].process.pid)
            process_signal(&h->of[i].process, SIGTERM);
    for (int i = 0; i < ROLES_MAX; i++) {
        if (!h->of[i].process.pid)
            continue;
        if (wait_ms)
            process_end(&h->of[i].process, wait_ms);
        remove_pid_file(h, &h->of[i]);
    }
    pipeline_free(h->pipeline);
    memset(h, 0, sizeof *h);
}
