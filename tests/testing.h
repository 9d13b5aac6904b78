/* testing.h - cmocka, and what it wants included before it */
#ifndef FREEZELINE_TESTING_H
#define FREEZELINE_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Each test is given a state, which few of them want. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

#endif
