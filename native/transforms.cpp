/** transforms.h: computing what was only described. */

#include "mlx/transforms.h"

#include "forward.h"

using namespace mlxc;

int mlx_eval(const mlx_vector_array outputs) {
  return attempt([&] { mx::eval(get(outputs)); });
}
