/* player.h - plays stories in one simulated world, again and again in the same memory
 *
 * Everything that serves is real (the brains of broker, stage workers and so on); what stands for something
 * is the network (network.h), the machines (deploy/world/world.h), supervisors and clients.
 */
#ifndef FREEZELINE_FAULTS_PLAYER_H
#define FREEZELINE_FAULTS_PLAYER_H

#include "ledger.h"

struct player;

int player_new(struct player **out); /* FL_NOMEM */
void player_free(struct player *p);

/* The promise that was broken first; NULL: all were kept. Valid until the next one. */
const struct finding *player_play(struct player *p, const struct story *s);

/* Prints every message that is read, from now on or no more. */
void player_tells(struct player *p, bool yes);

/* Of all stories so far: to see that they are worth playing. */
struct player_counts {
    uint64_t stories, steps, requests, right, hits, errors, excused, starts, retried, updates;
};
struct player_counts player_counts(const struct player *p);

#endif
