/* machine.h - what a measurement ran on */
#ifndef FREEZELINE_MACHINE_H
#define FREEZELINE_MACHINE_H

#include <jansson.h>

/* cpu, cores, memory_bytes, kernel, governor, blas_core, conv_engine, freezeline, zmq, openblas, onednn,
 * revision: of this host and this program; null where the system does not tell. */
json_t *machine_json(void);

#endif
