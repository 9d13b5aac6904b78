# A hello that is lost with its connection is not said again.
# kinds: break,reload
# file: stages/worker/stage_talk.c
s/t->unheard = true;/t->unheard = false;/
# file: stages/worker/stage_talk.c
s/ == FL_OK ? stage_talk_moment(t) : 0;/ == FL_OK ? stage_talk_moment(t) : t->hello_ns;/
