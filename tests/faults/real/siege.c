/* siege.c - faults, one after the other, on real processes under steady load
 *
 * usage: siege --caches DIR [--quick] [--only NAME,..] [--seed N] [--rounds N] [--rate R] [--json] [--plot
 * F.svg] Each trial waits until all is well, looks at a calm stretch, makes the fault, ends it, waits until
 * all is well again, and sums up what became of every request meanwhile. Exits 0 when every promise was kept
 * (with --strict: every bound, too).
 */
#include "siege.h"

#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/clock.h"
#include "numbers/shuffle.h"
#include "system/signals.h"
#include "deploy/data/dataset.h"
#include "deploy/load/target.h"
#include "deploy/model/model_shape.h"
#include "deploy/tool/arguments.h"

#define INPUTS   512
#define CALM_S   1.5 /* that is looked at before a fault, and waited for after it */
#define QUICK_S  0.8
#define WELL_S   60
#define GRACE_NS (2 * NS_PER_S)
#define PROMISED 0.01 /* of the early answers may differ from the network's, as town.c has it */
#define STEP_US  10000

struct wishes {
    const char *only, *plot;
    int seed, rounds;
    bool json;
};

unsigned siege_draw(struct siege *s, unsigned n)
{
    return shuffle_below(&s->random, n);
}

struct steady_load *siege_load(struct siege *s)
{
    return s->load[s->n_loads - 1];
}

double siege_seconds(const struct siege *s, uint64_t ns)
{
    return ((double)ns - (double)s->begun_ns) / (double)NS_PER_S;
}

bool siege_wait(struct siege *s, double seconds, bool (*done)(struct siege *s))
{
    uint64_t until = clock_ns() + (uint64_t)(seconds * (double)NS_PER_S);

    while (clock_ns() < until && !signals_stop) {
        if (done && done(s))
            return true;
        town_tend(s->town);
        usleep(STEP_US);
    }
    return false;
}

static bool is_whole(struct siege *s)
{
    return town_whole(s->town, NULL, 0);
}

/* All that is under way is answered or over. */
static bool is_quiet(struct siege *s)
{
    const struct account *a = steady_load_lock(siege_load(s));
    bool quiet = !account_open(a, GRACE_NS, clock_ns());

    steady_load_unlock(siege_load(s));
    return quiet;
}

/* ---- one trial ---- */

