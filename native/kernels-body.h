/**
 * The inner loops over sixteen lanes, compiled once for each instruction set: the including file has brought the
 * lanes (simd-….h) and calls the table it defines.
 */

#pragma once

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels.h"

namespace bunsen {
namespace {

constexpr int LANES = 16;
// Columns that become words or floats at a time, so that what is between two loops stays in the first-level cache.
constexpr int SPAN = 512;

inline int least(int a, int b) {
  return a < b ? a : b;
}

// ---------------------------------------------------------------- weights

inline std::size_t sizeOf(Scalar stored) {
  return stored == Scalar::float32 ? 4 : 2;
}

/** `count` scalars from `from`, as the bits of floats. */
inline Words loadScalars(const void* from, Scalar stored, int count) {
  if (stored == Scalar::float32) return loadWordsSome(from, count);
  const auto* shorts = static_cast<const std::uint16_t*>(from);
  if (stored == Scalar::bfloat16) return shiftLeft(loadShorts(shorts, count), 16);
  return asWords(loadHalves(shorts, count));
}

/** Turns 16 rows of `count` items, each row fetched by load(row, first item, how many), to out[item][row]. */
template <class Load>
inline void turn(int count, float* out, Load load) {
  for (int item = 0; item < count; item += LANES) {
    Words block[LANES];
    const int some = least(LANES, count - item);
    for (int row = 0; row < LANES; row++) block[row] = load(row, item, some);
    transpose(block);
    for (int column = 0; column < some; column++) storeWords(out + std::size_t(item + column) * LANES, block[column]);
  }
}

/** Sixteen rows from `row` on; those beyond the matrix read as the last. */
struct Strip {
  const Matrix& matrix;
  int row;

  std::size_t at(int lane) const {
    return std::size_t(least(row + lane, matrix.rows - 1));
  }

  /** Words first … first + count of each row, out[word][lane]. Fetches the next strip's from memory meanwhile. */
  void words(int first, int count, float* out) const {
    const auto* data = static_cast<const std::uint32_t*>(matrix.data);
    const std::size_t width = matrix.words();
    turn(count, out, [&](int lane, int item, int some) {
      const std::uint32_t* from = data + at(lane) * width + first + item;
      prefetch(from + LANES * width);
      return loadWordsSome(from, some);
    });
  }

