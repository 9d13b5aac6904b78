/* container_image.c - a Containerfile, and the folder that it copies: what hosts get from `up --on ssh`, too
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deploy/launch/fleet_files.h"
#include "deploy/tool/output.h"
#include "deploy/tool/state.h"
#include "kubernetes_pods.h"

static int copy_file(const struct shipment_file *f, const char *folder, struct error *e)
{
    char path[2 * STATE_PATH_BYTES], above[2 * STATE_PATH_BYTES], bytes[65536];
    int from = open(f->from, O_RDONLY | O_CLOEXEC), to = -1, rc;
    ssize_t n = -1;

    snprintf(path, sizeof path, "%s/image/%s", folder, f->to);
    snprintf(above, sizeof above, "%.*s", (int)(strrchr(path, '/') - path), path);
    if ((rc = state_make(above, e)))
        return rc;
    unlink(path);
    if (from >= 0 &&
        (to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, f->program ? 0755 : 0644)) >= 0)
        while ((n = read(from, bytes, sizeof bytes)) > 0 && write(to, bytes, (size_t)n) == n)
            ;
    if (n || fchmod(to, f->program || f->library ? 0755 : 0644))
        rc = error_set(e, FL_IO, "cannot copy %s to %s: %s", f->from, path, strerror(errno));
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return rc;
}

/* Libraries come along, so any image does whose C library is not older. */
static int containerfile(FILE *to, const void *arg, struct error *e)
{
    const struct shipment *s = arg;

    (void)e;
    fprintf(to,
            "# Programs, the libraries that they are linked with, model and built caches: nothing is "
            "installed. The\n"
            "# C library has to be glibc 2.%d or newer.\n"
            "FROM docker.io/library/debian:stable-slim\n"
            "COPY image/ " KUBERNETES_ROOT "/\n"
            "RUN useradd --uid 10001 --no-create-home freezeline && mkdir -p " KUBERNETES_ROOT
            "/state && chmod -R a+rX " KUBERNETES_ROOT "\n"
            "USER 10001:10001\n"
            "ENV PATH=" KUBERNETES_ROOT "/bin:/usr/bin:/bin\n",
            s->glibc);
    return FL_OK;
}

int container_image(const struct pipeline *p, const char *folder, struct error *e)
{
    struct shipment s;
    char path[STATE_PATH_BYTES + 20], run[STATE_PATH_BYTES];
    int rc;

    if ((rc = state_path(run, p, e, "run")) || (rc = state_make(run, e)) ||
        (rc = fleet_files(&s, "image", p, FLEET_ALL, e)))
        return rc;
    for (int i = 0; !rc && i < s.n; i++)
        if (strcmp(s.file[i].to, "pipeline.yaml") != 0 && strncmp(s.file[i].to, "redis.", 6) != 0)
            rc = copy_file(&s.file[i], folder, e);
    snprintf(path, sizeof path, "%s/Containerfile", folder);
    if (!rc)
        rc = output_write(path, containerfile, &s, e);
    shipment_free(&s);
    return rc;
}
