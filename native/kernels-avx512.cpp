/**
 * AVX-512 (F, BW, VL). A load of 16 words holds 128 nibbles; shifted by 4j, their low nibbles are the elements 8i + j,
 * so activations are arranged once in that order: [chunk of 128][j][i]. Bytes unpack in their own order.
 */

#if defined(__x86_64__)

#include "kernels.h"

#include <immintrin.h>

#if !defined(__clang__)
// g++ 12 takes the undefined operands inside its own intrinsics for ours.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace bunsen {

namespace {

constexpr int NIBBLES = 128; // in one load
constexpr int ROWS_AT_ONCE = 4; // that many sums hide the latency of a multiply-add

int groups(const AffineMatrix& matrix) {
  return matrix.columns / matrix.group_size;
}

std::size_t arranged_length(const AffineMatrix& matrix) {
  return matrix.bits == 4 ? std::size_t(matrix.columns + NIBBLES - 1) / NIBBLES * NIBBLES : matrix.columns;
}

void arrange(const AffineMatrix& matrix, const float* x, float* arranged, float* sums) {
  for (int group = 0; group < groups(matrix); group++) {
    __m512 sum = _mm512_setzero_ps();
    for (int column = 0; column < matrix.group_size; column += 16) {
      sum = _mm512_add_ps(sum, _mm512_loadu_ps(x + std::size_t(group) * matrix.group_size + column));
    }
    sums[group] = _mm512_reduce_add_ps(sum);
  }
  if (matrix.bits == 8) {
    for (int column = 0; column < matrix.columns; column += 16) _mm512_storeu_ps(arranged + column, _mm512_loadu_ps(x + column));
    return;
  }
  const int length = int(arranged_length(matrix));
  for (int chunk = 0; chunk < length; chunk += NIBBLES) {
    for (int j = 0; j < 8; j++) {
      for (int i = 0; i < 16; i++) {
        const int column = chunk + 8 * i + j;
        arranged[chunk + 16 * j + i] = column < matrix.columns ? x[column] : 0;
      }
    }
  }
}

inline __m512 nibble_table() {
  return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

/** Which of the groups of a chunk each of its 16 words belongs to. */
inline __m512i group_of_word(int group_size) {
  const __m512i word = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_srli_epi32(word, group_size == 32 ? 2 : group_size == 64 ? 3 : 4);
}

/** What is left of a row in the chunk at `column`: masks for its words and for its groups. */
struct ChunkMask {
  __mmask16 words;
  __mmask16 groups;

  ChunkMask(const AffineMatrix& matrix, int column) {
    const int left = matrix.columns - column < NIBBLES ? matrix.columns - column : NIBBLES;
    words = __mmask16((1u << left / 8) - 1);
    groups = __mmask16((1u << left / matrix.group_size) - 1);
  }
};

inline float bias_part(const AffineMatrix& matrix, int row, const float* sums) {
  const int count = groups(matrix);
  const float* biases = matrix.biases + std::size_t(row) * count;
  __m512 sum = _mm512_setzero_ps();
  for (int group = 0; group < count; group += 16) {
    const __mmask16 mask = count - group >= 16 ? 0xffff : __mmask16((1u << (count - group)) - 1);
    sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, biases + group), _mm512_maskz_loadu_ps(mask, sums + group), sum);
  }
  return _mm512_reduce_add_ps(sum);
}

