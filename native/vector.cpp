/** vector.h: lists of arrays. A list holds references, not copies of the data. */

#include "forward.h"

using namespace mlxc;

mlx_vector_array mlx_vector_array_new(void) {
  return fresh<mlx_vector_array>([] { return std::vector<mx::array>(); });
}

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

int mlx_vector_array_append_value(mlx_vector_array vec, const mlx_array val) {
  return attempt([&] { get(vec).push_back(get(val)); });
}

size_t mlx_vector_array_size(mlx_vector_array vec) {
  return valueOr(size_t{0}, [&] { return get(vec).size(); });
}

int mlx_vector_array_get(mlx_array* res, const mlx_vector_array vec, size_t idx) {
  return forward(res, [&] { return get(vec).at(idx); });
}
