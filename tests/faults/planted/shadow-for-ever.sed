# A replica counts as busy with an audit's second run after that has ended.
# file: broker/dispatch_tell.c
s/^        d->shadowed &= .*/        (void)0;/
