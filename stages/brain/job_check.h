/* job_check.h - whether a job is one for this stage worker */
#ifndef FREEZELINE_JOB_CHECK_H
#define FREEZELINE_JOB_CHECK_H

#include "stage_brain.h"

/* FL_PROTOCOL: it has come or is to go another way than a worker of this pipeline would send it. FL_STALE:
 * another plan. FL_DTYPE, FL_SHAPE. The text is for who asked. */
int job_check(const struct job *j, const struct stage_setup *s, int n_next, struct error *e);

#endif
