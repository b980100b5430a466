/** The inner loops, one file for each instruction set. They know plain memory only. */

#pragma once

#include <cstddef>
#include <cstdint>

namespace bunsen {

/** (rows, columns) in MLX's affine form: weight = scale * q + bias, element k of a row at bit k * bits of its words. */
struct AffineMatrix {
  const std::uint32_t* words; // (rows, columns * bits / 32)
  const float* scales; // (rows, columns / group_size)
  const float* biases;
  int rows;
  int columns;
  int group_size; // 32, 64 or 128
  int bits; // 4 or 8
};

struct Kernels {
  /** How many floats one row of activations takes once it is arranged. */
  std::size_t (*arranged_length)(const AffineMatrix& matrix);

  /** Puts a row of activations in the order in which weights unpack, and the sum of each group into `sums`. */
  void (*arrange)(const AffineMatrix& matrix, const float* x, float* arranged, float* sums);

  /** y[row] for the rows first … last of the product with one arranged row. */
  void (*multiply_row)(
      const AffineMatrix& matrix, const float* arranged, const float* sums, int first, int last, float* y);

  /** The same for `count` arranged rows: y[index * rows + row]. `panel` has room for (last - first) arranged rows. */
  void (*multiply_rows)(
      const AffineMatrix& matrix, const float* arranged, int count, int first, int last, float* panel, float* y);
};

/** Those for this machine, or null where there are none yet and MLX's own operations have to do. */
const Kernels* kernels();

#if defined(__x86_64__)
extern const Kernels avx512_kernels;
#endif

} // namespace bunsen
