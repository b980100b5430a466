/**
 * Sixteen floats or words at once as four of the vectors of four that every machine has, in the vector types of g++ and
 * clang. Every set offers these same functions to kernels-body.h.
 */

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bunsen {
namespace {

typedef float FloatQuad __attribute__((vector_size(16)));
typedef std::int32_t WordQuad __attribute__((vector_size(16)));
typedef std::uint32_t UnsignedQuad __attribute__((vector_size(16)));
typedef std::uint16_t ShortQuad __attribute__((vector_size(8)));

/** By name and not an array: g++ keeps these in registers wherever they are passed. */
template <class Quad>
struct Four {
  Quad a, b, c, d;
};
using Floats = Four<FloatQuad>;
using Words = Four<WordQuad>;

// Rows of activations that one tile multiplies with 16 weights: the registers hold 2 · 4 sums on x86, 6 · 4 on arm64.
#if defined(__aarch64__)
constexpr int TILE_ROWS = 6;
#else
constexpr int TILE_ROWS = 2;
#endif
constexpr int TILE_HALVES = 1;
constexpr int TAIL_HALVES = 1;

/** work(…) for each four lanes of the arguments. */
template <class Work, class... Fours>
inline auto four(Work work, const Fours&... all) {
  return Four<decltype(work(all.a...))>{work(all.a...), work(all.b...), work(all.c...), work(all.d...)};
}

template <class Quad>
inline Four<Quad> loadAll(const void* from) {
  Quad quads[4]; // one by one: a whole Four that is copied goes by way of memory
  for (int i = 0; i < 4; i++) std::memcpy(&quads[i], static_cast<const char*>(from) + i * sizeof(Quad), sizeof(Quad));
  return {quads[0], quads[1], quads[2], quads[3]};
}
template <class Quad>
inline Four<Quad> loadFirst(const void* from, std::size_t bytes) {
  Quad quads[4] = {};
  std::memcpy(quads, from, bytes);
  return {quads[0], quads[1], quads[2], quads[3]};
}
template <class Quad>
inline void storeAll(void* to, const Four<Quad>& a) {
  const Quad quads[4] = {a.a, a.b, a.c, a.d};
  for (int i = 0; i < 4; i++) std::memcpy(static_cast<char*>(to) + i * sizeof(Quad), &quads[i], sizeof(Quad));
}

inline Floats spread(float value) {
  const FloatQuad quad = {value, value, value, value};
  return {quad, quad, quad, quad};
}
inline Words spreadWord(std::uint32_t value) {
  const auto word = std::int32_t(value);
  const WordQuad quad = {word, word, word, word};
  return {quad, quad, quad, quad};
}

inline Floats load(const float* from) { return loadAll<FloatQuad>(from); }
inline Floats loadSome(const float* from, int count) {
  return count >= 16 ? load(from) : loadFirst<FloatQuad>(from, std::size_t(count) * 4);
}
inline void store(float* to, Floats a) { storeAll(to, a); }
inline void storeSome(float* to, Floats a, int count) {
  if (count >= 16) return store(to, a);
  float lanes[16];
  store(lanes, a);
  std::memcpy(to, lanes, std::size_t(count) * 4);
}
inline Words loadWords(const void* from) { return loadAll<WordQuad>(from); }
inline Words loadWordsSome(const void* from, int count) {
  return count >= 16 ? loadWords(from) : loadFirst<WordQuad>(from, std::size_t(count) * 4);
}
inline void storeWords(void* to, Words a) { storeAll(to, a); }

inline Floats asFloats(Words a) {
  return four([](WordQuad x) { return reinterpret_cast<FloatQuad>(x); }, a);
}
inline Words asWords(Floats a) {
  return four([](FloatQuad x) { return reinterpret_cast<WordQuad>(x); }, a);
}

inline Floats add(Floats a, Floats b) { return four([](auto x, auto y) { return x + y; }, a, b); }
inline Floats subtract(Floats a, Floats b) { return four([](auto x, auto y) { return x - y; }, a, b); }
inline Floats multiply(Floats a, Floats b) { return four([](auto x, auto y) { return x * y; }, a, b); }
inline Floats divide(Floats a, Floats b) { return four([](auto x, auto y) { return x / y; }, a, b); }
inline Floats multiplyAdd(Floats a, Floats b, Floats c) {
  return four([](auto x, auto y, auto z) { return x * y + z; }, a, b, c);
}
inline Floats greater(Floats a, Floats b) { return four([](auto x, auto y) { return x > y ? x : y; }, a, b); }
inline Floats smaller(Floats a, Floats b) { return four([](auto x, auto y) { return x < y ? x : y; }, a, b); }
/** `yes` in the lanes where a is less than b, else `no`. */
inline Floats whereLess(Floats a, Floats b, Floats yes, Floats no) {
  return four([](auto x, auto y, auto p, auto q) { return x < y ? p : q; }, a, b, yes, no);
}
/** Below 2^22: what is added pushes the fraction out of the mantissa. */
inline Floats rounded(Floats a) {
  const Floats push = spread(12582912.0f);
  return subtract(add(a, push), push);
}
inline float sum(Floats a) {
  const FloatQuad all = (a.a + a.c) + (a.b + a.d);
  return (all[0] + all[2]) + (all[1] + all[3]);
}
inline float greatest(Floats a) {
  float lanes[16];
  store(lanes, a);
  float best = lanes[0];
  for (const float lane : lanes) best = lane > best ? lane : best;
  return best;
}
/** `value` in the first lanes and 0 in the others. */
inline Floats firstLanes(float value, int count) {
  float lanes[16] = {};
  for (int lane = 0; lane < count; lane++) lanes[lane] = value;
  return load(lanes);
}

inline Words shiftRight(Words a, int bits) {
  return four([bits](auto x) { return reinterpret_cast<WordQuad>(reinterpret_cast<UnsignedQuad>(x) >> bits); }, a);
}
inline Words shiftLeft(Words a, int bits) {
  return four([bits](auto x) { return reinterpret_cast<WordQuad>(reinterpret_cast<UnsignedQuad>(x) << bits); }, a);
}
inline Words addWords(Words a, Words b) { return four([](auto x, auto y) { return x + y; }, a, b); }
inline Words bitAnd(Words a, Words b) { return four([](auto x, auto y) { return x & y; }, a, b); }
inline Words bitOr(Words a, Words b) { return four([](auto x, auto y) { return x | y; }, a, b); }
/** Of words below 2^31. */
inline Floats toFloats(Words a) {
  return four([](auto x) { return __builtin_convertvector(x, FloatQuad); }, a);
}
/** The lowest four bits of each word. */
inline Floats nibbles(Words a) { return toFloats(bitAnd(a, spreadWord(15))); }
/** 2^n for whole n from -126 to 127. */
inline Floats powerOfTwo(Floats n) {
  const Words whole = four([](auto x) { return __builtin_convertvector(x, WordQuad) + 127; }, n);
  return asFloats(shiftLeft(whole, 23));
}

inline Words loadShorts(const std::uint16_t* from, int count) {
  const auto shorts = count >= 16 ? loadAll<ShortQuad>(from) : loadFirst<ShortQuad>(from, std::size_t(count) * 2);
  return four([](auto x) { return __builtin_convertvector(x, WordQuad); }, shorts);
}
/** Lanes 2i and 2i + 1 in each other's place. */
inline Floats swapNeighbours(Floats a) {
  return four([](auto x) { return __builtin_shufflevector(x, x, 1, 0, 3, 2); }, a);
}
inline Words loadBytes(const std::uint8_t* from, int count) {
  std::uint16_t shorts[16] = {};
  for (int lane = 0; lane < count; lane++) shorts[lane] = from[lane];
  return loadShorts(shorts, 16);
}
/** IEEE half precision, by way of a float whose exponent is 112 too small. */
inline Floats loadHalves(const std::uint16_t* from, int count) {
  const auto widen = [](WordQuad bits) {
    const WordQuad sign = (bits & 0x8000) << 16;
    const WordQuad magnitude = (bits & 0x7fff) << 13;
    const WordQuad scaled = reinterpret_cast<WordQuad>(reinterpret_cast<FloatQuad>(magnitude) * 0x1p112f);
    const WordQuad special = magnitude | 0x7f800000; // infinities and NaN keep their mantissa
    return reinterpret_cast<FloatQuad>(sign | (magnitude >= (0x7c00 << 13) ? special : scaled));
  };
  return four(widen, loadShorts(from, count));
}

/** 4 rows of 4 words, turned. */
inline void transpose(WordQuad& a, WordQuad& b, WordQuad& c, WordQuad& d) {
  const WordQuad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const WordQuad cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  a = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
  b = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
  c = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
  d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

/** 16 rows of 16 words, turned: each block of 4 by 4 by itself, and then the blocks change places. */
inline void transpose(Words rows[16]) {
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    Words &r = rows[i], &s = rows[i + 1], &t = rows[i + 2], &u = rows[i + 3];
    transpose(r.a, s.a, t.a, u.a);
    transpose(r.b, s.b, t.b, u.b);
    transpose(r.c, s.c, t.c, u.c);
    transpose(r.d, s.d, t.d, u.d);
  }
  const auto swap = [](WordQuad& x, WordQuad& y) {
    const WordQuad old = x;
    x = y;
    y = old;
  };
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    swap(rows[i].b, rows[4 + i].a);
    swap(rows[i].c, rows[8 + i].a);
    swap(rows[i].d, rows[12 + i].a);
    swap(rows[4 + i].c, rows[8 + i].b);
    swap(rows[4 + i].d, rows[12 + i].b);
    swap(rows[8 + i].d, rows[12 + i].c);
  }
}

/** To the second-level cache: the first is too small for what is asked for so early. */
inline void prefetch(const void* from) { __builtin_prefetch(from, 0, 2); }

} // namespace
} // namespace bunsen
