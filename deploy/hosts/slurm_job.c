/* slurm_job.c - sbatch, squeue, scontrol and scancel, and what they print */
#include "slurm_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/clock.h"
#include "child.h"

#define ANSWER_BYTES     16384
#define ANSWER_S         60
#define MAX_SUBMIT_WORDS 64

/* A command of Slurm's, what it is given and what it says. */
struct dialogue {
    const char *in;
    size_t left;
    char out[ANSWER_BYTES], err[1024];
};

static ssize_t give(void *arg, void *to, size_t room, struct error *e)
{
    struct dialogue *d = arg;
    size_t n = d->left < room ? d->left : room;

    (void)e;
    memcpy(to, d->in, n);
    d->in += n;
    d->left -= n;
    return (ssize_t)n;
}

static void keep(char *buf, size_t room, const char *text, size_t size)
{
    size_t used = strlen(buf), n = size < room - used - 1 ? size : room - used - 1;

    memcpy(buf + used, text, n);
    buf[used + n] = 0;
}

static bool hear(void *arg, const char *text, size_t size)
{
    struct dialogue *d = arg;
    keep(d->out, sizeof d->out, text, size);
    return false;
}

static void complain(void *arg, const char *text, size_t size)
{
    struct dialogue *d = arg;
    keep(d->err, sizeof d->err, text, size);
}

/* Runs it to its end. *status is its exit status. */
static int talk(struct dialogue *d, char *const *argv, const char *in, int *status, struct error *e)
{
    struct child child;
    const struct child_talk t = {
        .next = give, .out = hear, .err = complain, .arg = d, .until_ns = clock_ns() + ANSWER_S * NS_PER_S};
    int rc;

    memset(d, 0, sizeof *d);
    d->in = in ? in : "";
    d->left = strlen(d->in);
    if ((rc = child_start(&child, argv, e)))
        return rc == FL_NOT_FOUND
                   ? error_set(e, rc, "there is no %s here: is this a machine of a Slurm cluster?", argv[0])
                   : rc;
    rc = child_talk(&child, &t, e);
    *status = child_end(&child, rc ? 0 : 5000);
    d->err[strcspn(d->err, "\n")] = 0;
    return rc ? error_wrap(e, rc, "%s", argv[0]) : FL_OK;
}

static int refused(const struct dialogue *d, const char *program, struct error *e)
{
    return error_set(e, FL_UNAVAILABLE, "%s: %s", program, *d->err ? d->err : "failed without a word");
}

const char *slurm_job_here(void)
{
    const char *job = getenv("SLURM_JOB_ID");
    return job && *job ? job : NULL;
}

int slurm_id_check(const char *job, struct error *e)
{
    return *job >= '0' && *job <= '9' && !job[strspn(job, "0123456789_+")] && strlen(job) < SLURM_ID_BYTES
               ? FL_OK
               : error_set(e, FL_USAGE, "'%.40s' is no id of a Slurm job", job);
}

int slurm_job_state(const char *job, char state[SLURM_STATE_BYTES], struct error *e)
{
    char *argv[] = {(char *)"squeue",
                    (char *)"--noheader",
                    (char *)"--states=all",
                    (char *)"--format=%T",
                    (char *)"--jobs",
                    (char *)(uintptr_t)job,
                    NULL};
    struct dialogue *d = malloc(sizeof *d);
    int status, rc = d ? talk(d, argv, NULL, &status, e) : error_set(e, FL_NOMEM, "no memory");

    if (!rc && status && !strstr(d->err, "Invalid job id"))
        rc = refused(d, argv[0], e);
    else if (!rc && (status || !d->out[0]))
        rc = error_set(e, FL_NOT_FOUND, "Slurm knows no job %s, or none any more", job);
    if (!rc)
        snprintf(state, SLURM_STATE_BYTES, "%.*s", (int)strcspn(d->out, "\n"), d->out);
    free(d);
    return rc;
}

bool slurm_job_on(const char *job, const char *node)
{
    char *argv[] = {(char *)"squeue",       (char *)"--noheader", (char *)"--format=%i",   (char *)"--jobs",
                    (char *)(uintptr_t)job, (char *)"--nodelist", (char *)(uintptr_t)node, NULL};
    struct dialogue *d = malloc(sizeof *d);
    int status;
    bool on = d && !talk(d, argv, NULL, &status, NULL) && !status && d->out[0];

    free(d);
    return on;
}

