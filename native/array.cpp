/** array.h: making, asking and reading arrays. */

#include <cstring>

#include "forward.h"
#include "primitive.h"

using namespace mlxc;

namespace {

mx::array copyOf(const void* data, mx::Shape dims, mx::Dtype type) {
  std::size_t bytes = bunsen::byteCount(dims, type);
  mx::allocator::Data copy = bunsen::allocate(bytes);
  if (bytes > 0) {
    std::memcpy(copy.buffer().raw_ptr(), data, bytes);
  }
  return mx::array(std::move(copy), std::move(dims), type);
}

} // namespace

int mlx_array_free(mlx_array arr) {
  return release(arr);
}

mlx_array mlx_array_new_float32(float val) {
  return fresh<mlx_array>([&] { return mx::array(val); });
}

mlx_array mlx_array_new_data(const void* data, const int* shape, int dim, mlx_dtype dtype) {
  return fresh<mlx_array>([&] { return copyOf(data, toShape(shape, dim), toDtype(dtype)); });
}

size_t mlx_array_nbytes(const mlx_array arr) {
  return valueOr(size_t{0}, [&] { return get(arr).nbytes(); });
}

size_t mlx_array_ndim(const mlx_array arr) {
  return valueOr(size_t{0}, [&] { return get(arr).ndim(); });
}

const int* mlx_array_shape(const mlx_array arr) {
  return valueOr<const int*>(nullptr, [&] { return get(arr).shape().data(); });
}

mlx_dtype mlx_array_dtype(const mlx_array arr) {
  return valueOr(MLX_BOOL, [&] { return static_cast<mlx_dtype>(get(arr).dtype().val()); });
}

const uint32_t* mlx_array_data_uint32(const mlx_array arr) {
  return valueOr<const uint32_t*>(nullptr, [&] {
    if (get(arr).data_shared_ptr() == nullptr) throw std::runtime_error("[array::data] The array is not evaluated.");
    return get(arr).data<uint32_t>();
  });
}
