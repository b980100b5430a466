/** Products of activations with weights, shared among the threads. Knows plain memory and kernels, not MLX. */

#pragma once

#include <cstddef>
#include <initializer_list>

#include "kernels.h"

namespace bunsen {

/** One of the products of the same activations: y (count, rows) = x · matrixᵀ + bias. */
struct Product {
  Matrix matrix;
  const float* bias; // (rows), or null
  float* y;
  std::size_t y_stride;
};

/** `x` has `count` rows of the matrices' columns, `x_stride` apart. Returns when all are done. */
void multiply(const float* x, std::size_t x_stride, int count, std::initializer_list<Product> products);

/**
 * Whether products by bytes carry an activation in one digit of eight bits, relative to the greatest of its group: a
 * lossy form. Holds for all products from the next one on.
 */
void setFast(bool fast);

/** Runs work(row) for each of `count` rows, on several threads when there are `floats` enough in a row to pay for it. */
template <class Work>
void eachRow(int count, std::size_t floats, Work work);

} // namespace bunsen

#include "threads.h"

namespace bunsen {

template <class Work>
void eachRow(int count, std::size_t floats, Work work) {
  constexpr std::size_t WORTH_SHARING = 1 << 14; // about 5 µs on one thread
  constexpr int ROWS_PER_CHUNK = 4;
  if (count <= ROWS_PER_CHUNK || count * floats < WORTH_SHARING) {
    for (int row = 0; row < count; row++) work(row);
    return;
  }
  parallel((count + ROWS_PER_CHUNK - 1) / ROWS_PER_CHUNK, [&](std::size_t chunk) {
    const int first = static_cast<int>(chunk) * ROWS_PER_CHUNK;
    for (int row = first; row < count && row < first + ROWS_PER_CHUNK; row++) work(row);
  });
}

} // namespace bunsen
