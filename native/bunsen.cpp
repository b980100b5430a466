/** bunsen.h: what this library has beyond mlx-c. */

#include "forward.h"
#include "primitive.h"

using namespace mlxc;

int bunsen_fallbacks(mlx_string* res) {
  return forward(res, [] { return bunsen::fallbacks(); });
}
