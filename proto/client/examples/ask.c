/* ask.c - asks a pipeline once: ask PIPELINE.yaml
 *
 * cc ask.c $(pkg-config --cflags --libs freezeline-client)
 */
#include <stdio.h>
#include <string.h>

#include <client/client.h>

int main(int argc, char **argv)
{
    static float picture[3 * 32 * 32];
    struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 32, 32}, .data = picture};
    struct pipeline *p = NULL;
    struct client *c = NULL;
    struct error e = {0};
    struct answer answer;
    float scores[10];
    int n = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: ask PIPELINE.yaml\n");
        return 2;
    }
    memset(&answer, 0, sizeof answer);
    if (pipeline_load(&p, argv[1], NULL, 0, &e) || client_new(&c, p, &e) ||
        client_infer(c, &input, 0, 10000, &answer, scores, 10, &n, &e) || answer.error) {
        fprintf(stderr, "%s%s\n", e.text, answer.text);
        return 1;
    }
    printf("label %d, answered by %s\n", answer.label, answer.exit < 0 ? "the whole network" : "a cache");
    client_free(c);
    pipeline_free(p);
    return 0;
}
