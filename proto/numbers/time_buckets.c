/* time_buckets.c - see time_buckets.h */
#include "time_buckets.h"

/* clang-format off */
const double time_bucket_bound[TIME_BUCKETS - 1] = {
    50e-6, 70e-6,
    100e-6, 150e-6, 200e-6, 300e-6, 500e-6, 700e-6,
    1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3, 7e-3,
    10e-3, 15e-3, 20e-3, 30e-3, 50e-3, 70e-3,
    0.1, 0.15, 0.2, 0.3, 0.5, 0.7,
    1, 1.5, 2, 3, 5, 7,
};
/* clang-format on */

int time_bucket(uint64_t ns)
{
    double s = (double)ns * 1e-9;
    int low = 0, high = TIME_BUCKETS - 1; /* the answer is in low .. high */

    while (low < high) {
        int middle = (low + high) / 2;
        if (s <= time_bucket_bound[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}
