/* keys_command.c - `freezeline keys`: makes, lists, gives away, revokes and rotates keys */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "broker/http/http_token.h"
#include "deploy/launch/fleet.h"
#include "deploy/process/claim.h"
#include "deploy/process/running.h"
#include "deploy/process/serving.h"
#include "deploy/process/word.h"
#include "deploy/launch/change_hosts.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/report.h"
#include "deploy/tool/state.h"
#include "deploy/tool/table.h"
#include "key_rotation.h"
#include "rotation_seen.h"

static const struct usage usage = {
    .command = "keys",
    .operands = "make | list | add NAME | token NAME | revoke NAME | rotate",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Makes, lists, gives away, revokes and rotates the keys of a pipeline with security: curve.",
    .notes = "Keys are files in the directory that `keys` in the pipeline file names:\n"
             "ROLE.key has the secret of each role (mode 0600), `allowed` the public keys that\n"
             "are let in. Running processes read `allowed` again within a second of a change.\n"
             "It is copied to the hosts that `up --on ssh` or `slurm` started; to others by you.\n"
             "\n"
             "  make          a key for each role that has none\n"
             "  list          whose keys are let in, and until when\n"
             "  add NAME      a key to give away, into --output (default NAME.key): whoever uses\n"
             "                it has it as client.key (or operator.key) in their `keys` directory\n"
             "  token NAME    a token for HTTP with broker.http_tls, shown this once: `tokens` has\n"
             "                its hash, and is read again when it changes, as `allowed` is\n"
             "  revoke NAME   whoever has that key, or token, is refused from the next message on\n"
             "  rotate        new keys for all roles, in three steps with a rolling restart after\n"
             "                the first two, seen before the next step: run it three times, it says\n"
             "                what is due next\n"
             "\n"
             "examples:\n"
             "  freezeline keys make -c P.yaml\n"
             "  freezeline keys add alice --days 90 -c P.yaml\n"
             "  freezeline keys token bob --role operator --days 90 -c P.yaml\n"
             "  freezeline keys revoke alice -c P.yaml\n",
};

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

#define LEFT   "keys.left" /* in STATE/run: some host has not got what the last command did */
#define ASK_MS 2000

static const char *name_of(const struct keys_command *c)
{
    return c->operands.n > 1 ? c->operands.item[1] : "";
}

/* To the hosts that it runs on, if it does: what is said next has to be true there. */
static int bring_to_hosts(const struct keys_command *c, struct error *e)
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

static bool is_left(const struct keys_command *c)
{
    return c->pipeline->here < 0 && fleet_there(c->pipeline) && word_there(c->pipeline, LEFT);
}

static int print_sentence(const struct keys_command *c, const char *what, const char *sentence,
                          struct error *e)
{
    if (c->json)
        return report_print(
            json_pack("{s:s, s:s, s:s}", "done", what, "keys", c->pipeline->keys, "next", sentence), e);
    printf("%s\n", sentence);
    return FL_OK;
}

static int print_done(const struct keys_command *c, const char *what, const char *sentence, struct error *e)
{
    int rc = bring_to_hosts(c, e);
    return rc ? rc : print_sentence(c, what, sentence, e);
}

/* ---- make ---- */

static int make_role(struct keys_command *c, enum party role, int *made, struct error *e)
{
    char path[KEY_PATH_BYTES], file[32];
    struct allowed a = {.role = role};
    struct key_pair k;
    int rc;
    snprintf(file, sizeof file, "%s.key", party_name(role));
    if ((rc = key_path(path, c->pipeline->keys, file, e)))
        return rc;
    if (!(rc = key_file_read(&k, path, e)) || rc != FL_NOT_FOUND) {
        key_pair_wipe(&k);
        return rc;
    }
    if (!(rc = key_pair_new(&k, role, party_name(role), e)) && !(rc = key_file_write(&k, path, e))) {
        memcpy(a.key, k.public_key, sizeof a.key);
        snprintf(a.name, sizeof a.name, "%s", party_name(role));
        rc = allow_list_add(&c->list, &a, e);
        ++*made;
    }
    key_pair_wipe(&k);
    return rc;
}

