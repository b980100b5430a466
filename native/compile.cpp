/** compile.h: fusing of operations, which on a CPU runs a C++ compiler. */

#include "mlx/compile.h"

#include "forward.h"

using namespace mlxc;

int mlx_disable_compile(void) {
  return attempt([] { mx::disable_compile(); });
}

int mlx_enable_compile(void) {
  return attempt([] { mx::enable_compile(); });
}
