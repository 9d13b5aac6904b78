/* keys_command.c - `freezeline keys`: makes, lists, gives away, revokes and rotates keys */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "broker/http/http_token.h"
#include "deploy/launch/fleet.h"
#include "deploy/process/serving.h"
#include "deploy/process/word.h"
#include "deploy/launch/change_hosts.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/report.h"
#include "deploy/tool/state.h"
#include "deploy/tool/table.h"
#include "key_rotation.h"
#include "keys_command.h"

static const struct usage usage = {
    .command = "keys",
    .operands = "make | list | add NAME | token NAME | revoke NAME|@HOST | rotate [@HOST]",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Makes, lists, gives away, revokes and rotates the keys of a pipeline with security: curve.",
    .notes = "Keys are files in the directory that `keys` in the pipeline file names:\n"
             "ROLE.key has the secret of a role (mode 0600), `allowed` the public keys that are\n"
             "let in. Where the file names hosts, each host has secrets of its own, ROLE-HOST.key,\n"
             "called ROLE@HOST in `allowed`: a host gets its own alone. Running processes read `allowed` "
             "again within a second of a change.\n"
             "It is copied to the hosts that `up --on ssh` or `slurm` started; to others by you.\n"
             "\n"
             "  make          a key for each role, on each host, that has none; nodes of a job, or of a\n"
             "                host file, are told as --set 'hosts=[{name: n1}, {name: n2}]'\n"
             "  list          whose keys are let in, and until when\n"
             "  add NAME      a key to give away, into --output (default NAME.key): whoever uses\n"
             "                it has it as client.key (or operator.key) in their `keys` directory\n"
             "  token NAME    a token for HTTP with broker.http_tls, shown this once: `tokens` has\n"
             "                its hash, and is read again when it changes, as `allowed` is\n"
             "  revoke NAME   whoever has that key, or token, is refused from the next message on\n"
             "  revoke @HOST  so is all that runs on that host; after `make` it comes in again by\n"
             "                itself, with new keys (broker.hung_after_ms: what is silent starts again)\n"
             "  rotate [@HOST]  new keys for all roles, or those of one host, in three steps with a\n"
             "                rolling restart after the first two, seen before the next step: run it\n"
             "                three times, it says what is due next\n"
             "\n"
             "examples:\n"
             "  freezeline keys make -c P.yaml\n"
             "  freezeline keys add alice --days 90 -c P.yaml\n"
             "  freezeline keys token bob --role operator --days 90 -c P.yaml\n"
             "  freezeline keys revoke alice -c P.yaml\n"
             "  freezeline keys revoke @node3 -c P.yaml\n",
};

#define LEFT "keys.left" /* in STATE/run: some host has not got what the last command did */

const char *keys_operand(const struct keys_command *c)
{
    return c->operands.n > 1 ? c->operands.item[1] : "";
}

const char *keys_host(const struct keys_command *c)
{
    return *keys_operand(c) == '@' ? keys_operand(c) + 1 : NULL;
}

int keys_bring(const struct keys_command *c, struct error *e)
{
    char left[600];
    struct pipeline *p;
    int rc;

    if (c->pipeline->here >= 0 || !fleet_there(c->pipeline) || (rc = serving_load(&p, &c->where, e)))
        return FL_OK;
    word_leave(p, LEFT, "hosts");
    if ((rc = keys_to_hosts(p, left, sizeof left, e)))
        error_wrap(e, (enum fl_code)rc, "done here, but not on its hosts: the same command again goes on");
    else if (left[0])
        rc = error_set(
            e, FL_UNAVAILABLE,
            "done here and on the other hosts, but not everywhere: %s. The same command again goes on "
            "there",
            left);
    else
        word_remove(p, LEFT);
    pipeline_free(p);
    return rc;
}

bool keys_left(const struct keys_command *c)
{
    return c->pipeline->here < 0 && fleet_there(c->pipeline) && word_there(c->pipeline, LEFT);
}

int keys_say(const struct keys_command *c, const char *what, const char *sentence, struct error *e)
{
    if (c->json)
        return report_print(
            json_pack("{s:s, s:s, s:s}", "done", what, "keys", c->pipeline->keys, "next", sentence), e);
    printf("%s\n", sentence);
    return FL_OK;
}

int keys_done(const struct keys_command *c, const char *what, const char *sentence, struct error *e)
{
    int rc = keys_bring(c, e);
    return rc ? rc : keys_say(c, what, sentence, e);
}

/* ---- list ---- */

static const char *state_of(const struct allowed *a)
{
    return allowed_at(a, (int64_t)(clock_wall_ms() / 1000)) ? "allowed" : "expired";
}

