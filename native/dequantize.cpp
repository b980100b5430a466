/** One row at a time by the kernel. */

#include "dequantize.h"

#include <vector>

#include "mlx/ops.h"
#include "primitive.h"
#include "product.h"

namespace bunsen {

std::optional<mx::array> dequantize(
    const GroupedWeights& weights, const GroupForm& form, mx::Dtype dtype, mx::Stream stream) {
  const auto& [w, scales, biases] = weights;
  if (stream.device != mx::Device::cpu || !mx::issubdtype(dtype, mx::floating)) return std::nullopt;
  if (scales.ndim() == 0 || w.ndim() == 0 || w.size() == 0) return std::nullopt;
  mx::Shape shape = w.shape();
  shape.back() = scales.shape(-1) * form.group_size;
  if (!isGrouped(weights, form, shape.back())) return std::nullopt;
  const mx::array rows = operation(
      "Dequantize", shape, mx::float32, weights.inputs(stream), stream,
      [form](const std::vector<mx::array>& inputs, mx::array& out) -> Task {
        const Matrix matrix = groupedMatrix(inputs[0], inputs[1], inputs.size() > 2 ? &inputs[2] : nullptr, form);
        return [matrix, y = out.data<float>()] {
          eachRow(matrix.rows, 4 * std::size_t(matrix.columns), [&](int row) { // bits come out one weight at a time
            kernels().unpackRow(matrix, row, y + std::size_t(row) * matrix.columns);
          });
        };
      });
  return mx::astype(rows, dtype, stream);
}

} // namespace bunsen
