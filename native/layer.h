/** What the fused layers share: weights kept ready for the kernels, norms, and the closing sum. */

#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "kernels.h"
#include "mlx/array.h"
#include "product.h"

namespace bunsen {

namespace mx = mlx::core;

/** A projection's weights, quantised ones in strips of its own. As the bridge gives them: four arrays (weight, scales, biases, bias) and two numbers (group_size, bits; 0 dense). */
class Linear {
 public:
  static constexpr int ARRAYS = 4;
  static constexpr int NUMBERS = 2;

  /** Computes the arrays that are not; throws std::invalid_argument when they are not such a projection of `columns`. */
  Linear(const std::optional<mx::array>* arrays, const int* numbers, int columns, mx::Stream stream);

  int rows() const {
    return matrix_.rows;
  }

  int columns() const {
    return matrix_.columns;
  }

  Product into(float* y, std::size_t y_stride) const {
    return {matrix_, bias_, y, y_stride};
  }

  /** Throws std::out_of_range when there is no such row. */
  void check(std::size_t index) const;

  /** One row of the weights as floats. */
  void row(std::size_t index, float* y) const;

 private:
  std::shared_ptr<char> intoStrips(const void* from, std::size_t items, std::size_t item_bytes) const;

  std::vector<mx::array> kept_;
  std::shared_ptr<char> strips_[3];
  Matrix matrix_;
  const float* bias_ = nullptr;
};

/** A norm's weight (size), or none. */
class Norm {
 public:
  Norm(const std::optional<mx::array>& weight, float epsilon, int size, mx::Stream stream);

  explicit operator bool() const {
    return weight_.has_value();
  }

  /** `count` rows, x_stride and y_stride apart. */
  void apply(const float* x, std::size_t x_stride, int count, float* y, std::size_t y_stride) const;

  /** Each part of `x` in place, as many as make up `total`. */
  void applyAll(float* x, int total) const;

 private:
  std::optional<mx::array> weight_;
  float epsilon_;
  int size_;
};

/** A float32 array in rows and computed, of `size` elements; throws std::invalid_argument otherwise. */
mx::array floats(const mx::array& a, std::size_t size, const char* name, mx::Stream stream);

/** y = residual + factor * norm(y), `count` rows of `size`. */
void close(const Norm& norm, const float* residual, float factor, int count, int size, float* y);

} // namespace bunsen
