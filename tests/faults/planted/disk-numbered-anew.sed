# What waited on the disk goes out under new numbers.
# by: tests/unit/test_keeper_brain
# file: cache_service/keep/outbox.c
s/^    o->parcel = t->parcel;/&\n    o->parcel.first = o->given + 1, o->given += (uint64_t)o->parcel.n;\n    memcpy(o->parcel.producer, o->producer, sizeof o->producer);/
