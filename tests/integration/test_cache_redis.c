/* test_cache_redis.c - cache services and a real Redis that is full, damaged, idle, or shared by hosts with
 * other builds
 *
 * A host is a state folder of its own. Time is told by heartbeats, one every 50 ms: what is to stay as it is
 * has stayed so for some of them.
 */
#include "cache_world.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define EPOCH   "freezeline:{test}:epoch"
#define UPDATES "freezeline:{test}:updates"

static void beats(struct world *w, int i, uint64_t n)
{
    uint64_t until = w->service[i].beats + n;
    wait_for(w, w->service[i].beats >= until);
}

static enum learning_state learning(const struct world *w, int i)
{
    return (enum learning_state)w->service[i].beat.learning.state;
}

static bool empty_stream(struct world *w)
{
    return !strcmp(redis_ask(w, "XLEN %s", UPDATES), "0");
}

static int lines(const struct world *w, int i)
{
    char path[128];
    FILE *f;
    int n = 0, c;
    log_path(w, i, path, sizeof path);
    assert_non_null(f = fopen(path, "re"));
    while ((c = getc(f)) != EOF)
        n += c == '\n';
    fclose(f);
    return n;
}

/* A number of Redis's INFO. */
static long long redis_number(struct world *w, const char *section, const char *name)
{
    redisContext *c = redis_open(w);
    redisReply *r = c ? redisCommand(c, "INFO %s", section) : NULL;
    const char *at = r ? strstr(r->str, name) : NULL;
    long long n = at ? atoll(at + strlen(name)) : -1;
    freeReplyObject(r);
    redisFree(c);
    return n;
}

static long long connections(struct world *w)
{
    return redis_number(w, "stats", "total_connections_received:");
}

/* The build in Redis's head as text, in a static buffer. */
static const char *head_build(struct world *w)
{
    static char build[33];
    build[0] = '\0';
    sscanf(redis_ask(w, "GET %s", EPOCH), "%*s %32s", build);
    return build;
}

static void disk_manifest(const struct world *w, const char *state, struct manifest *m)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s/caches/manifest.json", w->dir, state);
    assert_int_equal(manifest_load(m, path, NULL), FL_OK);
}

static bool redis_has_build_of(struct world *w, const char *state)
{
    char text[DIGEST_TEXT_BYTES];
    struct manifest m;
    disk_manifest(w, state, &m);
    return !strcmp(head_build(w), digest_text(m.build, text));
}

static void shell(const struct world *w, const char *command)
{
    char text[256];
    snprintf(text, sizeof text, "cd %s && %s", w->dir, command);
    assert_int_equal(system(text), 0);
}

/* What waits on the disk of service 0. */
static long long spool_bytes(const struct world *w)
{
    char path[128];
    long long bytes = 0;
    struct dirent *entry;
    struct stat s;
    DIR *d;
    in_dir(w, path, sizeof path, "state/caches/spool-0");
    if (!(d = opendir(path)))
        return 0;
    while ((entry = readdir(d)))
        if (strstr(entry->d_name, ".seg") && !fstatat(dirfd(d), entry->d_name, &s, 0))
            bytes += s.st_size;
    closedir(d);
    return bytes;
}

/* Of the knn cache in Redis, which keeps all. */
static int64_t known_points(const struct world *w)
{
    redisContext *c = redis_open(w);
    redisReply *r = c ? redisCommand(c, "GET freezeline:{test}:exit:exit1") : NULL;
    struct cache *cache;
    int64_t n = -1;
    if (r && r->type == REDIS_REPLY_STRING && !cache_unpack(&cache, r->str, r->len, NULL, NULL)) {
        n = cache_info(cache).entries;
        cache_free(cache);
    }
    if (r)
        freeReplyObject(r);
    if (c)
        redisFree(c);
    return n;
}

/* --- a Redis that refuses --- */

/* Nothing but a few lines and no new connection while it goes on (the test's own four are counted too). */
static void is_quiet(struct world *w, int i)
{
    int said = lines(w, i);
    long long connected = connections(w);
    beats(w, i, 20);
    assert_in_range(lines(w, i) - said, 0, 3);
    assert_in_range(connections(w) - connected, 0, 4);
}

