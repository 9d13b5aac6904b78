# A hello that is lost with its connection is not said again.
# kinds: break,reload,kill
# file: stages/worker/stage_talk.c
s/t->unheard = true;/t->unheard = false;/
s/ == FL_OK ? t->io->moment(t->io->arg) : 0;/ == FL_OK ? t->io->moment(t->io->arg) : t->hello_ns;/
