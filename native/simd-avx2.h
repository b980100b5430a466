/** Sixteen floats or words at once as two registers of AVX2 with FMA and F16C. Every set offers these same functions to kernels-body.h. */

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace bunsen {
namespace {

struct Floats {
  __m256 low;
  __m256 high;
};
struct Words {
  __m256i low;
  __m256i high;
};

// Rows of activations that one tile multiplies with 16 weights: 12 of the 16 registers hold their sums.
constexpr int TILE_ROWS = 6;
constexpr int TILE_HALVES = 1;
constexpr int TAIL_HALVES = 2;

inline Floats spread(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
inline Words spreadWord(std::uint32_t value) { return {_mm256_set1_epi32(int(value)), _mm256_set1_epi32(int(value))}; }

inline Floats load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
inline void store(float* to, Floats a) {
  _mm256_storeu_ps(to, a.low);
  _mm256_storeu_ps(to + 8, a.high);
}
inline Words loadWords(const void* from) {
  const auto* halves = static_cast<const __m256i*>(from);
  return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
}
inline void storeWords(void* to, Words a) {
  auto* halves = static_cast<__m256i*>(to);
  _mm256_storeu_si256(halves, a.low);
  _mm256_storeu_si256(halves + 1, a.high);
}

inline Floats asFloats(Words a) { return {_mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high)}; }
inline Words asWords(Floats a) { return {_mm256_castps_si256(a.low), _mm256_castps_si256(a.high)}; }

/** The lanes below `count` are all ones. */
inline Words firstOf(int count) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_cmpgt_epi32(_mm256_set1_epi32(count), lanes), _mm256_cmpgt_epi32(_mm256_set1_epi32(count - 8), lanes)};
}
inline Words loadWordsSome(const void* from, int count) {
  if (count >= 16) return loadWords(from);
  const Words mask = firstOf(count);
  const auto* words = static_cast<const int*>(from);
  return {_mm256_maskload_epi32(words, mask.low), _mm256_maskload_epi32(words + 8, mask.high)};
}
inline Floats loadSome(const float* from, int count) { return asFloats(loadWordsSome(from, count)); }
inline void storeSome(float* to, Floats a, int count) {
  if (count >= 16) return store(to, a);
  const Words mask = firstOf(count);
  _mm256_maskstore_ps(to, mask.low, a.low);
  _mm256_maskstore_ps(to + 8, mask.high, a.high);
}

inline Floats add(Floats a, Floats b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
inline Floats subtract(Floats a, Floats b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
inline Floats multiply(Floats a, Floats b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
inline Floats divide(Floats a, Floats b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
inline Floats multiplyAdd(Floats a, Floats b, Floats c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline Floats greater(Floats a, Floats b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
inline Floats smaller(Floats a, Floats b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
inline Floats rounded(Floats a) {
  constexpr int NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.low, NEAREST), _mm256_round_ps(a.high, NEAREST)};
}
inline float sum(Floats a) {
  const __m256 eight = _mm256_add_ps(a.low, a.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float greatest(Floats a) {
  const __m256 eight = _mm256_max_ps(a.low, a.high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
/** `yes` in the lanes where a is less than b, else `no`. */
inline Floats whereLess(Floats a, Floats b, Floats yes, Floats no) {
  return {
      _mm256_blendv_ps(no.low, yes.low, _mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ)),
      _mm256_blendv_ps(no.high, yes.high, _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ))};
}

inline Words addWords(Words a, Words b) { return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)}; }
inline Words shiftRight(Words a, int bits) { return {_mm256_srli_epi32(a.low, bits), _mm256_srli_epi32(a.high, bits)}; }
inline Words shiftLeft(Words a, int bits) { return {_mm256_slli_epi32(a.low, bits), _mm256_slli_epi32(a.high, bits)}; }
inline Words bitAnd(Words a, Words b) { return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)}; }
inline Words bitOr(Words a, Words b) { return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)}; }
/** Of words below 2^31. */
inline Floats toFloats(Words a) { return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)}; }
inline Words toWords(Floats a) { return {_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high)}; }
/** The lowest four bits of each word. */
inline Floats nibbles(Words a) { return toFloats(bitAnd(a, spreadWord(15))); }
/** Sixteen elements of four bits, each the lowest of its word. */
inline Words loadNibbles(const std::uint32_t* two) {
  const __m256i bits = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
  return {_mm256_srlv_epi32(_mm256_set1_epi32(int(two[0])), bits), _mm256_srlv_epi32(_mm256_set1_epi32(int(two[1])), bits)};
}
/** `value` in the first lanes and 0 in the others. */
inline Floats firstLanes(float value, int count) { return asFloats(bitAnd(asWords(spread(value)), firstOf(count))); }
/** 2^n for whole n from -126 to 127. */
inline Floats powerOfTwo(Floats n) { return asFloats(shiftLeft(addWords(toWords(n), spreadWord(127)), 23)); }

