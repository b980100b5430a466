/** The products as operations of MLX. */

#include "matmul.h"

#include <utility>
#include <vector>

#include "mlx/ops.h"
#include "primitive.h"
#include "product.h"

namespace bunsen {

namespace {

mx::Shape withLast(const mx::array& x, int size) {
  auto shape = x.shape();
  shape.back() = size;
  return shape;
}

Matrix transposed(Matrix matrix) {
  std::swap(matrix.rows, matrix.columns);
  std::swap(matrix.row_stride, matrix.column_stride);
  return matrix;
}

/** The operation x · matrixᵀ where `matrix` is made of the inputs behind x. */
mx::array product(
    const mx::array& x,
    int rows,
    std::vector<mx::array> inputs,
    mx::Stream stream,
    std::function<Matrix(const std::vector<mx::array>&)> matrixOf) {
  return operation(
      "Product", withLast(x, rows), mx::float32, std::move(inputs), stream,
      [matrixOf = std::move(matrixOf)](const std::vector<mx::array>& inputs, mx::array& out) -> Task {
        const Matrix matrix = matrixOf(inputs);
        const int count = static_cast<int>(inputs[0].size() / matrix.columns);
        return [matrix, count, x = inputs[0].data<float>(), y = out.data<float>()] {
          multiply(x, matrix.columns, count, {{matrix, nullptr, y, std::size_t(matrix.rows)}});
        };
      });
}

bool isAffine(const GroupForm& form) {
  const auto [group_size, bits] = form;
  return ((bits >= 2 && bits <= 6) || bits == 8) && (group_size == 32 || group_size == 64 || group_size == 128);
}

/** mxfp4, mxfp8 and nvfp4. */
bool isSmallFloats(const GroupForm& form) {
  const auto [group_size, bits] = form;
  return (group_size == 32 && (bits == 4 || bits == 8)) || (group_size == 16 && bits == 4);
}

} // namespace

std::vector<mx::array> GroupedWeights::inputs(mx::Stream stream) const {
  std::vector<mx::array> all = {inRows(w, stream), inRows(scales, stream)};
  if (biases) all.push_back(inRows(*biases, stream));
  return all;
}

bool isGrouped(const GroupedWeights& weights, const GroupForm& form, int columns) {
  const auto& [w, scales, biases] = weights;
  const auto [group_size, bits] = form;
  if (!(biases ? isAffine(form) : isSmallFloats(form))) return false;
  if (w.ndim() < 2 || w.dtype() != mx::uint32 || columns % group_size != 0 || columns % 32 != 0) return false;
  const mx::Shape shape = withLast(w, columns / group_size);
  if (w.shape(-1) != columns / 32 * bits || scales.shape() != shape) return false;
  if (!biases) return scales.dtype() == mx::uint8;
  return biases->shape() == shape && scalarOf(scales) != nullptr && scales.dtype() == biases->dtype();
}

Matrix groupedMatrix(const mx::array& w, const mx::array& scales, const mx::array* biases, const GroupForm& form) {
  Matrix matrix = {};
  matrix.data = w.data<void>();
  matrix.rows = static_cast<int>(w.size() / w.shape(-1));
  matrix.columns = scales.shape(-1) * form.group_size;
  matrix.bits = form.bits;
  matrix.group_size = form.group_size;
  matrix.scales = scales.data<void>();
  if (biases == nullptr) {
    matrix.stored = form.group_size == 16 ? Scalar::e4m3 : Scalar::e8m0; // nvfp4, or mxfp4 and mxfp8
    return matrix;
  }
  matrix.biases = biases->data<void>();
  matrix.stored = *scalarOf(scales);
  return matrix;
}

Matrix denseMatrix(const mx::array& w) {
  Matrix matrix = {};
  matrix.data = w.data<void>();
  matrix.rows = w.shape(0);
  matrix.columns = w.shape(1);
  matrix.row_stride = w.strides(0);
  matrix.column_stride = w.strides(1);
  matrix.stored = *scalarOf(w);
  return matrix;
}

std::optional<mx::array> groupedProduct(
    const mx::array& x, const GroupedWeights& weights, const GroupForm& form, mx::Stream stream) {
  if (stream.device != mx::Device::cpu || x.dtype() != mx::float32 || x.ndim() == 0 || x.size() == 0) return std::nullopt;
  if (weights.w.ndim() != 2 || !isGrouped(weights, form, x.shape(-1))) return std::nullopt;
  std::vector<mx::array> inputs = weights.inputs(stream);
  inputs.insert(inputs.begin(), inRows(x, stream));
  return product(x, weights.w.shape(0), std::move(inputs), stream, [form](const std::vector<mx::array>& inputs) {
    return groupedMatrix(inputs[1], inputs[2], inputs.size() > 3 ? &inputs[3] : nullptr, form);
  });
}

std::optional<mx::array> denseProduct(const mx::array& a, const mx::array& b, mx::Stream stream) {
  if (stream.device != mx::Device::cpu || a.dtype() != mx::float32 || scalarOf(b) == nullptr) return std::nullopt;
  if (a.ndim() == 0 || b.ndim() != 2 || a.size() == 0 || b.size() == 0 || a.shape(-1) != b.shape(0)) return std::nullopt;
  const bool readable = b.is_available() && (b.strides(0) == 1 || b.strides(1) == 1);
  return product(
      a, b.shape(1), {inRows(a, stream), readable ? b : inRows(b, stream)}, stream,
      [](const std::vector<mx::array>& inputs) { return transposed(denseMatrix(inputs[1])); });
}

} // namespace bunsen
