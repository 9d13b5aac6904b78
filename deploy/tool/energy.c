/* energy.c - reading RAPL counters */
#include "energy.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool read_number(const char *folder, const char *name, uint64_t *out)
{
    char path[192];
    FILE *f;
    bool ok;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!(f = fopen(path, "re")))
        return false;
    ok = fscanf(f, "%" SCNu64, out) == 1;
    fclose(f);
    return ok;
}

/* "intel-rapl:0" is a package, "intel-rapl:0:1" a part of it that the package's counter includes. */
static bool is_package(const char *name)
{
    const char *colon = strchr(name, ':');
    return colon && strstr(name, "rapl") && !strchr(colon + 1, ':');
}

void energy_open(struct energy *of, const char *root)
{
    DIR *d = opendir(root);
    const struct dirent *entry;

    memset(of, 0, sizeof *of);
    while (d && of->n < ENERGY_PACKAGES && (entry = readdir(d))) {
        struct energy_package *p = &of->package[of->n];
        int n = snprintf(p->path, sizeof p->path, "%s/%s", root, entry->d_name);
        if (is_package(entry->d_name) && n < (int)sizeof p->path &&
            read_number(p->path, "energy_uj", &p->last_uj) &&
            read_number(p->path, "max_energy_range_uj", &p->range_uj))
            of->n++;
    }
    if (d)
        closedir(d);
}

void energy_read(struct energy *of)
{
    for (int i = 0; i < of->n; i++) {
        struct energy_package *p = &of->package[i];
        uint64_t now;
        if (!read_number(p->path, "energy_uj", &now))
            continue;
        of->joules += (double)(now >= p->last_uj ? now - p->last_uj : now + p->range_uj - p->last_uj) / 1e6;
        p->last_uj = now;
    }
}