static void a_full_redis_costs_a_line(void **state)
{
    struct world *w = world_new(true);
    start_service(w, 0);
    teach_to(w, 0, MISSING, 30, 30);
    redis_ask(w, "CONFIG SET maxmemory %s", "1");
    teach(w, 0, MISSING, 30);
    wait_for(w, learning(w, 0) == LEARNING_REFUSED);
    assert_true(w->service[0].beat.redis_up);
    is_quiet(w, 0);
    assert_int_equal(w->service[0].beat.queued, 30);
    assert_true(log_has(w, 0, "raise its maxmemory"));
    redis_ask(w, "CONFIG SET maxmemory %s", "0");
    wait_for(w, w->service[0].beat.jobs == 60);
    wait_for(w, learning(w, 0) == LEARNING_SHARED);
    assert_true(log_has(w, 0, "does again all"));
    world_free(w);
}

static void keys_of_another_type_cost_a_line(void **state)
{
    struct world *w = world_new(true);
    start_service(w, 0);
    teach(w, 0, MISSING, 10);
    wait_for(w, w->service[0].beat.jobs == 10 && empty_stream(w));
    redis_ask(w, "DEL %s", UPDATES);
    redis_ask(w, "LPUSH %s 1", UPDATES);
    teach(w, 0, MISSING, 10);
    wait_for(w, log_has(w, 0, "delete it"));
    is_quiet(w, 0);
    assert_int_equal(learning(w, 0), LEARNING_REFUSED);
    redis_ask(w, "DEL %s", UPDATES);
    wait_for(w, w->service[0].beat.jobs == 20);
    /* The head itself. */
    redis_ask(w, "DEL %s", EPOCH);
    redis_ask(w, "LPUSH %s 1", EPOCH);
    wait_for(w, !w->service[0].beat.redis_up);
    redis_ask(w, "DEL %s", EPOCH);
    teach_to(w, 0, MISSING, 10, 30);
    world_free(w);
}

static void a_head_that_is_none_is_replaced(void **state)
{
    struct world *w = world_new(true);
    start_service(w, 0);
    redis_ask(w, "SET %s rubbish", EPOCH);
    wait_for(w, log_has(w, 0, "in the place of \"rubbish\""));
    assert_true(redis_has_build_of(w, "state"));
    teach_to(w, 0, MISSING, 10, 10);
    assert_true(lines(w, 0) < 12);
    world_free(w);
}

/* What somebody did to the stream and its group costs what is gone, and nothing else. */
static void a_stream_that_others_touch_goes_on(void **state)
{
    static const char *const harm[] = {"XGROUP DESTROY %s learners", "XTRIM %s MAXLEN 0", "DEL %s",
                                       "XADD %s * other field", "XADD %s * u no-record"};
    struct world *w = world_new(true);
    uint64_t jobs = 0;
    start_service(w, 0);
    for (int i = 0; i < 5; i++) {
        teach(w, 0, MISSING, 10);
        jobs += 10;
        wait_for(w, w->service[0].beat.jobs == jobs);
        redis_ask(w, harm[i], UPDATES);
    }
    teach(w, 0, MISSING, 10);
    wait_for(w, w->service[0].beat.jobs == jobs + 10 && empty_stream(w));
    assert_int_equal(w->service[0].beat.learning.rejected, 2);
    assert_int_equal(learning(w, 0), LEARNING_SHARED);
    world_free(w);
}

static void write_secret(const struct world *w, const char *secret)
{
    char path[128];
    FILE *f;
    in_dir(w, path, sizeof path, "secret");
    assert_non_null(f = fopen(path, "we"));
    fprintf(f, "%s\n", secret);
    fclose(f);
}

/* The password is read anew for each connection, and is in no log. */
static void a_user_has_a_password(void **state)
{
    struct world *w = world_new(true);
    redis_ask(w, "ACL SETUSER freezeline on >%s ~freezeline:* &freezeline:* +@all -@dangerous +role",
              "s3cret");
    shell(w, "sed -i 's|redis: {|redis: {user: freezeline, password_file: secret, |' p.yaml");
    start_service(w, 0);
    wait_for(w, log_has(w, 0, "redis.password_file"));
    write_secret(w, "wrong-s3cret");
    wait_for(w, log_has(w, 0, "user or password are refused"));
    assert_false(w->service[0].beat.redis_up);
    teach(w, 0, MISSING, 10);
    write_secret(w, "s3cret");
    wait_for(w, w->service[0].beat.jobs == 10 && learning(w, 0) == LEARNING_SHARED);
    redis_ask(w, "ACL SETUSER freezeline -%s", "xadd");
    teach(w, 0, MISSING, 10);
    wait_for(w, learning(w, 0) == LEARNING_REFUSED && log_has(w, 0, "give it +@all"));
    redis_ask(w, "ACL SETUSER freezeline +%s", "xadd");
    wait_for(w, w->service[0].beat.jobs == 20);
    assert_false(log_has(w, 0, "s3cret"));
    world_free(w);
}

