/** device.h: which processor computes. */

#include "forward.h"

using namespace mlxc;

mlx_device mlx_device_new_type(mlx_device_type type, int index) {
  return fresh<mlx_device>([&] { return mx::Device(type == MLX_GPU ? mx::Device::gpu : mx::Device::cpu, index); });
}

int mlx_device_free(mlx_device dev) {
  return release(dev);
}

int mlx_set_default_device(mlx_device dev) {
  return attempt([&] { mx::set_default_device(get(dev)); });
}
