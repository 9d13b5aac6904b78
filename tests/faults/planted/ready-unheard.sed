# That a worker is ready is told once: an earlier hello is answered, and the one that says so is lost.
# seed: 54900
# file: stages/brain/stage_talk.c
s/h->ready = t->self.ready;/h->ready = false;/
