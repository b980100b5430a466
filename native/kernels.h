/** The inner loops, one set for each instruction set. They know plain memory only: no MLX, no threads. */

#pragma once

#include <cstddef>
#include <cstdint>

namespace bunsen {

/** Rows of quantised weights that lie item by item side by side: see Matrix. */
constexpr int STRIP_ROWS = 16;
/** A panel of weights turned to floats: for each column, those of this many rows side by side. */
constexpr int PANEL_ROWS = 32;
/** As many rows of activations as the product by bytes takes at a time: their digits stay in the second-level cache. */
constexpr int FEW_ROWS = 64;

/** The last two are bytes, and scale weights that are small floats themselves: a power of two (OCP's E8M0), or E4M3. */
enum class Scalar : std::uint8_t { float32, float16, bfloat16, e8m0, e4m3 };

/** Weights (rows, columns) as they lie in memory. */
struct Matrix {
  const void* data;
  int rows;
  int columns;
  /** Of dense weights: elements from one row to the next and from one column to the next, one of them 1. */
  std::size_t row_stride;
  std::size_t column_stride;
  /**
   * 0: dense. Otherwise weight = scale * q + bias, element k of a row at bit k * bits of its 32-bit words; or where scales
   * are bytes weight = scale * q, q a float of 4 (E2M1) or 8 bits (E4M3).
   */
  int bits;
  int group_size;
  const void* scales; // (rows, columns / group_size)
  const void* biases; // null where scales are bytes
  /** Of dense weights, or of scales and biases. */
  Scalar stored;
  /**
   * Of quantised weights: they lie in strips of sixteen rows, the words of one place side by side, (rows / 16, words, 16),
   * and so do scales and biases, (rows / 16, groups, 16); zeros fill the last strip. A product of few rows reads twice as fast.
   */
  bool in_strips;

  bool hasSmallFloats() const {
    return stored == Scalar::e8m0 || stored == Scalar::e4m3;
  }
  int groups() const {
    return columns / group_size;
  }
  std::size_t words() const {
    return std::size_t(columns) * bits / 32;
  }
};

/** How many digits make up one activation: three carry the 24 bits of a float, one is what most servers make do with. */
constexpr int DIGITS_EXACT = 3;
constexpr int DIGITS_FAST = 1;

/** A few rows of activations in digits of eight bits, in the order in which weights unpack. */
struct Digits {
  int each; // DIGITS_EXACT or DIGITS_FAST
  std::int8_t* digits; // (rows, groups, each, group_size)
  float* units; // (rows, groups): what one of the last digit is worth
  float* sums; // (rows, groups): what the digits of a group are worth together
};

/** y[i][j] = or += the sum over k of x[i][k] * panel[k][j], for `count` rows and `width` columns up to PANEL_ROWS. */
struct Tile {
  const float* x;
  std::size_t x_stride;
  int count;
  const float* panel;
  std::size_t panel_stride;
  int depth;
  float* y;
  std::size_t y_stride;
  int width;
  bool adds;
};

constexpr int CONVOLUTION_TAPS_MAX = 32; // of models 3 and 4
constexpr int DELTA_KEY_DIM_MAX = 1024; // of models 128; more would leave the first-level cache

/**
 * The gated delta rule over up to sixteen columns of one head's state (keys, columns): each token lets the state decay,
 * and then brings what it gives for the token's key nearer to the token's value. y is what it gives for the query.
 */
struct DeltaColumns {
  const float* queries; // of `key_dim` floats each
  const float* keys;
  std::size_t key_stride; // from token to token, of queries and keys
  const float* values;
  float* y;
  std::size_t value_stride; // of values and y
  const float* decays; // from 0 to 1
  const float* rates; // how near
  std::size_t rate_stride; // of decays and rates
  int tokens;
  int key_dim;
  int columns;
  const float* before; // may be null: zeros
  float* after;
  std::size_t state_stride; // from key to key
};

/** Elements in a group of a quantised cache. */
constexpr int PACKED_GROUP = 32;

/** Groups one behind the other: element = scale * q + bias, q in 4 or 8 bits from the lowest of each word on; scales and biases are halves. */
struct PackedGroups {
  const std::uint32_t* words;
  const std::uint16_t* scales;
  const std::uint16_t* biases;
  int count;
  int bits;
};

struct Kernels {
  const char* name;