template <int ROWS>
void multiply_nibbles(const AffineMatrix& matrix, const float* arranged, const float* sums, int row, float* y) {
  const __m512 table = nibble_table();
  const __m512i spread = group_of_word(matrix.group_size);
  const std::size_t words = std::size_t(matrix.columns) / 8;
  const std::size_t count = groups(matrix);
  __m512 total[ROWS];
  for (int r = 0; r < ROWS; r++) total[r] = _mm512_setzero_ps();
  for (int column = 0; column < matrix.columns; column += NIBBLES) {
    const ChunkMask mask(matrix, column);
    __m512i packed[ROWS];
    __m512 sum[ROWS];
    for (int r = 0; r < ROWS; r++) {
      const std::uint32_t* from = matrix.words + (row + r) * words + column / 8;
      packed[r] = _mm512_maskz_loadu_epi32(mask.words, from);
      _mm_prefetch(reinterpret_cast<const char*>(from + 4 * words), _MM_HINT_T0);
      sum[r] = _mm512_setzero_ps();
    }
    for (int j = 0; j < 8; j++) {
      const __m512 x = _mm512_loadu_ps(arranged + column + 16 * j);
      for (int r = 0; r < ROWS; r++) {
        sum[r] = _mm512_fmadd_ps(_mm512_permutexvar_ps(packed[r], table), x, sum[r]);
        packed[r] = _mm512_srli_epi32(packed[r], 4);
      }
    }
    for (int r = 0; r < ROWS; r++) {
      const float* scales = matrix.scales + (row + r) * count + column / matrix.group_size;
      const __m512 scale = _mm512_permutexvar_ps(spread, _mm512_maskz_loadu_ps(mask.groups, scales));
      total[r] = _mm512_fmadd_ps(scale, sum[r], total[r]);
    }
  }
  for (int r = 0; r < ROWS; r++) y[row + r] = _mm512_reduce_add_ps(total[r]) + bias_part(matrix, row + r, sums);
}

inline __m512 bytes_to_floats(const std::uint8_t* from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}

template <int ROWS>
void multiply_bytes(const AffineMatrix& matrix, const float* arranged, const float* sums, int row, float* y) {
  const std::uint8_t* bytes = reinterpret_cast<const std::uint8_t*>(matrix.words);
  const std::size_t count = groups(matrix);
  __m512 total[ROWS];
  for (int r = 0; r < ROWS; r++) total[r] = _mm512_setzero_ps();
  for (std::size_t group = 0; group < count; group++) {
    __m512 sum[ROWS];
    for (int r = 0; r < ROWS; r++) sum[r] = _mm512_setzero_ps();
    for (int inside = 0; inside < matrix.group_size; inside += 16) {
      const std::size_t column = group * matrix.group_size + inside;
      const __m512 x = _mm512_loadu_ps(arranged + column);
      for (int r = 0; r < ROWS; r++) {
        const std::uint8_t* from = bytes + std::size_t(row + r) * matrix.columns + column;
        _mm_prefetch(reinterpret_cast<const char*>(from + 4 * std::size_t(matrix.columns)), _MM_HINT_T0);
        sum[r] = _mm512_fmadd_ps(bytes_to_floats(from), x, sum[r]);
      }
    }
    for (int r = 0; r < ROWS; r++) {
      total[r] = _mm512_fmadd_ps(_mm512_set1_ps(matrix.scales[(row + r) * count + group]), sum[r], total[r]);
    }
  }
  for (int r = 0; r < ROWS; r++) y[row + r] = _mm512_reduce_add_ps(total[r]) + bias_part(matrix, row + r, sums);
}

void multiply_row(const AffineMatrix& matrix, const float* arranged, const float* sums, int first, int last, float* y) {
  int row = first;
  if (matrix.bits == 4) {
    for (; row + ROWS_AT_ONCE <= last; row += ROWS_AT_ONCE) multiply_nibbles<ROWS_AT_ONCE>(matrix, arranged, sums, row, y);
    for (; row < last; row++) multiply_nibbles<1>(matrix, arranged, sums, row, y);
  } else {
    for (; row + ROWS_AT_ONCE <= last; row += ROWS_AT_ONCE) multiply_bytes<ROWS_AT_ONCE>(matrix, arranged, sums, row, y);
    for (; row < last; row++) multiply_bytes<1>(matrix, arranged, sums, row, y);
  }
}

