# Nobody asks the stage for a hit whose cache service died between verdict and result.
# kinds: kill
# file: broker/dispatch_tell.c
/^void dispatch_ask/,/^}/ s/^    if (.*/    if (1)/
