/* limits.c - setrlimit, sched_getaffinity, /proc and control groups */
#include "limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SPACE_LEAST (512ull << 20)
#define MOST_CPUS   4096 /* as many as `cpus` of a pipeline file can name */

void limits_raise(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur == files.rlim_max)
        return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files); /* refused: limits_text says what it is */
}

int64_t limits_files(void)
{
    struct rlimit files;
    return getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur > INT64_MAX ? INT64_MAX
                                                                          : (int64_t)files.rlim_cur;
}

/* ---- memory */

static int64_t read_number(const char *path, int64_t otherwise)
{
    long long n;
    FILE *f = fopen(path, "re");
    bool is_number = f && fscanf(f, "%lld", &n) == 1; /* "max" is none */

    if (f)
        fclose(f);
    return is_number && n > 0 ? (int64_t)n : otherwise;
}

/* "": it cannot be read. */
static void read_text(const char *path, char *text, size_t size)
{
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        n = read(fd, text, size - 1);
        close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
}

uint64_t limits_resident_bytes(uint64_t pid)
{
    char path[64] = "/proc/self/statm", text[128];
    unsigned long pages = 0;

    if (pid)
        snprintf(path, sizeof path, "/proc/%llu/statm", (unsigned long long)pid);
    read_text(path, text, sizeof text);
    return sscanf(text, "%*u %lu", &pages) == 1 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

void limits_use(uint64_t *resident_bytes, uint64_t *shared_bytes, uint64_t *cpu_ms)
{
    static const char key[] = "\nRssShmem:";
    char text[4096];
    const char *shared;
    struct timespec cpu;

    read_text("/proc/self/status", text, sizeof text);
    shared = strstr(text, key);
    *resident_bytes = limits_resident_bytes(0);
    *shared_bytes = shared ? strtoull(shared + strlen(key), NULL, 10) << 10 : 0;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    *cpu_ms = (uint64_t)cpu.tv_sec * 1000 + (uint64_t)cpu.tv_nsec / 1000000;
}

bool limits_cgroup(const char *line, char *folder, size_t size, const char **root, const char **file)
{
    const char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    size_t n = path ? (size_t)(path - controllers - 1) : 0;
    bool second = path && n == 0;

    if (!path || (!second && !(n == 6 && !strncmp(controllers + 1, "memory", 6))))
        return false;
    *root = second ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    *file = second ? "memory.max" : "memory.limit_in_bytes";
    return snprintf(folder, size, "%s%.*s", *root, (int)strcspn(path + 1, "\n"), path + 1) < (int)size;
}

/* The least bound from `folder` up to `root`. */
static int64_t least_above(char *folder, const char *root, const char *file, int64_t least)
{
    char path[PATH_MAX];
    size_t n = strlen(root);

    while (strlen(folder) >= n) {
        snprintf(path, sizeof path, "%s/%s", folder, file);
        int64_t bound = read_number(path, least);
        least = bound < least ? bound : least;
        if (strlen(folder) == n)
            break;
        *strrchr(folder, '/') = '\0';
    }
    return least;
}

int64_t limits_memory(void)
{
    char line[1024], folder[PATH_MAX / 2];
    const char *root, *file;
    long long kb = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    int64_t least = f && fscanf(f, "MemTotal: %lld", &kb) == 1 && kb > 0 ? kb * 1024 : INT64_MAX;

    if (f)
        fclose(f);
    f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f))
        if (limits_cgroup(line, folder, sizeof folder, &root, &file))
            least = least_above(folder, root, file, least);
    if (f)
        fclose(f);
    return least;
}

/* ---- processors */

#define CPU_BYTES CPU_ALLOC_SIZE(MOST_CPUS)

/* Owned; NULL when there is no memory, or it can't be told. */
static cpu_set_t *allowed_cpus(void)
{
    cpu_set_t *set = CPU_ALLOC(MOST_CPUS);

    if (set && sched_getaffinity(0, CPU_BYTES, set)) {
        CPU_FREE(set);
        return NULL;
    }
    return set;
}

int limits_cpus(void)
{
    cpu_set_t *set = allowed_cpus();
    int n = set ? CPU_COUNT_S(CPU_BYTES, set) : 1;

    CPU_FREE(set);
    return n;
}

uint64_t limits_idle_ns(void)
{
    unsigned long long idle, waits, sum = 0;
    cpu_set_t *set = allowed_cpus();
    FILE *f = fopen("/proc/stat", "re");
    char line[512];
    unsigned cpu;

    while (set && f && fgets(line, sizeof line, f) && !strncmp(line, "cpu", 3))
        if (sscanf(line, "cpu%u %*u %*u %*u %llu %llu", &cpu, &idle, &waits) == 3 &&
            CPU_ISSET_S(cpu, CPU_BYTES, set))
            sum += idle + waits;
    if (f)
        fclose(f);
    CPU_FREE(set);
    return sum * (1000000000ull / (unsigned long long)sysconf(_SC_CLK_TCK));
}

