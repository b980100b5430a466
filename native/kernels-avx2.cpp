/** The kernels for AVX2. */

#if defined(__x86_64__)

#include "simd-avx2.h"

#include "kernels-body.h"

BUNSEN_KERNELS(avx2);

#endif
