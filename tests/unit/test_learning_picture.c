/* test_learning_picture.c - a pipeline that becomes fast, in characters and as an SVG */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "deploy/observe/learning_picture.h"
#include "xml_check.h"

static struct status_reply reply;

/* At second i: nothing serves for half of the time, then half is answered early. */
static void second(struct learning_picture *p, int i, int of)
{
    struct process_status *l = &reply.process[0];
    reply.now_ns = (uint64_t)(i + 1) * NS_PER_S;
    reply.answered += 100;
    reply.hits += i >= of / 2 ? 50 : 0;
    reply.n_processes = 1;
    l->role = ROLE_LEARNER;
    strcpy(l->state, "ready");
    l->caches.promise = (struct caches_promise){.made = true, .max_loss = 0.01, .certainty = 0.95};
    l->last.told = (struct epoch_told){.state = i >= of / 2 ? EPOCH_SERVING : EPOCH_COLD,
                                       .serial = i >= of / 2,
                                       .audits = 1000,
                                       .lost = 5,
                                       .upper = 0.009};
    learning_picture_add(p, &reply);
}

static char *printed(const struct learning_picture *p)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    learning_picture_print(p, to);
    fclose(to);
    return text;
}

static void share_and_loss_are_drawn(void **state)
{
    struct learning_picture *p;
    char *text;
    memset(&reply, 0, sizeof reply);
    assert_int_equal(learning_picture_new(&p), FL_OK);
    text = printed(p);
    assert_string_equal(text, "");
    free(text);
    for (int i = 0; i < 5000; i++) /* more than there is room for */
        second(p, i, 5000);
    text = printed(p);
    if (!strstr(text, "\n     0.0% |                              ##########"))
        fail_msg("%s", text);
    assert_non_null(strstr(text, "answered early: 50.0%"));
    assert_non_null(strstr(text, "0.50%, at most 0.90%, of 1.00%"));
    free(text);
    learning_picture_free(p);
}

static void the_plot_is_well_formed(void **state)
{
    static char text[1 << 20];
    struct learning_picture *p;
    struct error e = {0};
    char path[] = "/tmp/freezeline-picture-XXXXXX";
    int fd = mkstemp(path);
    FILE *f;
    assert_true(fd >= 0);
    memset(&reply, 0, sizeof reply);
    assert_int_equal(learning_picture_new(&p), FL_OK);
    assert_int_equal(learning_picture_save(p, path, &e), FL_VALUE);
    for (int i = 0; i < 40; i++)
        second(p, i, 40);
    assert_int_equal(learning_picture_save(p, path, &e), FL_OK);
    assert_non_null(f = fopen(path, "re"));
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_true(xml_well_formed(text));
    assert_non_null(strstr(text, "budget"));
    learning_picture_free(p);
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(share_and_loss_are_drawn),
        cmocka_unit_test(the_plot_is_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
