# A worker says goodbye as soon as it is asked to end, and that counts as a failure of its requests.
# file: stages/brain/stage_brain.c
s/b->asked > 1 ||/b->asked > 0 ||/
# file: broker/dispatch_members.c
s/bool goodbye = !m->hello.ready;/bool goodbye = false;/
