/* fuzz_choice.c - any bytes as measured figures, then as requests, answers and labels: nobody is asked who is
 * not ready, and nobody twice
 *
 * Text up to the first 0 is the file of figures; behind it a byte for the way of choosing, then 4 for each
 * event.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/choice/figures.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COURSES 8

struct driven {
    struct choice *c;
    int n;
    uint64_t now, id;
    struct choice_load load[CHOICE_MAX];
    struct choice_course course[COURSES];
    uint32_t asked[COURSES];
};

static void take(struct driven *d, int i, struct choice_step s)
{
    if (s.what == CHOICE_ASK) {
        if (!d->load[s.variant].ready || d->asked[i] >> s.variant & 1)
            abort();
        d->asked[i] |= 1u << s.variant;
    }
    if (s.what == CHOICE_SERVE && (!(d->asked[i] >> s.variant & 1) || !(s.confidence <= 1.0001f)))
        abort();
}

static void event(struct driven *d, const uint8_t *b)
{
    int i = b[0] % COURSES, v = b[1] % (d->n + 1);
    d->now += (uint64_t)b[3] * b[3] * 100000;
    for (int k = 0; k < d->n; k++)
        d->load[k] = (struct choice_load){!(b[2] >> k & 1), b[1], b[3] & 1 ? (uint64_t)b[2] << 16 : 0};
    if (b[0] & 64) {
        if (b[0] & 16)
            choice_end(d->c, &d->course[i]);
        struct choice_request r = {++d->id, b[1], (uint64_t)b[2] << 20, b[3] & 2 ? b[1] / 16.0 : NAN};
        d->asked[i] = choice_begin(d->c, d->now, &r, d->load, &d->course[i]);
        for (int k = 0; k < CHOICE_MAX; k++)
            if (d->asked[i] >> k & 1 && (k >= d->n || !d->load[k].ready))
                abort();
    } else if (b[0] & 128) {
        choice_feedback(d->c, b[1], b[2] - 1);
        take(d, i, choice_hurry(d->c, d->now, &d->course[i]));
    } else {
        struct choice_answer a = {v, b[0] & 32, b[2] & 1, (uint64_t)b[3] << 16, b[2] % 4, b[3] / 255.0f};
        take(d, i, choice_answered(d->c, d->now, &d->course[i], &a, d->load));
    }
}

static void drive(const struct figures *f, const uint8_t *data, size_t size)
{
    struct choice_budget b = {.max_accuracy_loss = 1, .memory = size > 1 && data[1] & 1 ? 1 << 20 : 0};
    struct driven d = {.n = f->n, .now = 1};
    struct choice_status st;
    struct error e = {0};

    if (!size)
        return;
    b.how = data[0] % 4;
    b.cpu_seconds_per_second = data[0] & 4;
    if (choice_new(&d.c, f->variant, f->n, &b, 1, &e)) {
        if (!e.text[0] || strchr(e.text, '\n'))
            abort();
        return;
    }
    for (size_t at = 1; at + 4 <= size; at += 4)
        event(&d, data + at);
    if (!(choice_wants(d.c, d.now, 1) & 1))
        abort();
    choice_status(d.c, d.now, &st);
    if (!(st.loss_hour >= 0))
        abort();
    choice_free(d.c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, 0, size);
    size_t text = end ? (size_t)(end - data) : size;
    char *copy = malloc(text + 1);
    struct error e = {0};
    struct figures f;

    if (!copy)
        return 0;
    memcpy(copy, data, text);
    copy[text] = '\0';
    if (figures_parse(&f, copy, "fuzz", &e)) {
        if (!e.text[0] || strchr(e.text, '\n'))
            abort();
    } else if (end) {
        drive(&f, end + 1, size - text - 1);
    }
    free(copy);
    return 0;
}
