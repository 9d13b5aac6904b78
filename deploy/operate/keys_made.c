/* keys_made.c - a pair for each role, on each host */
#include <stdio.h>
#include <string.h>

#include "keys_command.h"

/* Where there is none yet; `host` NULL: of no host. */
static int make_role(struct keys_command *c, enum party role, const char *host, int *made, struct error *e)
{
    char path[KEY_PATH_BYTES], file[KEY_FILE_BYTES];
    struct allowed a = {.role = role};
    struct key_pair k;
    int rc;
    key_host_name(a.name, role, host);
    if ((rc = key_path(path, c->pipeline->keys, key_file_name(file, role, "", host), e)))
        return rc;
    if (!(rc = key_file_read(&k, path, e)) || rc != FL_NOT_FOUND) {
        key_pair_wipe(&k);
        if (!rc && c->list.n == *made) /* a list of what is made now alone would shut the others out */
            rc = error_set(e, FL_CONFIG,
                           "%s is there, but no %s/" ALLOW_LIST_FILE
                           " that lists it: bring that back, or remove all keys there and make them anew",
                           path, c->pipeline->keys);
        return rc;
    }
    if (!(rc = key_pair_new(&k, role, a.name, e)) && !(rc = key_file_write(&k, path, e))) {
        memcpy(a.key, k.public_key, sizeof a.key);
        rc = allow_list_add(&c->list, &a, e);
        ++*made;
    }
    key_pair_wipe(&k);
    return rc;
}

/* A supervisor asks as a client; nobody is an operator but where a user sits. */
static int make_host(struct keys_command *c, const char *host, int *made, struct error *e)
{
    int rc = FL_OK;
    for (int p = PARTY_BROKER; p <= PARTY_CLIENT && !rc; p++)
        rc = make_role(c, (enum party)p, host, made, e);
    return rc;
}

int keys_make(struct keys_command *c, struct error *e)
{
    char sentence[KEY_PATH_BYTES + 200];
    const struct pipeline *p = c->pipeline;
    int made = 0, rc = FL_OK;
    for (int r = p->n_hosts ? PARTY_CLIENT : PARTY_BROKER; r < PARTIES && !rc; r++)
        rc = make_role(c, (enum party)r, NULL, &made, e);
    for (int i = 0; i < p->n_hosts && !rc; i++)
        rc = make_host(c, p->host[i].name, &made, e);
    if (rc || (made && (rc = allow_list_write(&c->list, p->keys, e))))
        return rc;
    snprintf(sentence, sizeof sentence, "%s: %d keys made%s", p->keys, made,
             p->security.mode == SECURITY_CURVE ? "" : "; `security: curve` in the pipeline file uses them");
    return keys_done(c, "make", sentence, e);
}
