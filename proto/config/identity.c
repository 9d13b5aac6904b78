/* identity.c - the parts of an identity, put together and told apart */
#include "identity.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

void identity_seal(struct identity *out)
{
    memcpy(out->digest, out->model, sizeof out->digest);
    digest_add(out->digest, out->input, strlen(out->input));
    digest_add(out->digest, out->precision, strlen(out->precision));
    digest_add(out->digest, &out->labels, sizeof out->labels);
}

void identity_of(struct identity *out, const uint8_t model[DIGEST_BYTES], const struct pipeline *p)
{
    memset(out, 0, sizeof *out);
    memcpy(out->model, model, sizeof out->model);
    pipeline_section_text(p, "input", out->input, sizeof out->input);
    snprintf(out->precision, sizeof out->precision, "%s", p->computes);
    for (int i = 0; i < p->n_labels; i++)
        out->labels = XXH3_64bits_withSeed(p->label[i], strlen(p->label[i]) + 1, out->labels);
    identity_seal(out);
}

uint64_t identity_of_activations(const struct identity *id)
{
    uint64_t h = XXH3_64bits(id->model, sizeof id->model);
    h = XXH3_64bits_withSeed(id->input, strlen(id->input), h);
    return XXH3_64bits_withSeed(id->precision, strlen(id->precision), h);
}

char *identity_difference(const struct identity *made, const struct identity *now,
                          char buf[IDENTITY_DIFFERENCE_BYTES])
{
    buf[0] = '\0';
    if (memcmp(made->model, now->model, sizeof made->model))
        snprintf(buf, IDENTITY_DIFFERENCE_BYTES, "another network (its file or its weights)");
    else if (strcmp(made->input, now->input))
        snprintf(buf, IDENTITY_DIFFERENCE_BYTES, "another `input` (%s then, %s now)",
                 made->input[0] ? made->input : "none", now->input[0] ? now->input : "none");
    else if (strcmp(made->precision, now->precision))
        snprintf(buf, IDENTITY_DIFFERENCE_BYTES, "another precision (%s then, %s now)", made->precision,
                 now->precision);
    else if (made->labels != now->labels)
        snprintf(buf, IDENTITY_DIFFERENCE_BYTES, "other `labels`");
    return buf;
}