/* What writes is refused there, so nothing is asked of it, and updates wait. */
static void a_replica_is_left_alone(void **state)
{
    struct world *w = world_new(true);
    start_service(w, 0);
    teach_to(w, 0, MISSING, 10, 10);
    redis_ask(w, "REPLICAOF 127.0.0.1 %s", "1");
    teach(w, 0, MISSING, 10);
    wait_for(w, !w->service[0].beat.redis_up && log_has(w, 0, "it is no master but a slave"));
    redis_ask(w, "REPLICAOF NO %s", "ONE");
    wait_for(w, w->service[0].beat.jobs == 20);
    world_free(w);
}

/* A port of this host that nobody has now. */
static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof a) &&
                !getsockname(fd, (struct sockaddr *)&a, &size));
    close(fd);
    return ntohs(a.sin_port);
}

static char *text(const char *format, ...)
{
    static char texts[8][256];
    static int next;
    va_list args;
    char *to = texts[next++ % 8];
    va_start(args, format);
    vsnprintf(to, sizeof texts[0], format, args);
    va_end(args);
    return to;
}

static long long replicas(struct world *w)
{
    return redis_number(w, "replication", "connected_slaves:");
}

/* The master dies, Sentinel makes the replica the master, and the service finds it. */
static void sentinels_tell_the_master(void **state)
{
    struct world *w = world_new(true);
    int master = free_port(), other = free_port(), sentinel = free_port();
    pid_t replica, watcher;
    redis_ask(w, "CONFIG SET port %s", text("%d", master));
    shell(w,
          text("mkdir other && printf 'port %d\\nsentinel monitor mine 127.0.0.1 %d 1\\n"
               "sentinel down-after-milliseconds mine 500\\nsentinel failover-timeout mine 2000\\n' > s.conf",
               sentinel, master));
    replica =
        launch((char *[]){"redis-server", "--port", text("%d", other), "--dir", text("%s/other", w->dir),
                          "--save", "", "--replicaof", "127.0.0.1", text("%d", master), NULL},
               text("%s/replica.log", w->dir));
    wait_for(w, replicas(w) == 1);
    watcher = launch((char *[]){"redis-server", text("%s/s.conf", w->dir), "--sentinel", NULL},
                     text("%s/sentinel.log", w->dir));
    shell(w, text("sed -i 's|redis: {.*|redis: {sentinels: [\"127.0.0.1:%d\"], master: mine}|' p.yaml",
                  sentinel));
    start_service(w, 0);
    teach_to(w, 0, MISSING, 10, 10);
    redis_ask(w, "WAIT 1 %s", "5000");
    wait_for(w, !system(text("grep -q 'slave.*%d' %s/sentinel.log", other, w->dir)));
    end_process(&w->redis, SIGKILL);
    teach_to(w, 0, MISSING, 10, 20);
    end_process(&watcher, SIGKILL);
    end_process(&replica, SIGKILL);
    world_free(w);
}

/* --- updates that wait --- */

/* Redis is away, the service is killed: what it had put on its disk is sent by the next one. */
static void updates_on_the_disk_outlive_redis_and_service(void **state)
{
    struct world *w = world_new(true);
    start_service(w, 0);
    teach_to(w, 0, MISSING, 10, 10);
    end_process(&w->redis, SIGKILL);
    teach(w, 0, MISSING, 40);
    wait_for(w, w->service[0].beat.queued == 40 && spool_bytes(w) > 40 * 100);
    end_process(&w->service[0].pid, SIGKILL);
    start_service(w, 0);
    assert_true(log_has(w, 0, "updates wait in"));
    assert_int_equal(w->service[0].beat.queued, 40);
    teach(w, 0, MISSING, 10);
    wait_for(w, w->service[0].beat.queued == 50);
    start_redis(w);
    wait_for(w, w->service[0].beat.jobs == 50);
    assert_int_equal(w->service[0].beat.learning.accepted, 50);
    assert_int_equal(w->service[0].beat.dropped, 0);
    wait_for(w, empty_stream(w) && w->service[0].beat.queued == 0);
    assert_true(count_label(w, 0, 0, MISSING, 50) > 40);
    world_free(w);
}

