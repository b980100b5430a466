/** stream.h: queues of work on a device. Each thread has its own default streams. */

#include "forward.h"

using namespace mlxc;

mlx_stream mlx_stream_new_device(mlx_device dev) {
  return fresh<mlx_stream>([&] { return mx::new_stream(get(dev)); });
}

int mlx_stream_free(mlx_stream stream) {
  return release(stream);
}

int mlx_synchronize(mlx_stream stream) {
  return attempt([&] { mx::synchronize(get(stream)); });
}

int mlx_get_default_stream(mlx_stream* stream, mlx_device dev) {
  return forward(stream, [&] { return mx::default_stream(get(dev)); });
}

int mlx_set_default_stream(mlx_stream stream) {
  return attempt([&] { mx::set_default_stream(get(stream)); });
}

mlx_stream mlx_default_cpu_stream_new(void) {
  return fresh<mlx_stream>([] { return mx::default_stream(mx::Device::cpu); });
}

mlx_stream mlx_default_gpu_stream_new(void) {
  return fresh<mlx_stream>([] { return mx::default_stream(mx::Device::gpu); });
}