/** Sixteen shorts, zero from `count` on. */
struct Shorts {
  __m128i low;
  __m128i high;
};
inline Shorts loadSome(const std::uint16_t* from, int count) {
  Shorts a = {};
  if (count >= 16) std::memcpy(&a, from, sizeof a);
  else std::memcpy(&a, from, std::size_t(count) * 2);
  return a;
}
inline Words loadShorts(const std::uint16_t* from, int count) {
  const Shorts a = loadSome(from, count);
  return {_mm256_cvtepu16_epi32(a.low), _mm256_cvtepu16_epi32(a.high)};
}
/** Of words below 2^16. */
inline void storeShorts(std::uint16_t* to, Words a) {
  const __m256i quarters = _mm256_packus_epi32(a.low, a.high); // in the order 0, 2, 1, 3
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(quarters, 0xd8));
}
/** Lanes 2i and 2i + 1 in each other's place. */
inline Floats swapNeighbours(Floats a) { return {_mm256_permute_ps(a.low, 0xb1), _mm256_permute_ps(a.high, 0xb1)}; }
inline Words loadBytes(const std::uint8_t* from, int count) {
  std::uint8_t bytes[16] = {};
  std::memcpy(bytes, from, std::size_t(count));
  const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  return {_mm256_cvtepu8_epi32(a), _mm256_cvtepu8_epi32(_mm_srli_si128(a, 8))};
}
inline Floats loadHalves(const std::uint16_t* from, int count) {
  const Shorts a = loadSome(from, count);
  return {_mm256_cvtph_ps(a.low), _mm256_cvtph_ps(a.high)};
}

/** 8 rows of 8 words, turned. */
inline void transpose(__m256i rows[8]) {
  __m256i pairs[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  __m256i fours[8]; // fours[4i + c]: column c of each half, rows 4i … 4i + 3
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    fours[i] = _mm256_unpacklo_epi64(pairs[i], pairs[i + 2]);
    fours[i + 1] = _mm256_unpackhi_epi64(pairs[i], pairs[i + 2]);
    fours[i + 2] = _mm256_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    fours[i + 3] = _mm256_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; c++) {
    rows[c] = _mm256_permute2x128_si256(fours[c], fours[4 + c], 0x20);
    rows[4 + c] = _mm256_permute2x128_si256(fours[c], fours[4 + c], 0x31);
  }
}

/** 16 rows of 16 words, turned: each quarter by itself, and two quarters change places. */
inline void transpose(Words rows[16]) {
  __m256i quarters[4][8]; // top left, top right, bottom left, bottom right
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    quarters[0][i] = rows[i].low;
    quarters[1][i] = rows[i].high;
    quarters[2][i] = rows[8 + i].low;
    quarters[3][i] = rows[8 + i].high;
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) transpose(quarters[i]);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    rows[i] = {quarters[0][i], quarters[2][i]};
    rows[8 + i] = {quarters[1][i], quarters[3][i]};
  }
}

/** To the second-level cache: the first is too small for what is asked for so early. */
inline void prefetch(const void* from) { _mm_prefetch(static_cast<const char*>(from), _MM_HINT_T1); }

} // namespace
} // namespace bunsen
