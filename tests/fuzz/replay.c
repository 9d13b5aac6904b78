/* replay.c - runs a fuzz target over files, without a fuzzer: how `make test` replays the corpora
 *
 * Usage: replay_TARGET FILE_OR_FOLDER... ; each file's bytes go to LLVMFuzzerTestOneInput once, in a buffer
 * of exactly their size, so that a sanitizer sees every read past the end.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replayed;

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    uint8_t *data = NULL;
    size_t size;
    if (!f || fstat(fileno(f), &st) || !(data = malloc((size_t)st.st_size ? (size_t)st.st_size : 1))) {
        perror(path);
        if (f)
            fclose(f);
        return 1;
    }
    size = fread(data, 1, (size_t)st.st_size, f);
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    replayed++;
    return 0;
}

static int replay_folder(const char *path)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    int failed = n < 0;
    for (int i = 0; i < n; i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            failed |= replay_file(file);
        free(names[i]);
    }
    if (n < 0)
        perror(path);
    else
        free(names);
    return failed;
}

static int replay(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode) ? replay_folder(path) : replay_file(path);
}

int main(int argc, char **argv)
{
    const char *target = strstr(argv[0], "replay_");
    char corpus[256];
    int failed = 0;
    if (argc < 2) {
        snprintf(corpus, sizeof corpus, "tests/fuzz/corpus/%s", target ? target + strlen("replay_") : "");
        failed = replay(corpus);
    }
    for (int i = 1; i < argc; i++)
        failed |= replay(argv[i]);
    printf("%d passed, %d failed\n", replayed, failed);
    return failed || replayed == 0;
}
