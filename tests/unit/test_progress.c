/* test_progress.c - progress where there is no terminal: lines that say what they count */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "deploy/tool/progress.h"

/* The line at the end of a phase. */
static void shows(const char *unit, int parts, int64_t total, const char *line)
{
    struct progress p;
    FILE *to = tmpfile();
    char got[256] = "";

    assert_non_null(to);
    progress_open(&p, to);
    p.unit = unit;
    p.parts = parts;
    progress_update(&p, "load", total, total, NAN);
    progress_close(&p);
    rewind(to);
    assert_non_null(fgets(got, sizeof got, to));
    fclose(to);
    assert_string_equal(got, line);
}

static void test_units(void **state)
{
    shows(NULL, 0, 120, "load: 120 of 120 (100%) \n");
    shows("requests", 0, 120, "load: 120 of 120 requests (100%) \n");
    shows("s", 10, 125, "load: 12.5 of 12.5 s (100%) \n");
}

/* Each batch of labels from a pipe of unknown length is no line of its own. */
static void test_nobody_knows_of_how_many(void **state)
{
    struct progress p;
    FILE *to = tmpfile();

    assert_non_null(to);
    progress_open(&p, to);
    for (int done = 0; done < 1000; done++)
        progress_update(&p, "labels", done, 0, NAN);
    progress_close(&p);
    assert_true(ftell(to) < 100);
    fclose(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_nobody_knows_of_how_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
