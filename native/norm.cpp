/** Norms, softmax and sigmoid as operations of MLX. */

#include "norm.h"

#include <utility>
#include <vector>

#include "mlx/ops.h"
#include "primitive.h"
#include "product.h"
#include "rows.h"

namespace bunsen {

namespace {

/** What becomes of one row, given the vectors that go with every row (null where there is none). */
using RowWork = std::function<void(const float* x, const std::vector<const float*>& vectors, int size, float* y)>;

/** Absent, or (size) of some float dtype. */
bool isVector(const std::optional<mx::array>& a, int size) {
  return !a || (a->shape() == mx::Shape{size} && scalarOf(*a) != nullptr);
}

mx::array byRow(
    const char* name,
    const mx::array& x,
    const std::vector<std::optional<mx::array>>& vectors,
    mx::Stream stream,
    RowWork work) {
  std::vector<mx::array> inputs = {x};
  std::vector<bool> present;
  for (const auto& vector : vectors) {
    present.push_back(vector.has_value());
    if (vector) inputs.push_back(inRows(mx::astype(*vector, mx::float32, stream), stream));
  }
  return operation(
      name, x.shape(), mx::float32, std::move(inputs), stream,
      [present = std::move(present), work = std::move(work)](const std::vector<mx::array>& inputs, mx::array& out) {
        std::vector<const float*> vectors;
        std::size_t next = 1;
        for (bool there : present) vectors.push_back(there ? inputs[next++].data<float>() : nullptr);
        return [rows = Rows<float>(inputs[0]), vectors = std::move(vectors), y = out.data<float>(), work] {
          eachRow(rows.count(), rows.size(), [&](int row) {
            float* to = y + std::size_t(row) * rows.size();
            work(rows.at(row, to), vectors, rows.size(), to);
          });
        };
      });
}

} // namespace

std::optional<mx::array> rmsNorm(
    const mx::array& x, const std::optional<mx::array>& weight, float epsilon, mx::Stream stream) {
  if (!isForKernels(x, stream) || !isVector(weight, x.shape(-1))) return std::nullopt;
  return byRow(
      "RmsNorm", x, {weight}, stream,
      [epsilon](const float* x, const std::vector<const float*>& vectors, int size, float* y) {
        kernels().rmsNorm(x, vectors[0], size, epsilon, y);
      });
}

std::optional<mx::array> layerNorm(
    const mx::array& x,
    const std::optional<mx::array>& weight,
    const std::optional<mx::array>& bias,
    float epsilon,
    mx::Stream stream) {
  if (!isForKernels(x, stream) || !isVector(weight, x.shape(-1)) || !isVector(bias, x.shape(-1))) return std::nullopt;
  return byRow(
      "LayerNorm", x, {weight, bias}, stream,
      [epsilon](const float* x, const std::vector<const float*>& vectors, int size, float* y) {
        kernels().layerNorm(x, vectors[0], vectors[1], size, epsilon, y);
      });
}

std::optional<mx::array> softmax(const mx::array& x, int axis, mx::Stream stream) {
  const int last = static_cast<int>(x.ndim()) - 1;
  if (!isForKernels(x, stream) || (axis != -1 && axis != last)) return std::nullopt;
  return byRow("Softmax", x, {}, stream, [](const float* x, const std::vector<const float*>&, int size, float* y) {
    kernels().softmax(x, size, y);
  });
}

std::optional<mx::array> sigmoid(const mx::array& x, mx::Stream stream) {
  if (!isForKernels(x, stream)) return std::nullopt;
  return byRow("Sigmoid", x, {}, stream, [](const float* x, const std::vector<const float*>&, int size, float* y) {
    kernels().sigmoid(x, size, y);
  });
}

} // namespace bunsen
