/* search.c - plays stories from many seeds and says which promise one of them broke
 *
 * usage: search [--schedules N] [--seconds S] [--seed FIRST] [--only SEED] [--kinds A,B] [--jobs N] [--quiet]
 *               [--follow] [--story SEED]
 * Exits 0 when all promises were kept, 1 after the first that was not: it prints the seed and the shortest
 * story that still breaks the promise.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <malloc.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "player.h"

#define PROGRESS_NS (10 * NS_PER_S)

struct search {
    uint64_t schedules, seconds, seed;
    uint64_t step; /* from seed to seed: other processes play those between */
    uint32_t kinds;
    bool quiet, follow;
    struct player *player;
};

/* ---- shrinking ---- */

static void without(struct story *to, const struct story *from, int first, int n)
{
    *to = *from;
    to->n = from->n - n;
    memmove(&to->item[first], &from->item[first + n], (size_t)(from->n - first - n) * sizeof *to->item);
}

/* Drops what happens, half of it, a quarter, .. one by one, as long as the same promise is broken. */
static void shrink(struct player *p, struct story *s, const char *what)
{
    static struct story fewer;
    for (int n = s->n / 2; n >= 1; n = n > 1 ? n / 2 : 0) {
        bool again = true;
        while (again) {
            again = false;
            for (int i = 0; i + n <= s->n;) {
                const struct finding *f;
                without(&fewer, s, i, n);
                f = player_play(p, &fewer);
                if (f && !strcmp(f->what, what)) {
                    *s = fewer;
                    again = n == 1;
                } else {
                    i += n;
                }
            }
        }
    }
}

static void tell(struct search *s, const struct story *whole)
{
    static struct story story;
    const struct finding *f = player_play(s->player, whole);
    const char *what;
    if (!f) {
        printf("FOUND  something in seed %llu that is not there the second time: the search has a fault\n",
               (unsigned long long)whole->seed);
        return;
    }
    what = f->what;
    story = *whole;
    shrink(s->player, &story, what);
    player_tells(s->player, s->follow);
    f = player_play(s->player, &story);
    printf("FOUND  %s (seed %llu; of %d things that happened %d are needed)\n", what,
           (unsigned long long)whole->seed, whole->n, story.n);
    story_print(&story, stdout);
    printf("  %8.3f ms  => %s\nto see it again: make faults-search ONLY=%llu\n", (double)f->at_ns / 1e6,
           f->text, (unsigned long long)whole->seed);
}

/* ---- searching ---- */

static void say_progress(const struct search *s, uint64_t done, uint64_t ns)
{
    struct player_counts c = player_counts(s->player);
    fprintf(stderr,
            "  %llu schedules in %.0f s (%.0f a second): %llu requests, %llu answers (%llu hits), %llu "
            "errors\n",
            (unsigned long long)done, (double)ns / 1e9, (double)done / ((double)ns / 1e9),
            (unsigned long long)c.requests, (unsigned long long)c.right, (unsigned long long)c.hits,
            (unsigned long long)c.errors);
}

/* The seed of what is being played: a brain that crashes takes the process along. */
static volatile uint64_t playing;

static void on_crash(int signal)
{
    char text[64];
    int n = snprintf(text, sizeof text, "FOUND  a crash (seed %llu; signal %d)\n",
                     (unsigned long long)playing, signal);
    if (n > 0 && write(STDOUT_FILENO, text, (size_t)n) == n)
        _exit(1);
    _exit(2);
}

