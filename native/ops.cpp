/** ops.h: the plain operations, in the order of the header. */

#include "mlx/ops.h"

#include <string_view>

#include "dequantize.h"
#include "experts.h"
#include "forward.h"
#include "matmul.h"
#include "norm.h"
#include "primitive.h"
#include "select.h"

using namespace mlxc;

namespace {

/** Weights for the kernels, with the form that MLX takes where nothing is said; nothing where the mode is not theirs. */
struct ForKernels {
  bunsen::GroupedWeights weights;
  bunsen::GroupForm form;
};

std::optional<ForKernels> forKernels(
    mlx_array w, mlx_array scales, mlx_array biases, mlx_optional_int group_size, mlx_optional_int bits,
    std::string_view mode) {
  static constexpr struct {
    std::string_view mode;
    bunsen::GroupForm form;
  } small_floats[] = {{"mxfp4", {32, 4}}, {"mxfp8", {32, 8}}, {"nvfp4", {16, 4}}};
  const bool is_affine = mode == "affine";
  if (is_affine != (biases.ctx != nullptr)) return std::nullopt;
  const bunsen::GroupedWeights weights = {get(w), get(scales), optional(biases)};
  if (is_affine) return ForKernels{weights, {optional(group_size).value_or(64), optional(bits).value_or(4)}};
  for (const auto& [name, form] : small_floats) {
    const bool agrees = optional(group_size).value_or(form.group_size) == form.group_size &&
        optional(bits).value_or(form.bits) == form.bits;
    if (mode == name && agrees) return ForKernels{weights, form};
  }
  return std::nullopt;
}

/** Products of complex numbers are not in what stands for the BLAS, which would end the process. */
void expectReal(const mx::array& a, const mx::array& b) {
  if (a.dtype() != mx::complex64 && b.dtype() != mx::complex64) return;
  throw std::invalid_argument("[bunsen] products of complex64 are not part of this library");
}

} // namespace

int mlx_add(mlx_array* res, const mlx_array a, const mlx_array b, const mlx_stream s) {
  return forward(res, [&] { return mx::add(get(a), get(b), get(s)); });
}

int mlx_argmax_axis(mlx_array* res, const mlx_array a, int axis, bool keepdims, const mlx_stream s) {
  return forward(res, [&] {
    if (auto place = bunsen::argmax(get(a), axis, keepdims, get(s))) return *place;
    bunsen::countFallback("argmax_axis");
    return mx::argmax(get(a), axis, keepdims, get(s));
  });
}

int mlx_argpartition_axis(mlx_array* res, const mlx_array a, int kth, int axis, const mlx_stream s) {
  return forward(res, [&] { return mx::argpartition(get(a), kth, axis, get(s)); });
}

int mlx_astype(mlx_array* res, const mlx_array a, mlx_dtype dtype, const mlx_stream s) {
  return forward(res, [&] { return mx::astype(get(a), toDtype(dtype), get(s)); });
}

int mlx_concatenate_axis(mlx_array* res, const mlx_vector_array arrays, int axis, const mlx_stream s) {
  return forward(res, [&] { return mx::concatenate(get(arrays), axis, get(s)); });
}

int mlx_contiguous(mlx_array* res, const mlx_array a, bool allow_col_major, const mlx_stream s) {
  return forward(res, [&] { return mx::contiguous(get(a), allow_col_major, get(s)); });
}

int mlx_dequantize(
    mlx_array* res, const mlx_array w, const mlx_array scales, const mlx_array biases, mlx_optional_int group_size,
    mlx_optional_int bits, const char* mode, const mlx_array global_scale, mlx_optional_dtype dtype,
    const mlx_stream s) {
  return forward(res, [&] {
    const auto given = forKernels(w, scales, biases, group_size, bits, mode);
    if (given && global_scale.ctx == nullptr) {
      const mx::Dtype otherwise = biases.ctx == nullptr ? mx::bfloat16 : get(scales).dtype();
      const mx::Dtype wanted = optional(dtype).value_or(otherwise);
      if (auto rows = bunsen::dequantize(given->weights, given->form, wanted, get(s))) return *rows;
    }
    bunsen::countFallback("dequantize");
    return mx::dequantize(
        get(w), get(scales), optional(biases), optional(group_size), optional(bits), mode, optional(global_scale),
        optional(dtype), get(s));
  });
}

