/* shipment.h - the files that the hosts of a pipeline need, and what programs need of a host
 *
 * A file is known by its content: its digest names it in the store of a host, wherever it lies here or there.
 */
#ifndef FREEZELINE_SHIPMENT_H
#define FREEZELINE_SHIPMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"

#define SHIPMENT_ALL      (-1) /* for every host */
#define SHIPMENT_ID_BYTES 48

struct shipment_file {
    char *from; /* the path here, owned */
    char *to;   /* its place below the pipeline's folder there, owned */
    int host;   /* the only one that gets it, or SHIPMENT_ALL */
    bool program, library;
    uint64_t bytes;
    char object[DIGEST_TEXT_BYTES];
};

struct shipment {
    char id[SHIPMENT_ID_BYTES];
    int n, room;
    struct shipment_file *file;
    int glibc;    /* the programs need 2.N; 0: no particular one */
    bool partial; /* beside what was shipped before, which stays */
};

/* `id` names the pipeline's folder on the hosts: letters, digits, '.', '_', '-'; FL_CONFIG otherwise. */
int shipment_init(struct shipment *s, const char *id, struct error *e);
void shipment_free(struct shipment *s);

/* A file. `to` is relative and leads nowhere above; FL_CONFIG. FL_NOT_FOUND, FL_IO. */
int shipment_add(struct shipment *s, int host, const char *from, const char *to, struct error *e);
/* Programs to bin/, and to lib/ the shared libraries that they are linked with here. A host that has the same
 * library, by name and size, keeps its own; what belongs to glibc is never shipped. FL_NOT_FOUND when a
 * library is missing here. */
int shipment_add_programs(struct shipment *s, char *const *path, int n, struct error *e);

/* For tests: the library's name and path in a line of ldd's; false for other lines and for those of glibc.
 * FL_NOT_FOUND by *missing. */
bool shipment_library(const char *line, char name[128], char path[1024], bool *missing);
/* The largest N of "GLIBC_2.N" in there; 0: none. */
int shipment_glibc(const char *bytes, uint64_t size);

#endif
