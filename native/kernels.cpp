/** Chooses the kernels that this machine runs. */

#include "kernels.h"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace bunsen {

namespace {

/** Those the machine can run, the best first. */
std::vector<const Kernels*> runnable() {
  std::vector<const Kernels*> sets;
#if defined(__x86_64__)
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (has_avx512 && __builtin_cpu_supports("avx512vnni")) sets.push_back(&avx512vnni_kernels);
  if (has_avx512) sets.push_back(&avx512_kernels);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets.push_back(&avx2_kernels);
#endif
  sets.push_back(&portable_kernels);
  return sets;
}

const Kernels& choose() {
  const std::vector<const Kernels*> sets = runnable();
  const char* wanted = std::getenv("BUNSEN_KERNELS");
  if (wanted == nullptr || *wanted == 0) return *sets.front();
  for (const Kernels* set : sets) {
    if (std::string_view(set->name) == wanted) return *set;
  }
  throw std::invalid_argument("BUNSEN_KERNELS is \"" + std::string(wanted) + "\", which this machine has not");
}

} // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

} // namespace bunsen
