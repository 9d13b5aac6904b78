# Every broker has the clock of the first one.
# file: stages/brain/stage_talk.c
s/line\[request_broker(request)\];$/line[0];/
