/** Rows are gathered by the matrix they go to, multiplied at once, and put back. */

#include "experts.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "mlx/ops.h"
#include "mlx/utils.h"
#include "primitive.h"
#include "product.h"
#include "rows.h"

namespace bunsen {

namespace {

/** Which of a stack stands at each place of the result; `values` is null where that is the place itself. */
struct Indices {
  const std::uint32_t* values;
  std::vector<std::ptrdiff_t> strides; // by the axes of the result, 0 where one serves all

  std::vector<std::uint32_t> read(const mx::Shape& shape, std::size_t stack) const {
    std::vector<std::uint32_t> all;
    std::size_t count = 1;
    for (int dim : shape) count *= dim;
    for (std::size_t index = 0; index < count; index++) {
      std::ptrdiff_t at = 0;
      std::size_t rest = index;
      for (int axis = static_cast<int>(shape.size()) - 1; axis >= 0; axis--) {
        at += static_cast<std::ptrdiff_t>(rest % shape[axis]) * strides[axis];
        rest /= shape[axis];
      }
      const std::uint32_t value = values == nullptr ? static_cast<std::uint32_t>(at) : values[at];
      if (value >= stack) {
        throw std::out_of_range(
            "[gather] Index " + std::to_string(value) + " of a stack of " + std::to_string(stack) + " matrices");
      }
      all.push_back(value);
    }
    return all;
  }
};

/** Strides of `shape` as it broadcasts to `to`. */
std::vector<std::ptrdiff_t> broadcastStrides(const mx::Shape& shape, const mx::Strides& strides, const mx::Shape& to) {
  std::vector<std::ptrdiff_t> all(to.size(), 0);
  const std::size_t missing = to.size() - shape.size();
  for (std::size_t axis = 0; axis < shape.size(); axis++) {
    if (shape[axis] != 1) all[missing + axis] = strides[axis];
  }
  return all;
}

Indices placesThemselves(const mx::Shape& shape, const mx::Shape& to) {
  mx::Strides strides(shape.size());
  std::int64_t stride = 1;
  for (int axis = static_cast<int>(shape.size()) - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return {nullptr, broadcastStrides(shape, strides, to)};
}

/** One call: which of x goes to which matrix, where all lie. */
struct Work {
  std::vector<std::uint32_t> sources;
  std::vector<std::uint32_t> experts;
  const float* x; // (…, rows, columns)
  float* y; // (places, rows, rows of a matrix)
  int rows;
};

/** Those places of `order` first … last that go to one matrix. */
void multiplyGroup(const Work& work, const Matrix& matrix, const std::uint32_t* first, const std::uint32_t* last) {
  const std::size_t x_size = std::size_t(work.rows) * matrix.columns;
  const std::size_t y_size = std::size_t(work.rows) * matrix.rows;
  const std::size_t places = last - first;
  const int count = static_cast<int>(places) * work.rows;
  bool in_turn = true; // already side by side, as rows are that were sorted before
  for (std::size_t at = 1; at < places; at++) {
    in_turn = in_turn && first[at] == first[0] + at && work.sources[first[at]] == work.sources[first[0]] + at;
  }
  if (in_turn) {
    const float* x = work.x + work.sources[*first] * x_size;
    multiply(x, matrix.columns, count, {{matrix, nullptr, work.y + *first * y_size, std::size_t(matrix.rows)}});
    return;
  }
  std::vector<float> x(places * x_size);
  std::vector<float> y(places * y_size);
  for (std::size_t at = 0; at < places; at++) {
    std::memcpy(x.data() + at * x_size, work.x + work.sources[first[at]] * x_size, x_size * sizeof(float));
  }
  multiply(x.data(), matrix.columns, count, {{matrix, nullptr, y.data(), std::size_t(matrix.rows)}});
  for (std::size_t at = 0; at < places; at++) {
    std::memcpy(work.y + first[at] * y_size, y.data() + at * y_size, y_size * sizeof(float));
  }
}

void multiplyAll(const Work& work, const std::function<Matrix(std::uint32_t expert)>& matrixOf) {
  std::vector<std::uint32_t> order(work.experts.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return work.experts[a] < work.experts[b];
  });
  for (std::size_t first = 0; first < order.size();) {
    const std::uint32_t expert = work.experts[order[first]];
    std::size_t last = first;
    while (last < order.size() && work.experts[order[last]] == expert) last++;
    multiplyGroup(work, matrixOf(expert), order.data() + first, order.data() + last);
    first = last;
  }
}

/** Gives the matrix of each expert once the inputs that follow x and the indices are computed. */
using Stack = std::function<std::function<Matrix(std::uint32_t)>(const mx::array* weights)>;

mx::Shape leading(const mx::array& a) {
  return mx::Shape(a.shape().begin(), a.shape().end() - 2);
}

mx::array gathered(
    const mx::array& x,
    const std::vector<mx::array>& weights,
    int experts,
    int matrix_rows,
    const std::optional<mx::array>& lhs,
    const std::optional<mx::array>& rhs,
    mx::Stream stream,
    Stack stack) {
  const mx::Shape lhs_shape = lhs ? lhs->shape() : leading(x);
  const mx::Shape rhs_shape = rhs ? rhs->shape() : mx::Shape{experts};
  const mx::Shape places = mx::broadcast_shapes(lhs_shape, rhs_shape);
  mx::Shape shape = places;
  shape.push_back(x.shape(-2));
  shape.push_back(matrix_rows);
  std::vector<mx::array> inputs = {inRows(x, stream)};
  for (const auto& indices : {lhs, rhs}) {
    if (indices) inputs.push_back(mx::astype(*indices, mx::uint32, stream));
  }
  const std::size_t first_weight = inputs.size();
  inputs.insert(inputs.end(), weights.begin(), weights.end());
  return operation(
      "GatherProduct", shape, mx::float32, std::move(inputs), stream,
      [=, given_lhs = lhs.has_value(), given_rhs = rhs.has_value(), stack = std::move(stack)](
          const std::vector<mx::array>& inputs, mx::array& out) -> Task {
        const auto indicesOf = [&](const mx::array& a) {
          return Indices{a.data<std::uint32_t>(), broadcastStrides(a.shape(), a.strides(), places)};
        };
        const mx::array& x = inputs[0];
        const Indices sources = given_lhs ? indicesOf(inputs[1]) : placesThemselves(lhs_shape, places);
        const Indices chosen = given_rhs ? indicesOf(inputs[first_weight - 1]) : placesThemselves(rhs_shape, places);
        const std::size_t source_count = x.size() / x.shape(-1) / x.shape(-2);
        Work work = {{}, {}, x.data<float>(), out.data<float>(), x.shape(-2)};
        return [=, matrixOf = stack(inputs.data() + first_weight)]() mutable {
          work.sources = sources.read(places, source_count);
          work.experts = chosen.read(places, experts);
          multiplyAll(work, matrixOf);
        };
      });
}

bool areIndices(const std::optional<mx::array>& indices) {
  return !indices || (indices->size() > 0 && mx::issubdtype(indices->dtype(), mx::integer));
}

bool mayGather(
    const mx::array& x, const mx::array& w, const std::optional<mx::array>& lhs, const std::optional<mx::array>& rhs,
    mx::Stream stream) {
  return isForKernels(x, stream) && x.ndim() >= 2 && w.ndim() == 3 && w.size() > 0 && areIndices(lhs) && areIndices(rhs);
}

} // namespace

std::optional<mx::array> gatherGroupedProduct(
    const mx::array& x,
    const GroupedWeights& weights,
    const GroupForm& form,
    const std::optional<mx::array>& lhs,
    const std::optional<mx::array>& rhs,
    mx::Stream stream) {
  const mx::array& w = weights.w;
  if (!mayGather(x, w, lhs, rhs, stream) || !isGrouped(weights, form, x.shape(-1))) return std::nullopt;
  const int rows = w.shape(1);
  return gathered(
      x, weights.inputs(stream), w.shape(0), rows, lhs, rhs, stream,
      [form, rows, is_affine = weights.biases.has_value()](const mx::array* weights) {
        const Matrix all = groupedMatrix(weights[0], weights[1], is_affine ? &weights[2] : nullptr, form);
        return [all, rows, scalar_bytes = weights[1].itemsize()](std::uint32_t expert) {
          const std::size_t row = std::size_t(expert) * rows;
          const auto from = [](const void* data, std::size_t bytes) { return static_cast<const char*>(data) + bytes; };
          Matrix matrix = all;
          matrix.rows = rows;
          matrix.data = from(all.data, row * all.words() * sizeof(std::uint32_t));
          matrix.scales = from(all.scales, row * all.groups() * scalar_bytes);
          if (all.biases != nullptr) matrix.biases = from(all.biases, row * all.groups() * scalar_bytes);
          return matrix;
        };
      });
}

std::optional<mx::array> gatherProduct(
    const mx::array& a,
    const mx::array& b,
    const std::optional<mx::array>& lhs,
    const std::optional<mx::array>& rhs,
    mx::Stream stream) {
  if (!mayGather(a, b, lhs, rhs, stream) || scalarOf(b) == nullptr || a.shape(-1) != b.shape(1)) return std::nullopt;
  if (!lhs && !rhs) return std::nullopt; // a plain product, whose leading axes MLX broadcasts
  const bool readable = b.is_available() && (b.strides(1) == 1 || b.strides(2) == 1);
  return gathered(
      a, {readable ? b : inRows(b, stream)}, b.shape(0), b.shape(2), lhs, rhs, stream, [](const mx::array* weights) {
        const mx::array& b = weights[0];
        Matrix first = {};
        first.rows = b.shape(2);
        first.columns = b.shape(1);
        first.row_stride = b.strides(2);
        first.column_stride = b.strides(1);
        first.stored = *scalarOf(b);
        const char* data = b.data<char>();
        const std::size_t expert_bytes = b.strides(0) * b.itemsize();
        return [first, data, expert_bytes](std::uint32_t expert) {
          Matrix matrix = first;
          matrix.data = data + expert * expert_bytes;
          return matrix;
        };
      });
}

} // namespace bunsen
