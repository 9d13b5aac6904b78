# Requests that wait for the answer of one with the same input do not get it.
# file: broker/dispatch_answer.c
s/    while ((f = dispatch_follower(d, e)))$/    while (0 \&\& (f = dispatch_follower(d, e)))/