static bool fail(struct trial *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(struct trial *t, const char *format, ...)
{
    size_t n = strlen(t->why);
    va_list args;

    va_start(args, format);
    if (n < sizeof t->why - 4) {
        n += (size_t)sprintf(t->why + n, "%s", n ? "; " : "");
        vsnprintf(t->why + n, sizeof t->why - n, format, args);
    }
    va_end(args);
    t->failed = true;
    return false;
}

/* Who is refused is not admitted; on a machine that does nothing else there must be none without need. */
static bool is_allowed(const struct siege *s, unsigned allow, int code)
{
    return code == FL_DEADLINE      ? allow & ALLOW_DEADLINE
           : code == FL_UNAVAILABLE ? allow & ALLOW_UNAVAILABLE
           : code == FL_OVERLOADED  ? !s->strict || allow & ALLOW_OVERLOADED
           : code == FL_NOMEM       ? allow & ALLOW_NO_MEMORY
                                    : false;
}

/* The ledger: what no fault may do. */
static void judge(struct siege *s, struct trial *t)
{
    static const char *const what[] = {"wrong labels",
                                       "doubled answers",
                                       "answers that contradict an earlier one",
                                       "errors without a reason",
                                       "answers long after the deadline",
                                       "refusals without a hint"};
    const struct account_sum *r = &t->sum;
    int64_t late = t->fault->allow & ALLOW_LATE ? 0 : r->late;
    int64_t never[] = {r->wrong, r->doubled, r->contradicted, r->nameless, late, r->without_hint};

    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (never[i])
            fail(t, "%lld %s", (long long)never[i], what[i]);
    if (r->lost && !(t->fault->allow & ALLOW_LOST))
        fail(t, "%lld requests lost", (long long)r->lost);
    for (int i = 0; i < FL_CODES; i++)
        if (r->error[i] && !is_allowed(s, t->fault->allow, i))
            fail(t, "%lld errors `%s`", (long long)r->error[i], error_name(i));
    if (t->fault->bound_ms > 0 && r->added_p99_ms > t->fault->bound_ms + t->calm_p99_ms) {
        t->missed = true;
        snprintf(t->note, sizeof t->note, "wanted: %.0f ms added at most",
                 t->fault->bound_ms + t->calm_p99_ms);
    }
    if (t->fault->holds && !t->fault->holds(s, t))
        t->failed = true;
}

/* Broken links may have no more tried again than the budget allows: a tenth, 64 at once, and what was under
 * way. */
static void judge_retries(struct siege *s, struct trial *t)
{
    static struct status_reply now;
    uint64_t most, retried;

    town_status(s->town, &now);
    if (t->fault->ground != GROUND_THREE || !now.started_ns || now.started_ns != t->broker_ns)
        return;
    most = (now.admitted - t->admitted) / 10 + 2 * 64;
    retried = now.retried - t->retried;
    if (retried > most)
        fail(t, "%llu attempts were repeated, %llu are allowed", (unsigned long long)retried,
             (unsigned long long)most);
}

static void sum_up(struct siege *s, struct trial *t)
{
    const struct account *a = steady_load_lock(siege_load(s));

    if (account_sum(a, t->begun_ns - NS_PER_S / 2, t->over_ns, t->calm_p50_ms, t->calm_p99_ms, GRACE_NS,
                    clock_ns(), &t->sum))
        fail(t, "no memory to sum up");
    steady_load_unlock(siege_load(s));
    judge_retries(s, t);
    judge(s, t);
}

static void hold(struct siege *s, struct trial *t)
{
    const struct fault *f = t->fault;
    double seconds = f->hold_s < 0 ? s->soak_s : s->quick ? f->quick_hold_s : f->hold_s;

    siege_wait(s, seconds, f->watch);
    for (int i = 0; f->until_holds && i < WELL_S && !signals_stop && !f->holds(s, t); i++)
        siege_wait(s, 1, NULL);
    t->why[0] = 0; /* it is judged when all is over */
}

/* False: it cannot begin, or go on after it. */
static bool play(struct siege *s, const struct fault *f)
{
    struct trial *t = &s->trial[s->n++];
    struct error e = {FL_OK, ""};
    static struct status_reply before;
    struct process broker;
    const struct account *a;
    char why[200] = "";
    double calm_s = s->quick ? QUICK_S : CALM_S;
    int rc;

    *t = (struct trial){.fault = f};
    if (!siege_wait(s, WELL_S, is_whole))
        return fail(t, "not whole before it began");
    siege_wait(s, calm_s, NULL);
    t->begun_ns = clock_ns();
    a = steady_load_lock(siege_load(s));
    account_calm(a, t->begun_ns - (uint64_t)(calm_s * NS_PER_S), t->begun_ns, &t->calm_p50_ms,
                 &t->calm_p99_ms);
    steady_load_unlock(siege_load(s));
    town_status(s->town, &before);
    t->broker_ns = before.started_ns;
    t->admitted = before.admitted;
    t->retried = before.retried;
    t->rss_before = town_find(s->town, "broker", &broker) ? town_rss(broker.pid) : 0;
    rc = f->begin(s, t, &e);
    if (rc == FL_UNSUPPORTED) {
        fprintf(stderr, "skipped: %s: %s\n", f->name, e.text);
        s->n--;
        return true;
    }
    if (rc)
        return fail(t, "%s", e.text);
    hold(s, t);
    t->ended_ns = clock_ns();
    if (f->end)
        f->end(s, t);
    if (!siege_wait(s, WELL_S, is_whole)) {
        town_whole(s->town, why, sizeof why);
        fail(t, "not whole again after %d s: %s", WELL_S, why);
    }
    t->whole_ns = clock_ns();
    siege_wait(s, calm_s, NULL);
    t->over_ns = clock_ns();
    steady_load_pace(siege_load(s), 0, 0);
    siege_wait(s, WELL_S, is_quiet);
    sum_up(s, t);
    steady_load_pace(siege_load(s), s->rate, 0);
    siege_print(s, t);
    return !t->failed || !why[0];
}

/* ---- a ground: a town and its load ---- */

/* What requests show, and the network's own labels of it, from the model as a whole. */
static int know_truth(struct siege *s, struct error *e)
{
    const struct pipeline *p = town_pipeline(s->town);
    struct model_shape *shape = malloc(sizeof *shape);
    struct dataset_options o = {.pipeline = p, .most = INPUTS};
    struct dataset *data = NULL;
    struct target *whole = NULL;
    struct answer answer;
    char spec[TOWN_PATH];
    uint64_t id;
    int rc;

    snprintf(spec, sizeof spec, "cifar10:%.400s/requests.bin", s->caches);
    s->truth = calloc(INPUTS, sizeof *s->truth);
    if (!s->truth || !shape)
        return error_set(e, FL_NOMEM, "no memory");
    if (!(rc = model_shape_load(shape, p, e))) {
        o.input = &shape->input;
        o.classes = shape->classes;
        s->in = (struct load_inputs){.shape = shape->input, .truth = s->truth};
        s->images = calloc((size_t)(INPUTS * tensor_count(&shape->input)), sizeof *s->images);
        rc = s->images ? dataset_open(&data, spec, &o, e) : FL_NOMEM;
    }
    if (!rc && !(rc = target_whole(&whole, p, e)))
        s->in.n = (int)dataset_count(data);
    s->in.data = s->images;
    for (int i = 0; !rc && i < s->in.n; i++) {
        struct tensor t = shape->input;
        t.data = s->images + i * tensor_count(&t);
        dataset_image(data, i, t.data);
        if (!(rc = target_submit(whole, &t, 0, &id, e)) && !(rc = target_receive(whole, &answer, e)))
            s->truth[i] = answer.label;
    }
    target_free(whole);
    dataset_close(data);
    free(shape);
    return rc;
}

static int open_ground(struct siege *s, enum ground ground, const struct fault *own, struct error *e)
{
    char liars[TOWN_PATH], under[2 * TOWN_PATH];
    struct town_plan plan = {.bin = ground == GROUND_LIARS ? liars : s->bin,
                             .caches = s->caches,
                             .model = s->model,
                             .under = under,
                             .disk_mb = own->disk_mb,
                             .full_shm = own->full_shm,
                             .hosts = ground == GROUND_THREE || ground == GROUND_APART ? 3 : 1,
                             .brokers = ground == GROUND_BROKERS || ground == GROUND_APART ? 2 : 1};
    int rc;

    snprintf(liars, sizeof liars, "%.400s/tests/faults/real/liars", s->bin);
    if ((own->disk_mb || own->full_shm) && !s->mounts)
        return error_set(e, FL_UNSUPPORTED, "no mount namespace can be made here");
    snprintf(under, sizeof under, own->under ? own->under : "", s->bin, s->folder);
    rc = town_new(&s->town, &plan, e);
    if (rc || (!s->truth && (rc = know_truth(s, e))) ||
        (rc = steady_load_start(&s->load[s->n_loads], town_pipeline(s->town), &s->in, s->rate, s->seed, e)))
        return rc;
    s->n_loads++;
    return FL_OK;
}

/* Notes a failure that belongs to no trial of its own as the last one's. */
static void close_ground(struct siege *s)
{
    if (s->n_loads && s->n)
        steady_load_stop(s->load[s->n_loads - 1]);
    if (!town_free(s->town) && s->n)
        fail(&s->trial[s->n - 1], "something was left behind when the town ended");
    s->town = NULL;
}

static bool is_wanted(const struct siege *s, const struct fault *f, const char *only)
{
    char words[512], *rest = words;

    if (f->hold_s < 0 && s->soak_s <= 0)
        return false;
    if (!only)
        return !s->quick || f->quick;
    snprintf(words, sizeof words, "%s", only);
    for (char *word; (word = strsep(&rest, ", "));)
        if (!strcmp(word, f->name))
            return true;
    return false;
}

/* A town of this fault's own could not be had. */
static void pass_over(struct siege *s, const struct fault *f, int code, const struct error *e)
{
    if (code == FL_UNSUPPORTED) {
        fprintf(stderr, "skipped: %s: %s\n", f->name, e->text);
    } else {
        s->trial[s->n] = (struct trial){.fault = f, .begun_ns = clock_ns()};
        fail(&s->trial[s->n], "%s", e->text);
        siege_print(s, &s->trial[s->n++]);
    }
    close_ground(s);
}

/* The faults of one ground, `rounds` times. FL_UNSUPPORTED where it cannot be had here. */
static int besiege(struct siege *s, enum ground ground, const struct wishes *w, struct error *e)
{
    bool open = false, going = true;
    int rc = FL_OK;

    for (int round = 0; !rc && going && round < w->rounds; round++)
        for (int i = 0; !rc && going && i < siege_n_faults && s->n < SIEGE_MOST_TRIALS; i++) {
            const struct fault *f = &siege_faults[i];
            bool own = ground == GROUND_LIMITS;
            if (f->ground != ground || !is_wanted(s, f, w->only))
                continue;
            if (open && own)
                close_ground(s);
            if (!open || own)
                rc = open_ground(s, ground, f, e);
            if (rc && own) {
                pass_over(s, f, rc, e);
                rc = FL_OK;
                continue;
            }
            if (rc)
                break;
            open = true;
            going = play(s, f) && !signals_stop;
            if (own) {
                close_ground(s);
                open = false;
            }
        }
    if (open || s->town)
        close_ground(s);
    return rc;
}

/* ---- the run ---- */

/* Caches keep what they promise over all trials, beyond what chance explains. */
static bool promise_is_kept(const struct siege *s)
{
    double early = 0, differ = 0, expected;

    for (int i = 0; i < s->n; i++) {
        early += (double)s->trial[i].sum.early;
        differ += (double)s->trial[i].sum.differ;
    }
    expected = PROMISED * early;
    if (differ <= expected + 4 * sqrt(expected) + 4)
        return true;
    fprintf(stderr, "%.0f of %.0f early answers differ from the network's\n", differ, early);
    return false;
}

static int run(struct siege *s, const struct wishes *w, struct error *e)
{
    static const char *const names[GROUNDS] = {
        "one host", "two brokers", "three hosts", "two brokers on two hosts", "liars", "limits"};
    int rc = town_build(s->bin, s->model, s->caches, e);

    s->begun_ns = clock_ns();
    for (int g = 0; !rc && !signals_stop && g < GROUNDS; g++)
        if ((rc = besiege(s, (enum ground)g, w, e)) == FL_UNSUPPORTED) {
            fprintf(stderr, "skipped: %s: %s\n", names[g], e->text);
            rc = FL_OK;
        }
    if (rc)
        return rc;
    if (w->plot && (rc = siege_plot(s, w->plot, e)))
        return rc;
    return w->json ? siege_json(s, e) : siege_table(s, e);
}

static bool all_is_well(const struct siege *s)
{
    bool well = promise_is_kept(s) && !signals_stop;

    for (int i = 0; i < s->n; i++)
        well = well && !s->trial[i].failed && !(s->strict && s->trial[i].missed);
    return well && s->n;
}

/* What is mounted from now on is seen here alone. Where that cannot be, faults that need it are skipped. */
static bool own_mounts(void)
{
    return !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int truncate_new(const char *path, off_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), rc = fd < 0 ? -1 : ftruncate(fd, size);

    if (fd >= 0)
        close(fd);
    return rc;
}

static const struct usage usage = {
    .command = "siege",
    .summary = "Makes faults on a real pipeline under steady load, and accounts for every request.",
    .notes = "Build and start from the repository's root: `make faults` does.\n",
};

int main(int argc, char **argv)
{
    static struct siege s = {.model = "configs/demo/demo.onnx", .rate = 120};
    static struct wishes w = {.seed = 1, .rounds = 1};
    const struct argument table[] = {
        OPTION_TEXT("bin", s.bin, "DIR", "where the programs are"),
        OPTION_TEXT("caches", s.caches, "DIR", "where built caches are kept"),
        OPTION_FLAG("quick", s.quick, "the part of `make test`"),
        OPTION_FLAG("strict", s.strict,
                    "a bound that is missed is a failure, too: for a machine that does nothing else"),
        OPTION_NUMBER("soak", s.soak_s, "S", "steady load for so long, too", 10, 1e6),
        OPTION_TEXT("only", w.only, "NAME,..", "these faults"),
        OPTION_INT("seed", w.seed, "N", "of who is hit and when requests come (1)", 0, 1e9),
        OPTION_INT("rounds", w.rounds, "N", "how often each fault is made (1)", 1, 100),
        OPTION_NUMBER("rate", s.rate, "R", "requests a second (120)", 1, 1e5),
        OPTION_TEXT("plot", w.plot, "FILE.svg", "the time line"),
        ARGUMENTS_JSON(w.json),
        {ARGUMENT_END, NULL, 0, NULL, NULL, NULL, 0, 0},
    };
    char model[TOWN_PATH], clock[TOWN_PATH];
    struct error e = {FL_OK, ""};
    int rc;

    signals_catch(); /* whoever ends this ends the town, too */
    rc = arguments_parse(&usage, table, argc, argv, NULL, &e);

    if (rc == ARGUMENTS_HELPED)
        return 0;
    if (!rc && (!s.bin || !s.caches))
        rc = error_set(&e, FL_USAGE, "--bin and --caches are needed");
    if (!rc && !realpath(s.model, model))
        rc = error_set(&e, FL_USAGE, "%s is not there: start this from the repository's root", s.model);
    s.model = model;
    snprintf(s.folder, sizeof s.folder, "/tmp/freezeline-siege.XXXXXX");
    if (!rc && !mkdtemp(s.folder))
        rc = error_set(&e, FL_IO, "cannot make a folder in /tmp");
    snprintf(clock, sizeof clock, "%s/clock", s.folder);
    if (!rc && truncate_new(clock, sizeof(int64_t)))
        rc = error_set(&e, FL_IO, "cannot write %s", clock);
    s.mounts = own_mounts();
    snprintf(s.lies, sizeof s.lies, "%s/lies", s.folder);
    setenv("FREEZELINE_LIES", s.lies, 1);
    s.seed = (uint64_t)w.seed;
    shuffle_seed(&s.random, s.seed, 7);
    if (!rc)
        rc = run(&s, &w, &e);
    for (int i = 0; i < s.n_loads; i++)
        steady_load_free(s.load[i]);
    if (rc)
        fprintf(stderr, "siege: %s\n", e.text);
    free(s.truth);
    free(s.images);
    unlink(clock);
    rmdir(s.folder);
    return rc ? error_exit_status(rc) : !all_is_well(&s);
}