bool slurm_cpus_parse(const char *text, int *cpus, int n)
{
    int i = 0;

    while (*text) {
        int count, times = 1, length = 0, bracket = 0;
        if (sscanf(text, "%7d%n", &count, &length) != 1 || count < 1)
            return false;
        text += length;
        if (*text == '(' && (sscanf(text, "(x%7d)%n", &times, &bracket) != 1 || !bracket))
            return false;
        text += bracket;
        for (; times > 0 && i < n; times--)
            cpus[i++] = count;
        if (times || (*text && *text++ != ','))
            return false;
    }
    return i == n;
}

int slurm_names_parse(struct slurm_nodes *to, char *text, struct error *e)
{
    char *rest = NULL;

    to->n = 0;
    for (char *name = strtok_r(text, "\n", &rest); name; name = strtok_r(NULL, "\n", &rest)) {
        if (to->n == SLURM_MAX_NODES)
            return error_set(e, FL_CONFIG, "the job has more than %d nodes", SLURM_MAX_NODES);
        if (strlen(name) >= SLURM_NODE_BYTES)
            return error_set(e, FL_CONFIG, "the name of node %s is longer than %d bytes", name,
                             SLURM_NODE_BYTES - 1);
        to->cpus[to->n] = 0;
        strcpy(to->name[to->n++], name);
    }
    return to->n ? FL_OK : error_set(e, FL_UNAVAILABLE, "scontrol names no nodes of the job");
}

int slurm_nodes_here(struct slurm_nodes *out, struct error *e)
{
    const char *list = getenv("SLURM_JOB_NODELIST"), *cpus = getenv("SLURM_JOB_CPUS_PER_NODE");
    char *argv[] = {(char *)"scontrol", (char *)"show", (char *)"hostnames", (char *)(uintptr_t)list, NULL};
    struct dialogue *d;
    int status, rc;

    if (!list || !*list)
        return error_set(e, FL_USAGE, "SLURM_JOB_NODELIST is not set: this is no Slurm allocation");
    if (!(d = malloc(sizeof *d)))
        return error_set(e, FL_NOMEM, "no memory");
    if (!(rc = talk(d, argv, NULL, &status, e)))
        rc = status ? refused(d, argv[0], e) : slurm_names_parse(out, d->out, e);
    if (!rc && (!cpus || !slurm_cpus_parse(cpus, out->cpus, out->n)))
        memset(out->cpus, 0, sizeof out->cpus);
    free(d);
    return rc;
}

int slurm_submit(char job[SLURM_ID_BYTES], char *const *options, const char *script, struct error *e)
{
    char *argv[MAX_SUBMIT_WORDS + 3] = {(char *)"sbatch", (char *)"--parsable"};
    struct dialogue *d;
    int n = 2, status, rc;

    for (; *options && n < MAX_SUBMIT_WORDS + 2; options++)
        argv[n++] = *options;
    if (*options)
        return error_set(e, FL_CONFIG, "more than %d options for sbatch", MAX_SUBMIT_WORDS);
    if (!(d = malloc(sizeof *d)))
        return error_set(e, FL_NOMEM, "no memory");
    if (!(rc = talk(d, argv, script, &status, e)) && status)
        rc = refused(d, argv[0], e);
    d->out[strcspn(d->out, ";\n")] = 0; /* behind it stands the cluster */
    if (!rc && !(rc = slurm_id_check(d->out, e)))
        snprintf(job, SLURM_ID_BYTES, "%.*s", SLURM_ID_BYTES - 1, d->out);
    free(d);
    return rc;
}

int slurm_cancel(const char *job, bool script, struct error *e)
{
    char *argv[] = {(char *)"scancel", (char *)(uintptr_t)job, script ? (char *)"--batch" : NULL,
                    (char *)"--signal=TERM", NULL};
    struct dialogue *d = malloc(sizeof *d);
    int status, rc = d ? talk(d, argv, NULL, &status, e) : error_set(e, FL_NOMEM, "no memory");

    if (!rc && status)
        rc = refused(d, argv[0], e);
    free(d);
    return rc;
}
