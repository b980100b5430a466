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
static_assert(LANES == STRIP_ROWS);
// Columns that become words or floats at a time, so that what is between two loops stays in the first-level cache.
constexpr int SPAN = 1024;

inline int least(int a, int b) {
  return a < b ? a : b;
}

// ---------------------------------------------------------------- weights

inline std::size_t sizeOf(Scalar stored) {
  switch (stored) {
    case Scalar::float32: return 4;
    case Scalar::float16: case Scalar::bfloat16: return 2;
    case Scalar::e8m0: case Scalar::e4m3: return 1;
  }
  return 0;
}

/** How floats of a few bits lie: the sign above, `mantissa` bits below; `least` is the least that is normal. */
template <int BITS>
struct SmallFloat;
template <>
struct SmallFloat<4> { // E2M1
  static constexpr int mantissa = 1;
  static constexpr float least = 1;
};
template <>
struct SmallFloat<8> { // E4M3
  static constexpr int mantissa = 3;
  static constexpr float least = 0x1p-6f;
};

/** The lowest BITS of each word, a small float each. */
template <int BITS>
inline Floats smallFloats(Words a) {
  using Form = SmallFloat<BITS>;
  const Words magnitude = shiftLeft(bitAnd(a, spreadWord((1u << (BITS - 1)) - 1)), 23 - Form::mantissa);
  // as if all were normal, half of the least as the lowest exponent: those without are then too large, doubled too small
  const Floats normal = asFloats(addWords(magnitude, asWords(spread(Form::least / 2))));
  const Floats value = smaller(normal, multiplyAdd(normal, spread(2), spread(-Form::least)));
  return asFloats(bitOr(asWords(value), bitAnd(shiftLeft(a, 32 - BITS), spreadWord(1u << 31))));
}

/** `count` scalars from `from`, as the bits of floats. */
template <Scalar STORED>
inline Words loadScalars(const void* from, int count) {
  if constexpr (STORED == Scalar::float32) return loadWordsSome(from, count);
  if constexpr (STORED == Scalar::e8m0) {
    const Words bytes = loadBytes(static_cast<const std::uint8_t*>(from), count);
    const Floats least = asFloats(spreadWord(1u << 22)); // 2^-127, which has no exponent
    return asWords(greater(asFloats(shiftLeft(bytes, 23)), least));
  }
  if constexpr (STORED == Scalar::e4m3) return asWords(smallFloats<8>(loadBytes(static_cast<const std::uint8_t*>(from), count)));
  const auto* shorts = static_cast<const std::uint16_t*>(from);
  if constexpr (STORED == Scalar::bfloat16) return shiftLeft(loadShorts(shorts, count), 16);
  return asWords(loadHalves(shorts, count));
}

/** Calls work.operator()<Scalar>() for that of `stored`: the loops inside then know it. */
template <class Work>
inline void withScalar(Scalar stored, Work work) {
  switch (stored) {
    case Scalar::float32: return work.template operator()<Scalar::float32>();
    case Scalar::float16: return work.template operator()<Scalar::float16>();
    case Scalar::bfloat16: return work.template operator()<Scalar::bfloat16>();
    case Scalar::e8m0: return work.template operator()<Scalar::e8m0>();
    case Scalar::e4m3: return work.template operator()<Scalar::e4m3>();
  }
}

/** Sixteen rows from `row` on; those beyond the matrix read as the last. */
struct Strip {
  const Matrix& matrix;
  int row;

  /** Words first … first + count of each row, [word][lane]: where they lie, or turned into `room`. */
  const float* words(int first, int count, float* room) const {
    if (matrix.in_strips) return static_cast<const float*>(matrix.data) + (row * matrix.words() + std::size_t(first) * LANES);
    turn({matrix.data, 4, matrix.words(), std::size_t(first)}, count, room, LANES, [](const void* from, int some) {
      return loadWordsSome(from, some);
    });
    return room;
  }

  /** Scales or biases of the groups first … first + count, out[group][lane]. */
  void scalars(const void* data, int first, int count, float* out) const {
    if (!matrix.in_strips) {
      return dense({data, sizeOf(matrix.stored), std::size_t(matrix.groups()), std::size_t(first)}, count, out, LANES);
    }
    withScalar(matrix.stored, [&]<Scalar STORED>() {
      const std::size_t at = std::size_t(row) * matrix.groups() + std::size_t(first) * LANES;
      const char* from = static_cast<const char*>(data) + at * sizeOf(STORED);
      for (int group = 0; group < count; group++, from += LANES * sizeOf(STORED)) {
        storeWords(out + group * LANES, loadScalars<STORED>(from, LANES));
      }
    });
  }