int mlx_divide(mlx_array* res, const mlx_array a, const mlx_array b, const mlx_stream s) {
  return forward(res, [&] { return mx::divide(get(a), get(b), get(s)); });
}

int mlx_erf(mlx_array* res, const mlx_array a, const mlx_stream s) {
  return forward(res, [&] { return mx::erf(get(a), get(s)); });
}

int mlx_exp(mlx_array* res, const mlx_array a, const mlx_stream s) {
  return forward(res, [&] { return mx::exp(get(a), get(s)); });
}

int mlx_gather_mm(
    mlx_array* res, const mlx_array a, const mlx_array b, const mlx_array lhs_indices, const mlx_array rhs_indices,
    bool sorted_indices, const mlx_stream s) {
  return forward(res, [&] {
    auto products = bunsen::gatherProduct(get(a), get(b), optional(lhs_indices), optional(rhs_indices), get(s));
    if (products) return *products;
    expectReal(get(a), get(b));
    bunsen::countFallback("gather_mm");
    return mx::gather_mm(get(a), get(b), optional(lhs_indices), optional(rhs_indices), sorted_indices, get(s));
  });
}

int mlx_gather_qmm(
    mlx_array* res, const mlx_array x, const mlx_array w, const mlx_array scales, const mlx_array biases,
    const mlx_array lhs_indices, const mlx_array rhs_indices, bool transpose, mlx_optional_int group_size,
    mlx_optional_int bits, const char* mode, bool sorted_indices, const mlx_stream s) {
  return forward(res, [&] {
    const auto given = forKernels(w, scales, biases, group_size, bits, mode);
    if (given && transpose) {
      auto products = bunsen::gatherGroupedProduct(
          get(x), given->weights, given->form, optional(lhs_indices), optional(rhs_indices), get(s));
      if (products) return *products;
    }
    bunsen::countFallback("gather_qmm");
    return mx::gather_qmm(
        get(x), get(w), get(scales), optional(biases), optional(lhs_indices), optional(rhs_indices), transpose,
        optional(group_size), optional(bits), mode, std::nullopt, sorted_indices, get(s));
  });
}

int mlx_logaddexp(mlx_array* res, const mlx_array a, const mlx_array b, const mlx_stream s) {
  return forward(res, [&] { return mx::logaddexp(get(a), get(b), get(s)); });
}

int mlx_matmul(mlx_array* res, const mlx_array a, const mlx_array b, const mlx_stream s) {
  return forward(res, [&] {
    auto product = bunsen::denseProduct(get(a), get(b), get(s));
    if (product) return *product;
    expectReal(get(a), get(b));
    bunsen::countFallback("matmul");
    return mx::matmul(get(a), get(b), get(s));
  });
}

int mlx_maximum(mlx_array* res, const mlx_array a, const mlx_array b, const mlx_stream s) {
  return forward(res, [&] { return mx::maximum(get(a), get(b), get(s)); });
}

int mlx_minimum(mlx_array* res, const mlx_array a, const mlx_array b, const mlx_stream s) {
  return forward(res, [&] { return mx::minimum(get(a), get(b), get(s)); });
}

int mlx_multiply(mlx_array* res, const mlx_array a, const mlx_array b, const mlx_stream s) {
  return forward(res, [&] { return mx::multiply(get(a), get(b), get(s)); });
}

int mlx_quantize(
    mlx_vector_array* res, const mlx_array w, mlx_optional_int group_size, mlx_optional_int bits, const char* mode,
    const mlx_array global_scale, const mlx_stream s) {
  return forward(res, [&] {
    return mx::quantize(get(w), optional(group_size), optional(bits), mode, optional(global_scale), get(s));
  });
}

int mlx_quantized_matmul(
    mlx_array* res, const mlx_array x, const mlx_array w, const mlx_array scales, const mlx_array biases,
    bool transpose, mlx_optional_int group_size, mlx_optional_int bits, const char* mode, const mlx_stream s) {
  return forward(res, [&] {
    const auto given = forKernels(w, scales, biases, group_size, bits, mode);
    if (given && transpose) {
      if (auto product = bunsen::groupedProduct(get(x), given->weights, given->form, get(s))) return *product;
    }
    bunsen::countFallback("quantized_matmul");
    return mx::quantized_matmul(
        get(x), get(w), get(scales), optional(biases), transpose, optional(group_size), optional(bits), mode, get(s));
  });
}

