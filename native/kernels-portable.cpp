/** The kernels for any machine, by the compiler's own vectors. */

#include "simd-vectors.h"

#include "kernels-body.h"

BUNSEN_KERNELS(portable);
