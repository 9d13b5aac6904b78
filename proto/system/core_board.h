/* core_board.h - who computes on which core of this host
 *
 * A kernel likes to start whom a thread wakes on that thread's own core, or where it ran before. Where
 * another one computes there it waits for a turn of that one, up to 4 ms, and an idle core does not take it
 * over at once: of three stages on two cores one waited beside an idle core for 13% of the time. So workers
 * tell one another, in a page of shared memory, on which core they compute, and who is about to wake a worker
 * leads it to the cores where none does.
 *
 * The page holds hints: whatever stands there costs time at worst, for a worker gives up no core for longer
 * than until it computes. What is older than two seconds counts as nothing: its writer may be gone, and its
 * number another's. Processes of several pid namespaces do not lead one another, nor does anybody on a host
 * of more than 64 cores.
 */
#ifndef FREEZELINE_CORE_BOARD_H
#define FREEZELINE_CORE_BOARD_H

#include "base/error.h"

#define CORE_BOARD_PLACES 256

struct core_board;

/* The page: sealed memory without a name, to be handed to other processes. *fd is the caller's. FL_IO. */
int core_board_make(int *fd, struct error *e);
/* Maps a page; `fd` stays the caller's. The process's first thread is the one that computes, at `place`,
 * below CORE_BOARD_PLACES, where each process has another; -1: it never computes, but leads. FL_CORRUPT: it
 * is no such page, or another user's; FL_NOMEM. */
int core_board_map(struct core_board **out, int fd, int place, struct error *e);
void core_board_free(struct core_board *b); /* NULL is fine, here and below */

/* Before the worker at `place` is woken. */
void core_board_lead(const struct core_board *b, int place);
/* The first thread, which calls this, computes from now on. */
void core_board_compute(struct core_board *b);
/* It does not any more. Say so before another one is woken, if nothing is left to do. */
void core_board_rest(struct core_board *b);

#endif
