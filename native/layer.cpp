/** Weights of the fused layers, and what comes before and after their products. */

#include "layer.h"

#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>

#include "matmul.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "primitive.h"

namespace bunsen {

namespace {

constexpr std::size_t STRIP_ROWS = PANEL_ROWS / 2;
constexpr std::size_t ALIGNMENT = 64;

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
  const GroupForm form = {numbers[0], numbers[1]};
  if (!weight) refuse("projection lacks its weight");
  if (form.bits == 0) {
    if (scalarOf(*weight) == nullptr || weight->ndim() != 2 || weight->shape(1) != columns) {
      refuse("dense projection must be of floats and " + std::to_string(columns) + " columns");
    }
    kept_ = {ready(*weight, stream)};
    matrix_ = denseMatrix(kept_[0]);
  } else {
    if (!scales || !isGrouped({*weight, *scales, biases}, form, columns)) {
      refuse("quantised projection must be in groups that MLX knows, of " + std::to_string(columns) + " columns");
    }
    auto parts = GroupedWeights{*weight, *scales, biases}.inputs(stream);
    for (mx::array& part : parts) part.eval();
    matrix_ = groupedMatrix(parts[0], parts[1], biases ? &parts[2] : nullptr, form);
    const std::size_t scalar_bytes = parts[1].itemsize();
    strips_[0] = intoStrips(matrix_.data, matrix_.words(), sizeof(std::uint32_t));
    strips_[1] = intoStrips(matrix_.scales, matrix_.groups(), scalar_bytes);
    matrix_.data = strips_[0].get();
    matrix_.scales = strips_[1].get();
    if (biases) {
      strips_[2] = intoStrips(matrix_.biases, matrix_.groups(), scalar_bytes);
      matrix_.biases = strips_[2].get();
    }
    matrix_.in_strips = true;
  }
  if (bias) {
    kept_.push_back(floats(*bias, matrix_.rows, "bias", stream));
    bias_ = kept_.back().data<float>();
  }
}

void Linear::Free::operator()(void* memory) const {
  std::free(memory);
}

/** Rows of `items`, turned in strips of sixteen rows. */
Linear::Memory Linear::intoStrips(const void* from, std::size_t items, std::size_t item_bytes) const {
  const std::size_t rows = matrix_.rows;
  const std::size_t strips = (rows + STRIP_ROWS - 1) / STRIP_ROWS;
  const std::size_t bytes = strips * STRIP_ROWS * items * item_bytes;
  Memory to(static_cast<char*>(std::aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT)));
  if (to == nullptr) throw std::bad_alloc();
  const auto turn = [&]<class Item>(Item) {
    parallel(strips, [&, source = static_cast<const Item*>(from), target = reinterpret_cast<Item*>(to.get())](std::size_t strip) {
      Item* out = target + strip * STRIP_ROWS * items;
      for (std::size_t lane = 0; lane < STRIP_ROWS; lane++) {
        const std::size_t row = strip * STRIP_ROWS + lane;
        for (std::size_t item = 0; item < items; item++) {
          out[item * STRIP_ROWS + lane] = row < rows ? source[row * items + item] : Item(0);
        }
      }
    });
  };
  if (item_bytes == sizeof(std::uint32_t)) turn(std::uint32_t());
  else if (item_bytes == sizeof(std::uint16_t)) turn(std::uint16_t());
  else turn(std::uint8_t());
  return to;
}

void Linear::check(std::size_t index) const {
  if (index >= std::size_t(matrix_.rows)) throw std::out_of_range("[bunsen] a row beyond the table");
}

void Linear::row(std::size_t index, float* y) const {
  kernels().unpackRow(matrix_, static_cast<int>(index), y);
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

void Norm::applyAll(float* x, int total) const {
  const float* weight = weight_->data<float>();
  for (int at = 0; at < total; at += size_) kernels().rmsNorm(x + at, weight, size_, epsilon_, x + at);
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
