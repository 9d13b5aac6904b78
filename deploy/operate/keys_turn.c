/* keys_turn.c - a step of a rotation: when it is due, and that all hosts get it */
#include <stdio.h>

#include "deploy/launch/fleet.h"
#include "deploy/process/claim.h"
#include "deploy/process/running.h"
#include "key_rotation.h"
#include "keys_command.h"
#include "rotation_seen.h"

#define ASK_MS 2000

/* Those that serve now have the keys of before. */
static int note_who_runs(const struct keys_command *c, struct error *e)
{
    static struct status_reply s; /* large */
    const char *keys = c->pipeline->keys;

    rotation_seen_forget(keys);
    if (key_rotation_step(keys) == ROTATION_NONE || running_ask(c->pipeline, ASK_MS, &s, NULL))
        return FL_OK;
    return rotation_seen_keep(keys, &s, e);
}

/* Has everybody started again since the last step? */
static int check_restarts(const struct keys_command *c, struct error *e)
{
    static struct status_reply s; /* large */
    struct process who;
    char still[300];
    enum claim_holder holder = claim_look(c->pipeline, &who);
    bool up = fleet_there(c->pipeline) || (holder != CLAIM_NOBODY && holder != CLAIM_GONE);

    if (c->anyway || !rotation_seen_any(c->pipeline->keys))
        return FL_OK;
    if (running_ask(c->pipeline, ASK_MS, &s, NULL))
        return up ? error_set(
                        e, FL_UNAVAILABLE,
                        "the pipeline does not answer, so who has started again since the last step is not "
                        "seen: --anyway takes the next one all the same")
                  : FL_OK;
    if (rotation_seen_still(c->pipeline->keys, &s, still, sizeof still))
        return error_set(
            e, FL_UNAVAILABLE,
            "not started again since the last step: %s; `freezeline restart -c %s --rolling` first", still,
            c->pipeline->path);
    return FL_OK;
}

/* While some host has not got the last step, that is what is due. */
int keys_rotate(struct keys_command *c, struct error *e)
{
    char sentence[400] = "the last step has reached all hosts now: `freezeline restart --rolling`, then "
                         "`freezeline keys rotate` again";
    int rc = c->operands.n > 1 && !keys_host(c)
                 ? error_set(e, FL_USAGE, "rotate takes @HOST or nothing, not \"%.64s\"", keys_operand(c))
                 : FL_OK;

    if (rc)
        return rc;
    if (!keys_left(c) && !(rc = check_restarts(c, e)))
        rc = key_rotation_turn(c->pipeline->keys, keys_host(c), &c->list, sentence, sizeof sentence, e);
    else if (!rc && key_rotation_step(c->pipeline->keys) == ROTATION_NONE)
        snprintf(sentence, sizeof sentence, "the last step has reached all hosts now: the rotation is done");
    if (rc || (rc = keys_bring(c, e)) || (rc = note_who_runs(c, e)))
        return rc;
    return keys_say(c, "rotate", sentence, e);
}
