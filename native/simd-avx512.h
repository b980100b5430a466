/** Sixteen floats or words at once by AVX-512 (F, BW, DQ, VL). Every set offers these same functions to kernels-body.h. */

#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

#if !defined(__clang__)
// g++ 12 takes the undefined operands inside its own intrinsics for ours.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace bunsen {
namespace {

using Floats = __m512;
using Words = __m512i;

// Rows of activations that one tile multiplies with 32 weights: 16 of the 32 registers hold their sums.
constexpr int TILE_ROWS = 8;
constexpr int TILE_HALVES = 2;
constexpr int TAIL_HALVES = 2;

inline __mmask16 firstOf(int count) {
  return count >= 16 ? 0xffff : __mmask16((1u << count) - 1);
}

inline Floats spread(float value) { return _mm512_set1_ps(value); }
inline Floats load(const float* from) { return _mm512_loadu_ps(from); }
inline Floats loadSome(const float* from, int count) { return _mm512_maskz_loadu_ps(firstOf(count), from); }
inline void store(float* to, Floats a) { _mm512_storeu_ps(to, a); }
inline void storeSome(float* to, Floats a, int count) { _mm512_mask_storeu_ps(to, firstOf(count), a); }
inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
inline Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
inline Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
inline Floats multiplyAdd(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats greater(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }
inline Floats rounded(Floats a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Floats magnitude(Floats a) { return _mm512_abs_ps(a); }
inline float sum(Floats a) { return _mm512_reduce_add_ps(a); }
inline float greatest(Floats a) { return _mm512_reduce_max_ps(a); }
/** `yes` in the lanes where a is less than b, else `no`. */
inline Floats whereLess(Floats a, Floats b, Floats yes, Floats no) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
/** `value` in the first lanes and 0 in the others. */
inline Floats firstLanes(float value, int count) { return _mm512_maskz_mov_ps(firstOf(count), _mm512_set1_ps(value)); }
/** 2^n for whole n from -126 to 127. */
inline Floats powerOfTwo(Floats n) { return _mm512_scalef_ps(_mm512_set1_ps(1), n); }

inline Words loadWords(const void* from) { return _mm512_loadu_si512(from); }
inline Words loadWordsSome(const void* from, int count) { return _mm512_maskz_loadu_epi32(firstOf(count), from); }
inline void storeWords(void* to, Words a) { _mm512_storeu_si512(to, a); }
inline Words spreadWord(std::uint32_t value) { return _mm512_set1_epi32(int(value)); }
inline Words shiftRight(Words a, int bits) { return _mm512_srli_epi32(a, unsigned(bits)); }
inline Words shiftLeft(Words a, int bits) { return _mm512_slli_epi32(a, unsigned(bits)); }
inline Words bitAnd(Words a, Words b) { return _mm512_and_si512(a, b); }
inline Words bitOr(Words a, Words b) { return _mm512_or_si512(a, b); }
/** Of words below 2^31. */
inline Floats toFloats(Words a) { return _mm512_cvtepi32_ps(a); }
inline Floats asFloats(Words a) { return _mm512_castsi512_ps(a); }
inline Words asWords(Floats a) { return _mm512_castps_si512(a); }
inline Words addWords(Words a, Words b) { return _mm512_add_epi32(a, b); }
/** The lowest four bits of each word. */
inline Floats nibbles(Words a) {
  return _mm512_permutexvar_ps(a, _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

inline Words loadShorts(const std::uint16_t* from, int count) {
  return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(firstOf(count), from));
}
/** Lanes 2i and 2i + 1 in each other's place. */
inline Floats swapNeighbours(Floats a) { return _mm512_permute_ps(a, 0xb1); }
inline Words loadBytes(const std::uint8_t* from, int count) {
  return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(firstOf(count), from));
}
inline Floats loadHalves(const std::uint16_t* from, int count) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(firstOf(count), from));
}

/** 16 rows of 16 words, turned. */
inline void transpose(Words rows[16]) {
  Words pairs[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  Words fours[16]; // fours[4i + c]: column c of each quarter, rows 4i … 4i + 3
  for (int i = 0; i < 16; i += 4) {
    fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  for (int c = 0; c < 4; c++) {
    const Words low_first = _mm512_shuffle_i32x4(fours[c], fours[4 + c], 0x88);
    const Words low_second = _mm512_shuffle_i32x4(fours[8 + c], fours[12 + c], 0x88);
    const Words high_first = _mm512_shuffle_i32x4(fours[c], fours[4 + c], 0xdd);
    const Words high_second = _mm512_shuffle_i32x4(fours[8 + c], fours[12 + c], 0xdd);
    rows[c] = _mm512_shuffle_i32x4(low_first, low_second, 0x88);
    rows[8 + c] = _mm512_shuffle_i32x4(low_first, low_second, 0xdd);
    rows[4 + c] = _mm512_shuffle_i32x4(high_first, high_second, 0x88);
    rows[12 + c] = _mm512_shuffle_i32x4(high_first, high_second, 0xdd);
  }
}

/** To the second-level cache: the first is too small for what is asked for so early. */
inline void prefetch(const void* from) { _mm_prefetch(static_cast<const char*>(from), _MM_HINT_T1); }

#if defined(__AVX512VNNI__)
#define BUNSEN_HAS_BYTE_PRODUCTS 1
/** To each word of `sum` the products of its four unsigned bytes with the four signed ones at `b`. */
inline Words multiplyBytes(Words sum, Words a, const std::int8_t* b) {
  std::int32_t four;
  __builtin_memcpy(&four, b, sizeof four);
  return _mm512_dpbusd_epi32(sum, a, _mm512_set1_epi32(four));
}
/** Of each byte below 16, a float of four bits (E2M1): how many half steps it is above -6. */
inline Words halfSteps(Words nibbles) {
  const __m128i steps = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(steps), nibbles);
}
inline Words toWords(Floats a) { return _mm512_cvtps_epi32(a); }
inline Words subtractWords(Words a, Words b) { return _mm512_sub_epi32(a, b); }
inline Words shiftRightSigned(Words a, int bits) { return _mm512_srai_epi32(a, unsigned(bits)); }
inline int sumWords(Words a) { return _mm512_reduce_add_epi32(a); }
/** Of each eight the even ones and then the odd ones. */
inline Words evenThenOdd(Words a) {
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15), a);
}
inline void storeBytes(std::int8_t* to, Words a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(a));
}
#endif

} // namespace
} // namespace bunsen
