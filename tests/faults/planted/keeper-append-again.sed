# An append that is repeated is another one to Redis.
# by: tests/unit/test_keeper_brain
# file: cache_service/service/outbox.c
s/t->sequence = o->acknowledged + 1;/static uint64_t tries; t->sequence = o->acknowledged + ++tries;/