static int search(struct search *s)
{
    static struct story story;
    uint64_t start = clock_ns(), said = start, now = start, done = 0;
    struct player_counts c;
    for (; done < s->schedules && (!s->seconds || now - start < s->seconds * NS_PER_S); done++) {
        story_draw(&story, s->seed + done * s->step, s->kinds);
        player_tells(s->player, s->follow && s->schedules == 1);
        playing = story.seed;
        if (player_play(s->player, &story)) {
            tell(s, &story);
            return 1;
        }
        now = done % 64 ? now : clock_ns();
        if (!s->quiet && now - said >= PROGRESS_NS) {
            say_progress(s, done, now - start);
            said = now;
        }
    }
    c = player_counts(s->player);
    printf(
        "%llu schedules, seeds %llu to %llu: no promise was broken (%llu requests, %llu answered, %llu of "
        "them "
        "by caches, %llu errors, %llu excused; %llu starts, %llu retries, %llu updates; %.0f events each)\n",
        (unsigned long long)done, (unsigned long long)s->seed,
        (unsigned long long)(s->seed + (done - 1) * s->step), (unsigned long long)c.requests,
        (unsigned long long)c.right, (unsigned long long)c.hits, (unsigned long long)c.errors,
        (unsigned long long)c.excused, (unsigned long long)c.starts, (unsigned long long)c.retried,
        (unsigned long long)c.updates, (double)c.steps / (double)(c.stories ? c.stories : 1));
    return 0;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: search [--schedules N] [--seconds S] [--seed FIRST] [--only SEED] [--kinds A,B,..] "
            "[--jobs N] [--quiet] "
            "[--follow] [--story SEED]\nkinds:");
    for (int i = 1; i < KINDS; i++)
        fprintf(stderr, " %s", story_kind((enum kind)i));
    fprintf(stderr, "\n");
    return 2;
}

static bool parse_kinds(char *text, uint32_t *kinds)
{
    *kinds = 0;
    for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
        int i = 0;
        while (i < KINDS && strcmp(word, story_kind((enum kind)i)))
            i++;
        if (i == KINDS)
            return false;
        *kinds |= 1u << i;
    }
    return true;
}

static bool parse(struct search *s, int argc, char **argv, uint64_t *show, uint64_t *jobs)
{
    struct {
        const char *name;
        uint64_t *to;
    } numbers[] = {{"--schedules", &s->schedules}, {"--seconds", &s->seconds}, {"--seed", &s->seed},
                   {"--only", &s->seed},           {"--story", show},          {"--jobs", jobs}};
    for (int i = 1; i < argc; i++) {
        size_t k = 0;
        if (!strcmp(argv[i], "--quiet") || !strcmp(argv[i], "--follow")) {
            *(argv[i][2] == 'q' ? &s->quiet : &s->follow) = true;
            continue;
        }
        if (i + 1 == argc)
            return false;
        while (k < sizeof numbers / sizeof *numbers && strcmp(argv[i], numbers[k].name))
            k++;
        if (k < sizeof numbers / sizeof *numbers)
            *numbers[k].to = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--kinds") || !parse_kinds(argv[i + 1], &s->kinds))
            return false;
        if (!strcmp(argv[i], "--only"))
            s->schedules = 1;
        i++;
    }
    return true;
}

static int play(struct search *s)
{
    int rc;
    signal(SIGSEGV, on_crash);
    signal(SIGABRT, on_crash);
    signal(SIGFPE, on_crash);
    if (player_new(&s->player))
        return 1;
    rc = search(s);
    player_free(s->player);
    return rc;
}

/* Each process plays every jobs-th seed. */
static int share(struct search *s, uint64_t jobs)
{
    int rc = 0, status;
    s->step = jobs;
    if (s->schedules != UINT64_MAX)
        s->schedules = (s->schedules + jobs - 1) / jobs;
    for (uint64_t i = 0; i < jobs; i++, s->seed++)
        if (!fork()) {
            rc = play(s);
            fflush(stdout);
            _exit(rc);
        }
    while (wait(&status) > 0)
        rc |= !WIFEXITED(status) || WEXITSTATUS(status);
    return rc;
}

int main(int argc, char **argv)
{
    static struct search s = {.schedules = UINT64_MAX, .seed = 1, .step = 1, .kinds = STORY_ALL};
    static struct story story;
    uint64_t show = 0, jobs = 1;
    if (!parse(&s, argc, argv, &show, &jobs) || jobs < 1 || jobs > 64)
        return usage();
    if (show) {
        story_draw(&story, show, s.kinds);
        story_print(&story, stdout);
        return 0;
    }
    log_threshold = LOG_LEVEL_ERROR + 1;
    /* What is freed is kept for the next story; what is large is not cleared where nobody looks. */
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, 16 << 20);
    mallopt(M_MMAP_THRESHOLD, 512 << 10);
    return jobs > 1 ? share(&s, jobs) : play(&s);
}