/** One row of weights as floats in the order of the arranged activations. */
void unpack(const AffineMatrix& matrix, int row, float* out) {
  const std::size_t count = groups(matrix);
  const float* scales = matrix.scales + row * count;
  const float* biases = matrix.biases + row * count;
  if (matrix.bits == 8) {
    const std::uint8_t* bytes = reinterpret_cast<const std::uint8_t*>(matrix.words) + std::size_t(row) * matrix.columns;
    for (int column = 0; column < matrix.columns; column += 16) {
      const int group = column / matrix.group_size;
      const __m512 scale = _mm512_set1_ps(scales[group]);
      _mm512_storeu_ps(out + column, _mm512_fmadd_ps(bytes_to_floats(bytes + column), scale, _mm512_set1_ps(biases[group])));
    }
    return;
  }
  const __m512 table = nibble_table();
  const __m512i spread = group_of_word(matrix.group_size);
  const std::uint32_t* words = matrix.words + std::size_t(row) * matrix.columns / 8;
  for (int column = 0; column < matrix.columns; column += NIBBLES) {
    const ChunkMask mask(matrix, column);
    __m512i packed = _mm512_maskz_loadu_epi32(mask.words, words + column / 8);
    const int group = column / matrix.group_size;
    const __m512 scale = _mm512_permutexvar_ps(spread, _mm512_maskz_loadu_ps(mask.groups, scales + group));
    const __m512 bias = _mm512_permutexvar_ps(spread, _mm512_maskz_loadu_ps(mask.groups, biases + group));
    for (int j = 0; j < 8; j++) {
      _mm512_storeu_ps(out + column + 16 * j, _mm512_fmadd_ps(_mm512_permutexvar_ps(packed, table), scale, bias));
      packed = _mm512_srli_epi32(packed, 4);
    }
  }
}

/** XS rows of activations by WS rows of weights, all sums in registers. */
template <int XS, int WS>
void tile(const float* x, const float* w, std::size_t length, float* y, std::size_t y_stride) {
  __m512 sum[XS][WS];
  for (int i = 0; i < XS; i++) {
    for (int j = 0; j < WS; j++) sum[i][j] = _mm512_setzero_ps();
  }
  for (std::size_t k = 0; k < length; k += 16) {
    __m512 left[XS];
    for (int i = 0; i < XS; i++) left[i] = _mm512_loadu_ps(x + i * length + k);
    for (int j = 0; j < WS; j++) {
      const __m512 right = _mm512_loadu_ps(w + j * length + k);
      for (int i = 0; i < XS; i++) sum[i][j] = _mm512_fmadd_ps(left[i], right, sum[i][j]);
    }
  }
  for (int i = 0; i < XS; i++) {
    for (int j = 0; j < WS; j++) y[i * y_stride + j] = _mm512_reduce_add_ps(sum[i][j]);
  }
}

template <int XS>
void tiles(const float* x, const float* panel, int rows, std::size_t length, float* y, std::size_t y_stride) {
  int row = 0;
  for (; row + 6 <= rows; row += 6) tile<XS, 6>(x, panel + row * length, length, y + row, y_stride);
  for (; row < rows; row++) tile<XS, 1>(x, panel + row * length, length, y + row, y_stride);
}

void multiply_rows(const AffineMatrix& matrix, const float* arranged, int count, int first, int last, float* panel, float* y) {
  const std::size_t length = arranged_length(matrix);
  const int rows = last - first;
  for (int row = 0; row < rows; row++) unpack(matrix, first + row, panel + row * length);
  int index = 0;
  for (; index + 4 <= count; index += 4) {
    tiles<4>(arranged + index * length, panel, rows, length, y + std::size_t(index) * matrix.rows + first, matrix.rows);
  }
  for (; index < count; index++) {
    tiles<1>(arranged + index * length, panel, rows, length, y + std::size_t(index) * matrix.rows + first, matrix.rows);
  }
}

} // namespace

const Kernels avx512_kernels = {arranged_length, arrange, multiply_row, multiply_rows};

} // namespace bunsen

#endif