/* Whatever is killed, and when: each update that was accepted is in the caches once. An update is told apart
 * by nothing but its being there, so all are counted: those in the caches, and none twice in the stream. */
static void killed_in_turn_all_is_applied_once(void **state)
{
    struct world *w = world_new(true);
    const char *told = getenv("KILLS");
    int kills = told ? atoi(told) : 4;
    uint64_t taught = 0, since = 0; /* in all; since the service began */
    int64_t before;
    start_service(w, 0);
    wait_for(w, learning(w, 0) == LEARNING_SHARED);
    before = known_points(w);
    for (int i = 0; i < kills; i++) {
        bool redis = i % 2 == 0;
        teach(w, 0, MISSING, 20);
        taught += 20;
        since += 20;
        if (redis) {
            end_process(&w->redis, SIGKILL);
            teach(w, 0, MISSING, 10);
            taught += 10;
            since += 10;
            wait_for(w, spool_bytes(w) > 0);
            start_redis(w);
        } else {
            wait_for(w, w->service[0].beat.learning.accepted >= since);
            end_process(&w->service[0].pid, SIGKILL);
            start_service(w, 0);
            since = 0;
        }
    }
    wait_for(w, w->service[0].beat.queued == 0 && empty_stream(w) &&
                    known_points(w) >= before + (int64_t)taught);
    assert_int_equal(known_points(w), before + (int64_t)taught);
    assert_int_equal(w->service[0].beat.dropped, 0);
    world_free(w);
}

/* --- damaged caches --- */

/* Who has them whole puts them there again, with what they learned; who can't use them meanwhile says so
 * once. */
static void damaged_caches_are_mended_by_who_has_them(void **state)
{
    struct world *w = world_new(true);
    start_service(w, 0);
    teach_to(w, 0, MISSING, 60, 60);
    wait_for(w, empty_stream(w) && count_label(w, 0, 0, MISSING, 50) > 40);
    redis_ask(w, "SET %s not-a-cache", "freezeline:{test}:exit:exit1");
    redis_ask(w, "DEL %s", "freezeline:{test}:manifest");
    start_service(w, 1);
    wait_for(w, log_has(w, 0, "they are published again"));
    wait_for(w, w->service[1].beat.epoch == w->service[0].beat.epoch);
    wait_for(w,
             count_label(w, 1, 0, MISSING, 50) > 40); /* what was learned is not lost, or still on its way */
    wait_for(w, learning(w, 1) == LEARNING_SHARED);
    world_free(w);
}

/* What somebody blew up in Redis is not fetched, and replaced. */
static void what_is_huge_is_not_fetched(void **state)
{
    struct world *w = world_new(true);
    start_service(w, 0);
    teach(w, 0, MISSING, 60);
    wait_for(w, w->service[0].beat.jobs == 60 && empty_stream(w));
    redis_ask(w, "SETRANGE %s 50000000 x", "freezeline:{test}:manifest");
    start_service(w, 1);
    wait_for(w, log_has(w, 0, "they are published again"));
    wait_for(w, w->service[1].beat.epoch == w->service[0].beat.epoch);
    redis_ask(w, "SETRANGE %s 50000000 x", EPOCH);
    wait_for(w, log_has(w, 0, "which is no head of caches") || log_has(w, 1, "which is no head of caches"));
    assert_in_range(redis_number(w, "stats", "total_net_output_bytes:"), 1, 40000000);
    world_free(w);
}

/* Another host's service without a build of its own: what is damaged is asked for and not fetched again and
 * again, the others serve, and updates go on. When somebody comes who has it, all is well. */
