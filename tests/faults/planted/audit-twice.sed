# Each audit counts twice.
# file: cache_service/service/lookups.c
s/^    c->audits++;/    c->audits += 2;/
