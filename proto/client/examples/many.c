/* many.c - one client for several threads: many PIPELINE.yaml
 *
 * Two threads send pictures and hear of answers by a callback. The main thread sends one too, waits for its
 * answer with poll, as a program with a loop of its own does, and cancels another. Pictures are lent, not
 * copied.
 *
 * cc many.c $(pkg-config --cflags --libs freezeline-client)
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <client/async.h>

#define THREADS 2
#define EACH    50

static struct async *client;
static atomic_int answered, early, failed;

/* Runs in the client's thread. */
static void on_answer(void *arg, uint64_t id, const struct answer *answer, const float *scores, int n)
{
    (void)arg, (void)id, (void)scores, (void)n;
    answered++;
    early += !answer->error && answer->exit >= 0;
    failed += answer->error != 0;
}

static void free_picture(void *picture, void *arg)
{
    (void)arg;
    free(picture);
}

static struct async_request make_request(void)
{
    struct async_request r = {.request = {.input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 32, 32}},
                                          .deadline_ms = 10000,
                                          .release = free_picture}};
    r.request.input.data = calloc(3 * 32 * 32, sizeof(float));
    return r;
}

static void *send_pictures(void *arg)
{
    struct error e;
    uint64_t id;
    for (int i = 0; i < EACH; i++) {
        struct async_request r = make_request();
        r.done = on_answer;
        if (async_send(client, &r, &id, &e))
            failed++;
    }
    return arg;
}

/* One answer, taken when the descriptor says that it is there. */
static int take_answer(void)
{
    struct pollfd fd = {.fd = async_fd(client), .events = POLLIN};
    struct async_answer a;
    while (async_next(client, &a))
        poll(&fd, 1, -1);
    if (a.answer.error)
        printf("request %llu: %s\n", (unsigned long long)a.id, a.answer.text);
    else
        printf("request %llu: label %d of %d scores\n", (unsigned long long)a.id, a.answer.label, a.n);
    async_release(&a);
    return (int)a.answer.error;
}

int main(int argc, char **argv)
{
    struct pipeline *p = NULL;
    struct error e = {0};
    struct async_request mine = make_request(), other = make_request();
    pthread_t thread[THREADS];
    uint64_t id;
    int rc;

    if (argc != 2 || pipeline_load(&p, argv[1], NULL, 0, &e) || async_new(&client, p, &e)) {
        fprintf(stderr, "%s\n", argc == 2 ? e.text : "usage: many PIPELINE.yaml");
        return 1;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, send_pictures, NULL);
    rc = async_send(client, &mine, &id, &e) || take_answer();
    if (!async_send(client, &other, &id, &e)) {
        async_cancel(client, id);
        take_answer(); /* "cancelled", or the answer, if that was quicker */
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    while (answered + failed < THREADS * EACH)
        poll(NULL, 0, 1);
    async_free(client);
    pipeline_free(p);
    printf("%d answered, %d of them early, %d failed\n", answered, early, failed);
    return rc || failed;
}
