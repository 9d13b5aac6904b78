/* feedback_trust.h - whether true labels that are told after the fact are to be believed; pure
 *
 * Anybody who may send requests may send labels. Wrong ones that are drawn at random hide losses: where an
 * exit and the network differ, neither looks right, so the loss of accuracy that is measured shrinks with the
 * share of wrong labels. Without labels every difference counts as a loss, which is never less than the
 * truth. So belief has to be earned and can be lost: of the last thousand labels or so, those that contradict
 * the network must surely be fewer than FEEDBACK_CONTRADICT, as they are where the network is right four
 * times in five. Otherwise labels do not count, and the promise is kept by agreement.
 *
 * One wrong label in a hundred passes, and hides a hundredth of the loss.
 */
#ifndef FREEZELINE_FEEDBACK_TRUST_H
#define FREEZELINE_FEEDBACK_TRUST_H

#include <stdbool.h>
#include <stdint.h>

#define FEEDBACK_CONTRADICT 0.25
#define FEEDBACK_WINDOW     1000 /* labels; then all that came before counts half */

struct feedback_trust { /* zero: nothing came yet */
    int64_t n, contradict;
    bool believed;
};

/* A label about an audit that the network answered with `full`. */
void feedback_trust_see(struct feedback_trust *t, int32_t full, int32_t truth);
bool feedback_trusted(const struct feedback_trust *t);

#endif
