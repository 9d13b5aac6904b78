/* energy.h - joules that the CPU packages used, from Intel's and AMD's RAPL counters as Linux shows them
 * (powercap). Virtual machines mostly show none. */
#ifndef FREEZELINE_ENERGY_H
#define FREEZELINE_ENERGY_H

#include <stdint.h>

#define ENERGY_ROOT     "/sys/class/powercap"
#define ENERGY_PACKAGES 16

struct energy {
    int n; /* packages; 0: not exposed here, or not to this user */
    double joules;
    struct energy_package {
        char path[160];
        uint64_t last_uj, range_uj; /* the counter starts again at 0 after range_uj */
    } package[ENERGY_PACKAGES];
};

/* Finds the counters below `root` and begins at 0 joules. */
void energy_open(struct energy *of, const char *root);
/* Adds what was used since the last call. Call often enough that no counter comes around twice (minutes). */
void energy_read(struct energy *of);

#endif
