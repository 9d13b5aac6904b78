/* learning_drift.c - runs of learning_lab as one picture: a row for each, answered early on the left, what is
 * lost on the right
 *
 * usage: learning_drift OUTPUT.svg CHANGE[,BACK] TITLE=RUN.txt [TITLE=RUN.txt ..]
 *
 * A RUN.txt is what learning_lab printed. CHANGE and BACK are requests at which the world changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/plot/plot.h"
#include "deploy/tool/output.h"

#define MOST 1000
#define WIDE 560
#define HIGH 330

struct run {
    char title[64];
    int n, n_alarms, n_commits;
    double x[MOST], early[MOST], agree[MOST], lost[MOST], audited[MOST], budget[MOST];
    double alarm[MOST], commit[MOST];
};

struct picture {
    int n_runs, n_changes;
    double change[2];
    struct run run[8];
};

/* What is in these lines is as end_window and obey of lab_world.c print it. */
static void take_line(struct run *r, const char *line)
{
    double differ, share, loss;
    char state[16];
    long long at, audits;
    if (sscanf(line, "# %lld %15[a-z]: ", &at, state) == 2) {
        if (strstr(line, "alarm") != NULL && r->n_alarms < MOST)
            r->alarm[r->n_alarms++] = (double)at;
        else if (strstr(line, ": certified") != NULL && r->n_commits < MOST)
            r->commit[r->n_commits++] = (double)at;
    } else if (r->n < MOST &&
               sscanf(line,
                      "%lld %15s early %lf%% half %*f%% lost %lf differ %lf | audits %lld at %lf "
                      "loss %lf",
                      &at, state, &r->early[r->n], &r->lost[r->n], &differ, &audits, &share, &loss) == 8) {
        r->x[r->n] = (double)at;
        r->agree[r->n] = 100 - differ;
        r->audited[r->n++] = loss;
    }
}

static int take_run(struct picture *p, const char *spec, struct error *e)
{
    struct run *r = &p->run[p->n_runs];
    const char *path = strchr(spec, '=');
    char line[512];
    double budget = 0;
    FILE *f = path != NULL && p->n_runs < 8 ? fopen(path + 1, "re") : NULL;
    if (f == NULL)
        return error_set(e, FL_USAGE, "%s: no TITLE=FILE of at most 8, or the file cannot be read", spec);
    snprintf(r->title, sizeof r->title, "%.*s", (int)(path - spec), spec);
    while (fgets(line, sizeof line, f) != NULL) {
        const char *at = strstr(line, "points, budget ");
        take_line(r, line);
        if (at != NULL)
            budget = atof(at + strlen("points, budget "));
    }
    fclose(f);
    for (int i = 0; i < r->n; i++)
        r->budget[i] = budget;
    p->n_runs++;
    return r->n > 1 ? FL_OK : error_set(e, FL_VALUE, "%s: no windows are in it", path + 1);
}

static int write_panel(FILE *to, int column, int row, const struct plot *plot, struct error *e)
{
    int rc;
    fprintf(to, "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\">\n", column * WIDE, row * HIGH, WIDE,
            HIGH);
    rc = plot_write(plot, to, e);
    fprintf(to, "</svg>\n");
    return rc;
}

static int write_run(FILE *to, const struct picture *p, int row, struct error *e)
{
    const struct run *r = &p->run[row];
    char title[2][128];
    const struct plot_series changes = {"the world changes", PLOT_RULES, false, p->n_changes, p->change,
                                        p->change,           NULL,       NULL,  NULL};
    const struct plot_series alarms = {"alarm",  PLOT_RULES, true, r->n_alarms, r->alarm,
                                       r->alarm, NULL,       NULL, NULL};
    const struct plot_series share[] = {
        {"answered early", PLOT_LINE, false, r->n, r->x, r->early, NULL, NULL, NULL},
        {"served as the network would", PLOT_LINE, false, r->n, r->x, r->agree, NULL, NULL, NULL},
        changes,
        {"new caches", PLOT_RULES, true, r->n_commits, r->commit, r->commit, NULL, NULL, NULL}};
    const struct plot_series losses[] = {
        {"lost, of each window", PLOT_LINE, false, r->n, r->x, r->lost, NULL, NULL, NULL},
        {"by its epoch's audits", PLOT_LINE, false, r->n, r->x, r->audited, NULL, NULL, NULL},
        {"budget", PLOT_LINE, true, r->n, r->x, r->budget, NULL, NULL, NULL},
        changes,
        alarms};
    struct plot left = {.title = title[0],
                        .x = {.title = "requests"},
                        .y = {.title = "of requests, %", .from = 0, .to = 100},
                        .n_series = r->n_commits > 0 ? 4 : 3,
                        .series = share};
    struct plot right = {.title = title[1],
                         .x = {.title = "requests"},
                         .y = {.title = "loss, points", .from = 0, .to = 3 * r->budget[0]},
                         .n_series = r->n_alarms > 0 ? 5 : 4,
                         .series = losses};
    int rc;
    snprintf(title[0], sizeof title[0], "%s: answered early", r->title);
    snprintf(title[1], sizeof title[1], "%s: what that loses", r->title);
    rc = write_panel(to, 0, row, &left, e);
    return rc == FL_OK ? write_panel(to, 1, row, &right, e) : rc;
}

static int write_all(FILE *to, const void *arg, struct error *e)
{
    const struct picture *p = arg;
    int rc = FL_OK;
    fprintf(to, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\">\n", 2 * WIDE,
            p->n_runs * HIGH);
    for (int i = 0; i < p->n_runs && rc == FL_OK; i++)
        rc = write_run(to, p, i, e);
    fprintf(to, "</svg>\n");
    return rc;
}

int main(int argc, char **argv)
{
    struct picture *p = calloc(1, sizeof *p);
    struct error e = {0};
    int rc = FL_OK;
    if (p == NULL || argc < 4) {
        fprintf(stderr, "usage: learning_drift OUTPUT.svg CHANGE[,BACK] TITLE=RUN.txt ..\n");
        return 2;
    }
    p->n_changes = sscanf(argv[2], "%lf,%lf", &p->change[0], &p->change[1]);
    for (int i = 3; i < argc && rc == FL_OK; i++)
        rc = take_run(p, argv[i], &e);
    if (rc == FL_OK)
        rc = output_write(argv[1], write_all, p, &e);
    if (rc != FL_OK)
        fprintf(stderr, "learning_drift: %s\n", e.text);
    free(p);
    return rc != FL_OK;
}
