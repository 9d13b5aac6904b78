# Stages with other cuts serve together.
# file: broker/state/registry.c
s/if (memcmp(h->plan, other->plan, sizeof h->plan))/if (0)/
# file: stages/brain/job_check.c
s/if (j->plan \&\& j->plan != digest_short(s->self.plan))/if (0)/
