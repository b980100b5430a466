/**
 * Sixteen floats or words at once in the vector types of g++ and clang: compiled for any machine, and for AVX2 with FMA
 * by the flags of the including file. Every set offers these same functions to kernels-body.h.
 */

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>


namespace bunsen {
namespace {

typedef float Floats __attribute__((vector_size(64)));
typedef std::int32_t Words __attribute__((vector_size(64)));
typedef std::uint32_t UnsignedWords __attribute__((vector_size(64)));

// Rows of activations that one tile multiplies with 32 weights: sixteen registers of eight floats hold no more sums.
constexpr int TILE_ROWS = 3;
constexpr int TILE_HALVES = 1;

inline Floats spread(float value) { return Floats{} + value; }
inline Words spreadWord(std::uint32_t value) { return Words{} + std::int32_t(value); }

inline Floats load(const float* from) {
  Floats a;
  std::memcpy(&a, from, sizeof a);
  return a;
}
inline Floats loadSome(const float* from, int count) {
  if (count >= 16) return load(from);
  Floats a = {};
  std::memcpy(&a, from, std::size_t(count) * sizeof(float));
  return a;
}
inline void store(float* to, Floats a) { std::memcpy(to, &a, sizeof a); }
inline void storeSome(float* to, Floats a, int count) {
  if (count >= 16) store(to, a);
  else std::memcpy(to, &a, std::size_t(count) * sizeof(float));
}

inline Floats asFloats(Words a) { return reinterpret_cast<Floats>(a); }
inline Words asWords(Floats a) { return reinterpret_cast<Words>(a); }
inline Floats add(Floats a, Floats b) { return a + b; }
inline Floats subtract(Floats a, Floats b) { return a - b; }
inline Floats multiply(Floats a, Floats b) { return a * b; }
inline Floats divide(Floats a, Floats b) { return a / b; }
inline Floats multiplyAdd(Floats a, Floats b, Floats c) { return a * b + c; }
inline Floats greater(Floats a, Floats b) { return a > b ? a : b; }
inline Floats smaller(Floats a, Floats b) { return a < b ? a : b; }
inline Floats whereLess(Floats a, Floats b, Floats yes, Floats no) { return a < b ? yes : no; }
/** Below 2^22: what is added pushes the fraction out of the mantissa. */
inline Floats rounded(Floats a) {
  const Floats push = spread(12582912.0f);
  // through memory's form, so that no compiler cancels the two
  Words bits = asWords(a + push);
  __asm__("" : "+m"(bits));
  return asFloats(bits) - push;
}
inline float sum(Floats a) {
  float lanes[16];
  store(lanes, a);
  for (int half = 8; half > 0; half /= 2) {
    for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}
inline float greatest(Floats a) {
  float best = a[0];
  for (int lane = 1; lane < 16; lane++) best = a[lane] > best ? a[lane] : best;
  return best;
}
/** `value` in the first lanes and 0 in the others. */
inline Floats firstLanes(float value, int count) {
  Floats a = {};
  for (int lane = 0; lane < count; lane++) a[lane] = value;
  return a;
}
/** 2^n for whole n from -126 to 127. */
inline Floats powerOfTwo(Floats n) {
  return asFloats((__builtin_convertvector(n, Words) + 127) << 23);
}

inline Words loadWords(const void* from) {
  Words a;
  std::memcpy(&a, from, sizeof a);
  return a;
}
inline Words loadWordsSome(const void* from, int count) {
  if (count >= 16) return loadWords(from);
  Words a = {};
  std::memcpy(&a, from, std::size_t(count) * 4);
  return a;
}
inline void storeWords(void* to, Words a) { std::memcpy(to, &a, sizeof a); }
inline Words shiftRight(Words a, int bits) {
  return reinterpret_cast<Words>(reinterpret_cast<UnsignedWords>(a) >> std::uint32_t(bits));
}
inline Words shiftLeft(Words a, int bits) { return a << bits; }
inline Words bitAnd(Words a, Words b) { return a & b; }
inline Words bitOr(Words a, Words b) { return a | b; }
/** Of words below 2^31. */
inline Floats toFloats(Words a) { return __builtin_convertvector(a, Floats); }
/** The lowest four bits of each word. */
inline Floats nibbles(Words a) { return toFloats(a & 15); }

inline Words loadShorts(const std::uint16_t* from, int count) {
  typedef std::uint16_t Shorts __attribute__((vector_size(32)));
  Shorts a = {};
  std::memcpy(&a, from, std::size_t(count) * 2);
  return __builtin_convertvector(a, Words);
}
/** Lanes 2i and 2i + 1 in each other's place. */
inline Floats swapNeighbours(Floats a) {
  return __builtin_shufflevector(a, a, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
}
inline Words loadBytes(const std::uint8_t* from, int count) {
  typedef std::uint8_t Bytes __attribute__((vector_size(16)));
  Bytes a = {};
  std::memcpy(&a, from, std::size_t(count));
  return __builtin_convertvector(a, Words);
}
/** IEEE half precision, by way of a float whose exponent is 112 too small. */
inline Floats loadHalves(const std::uint16_t* from, int count) {
  const Words bits = loadShorts(from, count);
  const Words sign = (bits & 0x8000) << 16;
  const Words magnitude = (bits & 0x7fff) << 13;
  const Words scaled = asWords(asFloats(magnitude) * spread(0x1p112f));
  const Words special = magnitude | 0x7f800000; // infinities and NaN keep their mantissa
  return asFloats(sign | (magnitude >= (0x7c00 << 13) ? special : scaled));
}

/** 16 rows of 16 words, turned: four rounds, each of which puts every other half of two rows side by side. */
inline void transpose(Words rows[16]) {
  Words other[16];
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < 8; i++) {
      const Words a = rows[i], b = rows[i + 8];
      other[2 * i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      other[2 * i + 1] = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    for (int i = 0; i < 16; i++) rows[i] = other[i];
  }
}

/** To the second-level cache: the first is too small for what is asked for so early. */
inline void prefetch(const void* from) { __builtin_prefetch(from, 0, 2); }

} // namespace
} // namespace bunsen
