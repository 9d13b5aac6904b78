/* flat_faiss.cpp - FAISS's exact index behind three C functions, for bench_flat.c; one thread */
#include <faiss/IndexFlat.h>
#include <omp.h>

extern "C" {
void *flat_new(int d, int64_t n, const float *points)
{
    auto *index = new faiss::IndexFlatL2(d);
    omp_set_num_threads(1);
    index->add(n, points);
    return index;
}

void flat_search(const void *index, int m, const float *x, int k, float *d2, int64_t *found)
{
    static_cast<const faiss::IndexFlatL2 *>(index)->search(m, x, k, d2, found);
}

void flat_free(void *index)
{
    delete static_cast<faiss::IndexFlatL2 *>(index);
}
}
