/** stream.h: queues of work on a device. Each thread has its own default streams. */

#include "forward.h"

using namespace mlxc;

mlx_stream mlx_default_cpu_stream_new(void) {
  return fresh<mlx_stream>([] { return mx::default_stream(mx::Device::cpu); });
}

mlx_stream mlx_default_gpu_stream_new(void) {
  return fresh<mlx_stream>([] { return mx::default_stream(mx::Device::gpu); });
}