static json_t *list_json(const struct allow_list *list, const char *key)
{
    char moment[MOMENT_BYTES];
    json_t *all = json_array();
    for (int i = 0; i < list->n; i++) {
        const struct allowed *a = &list->entry[i];
        json_array_append_new(
            all,
            json_pack("{s:s, s:s, s:s, s:o, s:s}", "role", party_name(a->role), "name", a->name, key, a->key,
                      "until", a->until_s ? json_string(moment_text(a->until_s, moment)) : json_null(),
                      "state", state_of(a)));
    }
    return all;
}

/* `what`: stands for the key. */
static void list_rows(struct table *t, const struct allow_list *list, const char *what)
{
    char moment[MOMENT_BYTES];
    for (int i = 0; i < list->n; i++) {
        const struct allowed *a = &list->entry[i];
        table_cells(t, "%s|%s|%s|%s|%s", party_name(a->role), a->name, moment_text(a->until_s, moment),
                    state_of(a), what ? what : a->key);
    }
}

static int list(struct keys_command *c, struct error *e)
{
    struct table *t;
    if (c->json)
        return report_print(json_pack("{s:s, s:s, s:o, s:o}", "directory", c->pipeline->keys, "rotation",
                                      key_rotation_word(key_rotation_step(c->pipeline->keys)), "keys",
                                      list_json(&c->list, "key"), "tokens", list_json(&c->tokens, "sha256")),
                            e);
    t = table_new("role|name|until|state|public key", "lllll");
    list_rows(t, &c->list, NULL);
    list_rows(t, &c->tokens, "(a token for HTTP)");
    if (key_rotation_step(c->pipeline->keys) != ROTATION_NONE)
        printf("rotation: %s\n", key_rotation_word(key_rotation_step(c->pipeline->keys)));
    return table_end(t, e);
}

/* ---- the command ---- */

static const struct action {
    const char *word;
    int operands;
    int (*act)(struct keys_command *c, struct error *e);
} actions[] = {{"make", 1, keys_make},   {"list", 1, list},          {"add", 2, keys_add},
               {"token", 2, keys_token}, {"revoke", 2, keys_revoke}, {"rotate", 2, keys_rotate}};

static const struct action *action_of(const struct argument_list *operands, struct error *e)
{
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (!strcmp(operands->item[0], actions[i].word)) {
            if (operands->n <= actions[i].operands)
                return &actions[i];
            error_set(e, FL_USAGE, "%s takes no \"%.40s\"", actions[i].word, operands->item[1]);
            return NULL;
        }
    error_set(e, FL_USAGE, "\"%.40s\" is none of make, list, add, token, revoke, rotate", operands->item[0]);
    return NULL;
}

/* The directory, its lock, and the list, which `make` may begin. */
static int open_directory(struct keys_command *c, bool makes, struct error *e)
{
    char lock[KEY_PATH_BYTES];
    int rc;
    if (makes && (rc = state_make_private(c->pipeline->keys, e)))
        return rc;
    if ((rc = key_check_modes(c->pipeline->keys, false, e)) == FL_NOT_FOUND)
        return error_set(e, rc, "there are no keys at %s: `freezeline keys make` makes them",
                         c->pipeline->keys);
    if (rc || (rc = key_path(lock, c->pipeline->keys, ".lock", e)) ||
        (rc = state_lock(&c->lock, lock, "another `freezeline keys`", e)))
        return rc;
    rc = allow_list_read_from(&c->tokens, c->pipeline->keys, HTTP_TOKEN_FILE, e);
    if (rc && rc != FL_NOT_FOUND)
        return rc;
    makes = makes || !rc; /* who has tokens alone needs no keys */
    rc = allow_list_read(&c->list, c->pipeline->keys, e);
    return rc == FL_NOT_FOUND && makes ? FL_OK : rc;
}

static int run(struct keys_command *c, struct error *e)
{
    const struct action *action = action_of(&c->operands, e);
    int rc;
    if (!action)
        return FL_USAGE;
    if ((rc = arguments_load(&c->pipeline, &c->where, e)) ||
        (rc = open_directory(c, action->act == keys_make || action->act == keys_token, e)))
        return rc;
    return action->act(c, e);
}

int command_keys(int argc, char **argv, struct error *e)
{
    struct keys_command c = {.role = "client", .lock = -1};
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(c.where),
        OPTION_TEXT("role", c.role, "ROLE", "of add, token: client (default) or operator"),
        OPTION_INT("days", c.days, "N", "of add, token: it is good for N days (default: for ever)", 1, 36500),
        OPTION_TEXT("until", c.until, "DATE", "of add, token: or until then"),
        OPTION_TEXT("output", c.output, "FILE", "of add: where the key is written (default NAME.key)"),
        OPTION_FLAG("anyway", c.anyway, "of rotate: though restarts since the last step were not seen"),
        ARGUMENTS_JSON(c.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &c.operands, e);

    if (!rc)
        rc = run(&c, e);
    allow_list_free(&c.list);
    allow_list_free(&c.tokens);
    if (c.lock >= 0)
        close(c.lock);
    pipeline_free(c.pipeline);
    return rc;
}
