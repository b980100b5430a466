/** device.h: which processor computes. */

#include <sstream>

#include "forward.h"
#include "mlx/utils.h"

using namespace mlxc;

mlx_device mlx_device_new_type(mlx_device_type type, int index) {
  return fresh<mlx_device>([&] { return mx::Device(type == MLX_GPU ? mx::Device::gpu : mx::Device::cpu, index); });
}

int mlx_device_free(mlx_device dev) {
  return release(dev);
}

int mlx_device_tostring(mlx_string* str, mlx_device dev) {
  return forward(str, [&] {
    std::ostringstream text;
    text << get(dev);
    return text.str();
  });
}

int mlx_device_get_type(mlx_device_type* type, mlx_device dev) {
  return forward(type, [&] { return get(dev).type == mx::Device::gpu ? MLX_GPU : MLX_CPU; });
}

int mlx_get_default_device(mlx_device* dev) {
  return forward(dev, [] { return mx::default_device(); });
}

int mlx_set_default_device(mlx_device dev) {
  return attempt([&] { mx::set_default_device(get(dev)); });
}