static void what_nobody_can_mend_costs_a_line(void **state)
{
    struct world *w = world_new(true);
    start_service(w, 0);
    wait_for(w, learning(w, 0) == LEARNING_SHARED);
    end_process(&w->service[0].pid, SIGKILL);
    redis_ask(w, "SET %s not-a-cache", "freezeline:{test}:exit:exit1");
    snprintf(w->set[1], sizeof w->set[1], "state=%s/elsewhere", w->dir);
    start_service(w, 1);
    wait_for(w, w->service[1].beat.caches == 1 && learning(w, 1) == LEARNING_SHARED);
    is_quiet(w, 1);
    for (int i = 0; i < 10; i++) { /* seen at the exit that is well */
        look_up_one(w, 1, 1, MISSING, JOB_SAMPLED | JOB_AUDIT);
        tell_outcome(w, w->request, MISSING, -1);
    }
    wait_for(w, w->service[1].beat.jobs == 10);
    start_service(w, 0);
    wait_for(w, w->service[1].beat.caches == 2);
    assert_true(count_label(w, 1, 0, 1, 50) > 40);
    world_free(w);
}

/* --- builds --- */

/* Two hosts, one build; the learned one is in Redis. */
static struct world *two_hosts(void)
{
    struct world *w = world_new(true);
    shell(w, "mkdir host1 && cp -r state/caches host1");
    snprintf(w->set[1], sizeof w->set[1], "state=%s/host1", w->dir);
    start_service(w, 0);
    start_service(w, 1);
    teach(w, 0, MISSING, 60);
    wait_for(w, w->service[0].beat.jobs + w->service[1].beat.jobs == 60);
    wait_for(w, w->service[0].beat.epoch == w->service[1].beat.epoch);
    return w;
}

/* Host by host: each serves what is on its disk, Redis changes once, the one that is behind says so. */
static void a_rollout_goes_host_by_host(void **state)
{
    struct world *w = two_hosts();
    char head[128];
    build_caches(w, MISSING, 2);
    kill(w->service[0].pid, SIGHUP);
    wait_for(w, redis_has_build_of(w, "state"));
    wait_for(w, learning(w, 1) == LEARNING_ASIDE);
    snprintf(head, sizeof head, "%s", redis_ask(w, "GET %s", EPOCH));
    beats(w, 1, 30);
    assert_string_equal(head, redis_ask(w, "GET %s", EPOCH));
    assert_int_equal(learning(w, 0), LEARNING_SHARED);
    assert_true(log_has(w, 1, "each serves its own"));
    assert_true(log_has(w, 0, "in the place of build"));
    assert_int_equal(count_label(w, 0, 0, MISSING, 50), 0); /* it begins anew */
    assert_true(count_label(w, 1, 0, MISSING, 50) > 40);
    shell(w, "rm -r host1/caches && cp -r state/caches host1");
    kill(w->service[1].pid, SIGHUP);
    wait_for(w, learning(w, 1) == LEARNING_SHARED);
    assert_int_equal(count_label(w, 1, 0, MISSING, 50), 0);
    teach(w, 1, MISSING, 60);
    wait_for(w, w->service[0].beat.jobs + w->service[1].beat.jobs == 120);
    wait_for(w, w->service[0].beat.epoch == w->service[1].beat.epoch);
    assert_true(count_label(w, 1, 0, MISSING, 50) > 40);
    world_free(w);
}

/* Rolled back, or built elsewhere: the build that nobody has any more gives way, and only that. */
static void a_build_that_nobody_has_gives_way(void **state)
{
    struct world *w = two_hosts();
    char key[128];
    shell(w, "mv host1/caches kept && mv state/caches host1/");
    build_caches(w, MISSING, 2); /* knows nothing of the other */
    kill(w->service[0].pid, SIGHUP);
    wait_for(w, learning(w, 0) == LEARNING_ASIDE);
    assert_true(redis_has_build_of(w, "host1"));
    beats(w, 0, 10);
    assert_true(redis_has_build_of(w, "host1"));
    end_process(&w->service[1].pid, SIGTERM);
    snprintf(key, sizeof key, "freezeline:{test}:held:%s", head_build(w));
    redis_ask(w, "DEL %s", key); /* as if the time were over */
    wait_for(w, redis_has_build_of(w, "state"));
    wait_for(w, learning(w, 0) == LEARNING_SHARED);
    world_free(w);
}

/* The first build's clock was a day ahead. What was learned from it is in Redis and in a file; the next build
 * counts. */
