/** The kernels for AVX-512. */

#if defined(__x86_64__)

#include "simd-avx512.h"

#include "kernels-body.h"

BUNSEN_KERNELS(avx512);

#endif
