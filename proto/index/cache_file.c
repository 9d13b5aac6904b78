/* cache_file.c - packed caches as files */
#include "cache_body.h"

#include <stdlib.h>

#include "base/whole_file.h"

int cache_save(const struct cache *c, const char *path, uint64_t *digest, struct error *e)
{
    void *data = NULL;
    size_t size;
    int rc = cache_pack(c, &data, &size);
    if (rc != FL_OK)
        return error_set(e, rc, "the cache of %s cannot be packed: %s", cache_info(c).exit,
                         error_sentence(rc));
    rc = file_replace(path, &(struct file_part){data, size}, 1, e);
    if (digest)
        *digest = cache_pack_digest(data);
    free(data);
    return rc;
}

int cache_load(struct cache **out, const char *path, const uint8_t *identity, struct error *e)
{
    void *data;
    size_t size;
    int rc = file_read(&data, &size, path, CACHE_MAX_BYTES, e);
    if (rc != FL_OK)
        return rc;
    rc = cache_unpack(out, data, size, identity, e);
    if (rc != FL_OK)
        error_wrap(e, (enum fl_code)rc, "%s", path);
    free(data);
    return rc;
}