/* "0-3,6" */
static char *list_cpus(const cpu_set_t *set, char *buf, size_t size)
{
    size_t used = 0;

    snprintf(buf, size, "unknown");
    for (int i = 0; set && i < MOST_CPUS && used < size; i++) {
        int first = i;
        if (!CPU_ISSET_S((size_t)i, CPU_BYTES, set))
            continue;
        while (i + 1 < MOST_CPUS && CPU_ISSET_S((size_t)i + 1, CPU_BYTES, set))
            i++;
        used += (size_t)snprintf(buf + used, size - used, i > first ? "%s%d-%d" : "%s%d", used ? "," : "",
                                 first, i);
    }
    return buf;
}

int limits_check_cpus(const int *cpu, int n, struct error *e)
{
    cpu_set_t *set = allowed_cpus();
    char has[128];
    int rc = FL_OK;

    for (int i = 0; set && !rc && i < n; i++)
        if (cpu[i] < 0 || cpu[i] >= MOST_CPUS || !CPU_ISSET_S((size_t)cpu[i], CPU_BYTES, set))
            rc = error_set(e, FL_CONFIG, "cpus: cpu %d is not there: this machine (or container) has %s",
                           cpu[i], list_cpus(set, has, sizeof has));
    CPU_FREE(set);
    return rc;
}

int limits_pin(const int *cpu, int n, struct error *e)
{
    cpu_set_t *set = CPU_ALLOC(MOST_CPUS);
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *d;
    int rc = limits_check_cpus(cpu, n, e);

    if (!set || !tasks)
        rc = error_set(e, FL_IO, "cannot list this process's threads: %s", strerror(errno));
    if (set)
        CPU_ZERO_S(CPU_BYTES, set);
    for (int i = 0; !rc && i < n; i++)
        CPU_SET_S((size_t)cpu[i], CPU_BYTES, set);
    while (!rc && (d = readdir(tasks)))
        if (d->d_name[0] != '.' && sched_setaffinity(atoi(d->d_name), CPU_BYTES, set) && errno != ESRCH)
            rc = error_set(e, FL_CONFIG, "cannot pin to cpu %d%s: %s", cpu[0], n > 1 ? " and the others" : "",
                           strerror(errno));
    if (tasks)
        closedir(tasks);
    CPU_FREE(set);
    return rc;
}

/* ---- all */

char *limits_text(char *buf, size_t size)
{
    cpu_set_t *set = allowed_cpus();
    char cpus[64];

    snprintf(buf, size, "%lld open files, cpus %s, %.1f GB of memory", (long long)limits_files(),
             list_cpus(set, cpus, sizeof cpus), (double)limits_memory() / 1e9);
    CPU_FREE(set);
    return buf;
}

int limits_check_memory(int64_t bytes, const char *what, struct error *e)
{
    int64_t has = limits_memory();

    if (bytes <= has)
        return FL_OK;
    return error_set(e, FL_CONFIG, "%s needs %.1f MB of memory, this machine (or container) has %.1f MB",
                     what, (double)bytes / 1e6, (double)has / 1e6);
}

int limits_check_files(int64_t files, struct error *e)
{
    int64_t may = limits_files();

    if (files <= may)
        return FL_OK;
    return error_set(
        e, FL_CONFIG,
        "this process may have %lld files open and needs %lld: raise the hard limit (`ulimit -Hn`, "
        "LimitNOFILE= of systemd, --ulimit nofile of a container)",
        (long long)may, (long long)files);
}

int limits_check_space(struct error *e)
{
    struct rlimit space;

    if (getrlimit(RLIMIT_AS, &space) || space.rlim_cur == RLIM_INFINITY || space.rlim_cur >= SPACE_LEAST)
        return FL_OK;
    return error_set(
        e, FL_CONFIG,
        "this process may have %.0f MB of address space (`ulimit -v`) and needs %.0f MB: raise it, and bound "
        "memory by a control group instead",
        (double)space.rlim_cur / 1e6, (double)SPACE_LEAST / 1e6);
}

struct gate {
    pthread_mutex_t lock; /* held until all are there */
};

static void *wait_at(void *arg)
{
    struct gate *g = arg;

    pthread_mutex_lock(&g->lock);
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

int limits_check_threads(int threads, struct error *e)
{
    struct gate gate = {PTHREAD_MUTEX_INITIALIZER};
    pthread_t *thread = calloc((size_t)threads, sizeof *thread);
    int n = 0, why = 0;

    if (!thread)
        return error_set(e, FL_NOMEM, "no memory");
    pthread_mutex_lock(&gate.lock);
    while (n < threads && !(why = pthread_create(&thread[n], NULL, wait_at, &gate)))
        n++;
    pthread_mutex_unlock(&gate.lock);
    for (int i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    free(thread);
    if (n == threads)
        return FL_OK;
    return error_set(
        e, FL_UNAVAILABLE,
        "this process can start %d threads and needs %d (%s): raise `ulimit -u`, TasksMax= of systemd, or "
        "the pids limit of the container",
        n, threads, strerror(why));
}
