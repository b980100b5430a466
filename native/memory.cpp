/** memory.h: what MLX's allocator holds and may hold, in bytes. */

#include "mlx/memory.h"

#if defined(__linux__)
#include <malloc.h>
#endif

#include "forward.h"

using namespace mlxc;

int mlx_clear_cache(void) {
  return attempt([] {
    mx::clear_cache();
#if defined(__GLIBC__)
    malloc_trim(0); // what was freed stays with the process otherwise
#endif
  });
}

int mlx_get_active_memory(size_t* res) {
  return forward(res, [] { return mx::get_active_memory(); });
}

int mlx_get_cache_memory(size_t* res) {
  return forward(res, [] { return mx::get_cache_memory(); });
}

int mlx_get_memory_limit(size_t* res) {
  return forward(res, [] { return mx::get_memory_limit(); });
}

int mlx_get_peak_memory(size_t* res) {
  return forward(res, [] { return mx::get_peak_memory(); });
}

int mlx_reset_peak_memory(void) {
  return attempt([] { mx::reset_peak_memory(); });
}

int mlx_set_cache_limit(size_t* res, size_t limit) {
  return forward(res, [&] { return mx::set_cache_limit(limit); });
}

int mlx_set_memory_limit(size_t* res, size_t limit) {
  return forward(res, [&] { return mx::set_memory_limit(limit); });
}

int mlx_set_wired_limit(size_t* res, size_t limit) {
  return forward(res, [&] { return mx::set_wired_limit(limit); });
}
