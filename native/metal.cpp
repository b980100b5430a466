/** metal.h: never available here; the bridge asks on every platform. */

#include "mlx/backend/metal/metal.h"

#include "forward.h"

using namespace mlxc;

int mlx_metal_is_available(bool* res) {
  return forward(res, [] { return mx::metal::is_available(); });
}