int mlx_reshape(mlx_array* res, const mlx_array a, const int* shape, size_t shape_num, const mlx_stream s) {
  return forward(res, [&] { return mx::reshape(get(a), toShape(shape, shape_num), get(s)); });
}

int mlx_sigmoid(mlx_array* res, const mlx_array a, const mlx_stream s) {
  return forward(res, [&] {
    if (auto squashed = bunsen::sigmoid(get(a), get(s))) return *squashed;
    bunsen::countFallback("sigmoid");
    return mx::sigmoid(get(a), get(s));
  });
}

int mlx_slice(
    mlx_array* res, const mlx_array a, const int* start, size_t start_num, const int* stop, size_t stop_num,
    const int* strides, size_t strides_num, const mlx_stream s) {
  return forward(res, [&] {
    return mx::slice(get(a), toShape(start, start_num), toShape(stop, stop_num), toShape(strides, strides_num), get(s));
  });
}

int mlx_slice_update(
    mlx_array* res, const mlx_array src, const mlx_array update, const int* start, size_t start_num, const int* stop,
    size_t stop_num, const int* strides, size_t strides_num, const mlx_stream s) {
  return forward(res, [&] {
    return mx::slice_update(
        get(src), get(update), toShape(start, start_num), toShape(stop, stop_num), toShape(strides, strides_num),
        get(s));
  });
}

int mlx_softmax_axis(mlx_array* res, const mlx_array a, int axis, bool precise, const mlx_stream s) {
  return forward(res, [&] {
    if (auto probabilities = bunsen::softmax(get(a), axis, get(s))) return *probabilities;
    bunsen::countFallback("softmax_axis");
    return mx::softmax(get(a), axis, precise, get(s));
  });
}

int mlx_sort_axis(mlx_array* res, const mlx_array a, int axis, const mlx_stream s) {
  return forward(res, [&] {
    if (auto sorted = bunsen::sort(get(a), axis, get(s))) return *sorted;
    bunsen::countFallback("sort_axis");
    return mx::sort(get(a), axis, get(s));
  });
}

int mlx_sum_axis(mlx_array* res, const mlx_array a, int axis, bool keepdims, const mlx_stream s) {
  return forward(res, [&] { return mx::sum(get(a), axis, keepdims, get(s)); });
}

int mlx_take_axis(mlx_array* res, const mlx_array a, const mlx_array indices, int axis, const mlx_stream s) {
  return forward(res, [&] { return mx::take(get(a), get(indices), axis, get(s)); });
}

int mlx_take_along_axis(mlx_array* res, const mlx_array a, const mlx_array indices, int axis, const mlx_stream s) {
  return forward(res, [&] { return mx::take_along_axis(get(a), get(indices), axis, get(s)); });
}

int mlx_tanh(mlx_array* res, const mlx_array a, const mlx_stream s) {
  return forward(res, [&] { return mx::tanh(get(a), get(s)); });
}

int mlx_topk_axis(mlx_array* res, const mlx_array a, int k, int axis, const mlx_stream s) {
  return forward(res, [&] {
    if (auto best = bunsen::topk(get(a), k, axis, get(s))) return *best;
    bunsen::countFallback("topk_axis");
    return mx::topk(get(a), k, axis, get(s));
  });
}

int mlx_transpose_axes(mlx_array* res, const mlx_array a, const int* axes, size_t axes_num, const mlx_stream s) {
  return forward(res, [&] { return mx::transpose(get(a), toInts(axes, axes_num), get(s)); });
}

int mlx_view(mlx_array* res, const mlx_array a, mlx_dtype dtype, const mlx_stream s) {
  return forward(res, [&] { return mx::view(get(a), toDtype(dtype), get(s)); });
}

int mlx_where(mlx_array* res, const mlx_array condition, const mlx_array x, const mlx_array y, const mlx_stream s) {
  return forward(res, [&] { return mx::where(get(condition), get(x), get(y), get(s)); });
}

int mlx_zeros(mlx_array* res, const int* shape, size_t shape_num, mlx_dtype dtype, const mlx_stream s) {
  return forward(res, [&] { return mx::zeros(toShape(shape, shape_num), toDtype(dtype), get(s)); });
}
