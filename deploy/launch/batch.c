/* batch.c - #SBATCH lines, and the one command that is run
 *
 * The job's own process becomes `freezeline up`: it gets the SIGTERM that scancel, a time limit and a requeue
 * begin with, and its exit status is the job's. A requeued job runs the script again, with the same id and
 * the same state directory.
 */
#include "batch.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "deploy/hosts/shell_words.h"
#include "deploy/process/process.h"
#include "deploy/tool/state.h"

int batch_nodes(const struct pipeline *p)
{
    return p->launch.slurm.nodes ? p->launch.slurm.nodes : p->n_hosts ? p->n_hosts : p->n_stages;
}

/* What computes on that host (NULL: anywhere), in threads. */
static int threads_on(const struct pipeline *p, const char *host)
{
    int n = 0;

    for (int s = 0; s < p->n_stages; s++)
        for (int r = 0; r < p->stage[s].n_replicas; r++)
            if (!host || !strcmp(p->stage[s].replica[r].host, host))
                n += p->stage[s].threads;
    return n;
}

/* One more than the workers' threads, for those that do not compute: broker, cache service, supervisor. */
int batch_cpus(const struct pipeline *p)
{
    int nodes = batch_nodes(p), most = 0;

    if (p->launch.slurm.cpus)
        return p->launch.slurm.cpus;
    for (int i = 0; i < p->n_hosts; i++)
        if (threads_on(p, p->host[i].name) > most)
            most = threads_on(p, p->host[i].name);
    return 1 + (p->n_hosts ? most : (threads_on(p, NULL) + nodes - 1) / nodes);
}

/* An option of sbatch in the script: its own quotes are double ones. */
static int option(FILE *to, struct error *e, const char *name, const char *value)
{
    for (const char *c = value; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            return error_set(e, FL_CONFIG,
                             "`%.200s` cannot be said to sbatch%s%s: it takes no quotes, backslashes or "
                             "control characters",
                             value, *name ? " as " : "", name);
    fprintf(to, strpbrk(value, " #'") ? "#SBATCH %s\"%s\"\n" : "#SBATCH %s%s\n", name, value);
    return FL_OK;
}

static int options(FILE *to, const struct pipeline *p, struct error *e)
{
    const struct slurm_config *s = &p->launch.slurm;
    char text[STATE_PATH_BYTES];
    int rc;

    fprintf(to, "#SBATCH --nodes=%d\n#SBATCH --ntasks-per-node=1\n#SBATCH --cpus-per-task=%d\n",
            batch_nodes(p), batch_cpus(p));
    fputs("#SBATCH --requeue\n#SBATCH --open-mode=append\n", to);
    snprintf(text, sizeof text, "freezeline-%.200s", p->name);
    if ((rc = option(to, e, "--job-name=", text)) || (rc = state_path(text, p, e, "logs/slurm-%%j.log")) ||
        (rc = option(to, e, "--output=", text)) ||
        (s->partition && (rc = option(to, e, "--partition=", s->partition))) ||
        (s->account && (rc = option(to, e, "--account=", s->account))) ||
        (s->time && (rc = option(to, e, "--time=", s->time))))
        return rc;
    for (int i = 0; !rc && i < s->n_options; i++)
        rc = strncmp(s->option[i], "--", 2)
                 ? error_set(e, FL_CONFIG, "launch.slurm.options: `%.100s` is to begin with --", s->option[i])
                 : option(to, e, "", s->option[i]);
    return rc;
}

static int command(FILE *to, const struct pipeline *p, const struct pipeline_arguments *a, struct error *e)
{
    char self[PROCESS_SELF_BYTES], here[STATE_PATH_BYTES];

    if (process_self(self, e) || !getcwd(here, sizeof here))
        return error_set(e, FL_IO, "cannot tell this program or folder by name: %s", strerror(errno));
    fputs("cd ", to);
    shell_word(to, here);
    fputs(" || exit 1\nexec ", to);
    shell_words(to, (char *[]){self, (char *)"up", (char *)"--on", (char *)"slurm", (char *)"--foreground",
                               (char *)"-c", p->path, NULL});
    for (int i = 0; i < a->sets.n; i++) {
        fputs(" --set ", to);
        shell_word(to, a->sets.item[i]);
    }
    fputc('\n', to);
    return FL_OK;
}

int batch_script(FILE *to, const struct pipeline *p, const struct pipeline_arguments *a, struct error *e)
{
    char logs[STATE_PATH_BYTES];
    int rc;

    /* A job whose output has no folder ends at once and cannot say why. */
    if ((rc = state_path(logs, p, e, "logs")) || (rc = state_make(logs, e)))
        return rc;
    fprintf(to,
            "#!/bin/sh\n"
            "# The pipeline %s as one job of Slurm: `sbatch` this file. The folder of the pipeline file, its "
            "state\n"
            "# directory and freezeline have to be where the nodes see them. `freezeline down` or `scancel "
            "--batch\n"
            "# --signal=TERM JOB` ends it in order, with its last requests answered.\n",
            p->name);
    return (rc = options(to, p, e)) ? rc : command(to, p, a, e);
}
