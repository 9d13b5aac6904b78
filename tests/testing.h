/* testing.h - cmocka, and what it wants included before it */
#ifndef FREEZELINE_TESTING_H
#define FREEZELINE_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
