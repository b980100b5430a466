/** Self-attention over a paged cache: residual + o(attend(rope(q(norm(x))), keys, values)). */

#pragma once

#include "layer.h"

namespace bunsen {

/** Positions in a block of the cache. */
constexpr int BLOCK = PANEL_ROWS;

/**
 * The blocks of one layer, keys and values alike (blocks, kv_heads, …). In 32 bits keys lie turned, so that those of one
 * block are a panel, (head_dim, 32), and values (32, head_dim). In 8 or 4 bits both are words (32, head_dim * bits / 32),
 * then scales (32, head_dim / 32) and biases as many: affine groups of 32 along head_dim, as floats of 16 bits.
 */
struct Cache {
  char* keys;
  char* values;
  int bits;

  /** Of one head in one block. */
  static std::size_t bytes(int bits, int head_dim) {
    const int groups = BLOCK * head_dim / PACKED_GROUP;
    return bits == 32 ? sizeof(float) * BLOCK * head_dim : std::size_t(groups) * (PACKED_GROUP * bits / 8 + 4);
  }
};

/** Some tokens of one sequence that go through together, among others: (first, count, start, blocks…) in `spans`. */
struct Span {
  int first; // of its tokens among all
  int count;
  int start; // its first token's position in the sequence
  const int* blocks; // those of the positions 0 … start + count - 1; what a window hides is not read
};

/**
 * `numbers`: how many spans, then for each first, count, start and where in `numbers` its blocks begin.
 * Throws std::invalid_argument when they do not make up `tokens`, or name a block beyond `blocks_max`.
 */
std::vector<Span> readSpans(const int* numbers, std::size_t size, int tokens, int blocks_max);

class Attention {
 public:
  enum Weight {
    NORM, Q, K = Q + Linear::ARRAYS, V = K + Linear::ARRAYS, O = V + Linear::ARRAYS,
    Q_NORM = O + Linear::ARRAYS, K_NORM, SINKS, POST_NORM, WEIGHTS
  };
  enum Number {
    HIDDEN, HEADS, KV_HEADS, HEAD_DIM, ROPE_DIMS, INTERLEAVED, WINDOW,
    Q_FORM, K_FORM = Q_FORM + Linear::NUMBERS, V_FORM = K_FORM + Linear::NUMBERS, O_FORM = V_FORM + Linear::NUMBERS
  };
  enum Factor { EPSILON, SCALE, SOFT_CAP, RESIDUAL };

  Attention(const std::optional<mx::array>* weights, const int* numbers, const float* factors, mx::Stream stream);

  /** x, residual and y (count, hidden); angles (count, 2, rope_dims / 2). */
  void apply(
      const float* x, const float* residual, int count, const std::vector<Span>& spans, const float* angles,
      const Cache& cache, float* y) const;

  /**
   * All between the projections: `projected` (count, heads + 2 * kv_heads, head_dim), queries, keys and values side by
   * side, is turned in place; attended (count, heads * head_dim).
   */
  void mix(
      float* projected, const std::vector<Span>& spans, const float* angles, const Cache& cache,
      float* attended) const;

  /** 0 to 3: of queries, keys, values, and of what was attended. Throws std::out_of_range for another. */
  const Linear& linear(int number) const;

  int hidden() const {
    return hidden_;
  }
  int heads() const {
    return heads_;
  }
  int kvHeads() const {
    return kv_heads_;
  }
  int headDim() const {
    return head_dim_;
  }
  int ropeDims() const {
    return rope_dims_;
  }

 private:
  struct Heads;
  struct Work;
  Heads headsOf(float* projected) const;
  void place(const Heads& heads, const Span& span, int token, const float* angles, const Cache& cache) const;
  void rotate(const float* angles, float* head) const;
  void attend(const Heads& heads, const Work& work, const Cache& cache, float* out) const;

  int hidden_;
  int heads_;
  int kv_heads_;
  int head_dim_;
  int rope_dims_;
  bool interleaved_;
  int window_; // 0: none
  float scale_;
  float soft_cap_; // 0: none
  float factor_;
  Norm norm_;
  Linear q_;
  Linear k_;
  Linear v_;
  Linear o_;
  Norm q_norm_;
  Norm k_norm_;
  std::optional<mx::array> sinks_;
  Norm post_norm_;
};

} // namespace bunsen