  /** Rows `row` … `row` + PANEL_ROWS (zero beyond the last) and a span of columns, as floats. Spans begin at a multiple of 128. */
  void (*unpack)(const Matrix& matrix, int row, int first_column, int last_column, float* panel);
  void (*multiply)(const Tile& tile);

  /** The product of up to FEW_ROWS rows by bytes, or null where the machine has no such instruction. Bits are 4 or 8. */
  void (*digitize)(
      const Matrix& matrix, const float* x, int digits_each, std::int8_t* digits, float* units, float* sums);
  /** y[i * y_stride + row] for the rows first … last of the weights, `first` a multiple of 16. */
  void (*multiplyFew)(
      const Matrix& matrix, const Digits& x, int count, int first, int last, float* y, std::size_t y_stride);

  /** y may be x in all that follow. A null weight is one, a null bias nothing. */
  void (*rmsNorm)(const float* x, const float* weight, int size, float epsilon, float* y);
  void (*layerNorm)(const float* x, const float* weight, const float* bias, int size, float epsilon, float* y);
  void (*softmax)(const float* x, int size, float* y);
  void (*siluMultiply)(const float* gate, const float* up, int size, float* y);
  /** GELU by its tanh formula. */
  void (*geluMultiply)(const float* gate, const float* up, int size, float* y);
  void (*add)(const float* a, const float* b, int size, float* y);
  void (*scale)(const float* x, float factor, int size, float* y);
  /** cap * tanh(x / cap) */
  void (*softCap)(const float* x, float cap, int size, float* y);
  /** Rotates pairs (i, i + dims / 2) by the angles whose cosines and sines are given, dims / 2 of each. */
  void (*rotateHalves)(const float* x, const float* cosines, const float* sines, int dims, float* y);
  /**
   * Scores from … to of `size` become e^(score - top), the others 0. `top` and `total` go on over the parts of a row;
   * what was summed before has to be multiplied by the result.
   */
  float (*soften)(float* scores, int from, int to, int size, float* top, float* total);
  /** Up to STRIP_ROWS rows of `items` of 4 bytes, 2 or 1, turned into a strip; where there is no row it has zeros. */
  void (*turn)(const void* from, int rows, std::size_t items, std::size_t item_bytes, void* strip);
  /** One row of quantised weights as floats. */
  void (*unpackRow)(const Matrix& matrix, int row, float* y);
  /** Where the greatest is; the first of equals, or the first NaN. */
  int (*argmax)(const float* x, int size);

  void (*sigmoid)(const float* x, int size, float* y);
  /** Rotates pairs (2i, 2i + 1): x * cosine + (x of its partner) * sine, `dims` of each, the even sines negative. */
  void (*rotatePairs)(const float* x, const float* cosines, const float* sines, int dims, float* y);
  /** The lowest finite float where the mask is 0. */
  void (*hide)(float* scores, const std::uint8_t* mask, int size);
  /** How many of the first, in steps of 64, are less than `bound`. A NaN is not. */
  int (*skipBelow)(const float* x, int size, float bound);
  /** GELU by the error function. */
  void (*gelu)(const float* x, int size, float* y);
  /** y is the bias and the sum of rows times taps (count, size); a null row is zeros. */
  void (*convolve)(const float* const* rows, const float* taps, const float* bias, int count, int size, float* y);
  void (*deltaRule)(const DeltaColumns& columns);

  void (*unpackGroups)(const PackedGroups& groups, float* y);
  /** One group of finite floats in 4 or 8 bits, as MLX's affine quantisation does it. */
  void (*quantizeGroup)(const float* x, int bits, std::uint32_t* words, float* scale, float* bias);
};

/**
 * Those that suit this machine best, or those named by BUNSEN_KERNELS: avx512vnni, avx512, avx2, portable.
 * Throws std::invalid_argument when the machine lacks the named ones.
 */
const Kernels& kernels();

#if defined(__x86_64__)
extern const Kernels avx512vnni_kernels;
extern const Kernels avx512_kernels;
extern const Kernels avx2_kernels;
#endif
extern const Kernels portable_kernels;

} // namespace bunsen
