/** vector.h: lists of arrays. A list holds references, not copies of the data. */

#include "forward.h"

using namespace mlxc;

int mlx_vector_array_free(mlx_vector_array vec) {
  return release(vec);
}

mlx_vector_array mlx_vector_array_new_data(const mlx_array* data, size_t size) {
  return fresh<mlx_vector_array>([&] {
    std::vector<mx::array> arrays;
    arrays.reserve(size);
    for (size_t index = 0; index < size; index++) {
      arrays.push_back(get(data[index]));
    }
    return arrays;
  });
}

int mlx_vector_array_get(mlx_array* res, const mlx_vector_array vec, size_t idx) {
  return forward(res, [&] { return get(vec).at(idx); });
}
