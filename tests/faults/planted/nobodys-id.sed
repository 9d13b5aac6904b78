# All ids are those of the first broker.
# file: broker/state/requests.c
s/(uint64_t)broker << REQUEST_BROKER_SHIFT/0 * (uint64_t)broker/
