# A stage that this broker has not seen ready is not missed, however long another plan waits for it.
# file: broker/state/succession.c
s/now - s->item\[i\].came_ns >= SUCCESSION_START_NS/false/
