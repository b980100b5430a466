/** Weights of the fused layers, and what comes before and after their products. */

#include "layer.h"

#include <stdexcept>
#include <string>

#include "matmul.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "primitive.h"

namespace bunsen {

namespace {

mx::array ready(const mx::array& a, mx::Stream stream) {
  mx::array rows = inRows(a, stream);
  rows.eval();
  return rows;
}

[[noreturn]] void refuse(const std::string& what) {
  throw std::invalid_argument("[bunsen] a layer's " + what);
}

} // namespace

mx::array floats(const mx::array& a, std::size_t size, const char* name, mx::Stream stream) {
  if (a.size() != size) {
    refuse(std::string(name) + " must have " + std::to_string(size) + " elements, found " + std::to_string(a.size()));
  }
  return ready(mx::astype(a, mx::float32, stream), stream);
}

Linear::Linear(const std::optional<mx::array>* arrays, const int* numbers, int columns, mx::Stream stream) {
  const auto& [weight, scales, biases, bias] = *reinterpret_cast<const std::optional<mx::array>(*)[ARRAYS]>(arrays);
  const AffineForm form = {numbers[0], numbers[1]};
  if (!weight) refuse("projection lacks its weight");
  if (form.bits == 0) {
    if (scalarOf(*weight) == nullptr || weight->ndim() != 2 || weight->shape(1) != columns) {
      refuse("dense projection must be of floats and " + std::to_string(columns) + " columns");
    }
    kept_ = {ready(*weight, stream)};
    matrix_ = denseMatrix(kept_[0]);
  } else {
    if (!scales || !biases || !isAffine(*weight, *scales, *biases, form, columns)) {
      refuse("quantised projection must be affine, of " + std::to_string(columns) + " columns");
    }
    kept_ = {ready(*weight, stream), ready(*scales, stream), ready(*biases, stream)};
    matrix_ = affineMatrix(kept_[0], kept_[1], kept_[2], form);
  }
  if (bias) {
    kept_.push_back(floats(*bias, matrix_.rows, "bias", stream));
    bias_ = kept_.back().data<float>();
  }
}

Norm::Norm(const std::optional<mx::array>& weight, float epsilon, int size, mx::Stream stream)
    : epsilon_(epsilon), size_(size) {
  if (weight) weight_ = floats(*weight, size, "norm", stream);
}

void Norm::apply(const float* x, std::size_t x_stride, int count, float* y, std::size_t y_stride) const {
  const Kernels& set = kernels();
  const float* weight = weight_->data<float>();
  eachRow(count, 2 * size_, [&](int row) {
    set.rmsNorm(x + row * x_stride, weight, size_, epsilon_, y + row * y_stride);
  });
}

void close(const Norm& norm, const float* residual, float factor, int count, int size, float* y) {
  const Kernels& set = kernels();
  if (norm) norm.apply(y, size, count, y, size);
  eachRow(count, size, [&](int row) {
    float* to = y + std::size_t(row) * size;
    if (factor != 1) set.scale(to, factor, size, to);
    set.add(to, residual + std::size_t(row) * size, size, to);
  });
}

} // namespace bunsen
