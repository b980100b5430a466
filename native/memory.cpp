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

int mlx_set_memory_limit(size_t* res, size_t limit) {
  return forward(res, [&] { return mx::set_memory_limit(limit); });
}
