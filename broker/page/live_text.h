/* live_text.h - what the page is told: once what the pipeline is, then again and again how it is. Pure.
 *
 * Both are events of a stream as browsers read it (text/event-stream): `about` and `state`, each one line of
 * JSON.
 */
#ifndef FREEZELINE_LIVE_TEXT_H
#define FREEZELINE_LIVE_TEXT_H

#include "broker/oip/oip_request.h"
#include "metrics_text.h"

/* model NULL: not told yet. */
void live_about_text(struct json_text *out, const struct pipeline *p, const struct oip_model *model);
void live_state_text(struct json_text *out, const struct metrics *m);

#endif
