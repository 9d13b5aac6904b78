/* keyring.c - see keyring.h */
#include "keyring.h"

int keyring_open(struct keys **out, const struct pipeline *p, enum party self, struct error *e)
{
    int rc = keys_open(out, p->keys, self, p->here < 0 ? NULL : p->host[p->here].name, e);

    for (int i = 0; !rc && i < p->n_ways; i++)
        rc = keys_place(*out, p->way[i].remote, p->host[p->way[i].host].name, e);
    for (int i = 0; !rc && i < p->n_hosts; i++)
        rc = keys_place(*out, p->host[i].address, p->host[i].name, e);
    if (rc) {
        keys_close(*out);
        *out = NULL;
    }
    return rc;
}
