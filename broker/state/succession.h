/* succession.h - stage workers that wait: for the end of the holder of their place, or for all to move on
 * together
 *
 * A worker that was started to come after another of the same plan waits for nothing but its end.
 *
 * All stages that serve have one plan (registry.h): the network, its input, cuts, exits. A worker that comes
 * with another one gets no requests; it is kept here and waits. The pipeline moves on to a plan of those who
 * wait in two cases.
 * - They can serve every stage with it, and each worker that serves has its successor (`freezeline apply`
 *   starts them, or any launcher) or a stage has nobody.
 * - A stage can't be served any more, and who comes there has another plan: the files are others now, and a
 *   pipeline that lacks a stage answers nothing. This one happens at most once in SUCCESSION_EVERY_NS, lest
 *   hosts whose files differ take turns.
 *
 * Moving on: those that serve are given no more requests and sent away when they have none left, and so are
 * those that waited to come after one of them; then the others that waited join. Requests wait meanwhile.
 * Pure: time comes in as an argument. One thread.
 */
#ifndef FREEZELINE_SUCCESSION_H
#define FREEZELINE_SUCCESSION_H

#include "registry.h"

#define SUCCESSION_GRACE_NS (1000ull * 1000 * 1000)      /* for a worker of the same plan to come back */
#define SUCCESSION_START_NS (10ull * 1000 * 1000 * 1000) /* .. where this broker has seen none of it yet */
#define SUCCESSION_EVERY_NS (60ull * 1000 * 1000 * 1000) /* between two moves because a stage was lost */

struct successor {
    struct hello hello;
    struct peer peer;
    uint64_t came_ns; /* since then someone has waited for the place */
    uint64_t heard_ns;
};

struct succession {
    int n;
    bool moving;
    uint64_t moved_ns; /* when it last moved on because a stage was lost; 0: never */
    struct hello left; /* of one that was sent away in this move; incarnation 0: none was */
    struct successor item[PIPELINE_MAX_WORKERS]; /* in the order in which they came; one per place */
};

struct successor *succession_at(struct succession *s, const struct hello *h); /* of h's place; NULL: none */
/* A worker that has to wait says hello (again); who waited for its place before waits no more. False when
 * there is no room. */
bool succession_keep(struct succession *s, const struct hello *h, const struct peer *peer, uint64_t now);
struct successor *succession_find(struct succession *s, uint64_t incarnation); /* NULL: it does not wait */
void succession_remove(struct succession *s, const struct successor *it);
/* Forgets those that have been silent for longer than dead_after_ns. */
void succession_expire(struct succession *s, uint64_t dead_after_ns, uint64_t now);

enum succession_cause { SUCCESSION_WAITS, SUCCESSION_COMPLETE, SUCCESSION_NEEDED };
/* Is it time to move on? *stage: for SUCCESSION_NEEDED, the one that can't be served any more. */
enum succession_cause succession_due(const struct succession *s, const struct registry *r, uint64_t now,
                                     int *stage);
/* The next of those who wait in whose way nobody stands: of another plan, or whom it comes after. NULL: none.
 */
struct successor *succession_next(struct succession *s, const struct registry *r);

#endif
