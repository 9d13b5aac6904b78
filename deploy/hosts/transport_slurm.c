/* transport_slurm.c - the nodes of a Slurm job: every command is a step of it
 *
 * A step shares what the job was given with the other steps (--overlap, --whole): what serves in the job and
 * what looks at it run side by side. srun passes the three standard streams on. A step that is to live on is
 * an srun of its own session: it stays until the step ends, and says in the log of the transport how that
 * ended.
 */
#include "transport_way.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "child.h"
#include "shell_words.h"
#include "slurm_job.h"

#define START_S       60
#define NOT_AVAILABLE "Requested node configuration is not available"
#define SAID_BYTES    2048

struct slurm {
    char job[SLURM_ID_BYTES];
};

static void slurm_words(const struct transport *t, int host, char *command, struct way_command *out)
{
    const struct slurm *s = t->own;
    const struct host *h = &t->hosts->host[host];
    static const char *const words[] = {"srun",           "--overlap", "--whole",         "--nodes=1",
                                        "--ntasks=1",     "--mem=0",   "--cpu-bind=none", "--mpi=none",
                                        "--job-name=run", "--quiet"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        out->argv[out->n++] = (char *)words[i];
    snprintf(out->text[0], sizeof out->text[0], "--jobid=%s", s->job);
    snprintf(out->text[1], sizeof out->text[1], "--nodelist=%s", h->address ? h->address : h->name);
    snprintf(out->text[2], sizeof out->text[2], "cd && %s", command);
    out->argv[out->n++] = out->text[0];
    out->argv[out->n++] = out->text[1];
    out->argv[out->n++] = (char *)"sh";
    out->argv[out->n++] = (char *)"-c";
    out->argv[out->n++] = out->text[2];
}

static int slurm_open(struct transport *t, struct error *e)
{
    struct slurm *s = t->own = calloc(1, sizeof *s);
    const char *job = t->options.job ? t->options.job : slurm_job_here();
    char state[SLURM_STATE_BYTES];
    int rc;

    if (!s)
        return error_set(e, FL_NOMEM, "no memory");
    if (!job)
        return error_set(e, FL_USAGE,
                         "there is no Slurm allocation here (SLURM_JOB_ID is not set): run this with "
                         "`salloc` or in a job");
    if ((rc = slurm_id_check(job, e)))
        return rc;
    snprintf(s->job, sizeof s->job, "%s", job);
    if ((rc = slurm_job_state(job, state, e)))
        return rc;
    return !strcmp(state, "RUNNING")
               ? FL_OK
               : error_set(e, FL_UNAVAILABLE, "Slurm's job %s is %s, not RUNNING", job, state);
}

static void slurm_close(struct transport *t)
{
    free(t->own);
}

static int slurm_explain(const struct transport *t, int host, const char *said, const char *noise,
                         struct error *e)
{
    const struct slurm *s = t->own;
    const struct host *h = &t->hosts->host[host];
    const char *node = h->address ? h->address : h->name;
    static const struct {
        const char *said, *meaning;
    } meanings[] = {
        {"nvalid job", "the job has ended"},
        {"has expired", "the job has ended"},
        {NOT_AVAILABLE, "that node is none of the job's, or it is down"},
        {"Invalid node name", "that node is none of the job's"},
        {"NODE FAILURE", "the node went down"},
        {"Unable to contact slurm controller", "slurmctld does not answer"},
    };
    const char *last = strrchr(said, '\n');

    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (strstr(said, meanings[i].said))
            return error_set(e, FL_UNAVAILABLE, "host %s (Slurm's job %s, node %s): %s", h->name, s->job,
                             node, meanings[i].meaning);
    while (last && last > said && !last[strspn(last, "\n")])
        for (--last; last > said && *last != '\n'; last--)
            ;
    last = last ? last + strspn(last, "\n") : said;
    return error_set(e, FL_UNAVAILABLE,
                     "host %s (Slurm's job %s, node %s): no shell came to run our commands: %.*s", h->name,
                     s->job, node, 300, *last ? last : noise);
}

/* Slurm gives a node that has just started to a job before it lets steps run there. */
static bool slurm_passing(const struct transport *t, int host, const char *said)
{
    const struct slurm *s = t->own;
    const struct host *h = &t->hosts->host[host];
    return strstr(said, NOT_AVAILABLE) && slurm_job_on(s->job, h->address ? h->address : h->name);
}

struct greeting {
    const char *mark;
    char out[SAID_BYTES];
};

static bool greeted(void *arg, const char *text, size_t size)
{
    struct greeting *g = arg;
    size_t used = strlen(g->out);

    for (size_t i = 0; i < size && used + 1 < sizeof g->out; i++)
        g->out[used++] = text[i];
    g->out[used] = 0;
    return strstr(g->out, g->mark) != NULL;
}

static void unheard(void *arg, const char *text, size_t size)
{
    (void)arg;
    (void)text;
    (void)size;
}

/* What the step runs: a mark on stdout, then the program. */
static char *program_line(const struct transport *t, char *const *argv, const char *log)
{
    char *line = NULL;
    size_t size;
    FILE *f = open_memstream(&line, &size);

    if (!f)
        return NULL;
    fputs("cd || exit 1\n", f);
    way_prepare_start(f, argv[0], log);
    fprintf(f, "exec 3>&1 >>\"$log\" 2>&1 </dev/null\necho %s >&3\nexec 3>&-\nexec ", t->tag);
    shell_words(f, argv);
    return fclose(f) ? free(line), NULL : line;
}

/* The words of srun behind a shell that lets srun's own words go to a file. */
static char *srun_line(const struct transport *t, int host, char *program)
{
    struct way_command words = {0};
    const char *own = t->options.log ? t->options.log : "/dev/null";
    char *line = NULL;
    size_t size;
    FILE *f = open_memstream(&line, &size);

    if (!f)
        return NULL;
    slurm_words(t, host, (char *)"", &words);
    words.argv[words.n - 1] = program;
    fputs("exec 2>>", f);
    shell_word(f, own);
    fputs(" </dev/null; exec ", f);
    shell_words(f, words.argv);
    return fclose(f) ? free(line), NULL : line;
}

static int wait_for_mark(struct transport *t, int host, char *line, struct error *e)
{
    struct greeting g = {.mark = t->tag};
    struct child child;
    char *argv[] = {(char *)"sh", (char *)"-c", line, NULL};
    const struct child_talk talk = {
        .out = greeted, .err = unheard, .arg = &g, .until_ns = clock_ns() + START_S * NS_PER_S};
    int rc = child_start(&child, argv, e);

    if (!rc && !(rc = child_talk(&child, &talk, e)) && strstr(g.out, g.mark)) {
        child_leave(&child);
        return FL_OK;
    }
    child_end(&child, rc ? 0 : 2000);
    if (rc)
        return error_wrap(e, rc, "host %s: starting a step", transport_host(t, host));
    g.out[strcspn(g.out, "\n")] = 0;
    return error_set(e, FL_UNAVAILABLE, "host %s: no step came up there: %s%s", transport_host(t, host),
                     g.out[0] || !t->options.log ? g.out : "see ",
                     g.out[0] || !t->options.log ? "" : t->options.log);
}

static int slurm_start(struct transport *t, int host, char *const *argv, const char *log, struct error *e)
{
    char *program = program_line(t, argv, log);
    char *line = program ? srun_line(t, host, program) : NULL;
    int rc = line ? wait_for_mark(t, host, line, e) : error_set(e, FL_NOMEM, "no memory");

    free(line);
    free(program);
    return rc;
}

const struct transport_way transport_way_slurm = {
    .open = slurm_open,
    .close = slurm_close,
    .words = slurm_words,
    .explain = slurm_explain,
    .passing = slurm_passing,
    .start = slurm_start,
};
