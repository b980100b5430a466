/** Chooses the kernels that this machine runs. */

#include "kernels.h"

namespace bunsen {

const Kernels* kernels() {
#if defined(__x86_64__)
  static const bool has_avx512 =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (has_avx512) return &avx512_kernels;
#endif
  return nullptr;
}

} // namespace bunsen
