/** array.h: making, asking and reading arrays. */

#include <cstring>
#include <sstream>

#include "forward.h"
#include "mlx/utils.h"
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

template <class Item>
const Item* dataOf(mlx_array arr) {
  mx::array& held = get(arr);
  if (held.data_shared_ptr() == nullptr) {
    throw std::runtime_error("[array::data] The array is not evaluated.");
  }
  return held.data<Item>();
}

} // namespace

int mlx_array_tostring(mlx_string* str, const mlx_array arr) {
  return forward(str, [&] {
    std::ostringstream text;
    text << get(arr);
    return text.str();
  });
}

mlx_array mlx_array_new(void) {
  return {nullptr};
}

int mlx_array_free(mlx_array arr) {
  return release(arr);
}

mlx_array mlx_array_new_int(int val) {
  return fresh<mlx_array>([&] { return mx::array(val); });
}

mlx_array mlx_array_new_float32(float val) {
  return fresh<mlx_array>([&] { return mx::array(val); });
}

mlx_array mlx_array_new_data(const void* data, const int* shape, int dim, mlx_dtype dtype) {
  return fresh<mlx_array>([&] { return copyOf(data, toShape(shape, dim), toDtype(dtype)); });
}

mlx_array mlx_array_new_data_managed_payload(
    void* data, const int* shape, int dim, mlx_dtype dtype, void* payload, void (*dtor)(void*)) {
  return fresh<mlx_array>([&] {
    auto free_payload = [payload, dtor](void*) { dtor(payload); };
    return mx::array(data, toShape(shape, dim), toDtype(dtype), free_payload);
  });
}

int mlx_array_set(mlx_array* arr, const mlx_array src) {
  return forward(arr, [&] { return get(src); });
}

size_t mlx_array_itemsize(const mlx_array arr) {
  return valueOr(size_t{0}, [&] { return get(arr).itemsize(); });
}

size_t mlx_array_size(const mlx_array arr) {
  return valueOr(size_t{0}, [&] { return get(arr).size(); });
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

int mlx_array_dim(const mlx_array arr, int dim) {
  return valueOr(0, [&] { return get(arr).shape(dim); });
}

mlx_dtype mlx_array_dtype(const mlx_array arr) {
  return valueOr(MLX_BOOL, [&] { return static_cast<mlx_dtype>(get(arr).dtype().val()); });
}

int mlx_array_eval(mlx_array arr) {
  return attempt([&] { get(arr).eval(); });
}

int mlx_array_item_uint32(uint32_t* res, const mlx_array arr) {
  return forward(res, [&] { return get(arr).item<uint32_t>(); });
}

int mlx_array_item_int32(int32_t* res, const mlx_array arr) {
  return forward(res, [&] { return get(arr).item<int32_t>(); });
}

int mlx_array_item_float32(float* res, const mlx_array arr) {
  return forward(res, [&] { return get(arr).item<float>(); });
}

const uint8_t* mlx_array_data_uint8(const mlx_array arr) {
  return valueOr<const uint8_t*>(nullptr, [&] { return dataOf<uint8_t>(arr); });
}

const uint32_t* mlx_array_data_uint32(const mlx_array arr) {
  return valueOr<const uint32_t*>(nullptr, [&] { return dataOf<uint32_t>(arr); });
}

const int32_t* mlx_array_data_int32(const mlx_array arr) {
  return valueOr<const int32_t*>(nullptr, [&] { return dataOf<int32_t>(arr); });
}

const float* mlx_array_data_float32(const mlx_array arr) {
  return valueOr<const float*>(nullptr, [&] { return dataOf<float>(arr); });
}
