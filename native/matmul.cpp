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

} // namespace

bool isAffine(const mx::array& w, const mx::array& scales, const mx::array& biases, const AffineForm& form, int columns) {
  const auto [group_size, bits] = form;
  const bool known = (bits >= 2 && bits <= 6) || bits == 8;
  if (!known || (group_size != 32 && group_size != 64 && group_size != 128)) return false;
  if (w.ndim() < 2 || w.dtype() != mx::uint32 || columns % group_size != 0) return false;
  const mx::Shape groups = withLast(w, columns / group_size);
  return w.shape(-1) == columns / 32 * bits && scales.shape() == groups && biases.shape() == groups &&
      scalarOf(scales) != nullptr && scales.dtype() == biases.dtype();
}

Matrix affineMatrix(const mx::array& w, const mx::array& scales, const mx::array& biases, const AffineForm& form) {
  Matrix matrix = {};
  matrix.data = w.data<void>();
  matrix.rows = static_cast<int>(w.size() / w.shape(-1));
  matrix.columns = scales.shape(-1) * form.group_size;
  matrix.bits = form.bits;
  matrix.group_size = form.group_size;
  matrix.scales = scales.data<void>();
  matrix.biases = biases.data<void>();
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

std::optional<mx::array> affineProduct(
    const mx::array& x,
    const mx::array& w,
    const mx::array& scales,
    const mx::array& biases,
    const AffineForm& form,
    mx::Stream stream) {
  if (stream.device != mx::Device::cpu || x.dtype() != mx::float32 || x.ndim() == 0 || x.size() == 0) return std::nullopt;
  if (w.ndim() != 2 || !isAffine(w, scales, biases, form, x.shape(-1))) return std::nullopt;
  return product(
      x, w.shape(0), {inRows(x, stream), inRows(w, stream), inRows(scales, stream), inRows(biases, stream)}, stream,
      [form](const std::vector<mx::array>& inputs) { return affineMatrix(inputs[1], inputs[2], inputs[3], form); });
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
