/** version.h: which MLX computes. */

#include "mlx/version.h"

#include "forward.h"

using namespace mlxc;

int mlx_version(mlx_string* str_) {
  return forward(str_, [] { return std::string(mx::version()); });
}
