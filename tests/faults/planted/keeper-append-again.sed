# An append that is repeated is another one to Redis.
# by: tests/unit/test_keeper_brain
# file: cache_service/keep/outbox.c
s/keeper_ask(t, KEEPER_APPEND)->parcel = o->parcel;/&\n    static uint64_t tries; t->parcel.first += ++tries;/
