/** random.h: draws. Without a key MLX advances its own state, one per thread. */

#include "mlx/random.h"

#include "forward.h"

using namespace mlxc;

int mlx_random_categorical(
    mlx_array* res, const mlx_array logits, int axis, const mlx_array key, const mlx_stream s) {
  return forward(res, [&] { return mx::random::categorical(get(logits), axis, optional(key), get(s)); });
}

int mlx_random_gumbel(
    mlx_array* res, const int* shape, size_t shape_num, mlx_dtype dtype, const mlx_array key, const mlx_stream s) {
  return forward(res, [&] {
    return mx::random::gumbel(toShape(shape, shape_num), toDtype(dtype), optional(key), get(s));
  });
}

int mlx_random_key(mlx_array* res, uint64_t seed) {
  return forward(res, [&] { return mx::random::key(seed); });
}

int mlx_random_normal(
    mlx_array* res, const int* shape, size_t shape_num, mlx_dtype dtype, float loc, float scale, const mlx_array key,
    const mlx_stream s) {
  return forward(res, [&] {
    return mx::random::normal(
        toShape(shape, shape_num), toDtype(dtype), loc, scale, optional(key), get(s));
  });
}

int mlx_random_split(mlx_array* res_0, mlx_array* res_1, const mlx_array key, const mlx_stream s) {
  return attempt([&] {
    auto [first, second] = mx::random::split(get(key), get(s));
    set(res_0, first);
    set(res_1, second);
  });
}

int mlx_random_uniform(
    mlx_array* res, const mlx_array low, const mlx_array high, const int* shape, size_t shape_num, mlx_dtype dtype,
    const mlx_array key, const mlx_stream s) {
  return forward(res, [&] {
    return mx::random::uniform(
        get(low), get(high), toShape(shape, shape_num), toDtype(dtype), optional(key), get(s));
  });
}
