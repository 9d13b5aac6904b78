/* audit_line.h - audits end in the order in which they were drawn
 *
 * An audit that no exit answered is over after its first run, one that an exit answered waits for its second.
 * If each were told of as soon as it is over, those that were told of at some moment would have too few
 * answers of exits among them, and what is counted would look better than it is. So an end waits for those of
 * all audits that were drawn before: what was told is the beginning of the draw, whenever one looks.
 *
 * Where the line has to go, it goes whole, whatever is known of each by then. Only the first stays: of those
 * that wait at the front, too many are answers of exits. Pure.
 */
#ifndef FREEZELINE_AUDIT_LINE_H
#define FREEZELINE_AUDIT_LINE_H

#include "wire/message.h"

#define AUDIT_LINE_MOST 256

struct audit_line {
    uint64_t first, next; /* tickets: of the audit whose end is to be told first; that comes next */
    struct {
        bool over, given_up;
        struct outcome outcome;
    } place[AUDIT_LINE_MOST];
};

int audit_line_length(const struct audit_line *l);
/* A place at the end, by its ticket; there must be less than AUDIT_LINE_MOST. */
uint64_t audit_line_join(struct audit_line *l);
/* That audit is over; NULL: nothing is to be told of it. */
void audit_line_over(struct audit_line *l, uint64_t ticket, const struct outcome *outcome);
/* All but the first are audits no more: what is told of them is that of any request. */
void audit_line_give_up(struct audit_line *l);
bool audit_line_given_up(const struct audit_line *l, uint64_t ticket);
/* The next end whose turn it is; false: none. `told`: there is something to tell. */
bool audit_line_leave(struct audit_line *l, struct outcome *out, bool *told);

#endif
