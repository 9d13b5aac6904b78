# A hello that is lost with its connection is not said again.
# kinds: break,reload
# file: stages/brain/stage_talk.c
s/l->unheard = true;/l->unheard = false;/
# file: stages/brain/stage_talk.c
s/ == FL_OK ? stage_talk_moment(t) : 0;/ == FL_OK ? stage_talk_moment(t) : l->hello_ns;/
