/** The kernels for AVX-512 with products of bytes (VNNI). */

#if defined(__x86_64__)

#include "simd-avx512.h"

#include "kernels-body.h"

BUNSEN_KERNELS(avx512vnni);

#endif