static void the_clock_was_ahead(void **state)
{
    struct world *w = world_new(true);
    char path[128];
    struct manifest m;
    disk_manifest(w, "state", &m);
    m.built_ms = (uint64_t)(time(NULL) + 86400) * 1000;
    in_dir(w, path, sizeof path, "state/caches/manifest.json");
    assert_int_equal(manifest_save(&m, path, NULL), FL_OK);
    start_service(w, 0);
    assert_true(log_has(w, 0, "s from now"));
    teach_to(w, 0, MISSING, 60, 60);
    assert_int_equal(end_process(&w->service[0].pid, SIGTERM), 0);
    build_caches(w, MISSING, 2);
    start_service(w, 0);
    wait_for(w, redis_has_build_of(w, "state"));
    assert_int_equal(count_label(w, 0, 0, MISSING, 50), 0);
    assert_true(log_has(w, 0, "is not used: the build here is"));
    assert_true(log_has(w, 0, "in the place of build"));
    world_free(w);
}

/* --- idling --- */

/* How often the threads of a process went to sleep so far. */
static long sleeps(pid_t pid)
{
    char path[64], line[128];
    struct dirent *entry;
    long all = 0, n;
    DIR *d;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    assert_non_null(d = opendir(path));
    while ((entry = readdir(d))) {
        FILE *f;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/comm", (int)pid, entry->d_name);
        if (entry->d_name[0] == '.' || !(f = fopen(path, "re")))
            continue;
        line[0] = '\0';
        fgets(line, sizeof line, f);
        fclose(f);
        if (strcmp(line, "keeper\n"))
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/status", (int)pid, entry->d_name);
        assert_non_null(f = fopen(path, "re"));
        while (fgets(line, sizeof line, f))
            if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1)
                all += n;
        fclose(f);
    }
    closedir(d);
    return all;
}

static long long looks(struct world *w)
{
    return redis_number(w, "commandstats", "cmdstat_getrange:calls=");
}

/* The keeper wakes about once a second (each answer of Redis is a sleep too), and at once when there is
 * something. */
static void an_idle_keeper_sleeps(void **state)
{
    struct world *w = world_new(true);
    uint64_t beat, began;
    long before;
    start_service(w, 0);
    teach_to(w, 0, MISSING, 20, 20);
    before = sleeps(w->service[0].pid);
    assert_true(before > 0);
    began = clock_ns();
    beats(w, 0, 30);
    assert_in_range(sleeps(w->service[0].pid) - before, 1, 12 + 12 * (clock_ns() - began) / NS_PER_S);
    /* By looking once a second this would take two hundred beats. */
    beat = w->service[0].beats;
    for (int i = 0; i < 10; i++) {
        long long n = looks(w);
        redis_ask(w, "PUBLISH %s another-head", "freezeline:{test}:hint");
        wait_for(w, looks(w) > n);
    }
    assert_in_range(w->service[0].beats - beat, 0, 100);
    world_free(w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_redis_costs_a_line),
        cmocka_unit_test(keys_of_another_type_cost_a_line),
        cmocka_unit_test(a_head_that_is_none_is_replaced),
        cmocka_unit_test(a_stream_that_others_touch_goes_on),
        cmocka_unit_test(a_user_has_a_password),
        cmocka_unit_test(a_replica_is_left_alone),
        cmocka_unit_test(sentinels_tell_the_master),
        cmocka_unit_test(updates_on_the_disk_outlive_redis_and_service),
        cmocka_unit_test(killed_in_turn_all_is_applied_once),
        cmocka_unit_test(damaged_caches_are_mended_by_who_has_them),
        cmocka_unit_test(what_is_huge_is_not_fetched),
        cmocka_unit_test(what_nobody_can_mend_costs_a_line),
        cmocka_unit_test(a_rollout_goes_host_by_host),
        cmocka_unit_test(a_build_that_nobody_has_gives_way),
        cmocka_unit_test(the_clock_was_ahead),
        cmocka_unit_test(an_idle_keeper_sleeps),
    };
    char self[1024];
    (void)argc;
    /* build/VARIANT/tests/integration/test_X -> build/VARIANT */
    snprintf(self, sizeof self, "%s", argv[0]);
    snprintf(bin_dir, sizeof bin_dir, "%s/../..", dirname(self));
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
