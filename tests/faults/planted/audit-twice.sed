# Each audit counts twice.
# file: cache_service/service/lookups.c
s/c->audits += note->audit;/c->audits += 2u * note->audit;/
