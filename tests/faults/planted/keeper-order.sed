# Of two builds the one that this host has counts, whoever holds the other.
# by: tests/unit/test_keeper_brain
# file: cache_service/store/lineage.c
s/return here->whole \&\& (there->free || manifest_replaces(m, head->build))/return here->whole/
