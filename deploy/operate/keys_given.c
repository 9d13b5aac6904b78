/* keys_given.c - keys and tokens that are given away, and whatever is taken back */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "broker/http/http_token.h"
#include "deploy/tool/report.h"
#include "keys_command.h"

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
    const char *name = keys_operand(c);
    if (!*name)
        return error_set(e, FL_USAGE, "%s takes a NAME", c->operands.item[0]);
    if (!key_name_ok(name))
        return error_set(e, FL_USAGE, "\"%.70s\" is no name: 1 to 63 letters, digits, `_`, `-`, `.`", name);
    if (is_role(name))
        return error_set(
            e, FL_USAGE,
            "`%s` is the pipeline's own: `freezeline keys rotate` replaces such keys, and `revoke @HOST` "
            "takes all of a host's",
            name);
    return FL_OK;
}

static bool has_broker(const struct pipeline *p, const char *name)
{
    for (int i = 0; i < pipeline_brokers(p); i++)
        if (key_is_of_host(name, p->n_hosts ? pipeline_broker(p, i).host : NULL))
            return true;
    return false;
}

/* Who gets the key has no allow-list, so the key brings what brokers prove themselves by. */
static void add_brokers(struct key_pair *k, const struct keys_command *c)
{
    for (int i = 0; i < c->list.n && k->n_brokers < KEY_MOST_BROKER; i++) {
        const struct allowed *a = &c->list.entry[i];
        const char *host = strchr(a->name, '@');
        if (a->role != PARTY_BROKER || !has_broker(c->pipeline, a->name))
            continue;
        memcpy(k->broker[k->n_brokers], a->key, KEY_TEXT_BYTES);
        snprintf(k->broker_host[k->n_brokers++], KEY_NAME_BYTES, "%.*s",
                 host ? (int)strcspn(host + 1, "@") : 0, host ? host + 1 : "");
    }
}

/* The list first: a key that is in nobody's hands yet does no harm. Without a file its name is free again. */
static int write_added(struct keys_command *c, struct allowed *a, const char *path, struct error *e)
{
    struct key_pair k;
    int rc = key_pair_new(&k, a->role, a->name, e);
    if (!rc) {
        memcpy(a->key, k.public_key, sizeof a->key);
        add_brokers(&k, c);
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
    if (named(list, keys_operand(c)) >= 0)
        return error_set(e, FL_USAGE, "`%s` has a %s already: revoke it first, or take another name",
                         keys_operand(c), what);
    snprintf(a->name, sizeof a->name, "%s", keys_operand(c));
    return FL_OK;
}

int keys_add(struct keys_command *c, struct error *e)
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
    return keys_done(c, "add", sentence, e);
}

/* The token alone goes to the standard output, so that it can be piped to where it is kept. */
int keys_token(struct keys_command *c, struct error *e)
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
    return rc ? rc : keys_bring(c, e);
}

/* Whoever is called so, out of one list and its file. False: nobody is. */
static bool take_from(const struct keys_command *c, struct allow_list *list, const char *file, int *rc,
                      struct error *e)
{
    int i = named(list, keys_operand(c));
    if (*rc || i < 0)
        return false;
    allow_list_remove(list, i);
    *rc = allow_list_write_to(list, c->pipeline->keys, file, e);
    return true;
}

/* All that a host has, out of the list and off this disk: `make` gives it others. */
static int revoke_host(struct keys_command *c, const char *host, struct error *e)
{
    static const char *const which[] = {"", ".next", ".old"};
    char sentence[KEY_NAME_BYTES + 200], path[KEY_PATH_BYTES], file[KEY_FILE_BYTES];
    int n = c->list.n, rc;

    for (int i = n - 1; i >= 0; i--)
        if (*host && key_is_of_host(c->list.entry[i].name, host))
            allow_list_remove(&c->list, i);
    if (n == c->list.n && !keys_left(c))
        return error_set(e, FL_NOT_FOUND, "no host `%.64s` has keys: see `freezeline keys list`", host);
    if ((rc = allow_list_write(&c->list, c->pipeline->keys, e)))
        return rc;
    for (int p = PARTY_BROKER; p < PARTIES; p++)
        for (int i = 0; i < 3; i++)
            if (!key_path(path, c->pipeline->keys, key_file_name(file, (enum party)p, which[i], host), NULL))
                unlink(path);
    snprintf(
        sentence, sizeof sentence,
        "what runs on host `%.64s` is refused from its next message on; `freezeline keys make` lets it in "
        "again, with new keys",
        host);
    return keys_done(c, "revoke", sentence, e);
}

int keys_revoke(struct keys_command *c, struct error *e)
{
    char sentence[KEY_NAME_BYTES + 100];
    int rc = keys_host(c) ? FL_OK : check_name(c, e);
    bool key, http;
    if (rc || keys_host(c))
        return rc ? rc : revoke_host(c, keys_host(c), e);
    key = take_from(c, &c->list, ALLOW_LIST_FILE, &rc, e);
    http = take_from(c, &c->tokens, HTTP_TOKEN_FILE, &rc, e);
    if (rc)
        return rc;
    if (!key && !http && keys_left(c))
        return keys_done(c, "revoke", "nobody of that name is let in, now on all hosts", e);
    if (!key && !http)
        return error_set(e, FL_NOT_FOUND, "nobody is called `%s`: see `freezeline keys list`",
                         keys_operand(c));
    snprintf(sentence, sizeof sentence, "`%s` is refused from its next message on", keys_operand(c));
    return keys_done(c, "revoke", sentence, e);
}
