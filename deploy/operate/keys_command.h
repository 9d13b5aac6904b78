/* keys_command.h - what the parts of `freezeline keys` share
 */
#ifndef FREEZELINE_KEYS_COMMAND_H
#define FREEZELINE_KEYS_COMMAND_H

#include "deploy/tool/arguments.h"
#include "keys/allow_list.h"

struct keys_command {
    struct pipeline_arguments where;
    struct argument_list operands;
    const char *role, *until, *output;
    int days;
    bool json, anyway;
    struct pipeline *pipeline;
    struct allow_list list, tokens;
    int lock;
};

/* The operand behind the action; "" when there is none. */
const char *keys_operand(const struct keys_command *c);
/* The host of an operand @HOST; NULL: it is none. */
const char *keys_host(const struct keys_command *c);
/* To the hosts that it runs on, if it does: what is said next has to be true there. */
int keys_bring(const struct keys_command *c, struct error *e);
/* Has some host not got what the last command did? */
bool keys_left(const struct keys_command *c);
int keys_say(const struct keys_command *c, const char *what, const char *sentence, struct error *e);
/* Brings it to the hosts, then says so. */
int keys_done(const struct keys_command *c, const char *what, const char *sentence, struct error *e);

/* The actions: keys_made.c, keys_given.c, keys_turn.c. */
int keys_make(struct keys_command *c, struct error *e);
int keys_add(struct keys_command *c, struct error *e);
int keys_token(struct keys_command *c, struct error *e);
int keys_revoke(struct keys_command *c, struct error *e);
int keys_rotate(struct keys_command *c, struct error *e);

#endif
