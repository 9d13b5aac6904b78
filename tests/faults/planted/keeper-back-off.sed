# Whatever works resets the back-off of what fails.
# by: tests/unit/test_keeper_brain
# file: cache_service/keep/keeper_brain.c
s/^        retry_worked(&b->trouble.step\[b->step\]);/        for (int i = 0; i < STEPS; i++) retry_worked(\&b->trouble.step[i]);/
