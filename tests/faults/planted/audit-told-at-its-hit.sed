# A hit counts as the truth about itself.
# file: broker/dispatch_tell.c
s/e->audit && hit_exit < 0 && (label/e->audit \&\& (label/
