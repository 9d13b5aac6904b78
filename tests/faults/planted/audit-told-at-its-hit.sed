# A hit counts as the truth about itself.
# file: broker/dispatch_tell.c
s/e->audit && label >= 0 && hit_exit < 0/e->audit \&\& label >= 0/