  /** Scales or biases of the groups first … first + count, out[group][lane]. */
  void scalars(const void* data, int first, int count, float* out) const {
    const std::size_t size = sizeOf(matrix.stored);
    turn(count, out, [&](int lane, int item, int some) {
      const std::size_t place = at(lane) * matrix.groups() + first + item;
      return loadScalars(static_cast<const char*>(data) + place * size, matrix.stored, some);
    });
  }
};

/** Element `index` of 32 in BITS words of each lane. */
template <int BITS>
inline Floats element(const float* words, int index) {
  const int bit = index * BITS;
  const int shift = bit % 32;
  const Words low = shiftRight(loadWords(words + std::size_t(bit / 32) * LANES), shift);
  if constexpr (BITS == 4) {
    return nibbles(low);
  } else {
    Words all = low;
    if (shift + BITS > 32) all = bitOr(low, shiftLeft(loadWords(words + std::size_t(bit / 32 + 1) * LANES), 32 - shift));
    return toFloats(bitAnd(all, spreadWord((1u << BITS) - 1)));
  }
}

template <int BITS>
void unpackStrip(const Strip& strip, int first, int last, float* panel) {
  const Matrix& matrix = strip.matrix;
  alignas(64) float words[SPAN / 32 * BITS * LANES];
  alignas(64) float scales[SPAN / 32 * LANES];
  alignas(64) float biases[SPAN / 32 * LANES];
  for (int column = first; column < last; column += SPAN) {
    const int end = least(column + SPAN, last);
    strip.words(column / 32 * BITS, (end - column) / 32 * BITS, words);
    const int group = column / matrix.group_size;
    const int groups = (end - 1) / matrix.group_size + 1 - group;
    strip.scalars(matrix.scales, group, groups, scales);
    strip.scalars(matrix.biases, group, groups, biases);
    for (int part = column; part < end; part += 32) {
      const int at = part / matrix.group_size - group;
      const Floats scale = load(scales + at * LANES);
      const Floats bias = load(biases + at * LANES);
      const float* from = words + (part - column) / 32 * BITS * LANES;
      float* to = panel + std::size_t(part - first) * PANEL_ROWS;
#pragma GCC unroll 32
      for (int index = 0; index < 32; index++) {
        store(to + index * PANEL_ROWS, multiplyAdd(element<BITS>(from, index), scale, bias));
      }
    }
  }
}

void unpackDense(const Strip& strip, int first, int last, float* panel) {
  const Matrix& matrix = strip.matrix;
  const std::size_t size = sizeOf(matrix.stored);
  const char* data = static_cast<const char*>(matrix.data);
  if (matrix.row_stride == 1) { // the rows of one column lie side by side
    const int some = least(LANES, matrix.rows - strip.row);
    for (int column = first; column < last; column++) {
      const std::size_t place = column * matrix.column_stride + strip.row;
      storeWords(panel + std::size_t(column - first) * PANEL_ROWS, loadScalars(data + place * size, matrix.stored, some));
    }
    return;
  }
  for (int column = first; column < last; column += LANES) {
    Words block[LANES];
    const int some = least(LANES, last - column);
    for (int lane = 0; lane < LANES; lane++) {
      const char* from = data + (strip.at(lane) * matrix.row_stride + column) * size;
      prefetch(from + LANES * matrix.row_stride * size);
      block[lane] = loadScalars(from, matrix.stored, some);
    }
    transpose(block);
    for (int index = 0; index < some; index++) {
      storeWords(panel + std::size_t(column - first + index) * PANEL_ROWS, block[index]);
    }
  }
}

void unpack(const Matrix& matrix, int row, int first_column, int last_column, float* panel) {
  for (int half = 0; half < PANEL_ROWS; half += LANES) {
    const Strip strip = {matrix, row + half};
    if (strip.row >= matrix.rows) continue; // nobody reads those lanes
    switch (matrix.bits) {
      case 0: unpackDense(strip, first_column, last_column, panel + half); break;
      case 2: unpackStrip<2>(strip, first_column, last_column, panel + half); break;
      case 3: unpackStrip<3>(strip, first_column, last_column, panel + half); break;
      case 4: unpackStrip<4>(strip, first_column, last_column, panel + half); break;
      case 5: unpackStrip<5>(strip, first_column, last_column, panel + half); break;
      case 6: unpackStrip<6>(strip, first_column, last_column, panel + half); break;
      case 8: unpackStrip<8>(strip, first_column, last_column, panel + half); break;
    }
  }
}

float scalarAt(const void* data, Scalar stored, std::size_t place) {
  const char* from = static_cast<const char*>(data) + place * sizeOf(stored);
  float value[LANES];
  storeWords(value, loadScalars(from, stored, 1));
  return value[0];
}

void unpackRow(const Matrix& matrix, int row, float* y) {
  const auto* words = static_cast<const std::uint32_t*>(matrix.data) + row * matrix.words();
  const std::uint64_t mask = (1u << matrix.bits) - 1;
  for (int group = 0; group < matrix.groups(); group++) {
    const std::size_t place = std::size_t(row) * matrix.groups() + group;
    const float scale = scalarAt(matrix.scales, matrix.stored, place);
    const float bias = scalarAt(matrix.biases, matrix.stored, place);
    for (int column = group * matrix.group_size; column < (group + 1) * matrix.group_size; column++) {
      const std::size_t bit = std::size_t(column) * matrix.bits;
      std::uint64_t two = words[bit / 32];
      if (bit % 32 + matrix.bits > 32) two |= std::uint64_t(words[bit / 32 + 1]) << 32;
      y[column] = scale * float(two >> bit % 32 & mask) + bias;
    }
  }
}

// ---------------------------------------------------------------- products

/** ROWS rows of activations by HALVES times sixteen weights, all sums in registers. */
template <int ROWS, int HALVES>
void multiplyTile(const Tile& tile, int first) {
  Floats sums[ROWS][HALVES];
  const float* x = tile.x + first * tile.x_stride;
  float* y = tile.y + first * tile.y_stride;
  int width[HALVES];
  for (int half = 0; half < HALVES; half++) width[half] = least(LANES, tile.width - half * LANES);
  for (int row = 0; row < ROWS; row++) {
    for (int half = 0; half < HALVES; half++) {
      sums[row][half] = tile.adds ? loadSome(y + row * tile.y_stride + half * LANES, width[half]) : spread(0);
    }
  }
  const float* panel = tile.panel;
  for (int k = 0; k < tile.depth; k++, panel += tile.panel_stride) {
    Floats weights[HALVES];
    for (int half = 0; half < HALVES; half++) weights[half] = load(panel + half * LANES);
#pragma GCC unroll 16
    for (int row = 0; row < ROWS; row++) {
      const Floats left = spread(x[row * tile.x_stride + k]);
      for (int half = 0; half < HALVES; half++) sums[row][half] = multiplyAdd(left, weights[half], sums[row][half]);
    }
  }
  for (int row = 0; row < ROWS; row++) {
    for (int half = 0; half < HALVES; half++) {
      storeSome(y + row * tile.y_stride + half * LANES, sums[row][half], width[half]);
    }
  }
}

template <int ROWS>
void multiplyRows(const Tile& tile, int first) {
  if (tile.width > LANES) multiplyTile<ROWS, 2>(tile, first);
  else multiplyTile<ROWS, 1>(tile, first);
}

void multiply(const Tile& tile) {
  int row = 0;
  for (; row + TILE_ROWS <= tile.count; row += TILE_ROWS) multiplyRows<TILE_ROWS>(tile, row);
  if constexpr (TILE_ROWS > 4) {
    for (; row + 4 <= tile.count; row += 4) multiplyRows<4>(tile, row);
  }
  switch (tile.count - row) {
    case 3: multiplyRows<3>(tile, row); break;
    case 2: multiplyRows<2>(tile, row); break;
    case 1: multiplyRows<1>(tile, row); break;
  }
}

#if defined(BUNSEN_HAS_BYTE_PRODUCTS)

// The greatest first digit leaves room for the rounding of those behind it.
constexpr float DIGITS_GREATEST = 127 * 65536.0f;

void digitize(const Matrix& matrix, const float* x, std::int8_t* digits, float* units, float* sums) {
  const int size = matrix.group_size;
  for (int group = 0; group < matrix.groups(); group++, x += size, digits += DIGITS * size) {
    Floats top = spread(0);
    Floats poison = spread(0); // NaN where x is not finite
    for (int at = 0; at < size; at += LANES) {
      top = greater(magnitude(load(x + at)), top);
      poison = multiplyAdd(load(x + at), spread(0), poison);
    }
    const float unit = greatest(top) / DIGITS_GREATEST;
    const Floats inverse = spread(unit >= std::numeric_limits<float>::min() ? 1 / unit : 0);
    Words total = spreadWord(0);
    for (int at = 0; at < size; at += LANES) {
      Words value = toWords(multiply(load(x + at), inverse));
      total = addWords(total, value);
      // four bits unpack as the even elements of eight and then the odd ones, bytes in their order
      if (matrix.bits == 4) value = evenThenOdd(value);
      for (int digit = DIGITS - 1; digit >= 0; digit--) {
        const Words last = shiftRightSigned(shiftLeft(value, 24), 24);
        storeBytes(digits + digit * size + at, last);
        value = shiftRightSigned(subtractWords(value, last), 8);
      }
    }
    units[group] = unit + sum(poison);
    sums[group] = units[group] * float(sumWords(total));
  }
}

/** One strip's groups, already turned, by ROWS rows of digits; totals[row][lane] goes on. */
template <int BITS, int ROWS>
inline void multiplyGroups(
    const Matrix& matrix, const float* words, const float* scales, const float* biases, int groups,
    const std::int8_t* digits, std::size_t digits_stride, const float* units, const float* sums,
    std::size_t groups_stride, float* totals) {
  const int size = matrix.group_size;
  const int group_words = size * BITS / 32;
  Floats total[ROWS];
  for (int row = 0; row < ROWS; row++) total[row] = load(totals + row * LANES);
  for (int group = 0; group < groups; group++) {
    Words sum[ROWS][DIGITS];
    for (int row = 0; row < ROWS; row++) {
      for (int digit = 0; digit < DIGITS; digit++) sum[row][digit] = spreadWord(0);
    }
    const std::int8_t* x = digits + std::size_t(group) * DIGITS * size;
    for (int word = 0; word < group_words; word++) {
      const Words packed = loadWords(words + std::size_t(group * group_words + word) * LANES);
      if constexpr (BITS == 4) {
        const Words even = bitAnd(packed, spreadWord(0x0f0f0f0f));
        const Words odd = bitAnd(shiftRight(packed, 4), spreadWord(0x0f0f0f0f));
        for (int row = 0; row < ROWS; row++) {
          for (int digit = 0; digit < DIGITS; digit++) {
            const std::int8_t* from = x + row * digits_stride + digit * size + word * 8;
            sum[row][digit] = multiplyBytes(multiplyBytes(sum[row][digit], even, from), odd, from + 4);
          }
        }
      } else {
        for (int row = 0; row < ROWS; row++) {
          for (int digit = 0; digit < DIGITS; digit++) {
            sum[row][digit] = multiplyBytes(sum[row][digit], packed, x + row * digits_stride + digit * size + word * 4);
          }
        }
      }
    }
    const Floats scale = load(scales + group * LANES);
    const Floats bias = load(biases + group * LANES);
    for (int row = 0; row < ROWS; row++) {
      const Floats high = toFloats(addWords(shiftLeft(sum[row][0], 8), sum[row][1]));
      const Floats all = multiplyAdd(high, spread(256), toFloats(sum[row][2]));
      const std::size_t at = row * groups_stride + group;
      total[row] = multiplyAdd(multiply(all, spread(units[at])), scale, total[row]);
      total[row] = multiplyAdd(bias, spread(sums[at]), total[row]);
    }
  }
  for (int row = 0; row < ROWS; row++) store(totals + row * LANES, total[row]);
}

template <int BITS>
void multiplyStrip(const Strip& strip, const Digits& x, int count, float* totals) {
  const Matrix& matrix = strip.matrix;
  alignas(64) float words[SPAN / 32 * BITS * LANES];
  alignas(64) float scales[SPAN / 32 * LANES];
  alignas(64) float biases[SPAN / 32 * LANES];
  const std::size_t digits_stride = std::size_t(DIGITS) * matrix.columns;
  for (int column = 0; column < matrix.columns; column += SPAN) {
    const int end = least(column + SPAN, matrix.columns);
    const int group = column / matrix.group_size;
    const int groups = (end - column) / matrix.group_size;
    strip.words(column / 32 * BITS, (end - column) / 32 * BITS, words);
    strip.scalars(matrix.scales, group, groups, scales);
    strip.scalars(matrix.biases, group, groups, biases);
    const auto some = [&]<int ROWS>(int row) {
      const std::size_t at = std::size_t(row) * matrix.groups() + group;
      multiplyGroups<BITS, ROWS>(
          matrix, words, scales, biases, groups,
          x.digits + row * digits_stride + std::size_t(column) * DIGITS, digits_stride,
          x.units + at, x.sums + at, matrix.groups(), totals + row * LANES);
    };
    int row = 0;
    for (; row + 4 <= count; row += 4) some.template operator()<4>(row);
    if (count - row == 3) some.template operator()<3>(row);
    if (count - row == 2) some.template operator()<2>(row);
    if (count - row == 1) some.template operator()<1>(row);
  }
}

void multiplyFew(
    const Matrix& matrix, const Digits& x, int count, int first, int last, float* y, std::size_t y_stride) {
  for (int row = first; row < last; row += LANES) {
    alignas(64) float totals[FEW_ROWS * LANES] = {};
    const Strip strip = {matrix, row};
    if (matrix.bits == 4) multiplyStrip<4>(strip, x, count, totals);
    else multiplyStrip<8>(strip, x, count, totals);
    const int some = least(LANES, last - row);
    for (int index = 0; index < count; index++) storeSome(y + index * y_stride + row, load(totals + index * LANES), some);
  }
}

#endif

// ---------------------------------------------------------------- one row at a time

/** Calls work(place, how many) for each sixteen of `size`. */
template <class Work>
inline void each(int size, Work work) {
  for (int at = 0; at < size; at += LANES) work(at, least(LANES, size - at));
}

/** e^x to a few units of the last place, by 2^n e^r with |r| below ln 2 / 2; 0 below the least normal float. */
inline Floats exponential(Floats x) {
  const Floats low = spread(-87.0f);
  const Floats bounded = smaller(spread(88.3f), greater(low, x)); // in this order a NaN stays one
  const Floats n = rounded(multiply(bounded, spread(1.44269504f)));
  const Floats r = multiplyAdd(n, spread(2.12194440e-4f), multiplyAdd(n, spread(-0.693359375f), bounded));
  Floats p = spread(1.0f / 5040);
  p = multiplyAdd(p, r, spread(1.0f / 720));
  p = multiplyAdd(p, r, spread(1.0f / 120));
  p = multiplyAdd(p, r, spread(1.0f / 24));
  p = multiplyAdd(p, r, spread(1.0f / 6));
  p = multiplyAdd(p, r, spread(0.5f));
  p = multiplyAdd(p, r, spread(1));
  p = multiplyAdd(p, r, spread(1));
  return whereLess(x, low, spread(0), multiply(p, powerOfTwo(n)));
}

inline Floats hyperbolicTangent(Floats x) {
  // 1 - 2 / (e^2x + 1); e^2x is bounded, so the ends come out as -1 and 1
  const Floats power = exponential(add(x, x));
  return subtract(spread(1), divide(spread(2), add(power, spread(1))));
}

void rmsNorm(const float* x, const float* weight, int size, float epsilon, float* y) {
  Floats squares = spread(0);
  each(size, [&](int at, int some) {
    const Floats part = loadSome(x + at, some);
    squares = multiplyAdd(part, part, squares);
  });
  const Floats factor = spread(1 / std::sqrt(sum(squares) / float(size) + epsilon));
  each(size, [&](int at, int some) {
    const Floats part = multiply(loadSome(x + at, some), factor);
    storeSome(y + at, weight == nullptr ? part : multiply(part, loadSome(weight + at, some)), some);
  });
}

void layerNorm(const float* x, const float* weight, const float* bias, int size, float epsilon, float* y) {
  Floats total = spread(0);
  each(size, [&](int at, int some) { total = add(total, loadSome(x + at, some)); });
  const float mean = sum(total) / float(size);
  Floats squares = spread(0);
  each(size, [&](int at, int some) {
    // lanes beyond the end hold 0 and not -mean
    const Floats away = some == LANES ? subtract(load(x + at), spread(mean))
                                      : subtract(loadSome(x + at, some), firstLanes(mean, some));
    squares = multiplyAdd(away, away, squares);
  });
  const Floats factor = spread(1 / std::sqrt(sum(squares) / float(size) + epsilon));
  each(size, [&](int at, int some) {
    Floats part = multiply(subtract(loadSome(x + at, some), spread(mean)), factor);
    if (weight != nullptr) part = multiply(part, loadSome(weight + at, some));
    if (bias != nullptr) part = add(part, loadSome(bias + at, some));
    storeSome(y + at, part, some);
  });
}

float greatestOf(const float* x, int size) {
  Floats top = spread(-std::numeric_limits<float>::infinity());
  int at = 0;
  for (; at + LANES <= size; at += LANES) top = greater(load(x + at), top);
  float best = greatest(top);
  for (; at < size; at++) best = x[at] > best ? x[at] : best;
  return best;
}

void softmax(const float* x, int size, float* y) {
  const float top = greatestOf(x, size);
  // a row of nothing but -infinity comes out as NaN, as it does in MLX
  Floats total = spread(0);
  each(size, [&](int at, int some) {
    const Floats part = exponential(subtract(loadSome(x + at, some), spread(top)));
    storeSome(y + at, part, some);
    total = add(total, some == LANES ? part : loadSome(y + at, some));
  });
  const Floats factor = spread(1 / sum(total));
  each(size, [&](int at, int some) { storeSome(y + at, multiply(loadSome(y + at, some), factor), some); });
}

void siluMultiply(const float* gate, const float* up, int size, float* y) {
  each(size, [&](int at, int some) {
    const Floats part = loadSome(gate + at, some);
    const Floats squashed = divide(part, add(spread(1), exponential(subtract(spread(0), part))));
    storeSome(y + at, multiply(squashed, loadSome(up + at, some)), some);
  });
}

void geluMultiply(const float* gate, const float* up, int size, float* y) {
  each(size, [&](int at, int some) {
    const Floats part = loadSome(gate + at, some);
    const Floats cube = multiply(multiply(part, part), part);
    const Floats inner = multiply(spread(0.7978845608f), multiplyAdd(spread(0.044715f), cube, part));
    const Floats half = multiply(spread(0.5f), part);
    const Floats squashed = multiplyAdd(half, hyperbolicTangent(inner), half);
    storeSome(y + at, multiply(squashed, loadSome(up + at, some)), some);
  });
}

void add(const float* a, const float* b, int size, float* y) {
  each(size, [&](int at, int some) { storeSome(y + at, add(loadSome(a + at, some), loadSome(b + at, some)), some); });
}

void scale(const float* x, float factor, int size, float* y) {
  each(size, [&](int at, int some) { storeSome(y + at, multiply(loadSome(x + at, some), spread(factor)), some); });
}

void softCap(const float* x, float cap, int size, float* y) {
  each(size, [&](int at, int some) {
    const Floats part = hyperbolicTangent(divide(loadSome(x + at, some), spread(cap)));
    storeSome(y + at, multiply(part, spread(cap)), some);
  });
}

void rotateHalves(const float* x, const float* cosines, const float* sines, int dims, float* y) {
  const int half = dims / 2;
  each(half, [&](int at, int some) {
    const Floats c = loadSome(cosines + at, some);
    const Floats s = loadSome(sines + at, some);
    const Floats first = loadSome(x + at, some);
    const Floats second = loadSome(x + half + at, some);
    storeSome(y + at, subtract(multiply(first, c), multiply(second, s)), some);
    storeSome(y + half + at, multiplyAdd(second, c, multiply(first, s)), some);
  });
}

int skipBelow(const float* x, int size, float bound) {
  constexpr int STEP = 4 * LANES;
  int at = 0;
  for (; at + STEP <= size; at += STEP) {
    Floats others = spread(0);
    for (int part = 0; part < 4; part++) {
      others = add(others, whereLess(load(x + at + part * LANES), spread(bound), spread(0), spread(1)));
    }
    if (sum(others) > 0) return at;
  }
  return at;
}

int argmax(const float* x, int size) {
  constexpr int PART = 4096; // stays in the first-level cache until it is searched again
  constexpr float INFINITE = std::numeric_limits<float>::infinity();
  for (int at = skipBelow(x, size, INFINITE); at < size; at++) {
    if (x[at] != x[at]) return at;
  }
  float top = -INFINITE;
  int part = 0;
  for (int at = 0; at < size; at += PART) {
    const float best = greatestOf(x + at, least(PART, size - at));
    if (best > top) {
      top = best;
      part = at;
    }
  }
  for (int at = part; at < size; at++) {
    if (x[at] == top) return at;
  }
  return 0;
}

void sigmoid(const float* x, int size, float* y) {
  each(size, [&](int at, int some) {
    const Floats power = exponential(subtract(spread(0), loadSome(x + at, some)));
    storeSome(y + at, divide(spread(1), add(spread(1), power)), some);
  });
}

inline Floats swapNeighbours(Floats a) {
  return __builtin_shufflevector(a, a, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
}

void rotatePairs(const float* x, const float* cosines, const float* sines, int dims, float* y) {
  each(dims, [&](int at, int some) {
    const Floats part = loadSome(x + at, some);
    const Floats turned = multiply(swapNeighbours(part), loadSome(sines + at, some));
    storeSome(y + at, multiplyAdd(part, loadSome(cosines + at, some), turned), some);
  });
}

void hide(float* scores, const std::uint8_t* mask, int size) {
  const Floats hidden = spread(std::numeric_limits<float>::lowest());
  each(size, [&](int at, int some) {
    const Floats seen = toFloats(loadBytes(mask + at, some));
    storeSome(scores + at, whereLess(spread(0), seen, loadSome(scores + at, some), hidden), some);
  });
}

float soften(float* scores, int live, int size, float* top, float* total) {
  const float before = *top;
  const float seen = greatestOf(scores, live);
  const float best = seen > before ? seen : before;
  // while there was nothing but -infinity, 0 in its place keeps the exponential from NaN
  const float base = best == -std::numeric_limits<float>::infinity() ? 0 : best;
  Floats parts = spread(0);
  each(live, [&](int at, int some) {
    const Floats part = exponential(subtract(loadSome(scores + at, some), spread(base)));
    storeSome(scores + at, part, some);
    parts = add(parts, some == LANES ? part : loadSome(scores + at, some));
  });
  for (int at = live; at < size; at++) scores[at] = 0;
  const float shrink = before == best ? 1 : std::exp(before - base);
  *top = best;
  *total = *total * shrink + sum(parts);
  return shrink;
}

} // namespace
} // namespace bunsen

/** Defines the table NAME_kernels over the functions above. */
#if defined(BUNSEN_HAS_BYTE_PRODUCTS)
#define BUNSEN_BYTE_PRODUCTS digitize, multiplyFew
#else
#define BUNSEN_BYTE_PRODUCTS nullptr, nullptr
#endif
#define BUNSEN_KERNELS(NAME)                                                                               \
  const bunsen::Kernels bunsen::NAME##_kernels = {                                                         \
      #NAME, unpack, multiply, BUNSEN_BYTE_PRODUCTS, rmsNorm, layerNorm, softmax, siluMultiply,            \
      geluMultiply, add, scale, softCap, rotateHalves, unpackRow, argmax,          \
      sigmoid, rotatePairs, hide, soften, skipBelow}
