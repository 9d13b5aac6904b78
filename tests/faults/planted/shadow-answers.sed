# The result of an audit's second run is taken for an answer.
# file: broker/dispatch_answer.c
s/^    if (e->original)$/    if (0)/
