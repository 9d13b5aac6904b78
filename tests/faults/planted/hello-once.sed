# A hello that is lost with its connection is not said again, and heartbeats do not tell what it said.
# kinds: break,reload
# file: stages/brain/stage_talk.c
s/l->unheard = true;/l->unheard = false;/
# file: stages/brain/stage_talk.c
s/ == FL_OK ? stage_talk_moment(t) : 0;/ == FL_OK ? stage_talk_moment(t) : l->hello_ns;/
# file: stages/brain/stage_talk.c
s/h->ready = t->self.ready;/h->ready = false;/
