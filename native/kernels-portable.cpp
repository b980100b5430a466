#include "simd-vectors.h"

#include "kernels-body.h"

BUNSEN_KERNELS(portable);
