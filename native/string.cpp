/** string.h: text that MLX hands out. */

#include "forward.h"

using namespace mlxc;

const char* mlx_string_data(mlx_string str) {
  return valueOr<const char*>(nullptr, [&] { return get(str).c_str(); });
}

int mlx_string_free(mlx_string str) {
  return release(str);
}