  /** Elements first … first + count of each row of dense weights that lie row by row, out[element * stride + lane]. */
  void elements(int first, int count, float* out, std::size_t stride) const {
    dense({matrix.data, sizeOf(matrix.stored), matrix.row_stride, std::size_t(first)}, count, out, stride);
  }

 private:
  /** Where the items of a row lie: their bytes, how many from one row to the next, which comes first. */
  struct Rows {
    const void* data;
    std::size_t size;
    std::size_t width;
    std::size_t first;
  };

  void dense(const Rows& rows, int count, float* out, std::size_t stride) const {
    withScalar(matrix.stored, [&]<Scalar STORED>() {
      turn(rows, count, out, stride, [](const void* from, int some) { return loadScalars<STORED>(from, some); });
    });
  }

  /** Turns `count` items of each row, and fetches those of the next strip from memory meanwhile. */
  template <class Load>
  inline void turn(const Rows& rows, int count, float* out, std::size_t stride, Load load) const {
    const std::size_t width = rows.width * rows.size;
    const std::size_t last = std::size_t(matrix.rows - 1 - row);
    const char* start = static_cast<const char*>(rows.data) + row * width + rows.first * rows.size;
    for (int item = 0; item < count; item += LANES, start += LANES * rows.size, out += LANES * stride) {
      Words block[LANES];
      const int some = least(LANES, count - item);
      const char* from = start;
      const auto fill = [&](int some) {
#pragma GCC unroll 16
        for (std::size_t lane = 0; lane < LANES; lane++) {
          prefetch(from + LANES * width);
          block[lane] = load(from, some);
          from += lane < last ? width : 0;
        }
      };
      if (some == LANES) fill(LANES); // a load of all is known to be one when this is compiled
      else fill(some);
      transpose(block);
#pragma GCC unroll 16
      for (int column = 0; column < LANES; column++) {
        if (column < some) storeWords(out + column * stride, block[column]);
      }
    }
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
  alignas(64) float room[SPAN / 32 * BITS * LANES];
  alignas(64) float scales[SPAN / 32 * LANES];
  alignas(64) float biases[SPAN / 32 * LANES];
  for (int column = first; column < last; column += SPAN) {
    const int end = least(column + SPAN, last);
    const float* words = strip.words(column / 32 * BITS, (end - column) / 32 * BITS, room);
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

/** Groups of SIZE small floats. */
template <int BITS, int SIZE>
void unpackSmallFloats(const Strip& strip, int first, int last, float* panel) {
  const Matrix& matrix = strip.matrix;
  alignas(64) float room[SPAN / 32 * BITS * LANES];
  alignas(64) float scales[SPAN / SIZE * LANES];
  for (int column = first; column < last; column += SPAN) {
    const int end = least(column + SPAN, last);
    const float* words = strip.words(column / 32 * BITS, (end - column) / 32 * BITS, room);
    const int groups = (end - column) / SIZE;
    strip.scalars(matrix.scales, column / SIZE, groups, scales);
    for (int group = 0; group < groups; group++) {
      const Floats scale = load(scales + group * LANES);
#pragma GCC unroll 32
      for (int index = 0; index < SIZE; index++, panel += PANEL_ROWS) {
        const int word = index * BITS / 32;
        const Words packed = loadWords(words + word * LANES);
        store(panel, multiply(smallFloats<BITS>(shiftRight(packed, index * BITS % 32)), scale));
      }
      words += SIZE * BITS / 32 * LANES;
    }
  }
}

void unpackDense(const Strip& strip, int first, int last, float* panel) {
  const Matrix& matrix = strip.matrix;
  if (matrix.row_stride != 1) return strip.elements(first, last - first, panel, PANEL_ROWS);
  // the rows of one column lie side by side
  const int some = least(LANES, matrix.rows - strip.row);
  withScalar(matrix.stored, [&]<Scalar STORED>() {
    const std::size_t size = sizeOf(STORED);
    const char* from = static_cast<const char*>(matrix.data) + (first * matrix.column_stride + strip.row) * size;
    for (int column = first; column < last; column++, from += matrix.column_stride * size, panel += PANEL_ROWS) {
      storeWords(panel, loadScalars<STORED>(from, some));
    }
  });
}

void unpack(const Matrix& matrix, int row, int first_column, int last_column, float* panel) {
  for (int half = 0; half < PANEL_ROWS; half += LANES) {
    const Strip strip = {matrix, row + half};
    if (strip.row >= matrix.rows) continue; // nobody reads those lanes
    if (matrix.hasSmallFloats()) {
      if (matrix.bits == 8) unpackSmallFloats<8, 32>(strip, first_column, last_column, panel + half);
      else if (matrix.group_size == 32) unpackSmallFloats<4, 32>(strip, first_column, last_column, panel + half);
      else unpackSmallFloats<4, 16>(strip, first_column, last_column, panel + half);
      continue;
    }
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

inline Words loadItems(const std::uint32_t* from, int count) {
  return loadWordsSome(from, count);
}
inline Words loadItems(const std::uint16_t* from, int count) {
  return loadShorts(from, count);
}
inline void storeItems(std::uint32_t* to, Words a) {
  storeWords(to, a);
}
inline void storeItems(std::uint16_t* to, Words a) {
  storeShorts(to, a);
}

template <class Item>
void turnItems(const Item* from, int rows, std::size_t items, Item* strip) {
  for (std::size_t item = 0; item < items; item += LANES, from += LANES, strip += LANES * LANES) {
    Words block[LANES];
    const int some = least(LANES, static_cast<int>(items - item));
#pragma GCC unroll 16
    for (int row = 0; row < LANES; row++) block[row] = row < rows ? loadItems(from + row * items, some) : spreadWord(0);
    transpose(block);
#pragma GCC unroll 16
    for (int column = 0; column < LANES; column++) {
      if (column < some) storeItems(strip + column * LANES, block[column]);
    }
  }
}

void turn(const void* from, int rows, std::size_t items, std::size_t item_bytes, void* strip) {
  if (item_bytes == sizeof(std::uint32_t)) {
    turnItems(static_cast<const std::uint32_t*>(from), rows, items, static_cast<std::uint32_t*>(strip));
  } else if (item_bytes == sizeof(std::uint16_t)) {
    turnItems(static_cast<const std::uint16_t*>(from), rows, items, static_cast<std::uint16_t*>(strip));
  } else {
    const auto* bytes = static_cast<const std::uint8_t*>(from);
    auto* to = static_cast<std::uint8_t*>(strip);
    for (std::size_t item = 0; item < items; item++) {
      for (int row = 0; row < LANES; row++) *to++ = row < rows ? bytes[row * items + item] : 0;
    }
  }
}

float scalarAt(const void* data, Scalar stored, std::size_t place) {
  const char* from = static_cast<const char*>(data) + place * sizeOf(stored);
  float lanes[LANES] = {};
  withScalar(stored, [&]<Scalar STORED>() { storeWords(lanes, loadScalars<STORED>(from, 1)); });
  return lanes[0];
}

float smallFloat(std::uint32_t q, int bits) {
  float lanes[LANES];
  store(lanes, bits == 4 ? smallFloats<4>(spreadWord(q)) : smallFloats<8>(spreadWord(q)));
  return lanes[0];
}

void unpackRow(const Matrix& matrix, int row, float* y) {
  if (matrix.bits == 0) {
    for (int column = 0; column < matrix.columns; column++) {
      y[column] = scalarAt(matrix.data, matrix.stored, row * matrix.row_stride + column * matrix.column_stride);
    }
    return;
  }
  const auto* words = static_cast<const std::uint32_t*>(matrix.data);
  const std::uint64_t mask = (1u << matrix.bits) - 1;
  const std::size_t step = matrix.in_strips ? LANES : 1;
  /** Where the items of this row begin, when a row has so many. */
  const auto begin = [&](std::size_t items) {
    return matrix.in_strips ? std::size_t(row / LANES * LANES) * items + std::size_t(row % LANES) : row * items;
  };
  const std::size_t first_word = begin(matrix.words());
  const std::size_t first_group = begin(std::size_t(matrix.groups()));
  for (int group = 0; group < matrix.groups(); group++) {
    const float scale = scalarAt(matrix.scales, matrix.stored, first_group + group * step);
    const bool is_small = matrix.hasSmallFloats();
    const float bias = is_small ? 0 : scalarAt(matrix.biases, matrix.stored, first_group + group * step);
    for (int column = group * matrix.group_size; column < (group + 1) * matrix.group_size; column++) {
      const std::size_t bit = std::size_t(column) * matrix.bits;
      std::uint64_t two = words[first_word + bit / 32 * step];
      if (bit % 32 + matrix.bits > 32) two |= std::uint64_t(words[first_word + (bit / 32 + 1) * step]) << 32;
      const auto q = std::uint32_t(two >> bit % 32 & mask);
      y[column] = scale * (is_small ? smallFloat(q, matrix.bits) : float(q)) + bias;
    }
  }
}

template <int BITS>
void unpackGroups(const PackedGroups& groups, float* y) {
  constexpr int SIZE = PACKED_GROUP;
  const auto* words = groups.words;
  for (int first = 0; first < groups.count; first += LANES) {
    const int some = least(LANES, groups.count - first);
    alignas(64) float scales[LANES], biases[LANES];
    store(scales, loadHalves(groups.scales + first, some));
    store(biases, loadHalves(groups.biases + first, some));
    for (int group = 0; group < some; group++, words += SIZE * BITS / 32) {
      for (int half = 0; half < SIZE; half += LANES, y += LANES) {
        Floats part;
        if constexpr (BITS == 4) part = nibbles(loadNibbles(words + half / 8));
        else part = toFloats(loadBytes(reinterpret_cast<const std::uint8_t*>(words) + half, LANES));
        store(y, multiplyAdd(part, spread(scales[group]), spread(biases[group])));
      }
    }
  }
}

void unpackGroups(const PackedGroups& groups, float* y) {
  if (groups.bits == 4) unpackGroups<4>(groups, y);
  else unpackGroups<8>(groups, y);
}

void quantizeGroup(const float* x, int bits, std::uint32_t* words, float* scale, float* bias) {
  const Floats first = load(x), second = load(x + LANES);
  const Floats nothing = spread(0);
  const float top = greatest(greater(first, second));
  const float low = -greatest(greater(subtract(nothing, first), subtract(nothing, second)));
  const float most = float((1 << bits) - 1);
  // the end farther from 0 is met exactly, and 0 too where it lies between the ends
  const float edge = std::fabs(low) > std::fabs(top) ? low : top;
  const float width = (top - low) / most;
  float step = width > 1e-7f ? width : 1e-7f;
  if (edge == top) step = -step;
  const float steps = std::rint(edge / step);
  *scale = steps == 0 ? step : edge / steps;
  *bias = steps == 0 ? 0 : edge;
  const auto place = [&](Floats part, float* to) {
    const Floats at = rounded(divide(subtract(part, spread(*bias)), spread(*scale)));
    store(to, smaller(greater(at, nothing), spread(most))); // in this order a NaN becomes 0
  };
  alignas(64) float places[PACKED_GROUP];
  place(first, places);
  place(second, places + LANES);
  const int each = 32 / bits;
  for (int word = 0; word < bits; word++) {
    std::uint32_t packed = 0;
    for (int item = 0; item < each; item++) packed |= std::uint32_t(places[word * each + item]) << (item * bits);
    words[word] = packed;
  }
}

// ---------------------------------------------------------------- products

/**
 * ROWS rows of activations by HALVES times sixteen weights, or by so many as the tile is wide, all sums in registers: so
 * nothing is called in here.
 */
template <int ROWS, int HALVES, bool WHOLE = true>
void multiplyTile(const Tile& tile) {
  Floats sums[ROWS][HALVES];
#pragma GCC unroll 16
  for (int row = 0; row < ROWS; row++) {
    for (int half = 0; half < HALVES; half++) {
      sums[row][half] = tile.adds ? load(tile.y + row * tile.y_stride + half * LANES) : spread(0);
    }
  }
  const float* panel = tile.panel;
  const auto step = [&](int k, Floats (&to)[ROWS][HALVES]) {
    Floats weights[HALVES];
    for (int half = 0; half < HALVES; half++) {
      weights[half] = WHOLE ? load(panel + half * LANES) : loadSome(panel, tile.width);
    }
    panel += tile.panel_stride;
#pragma GCC unroll 16
    for (int row = 0; row < ROWS; row++) {
      const Floats left = spread(tile.x[row * tile.x_stride + k]);
      for (int half = 0; half < HALVES; half++) to[row][half] = multiplyAdd(left, weights[half], to[row][half]);
    }
  };
  int k = 0;
  if constexpr (ROWS == 1) {
    // a sum waits for itself four cycles: one row has too few of them, so each is halved
    Floats others[ROWS][HALVES] = {};
    for (; k + 1 < tile.depth; k += 2) {
      step(k, sums);
      step(k + 1, others);
    }
    for (int half = 0; half < HALVES; half++) sums[0][half] = add(sums[0][half], others[0][half]);
  }
  for (; k < tile.depth; k++) step(k, sums);
#pragma GCC unroll 16
  for (int row = 0; row < ROWS; row++) {
    for (int half = 0; half < HALVES; half++) store(tile.y + row * tile.y_stride + half * LANES, sums[row][half]);
  }
}

/** The same for fewer than sixteen weights. */
template <int ROWS>
void multiplyEdge(const Tile& tile) {
  float sums[ROWS * LANES];
  for (int row = 0; row < ROWS; row++) store(sums + row * LANES, loadSome(tile.y + row * tile.y_stride, tile.width));
  Tile whole = tile;
  whole.y = sums;
  whole.y_stride = LANES;
  multiplyTile<ROWS, 1, false>(whole);
  for (int row = 0; row < ROWS; row++) {
    storeSome(tile.y + row * tile.y_stride, load(sums + row * LANES), tile.width);
  }
}

template <int ROWS, int HALVES>
void multiplyRows(const Tile& tile, int row) {
  Tile rest = tile;
  rest.x += row * tile.x_stride;
  rest.y += row * tile.y_stride;
  const auto pass = [&](int columns) {
    rest.panel += columns;
    rest.y += columns;
    rest.width -= columns;
  };
  for (; rest.width >= HALVES * LANES; pass(HALVES * LANES)) multiplyTile<ROWS, HALVES>(rest);
  for (; rest.width >= LANES; pass(LANES)) multiplyTile<ROWS, 1>(rest);
  if (rest.width > 0) multiplyEdge<ROWS>(rest);
}

void multiply(const Tile& tile) {
  int row = 0;
  for (; row + TILE_ROWS <= tile.count; row += TILE_ROWS) multiplyRows<TILE_ROWS, TILE_HALVES>(tile, row);
  if constexpr (TILE_ROWS > 4) {
    for (; row + 4 <= tile.count; row += 4) multiplyRows<4, TILE_HALVES>(tile, row);
  }
  // few rows take more columns, so that there are sums enough to go on with
  switch (tile.count - row) {
    case 3: multiplyRows<3, TAIL_HALVES>(tile, row); break;
    case 2: multiplyRows<2, TAIL_HALVES>(tile, row); break;
    case 1: multiplyRows<1, TAIL_HALVES>(tile, row); break;
  }
}

#if defined(BUNSEN_HAS_BYTE_PRODUCTS)

void digitize(
    const Matrix& matrix, const float* x, int digits_each, std::int8_t* digits, float* units, float* sums) {
  const int size = matrix.group_size;
  const float most = digits_each == DIGITS_FAST ? 127 : 127 * 65536.0f; // leaves room for the rounding of the digits behind
  for (int group = 0; group < matrix.groups(); group++, x += size, digits += digits_each * size) {
    Floats top = spread(0);
    Floats poison = spread(0); // NaN where x is not finite
    for (int at = 0; at < size; at += LANES) {
      top = greater(magnitude(load(x + at)), top);
      poison = multiplyAdd(load(x + at), spread(0), poison);
    }
    const float not_finite = sum(poison);
    if (not_finite != 0) { // also true of NaN
      std::memset(digits, 0, std::size_t(digits_each) * size);
      units[group] = sums[group] = not_finite;
      continue;
    }
    const float unit = greatest(top) / most;
    const Floats inverse = spread(unit >= std::numeric_limits<float>::min() ? 1 / unit : 0);
    Words total = spreadWord(0);
    for (int at = 0; at < size; at += LANES) {
      Words value = toWords(multiply(load(x + at), inverse));
      total = addWords(total, value);
      // four bits unpack as the even elements of eight and then the odd ones, bytes in their order
      if (matrix.bits == 4) value = evenThenOdd(value);
      for (int digit = digits_each - 1; digit >= 0; digit--) {
        const Words last = shiftRightSigned(shiftLeft(value, 24), 24);
        storeBytes(digits + digit * size + at, last);
        value = shiftRightSigned(subtractWords(value, last), 8);
      }
    }
    units[group] = unit;
    sums[group] = units[group] * float(sumWords(total));
  }
}

/** How the bytes that are multiplied lie in the words. */
enum class Coding { nibbles, small_floats, bytes };

constexpr int bitsOf(Coding coding) {
  return coding == Coding::bytes ? 8 : 4;
}

/** A strip's groups, already turned. */
struct Groups {
  const float* words;
  const void* scales;
  const void* biases;
  int count;
  /** From here to what is asked for now and read soon: words, and scales or biases. */
  std::size_t words_ahead;
  std::size_t scalars_ahead;
};

// How many strips ahead memory is asked for, a little with each group.
constexpr int STRIPS_AHEAD = 2;

/** Those of one group. */
template <Scalar STORED>
inline Floats loadGroupScalars(const void* all, int group, std::size_t ahead) {
  const char* from = static_cast<const char*>(all) + std::size_t(group) * LANES * sizeOf(STORED);
  prefetch(from + ahead * sizeOf(STORED));
  return asFloats(loadScalars<STORED>(from, LANES));
}

/** The digits of a row at those groups; from one row to the next are so many. */
struct DigitRows {
  const std::int8_t* digits;
  const float* units;
  const float* sums;
  std::size_t digits_stride;
  std::size_t groups_stride;
};

/** The products of `groups` with ROWS rows of digits; totals[row][lane] goes on. */
template <Coding CODING, int SIZE, int DIGITS, Scalar STORED, int ROWS>
inline void multiplyGroups(const Groups& groups, const DigitRows& x, float* totals) {
  constexpr int BITS = bitsOf(CODING);
  const auto lowHalves = [](Words a) {
    const Words nibbles = bitAnd(a, spreadWord(0x0f0f0f0f));
    if constexpr (CODING == Coding::small_floats) return halfSteps(nibbles);
    return nibbles;
  };
  Floats total[ROWS];
  for (int row = 0; row < ROWS; row++) total[row] = load(totals + row * LANES);
  const float* words = groups.words;
  const std::int8_t* digits = x.digits;
  for (int group = 0; group < groups.count; group++, digits += DIGITS * SIZE) {
    Words sum[ROWS][DIGITS];
    for (int row = 0; row < ROWS; row++) {
      for (int digit = 0; digit < DIGITS; digit++) sum[row][digit] = spreadWord(0);
    }
#pragma GCC unroll 4
    for (int word = 0; word < SIZE * BITS / 32; word++, words += LANES) {
      const Words packed = loadWords(words);
      if constexpr (ROWS > 1) prefetch(words + groups.words_ahead);
      for (int row = 0; row < ROWS; row++) {
        for (int digit = 0; digit < DIGITS; digit++) {
          const std::int8_t* from = digits + row * x.digits_stride + digit * SIZE + word * (32 / BITS);
          Words& to = sum[row][digit];
          if constexpr (BITS == 4) {
            to = multiplyBytes(to, lowHalves(packed), from);
            to = multiplyBytes(to, lowHalves(shiftRight(packed, 4)), from + 4);
          } else {
            to = multiplyBytes(to, packed, from);
          }
        }
      }
    }
    Floats scale = loadGroupScalars<STORED>(groups.scales, group, groups.scalars_ahead);
    Floats bias;
    if constexpr (CODING == Coding::small_floats) {
      bias = multiply(scale, spread(-6));
      scale = multiply(scale, spread(0.5f));
    } else {
      bias = loadGroupScalars<STORED>(groups.biases, group, groups.scalars_ahead);
    }
    for (int row = 0; row < ROWS; row++) {
      Floats all = toFloats(sum[row][0]);
      if constexpr (DIGITS == DIGITS_EXACT) {
        const Floats high = toFloats(addWords(shiftLeft(sum[row][0], 8), sum[row][1]));
        all = multiplyAdd(high, spread(256), toFloats(sum[row][2]));
      }
      const std::size_t at = row * x.groups_stride + group;
      total[row] = multiplyAdd(multiply(all, spread(x.units[at])), scale, total[row]);
      total[row] = multiplyAdd(bias, spread(x.sums[at]), total[row]);
    }
  }
  for (int row = 0; row < ROWS; row++) store(totals + row * LANES, total[row]);
}

/** The groups of some columns of a strip that lies as one. */
template <Coding CODING, int SIZE, Scalar STORED>
inline Groups groupsOf(const Strip& strip, int column, int end) {
  const Matrix& matrix = strip.matrix;
  const std::size_t at = (std::size_t(strip.row) * matrix.groups() + std::size_t(column / SIZE) * LANES) * sizeOf(STORED);
  const auto from = [&](const void* all) { return all == nullptr ? all : static_cast<const char*>(all) + at; };
  return {
      strip.words(column / 32 * bitsOf(CODING), 0, nullptr), from(matrix.scales), from(matrix.biases),
      (end - column) / SIZE, STRIPS_AHEAD * matrix.words() * LANES,
      STRIPS_AHEAD * std::size_t(matrix.groups()) * LANES};
}

/** Where groups that lie row by row are turned to, and scalars become floats. */
template <Coding CODING, int SIZE>
struct Room {
  alignas(64) float words[SPAN / 32 * bitsOf(CODING) * LANES];
  alignas(64) float scales[SPAN / SIZE * LANES];
  alignas(64) float biases[SPAN / SIZE * LANES];

  Groups turn(const Strip& strip, int column, int end) {
    const int count = (end - column) / SIZE;
    const float* from = strip.words(column / 32 * bitsOf(CODING), (end - column) / 32 * bitsOf(CODING), words);
    strip.scalars(strip.matrix.scales, column / SIZE, count, scales);
    if (CODING != Coding::small_floats) strip.scalars(strip.matrix.biases, column / SIZE, count, biases);
    return {from, scales, biases, count, 0, 0};
  }
};

template <Coding CODING, int SIZE, int DIGITS, Scalar STORED, class Find>
inline void multiplyStrip(const Strip& strip, const Digits& x, int count, float* totals, Find find) {
  const Matrix& matrix = strip.matrix;
  const std::size_t digits_stride = std::size_t(DIGITS) * matrix.columns;
  const std::size_t groups_stride = std::size_t(matrix.columns / SIZE);
  for (int column = 0; column < matrix.columns; column += SPAN) {
    const Groups groups = find(column, least(column + SPAN, matrix.columns));
    const auto some = [&]<int ROWS>(int row) {
      const std::size_t at = row * groups_stride + std::size_t(column / SIZE);
      const DigitRows rows = {
          x.digits + at * SIZE * DIGITS, x.units + at, x.sums + at, digits_stride, groups_stride};
      multiplyGroups<CODING, SIZE, DIGITS, STORED, ROWS>(groups, rows, totals + row * LANES);
    };
    int row = 0;
    for (; row + 4 <= count; row += 4) some.template operator()<4>(row);
    if (count - row == 3) some.template operator()<3>(row);
    if (count - row == 2) some.template operator()<2>(row);
    if (count - row == 1) some.template operator()<1>(row);
  }
}

template <Coding CODING, int SIZE, int DIGITS>
void multiplyStrip(const Strip& strip, const Digits& x, int count, float* totals) {
  // one row waits for memory alone, which is read fastest by itself, array by array
  if (!strip.matrix.in_strips || count == 1) {
    Room<CODING, SIZE> room;
    return multiplyStrip<CODING, SIZE, DIGITS, Scalar::float32>(
        strip, x, count, totals, [&](int column, int end) { return room.turn(strip, column, end); });
  }
  withScalar(strip.matrix.stored, [&]<Scalar STORED>() {
    constexpr bool is_byte = STORED == Scalar::e8m0 || STORED == Scalar::e4m3;
    if constexpr (is_byte == (CODING == Coding::small_floats)) {
      multiplyStrip<CODING, SIZE, DIGITS, STORED>(strip, x, count, totals, [&](int column, int end) {
        return groupsOf<CODING, SIZE, STORED>(strip, column, end);
      });
    }
  });
}

template <Coding CODING, int DIGITS>
void multiplyStrips(
    const Matrix& matrix, const Digits& x, int count, int first, int last, float* y, std::size_t y_stride) {
  for (int row = first; row < last; row += LANES) {
    alignas(64) float totals[FEW_ROWS * LANES];
    for (int index = 0; index < count; index++) store(totals + index * LANES, spread(0));
    const Strip strip = {matrix, row};
    switch (matrix.group_size) {
      case 16: multiplyStrip<CODING, 16, DIGITS>(strip, x, count, totals); break;
      case 32: multiplyStrip<CODING, 32, DIGITS>(strip, x, count, totals); break;
      case 64: multiplyStrip<CODING, 64, DIGITS>(strip, x, count, totals); break;
      case 128: multiplyStrip<CODING, 128, DIGITS>(strip, x, count, totals); break;
    }
    const int some = least(LANES, last - row);
    for (int index = 0; index < count; index++) storeSome(y + index * y_stride + row, load(totals + index * LANES), some);
  }
}

void multiplyFew(
    const Matrix& matrix, const Digits& x, int count, int first, int last, float* y, std::size_t y_stride) {
  const auto by = [&]<int DIGITS>() {
    if (matrix.hasSmallFloats()) multiplyStrips<Coding::small_floats, DIGITS>(matrix, x, count, first, last, y, y_stride);
    else if (matrix.bits == 4) multiplyStrips<Coding::nibbles, DIGITS>(matrix, x, count, first, last, y, y_stride);
    else multiplyStrips<Coding::bytes, DIGITS>(matrix, x, count, first, last, y, y_stride);
  };
  if (x.each == DIGITS_EXACT) by.template operator()<DIGITS_EXACT>();
  else by.template operator()<DIGITS_FAST>();
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

float soften(float* scores, int from, int to, int size, float* top, float* total) {
  const float before = *top;
  const float seen = greatestOf(scores + from, to - from);
  const float best = seen > before ? seen : before;
  // while there was nothing but -infinity, 0 in its place keeps the exponential from NaN
  const float base = best == -std::numeric_limits<float>::infinity() ? 0 : best;
  Floats parts = spread(0);
  each(to - from, [&](int at, int some) {
    const Floats part = exponential(subtract(loadSome(scores + from + at, some), spread(base)));
    storeSome(scores + from + at, part, some);
    parts = add(parts, some == LANES ? part : loadSome(scores + from + at, some));
  });
  for (int at = 0; at < from; at++) scores[at] = 0;
  for (int at = to; at < size; at++) scores[at] = 0;
  const float shrink = before == best ? 1 : std::exp(before - base);
  *top = best;
  *total = *total * shrink + sum(parts);
  return shrink;
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

void gelu(const float* x, int size, float* y) {
  // 1 - erf(z) for z >= 0 (Abramowitz and Stegun 7.1.26, off by 1.5e-7 at most); -|x| / sqrt(2) is -z
  constexpr float TERMS[] = {1.061405429f, -1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f};
  each(size, [&](int at, int some) {
    const Floats part = loadSome(x + at, some);
    const Floats size_of = greater(part, subtract(spread(0), part));
    const Floats z = multiply(size_of, spread(0.7071067812f));
    const Floats t = divide(spread(1), multiplyAdd(z, spread(0.3275911f), spread(1)));
    Floats terms = spread(TERMS[0]);
    for (int term = 1; term < 5; term++) terms = multiplyAdd(terms, t, spread(TERMS[term]));
    const Floats rest = multiply(multiply(terms, t), exponential(multiply(z, subtract(spread(0), z))));
    // x * cdf(x) = max(x, 0) - |x| * (1 - cdf(|x|))
    const Floats positive = greater(part, spread(0));
    const Floats lost = multiply(multiply(spread(0.5f), size_of), rest);
    storeSome(y + at, subtract(positive, lost), some);
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

void convolve(const float* const* rows, const float* taps, const float* bias, int count, int size, float* y) {
  each(size, [&](int at, int some) {
    Floats sum = bias == nullptr ? spread(0) : loadSome(bias + at, some);
    for (int tap = 0; tap < count; tap++) {
      if (rows[tap] == nullptr) continue;
      sum = multiplyAdd(loadSome(rows[tap] + at, some), loadSome(taps + std::size_t(tap) * size + at, some), sum);
    }
    storeSome(y + at, sum, some);
  });
}

/** The sum of work(key, sum) over all keys, in chains that do not wait for each other. */
template <class Work>
inline Floats sumOverKeys(int key_dim, Work work) {
  Floats a = spread(0), b = a, c = a, d = a;
  int key = 0;
  for (; key + 4 <= key_dim; key += 4) {
    a = work(key, a);
    b = work(key + 1, b);
    c = work(key + 2, c);
    d = work(key + 3, d);
  }
  for (; key < key_dim; key++) a = work(key, a);
  return add(add(a, b), add(c, d));
}

void deltaRule(const DeltaColumns& all) {
  float state[DELTA_KEY_DIM_MAX * LANES];
  for (int key = 0; key < all.key_dim; key++) {
    const float* from = all.before + key * all.state_stride;
    store(state + key * LANES, all.before == nullptr ? spread(0) : loadSome(from, all.columns));
  }
  for (int token = 0; token < all.tokens; token++) {
    const float* key_of = all.keys + token * all.key_stride;
    const float* query_of = all.queries + token * all.key_stride;
    const std::size_t at = token * all.value_stride;
    const Floats decay = spread(all.decays[token * all.rate_stride]);
    const Floats held = sumOverKeys(all.key_dim, [&](int key, Floats sum) {
      return multiplyAdd(load(state + key * LANES), spread(key_of[key]), sum);
    });
    const Floats missing = subtract(loadSome(all.values + at, all.columns), multiply(decay, held));
    const Floats change = multiply(spread(all.rates[token * all.rate_stride]), missing);
    const Floats given = sumOverKeys(all.key_dim, [&](int key, Floats sum) {
      float* row = state + key * LANES;
      const Floats now = multiplyAdd(spread(key_of[key]), change, multiply(decay, load(row)));
      store(row, now);
      return multiplyAdd(now, spread(query_of[key]), sum);
    });
    storeSome(all.y + at, given, all.columns);
  }
  for (int key = 0; key < all.key_dim; key++) {
    storeSome(all.after + key * all.state_stride, load(state + key * LANES), all.columns);
  }
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
      geluMultiply, add, scale, softCap, rotateHalves, soften, turn, unpackRow, argmax, sigmoid, rotatePairs, hide, \
      skipBelow, gelu, convolve, deltaRule, unpackGroups, quantizeGroup}