static int make(struct keys_command *c, struct error *e)
{
    char sentence[KEY_PATH_BYTES + 200];
    int made = 0, rc = FL_OK;
    for (int p = PARTY_BROKER; p < PARTIES && !rc; p++)
        rc = make_role(c, (enum party)p, &made, e);
    if (rc || (made && (rc = allow_list_write(&c->list, c->pipeline->keys, e))))
        return rc;
    snprintf(sentence, sizeof sentence, "%s: %d keys made%s", c->pipeline->keys, made,
             c->pipeline->security.mode == SECURITY_CURVE
                 ? ""
                 : "; `security: curve` in the pipeline file uses them");
    return print_done(c, "make", sentence, e);
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
        table_cell(t, "%s", party_name(a->role));
        table_cell(t, "%s", a->name);
        table_cell(t, "%s", moment_text(a->until_s, moment));
        table_cell(t, "%s", state_of(a));
        table_cell(t, "%s", what ? what : a->key);
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

/* ---- add and revoke ---- */

static int until_when(const struct keys_command *c, int64_t *until_s, struct error *e)
{
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    if (c->until && c->days)
        return error_set(e, FL_USAGE, "--days or --until, not both");
    *until_s = c->days ? now_s + 86400ll * c->days : 0;
    if (c->until && !moment_parse(until_s, c->until))
        return error_set(e, FL_USAGE, "--until %.40s: write 2027-01-31, 2027-01-31T12:00:00Z (UTC) or `-`",
                         c->until);
    if (*until_s && *until_s <= now_s)
        return error_set(e, FL_USAGE, "--until %.40s: that is over already", c->until);
    return FL_OK;
}

static int named(const struct allow_list *list, const char *name)
{
    for (int i = 0; i < list->n; i++)
        if (!strcmp(list->entry[i].name, name))
            return i;
    return -1;
}

static bool is_role(const char *name)
{
    return party_of(name) != PARTY_NOBODY || strchr(name, '@');
}

static int check_name(const struct keys_command *c, struct error *e)
{
    const char *name = name_of(c);
    if (!*name)
        return error_set(e, FL_USAGE, "%s takes a NAME", c->operands.item[0]);
    if (!key_name_ok(name))
        return error_set(e, FL_USAGE, "\"%.70s\" is no name: 1 to 63 letters, digits, `_`, `-`, `.`", name);
    if (is_role(name))
        return error_set(e, FL_USAGE,
                         "`%s` is the pipeline's own: `freezeline keys rotate` replaces such keys", name);
    return FL_OK;
}

/* Who gets the key has no allow-list, so the key brings what the broker proves itself by. */
static void add_brokers(struct key_pair *k, const struct allow_list *list)
{
    for (int i = 0; i < list->n && k->n_brokers < KEY_MOST_BROKER; i++)
        if (list->entry[i].role == PARTY_BROKER)
            memcpy(k->broker[k->n_brokers++], list->entry[i].key, KEY_TEXT_BYTES);
}

/* The list first: a key that is in nobody's hands yet does no harm. Without a file its name is free again. */
static int write_added(struct keys_command *c, struct allowed *a, const char *path, struct error *e)
{
    struct key_pair k;
    int rc = key_pair_new(&k, a->role, a->name, e);
    if (!rc) {
        memcpy(a->key, k.public_key, sizeof a->key);
        add_brokers(&k, &c->list);
        if (!(rc = allow_list_add(&c->list, a, e)) &&
            !(rc = allow_list_write(&c->list, c->pipeline->keys, e)) && (rc = key_file_write(&k, path, e))) {
            allow_list_remove(&c->list, named(&c->list, a->name));
            allow_list_write(&c->list, c->pipeline->keys, NULL);
        }
    }
    key_pair_wipe(&k);
    return rc;
}

/* The entry of someone new, but for the key; `what` that is. */
static int new_entry(const struct keys_command *c, const struct allow_list *list, const char *what,
                     struct allowed *a, struct error *e)
{
    int rc = check_name(c, e);
    *a = (struct allowed){.role = party_of(c->role)};
    if (rc || (rc = until_when(c, &a->until_s, e)))
        return rc;
    if (a->role != PARTY_CLIENT && a->role != PARTY_OPERATOR)
        return error_set(e, FL_USAGE, "--role %.20s: %ss to give away are of a client or an operator",
                         c->role, what);
    if (named(list, name_of(c)) >= 0)
        return error_set(e, FL_USAGE, "`%s` has a %s already: revoke it first, or take another name",
                         name_of(c), what);
    snprintf(a->name, sizeof a->name, "%s", name_of(c));
    return FL_OK;
}

static int add(struct keys_command *c, struct error *e)
{
    char path[KEY_PATH_BYTES], moment[MOMENT_BYTES], sentence[KEY_PATH_BYTES + 200];
    struct allowed a;
    int rc = new_entry(c, &c->list, "key", &a, e);
    if (rc)
        return rc;
    if (c->output)
        snprintf(path, sizeof path, "%s", c->output);
    else
        snprintf(path, sizeof path, "%s.key", a.name);
    if (!access(path, F_OK))
        return error_set(e, FL_USAGE, "%s is there already: choose another --output", path);
    if ((rc = write_added(c, &a, path, e)))
        return rc;
    snprintf(sentence, sizeof sentence, "%s: the key of %s `%s`%s%s; give it away as %s.key", path,
             party_name(a.role), a.name, a.until_s ? ", until " : "",
             a.until_s ? moment_text(a.until_s, moment) : "", party_name(a.role));
    return print_done(c, "add", sentence, e);
}

/* The token alone goes to the standard output, so that it can be piped to where it is kept. */
static int token(struct keys_command *c, struct error *e)
{
    char text[HTTP_TOKEN_BYTES], moment[MOMENT_BYTES];
    struct allowed a;
    int rc = new_entry(c, &c->tokens, "token", &a, e);
    if (rc || (rc = http_token_new(text, e)))
        return rc;
    http_token_hash(a.key, text, strlen(text));
    if (!(rc = allow_list_add(&c->tokens, &a, e)) &&
        !(rc = allow_list_write_to(&c->tokens, c->pipeline->keys, HTTP_TOKEN_FILE, e)) && c->json) {
        rc = report_print(
            json_pack("{s:s, s:s, s:s}", "token", text, "role", party_name(a.role), "name", a.name), e);
    } else if (!rc) {
        printf("%s\n", text);
        fprintf(stderr, "token of %s `%s`%s%s, shown this once%s\n", party_name(a.role), a.name,
                a.until_s ? ", until " : "", a.until_s ? moment_text(a.until_s, moment) : "",
                c->pipeline->broker.http_tls ? "" : "; `broker.http_tls: true` asks for tokens");
    }
    explicit_bzero(text, sizeof text);
    return rc ? rc : bring_to_hosts(c, e);
}

/* Whoever is called so, out of one list and its file. False: nobody is. */
static bool take_from(const struct keys_command *c, struct allow_list *list, const char *file, int *rc,
                      struct error *e)
{
    int i = named(list, name_of(c));
    if (*rc || i < 0)
        return false;
    allow_list_remove(list, i);
    *rc = allow_list_write_to(list, c->pipeline->keys, file, e);
    return true;
}

static int take_away(struct keys_command *c, struct error *e)
{
    char sentence[KEY_NAME_BYTES + 100];
    int rc = check_name(c, e);
    bool key, http;
    if (rc)
        return rc;
    key = take_from(c, &c->list, ALLOW_LIST_FILE, &rc, e);
    http = take_from(c, &c->tokens, HTTP_TOKEN_FILE, &rc, e);
    if (rc)
        return rc;
    if (!key && !http && is_left(c))
        return print_done(c, "revoke", "nobody of that name is let in, now on all hosts", e);
    if (!key && !http)
        return error_set(e, FL_NOT_FOUND, "nobody is called `%s`: see `freezeline keys list`", name_of(c));
    snprintf(sentence, sizeof sentence, "`%s` is refused from its next message on", name_of(c));
    return print_done(c, "revoke", sentence, e);
}

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
static int rotate(struct keys_command *c, struct error *e)
{
    char sentence[400] = "the last step has reached all hosts now: `freezeline restart --rolling`, then "
                         "`freezeline keys rotate` again";
    int rc = FL_OK;

    if (!is_left(c) && !(rc = check_restarts(c, e)))
        rc = key_rotation_turn(c->pipeline->keys, &c->list, sentence, sizeof sentence, e);
    else if (!rc && key_rotation_step(c->pipeline->keys) == ROTATION_NONE)
        snprintf(sentence, sizeof sentence, "the last step has reached all hosts now: the rotation is done");
    if (rc || (rc = bring_to_hosts(c, e)) || (rc = note_who_runs(c, e)))
        return rc;
    return print_sentence(c, "rotate", sentence, e);
}

/* ---- the command ---- */

static const struct action {
    const char *word;
    int operands;
    int (*act)(struct keys_command *c, struct error *e);
} actions[] = {{"make", 1, make},   {"list", 1, list},        {"add", 2, add},
               {"token", 2, token}, {"revoke", 2, take_away}, {"rotate", 1, rotate}};

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
        (rc = open_directory(c, action->act == make || action->act == token, e)))
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
