/** Attention that never holds all scores of a row. Knows plain memory, kernels and threads, not MLX. */

#pragma once

#include <cstddef>

#include "kernels.h"

namespace bunsen {

/** Vectors by (batch, head, position), the items of each side by side. */
struct Heads {
  const void* data;
  Scalar stored;
  int dims;
  std::size_t batch_stride; // in items
  std::size_t head_stride;
  std::size_t position_stride;
};

enum class MaskKind {
  none,
  causal, // the last query sees the last key; there are no more queries than keys
  boolean, // bytes, 0: the key is hidden
  additive, // floats to add to the scores
};

struct Mask {
  MaskKind kind;
  const void* data; // by (batch, head, query, key)
  std::ptrdiff_t strides[4]; // in items; 0 where one serves all
};

struct FlashAttention {
  Heads queries; // float32
  Heads keys;
  Heads values;
  int batch;
  int heads;
  int kv_heads; // divides `heads`; query head h reads h / (heads / kv_heads)
  int length; // of the queries
  int total; // of keys and values
  float scale;
  Mask mask;
  const float* sinks; // (heads): one more score, of a key without a value; or null
  float* out; // dims of the values side by side
  std::size_t out_batch_stride;
  std::size_t out_head_stride;
  std::size_t out_position_stride;
};

/** out = softmax(scale · queries · keysᵀ, masked) · values. Returns when all is done. */
void attend(const FlashAttention& attention);

} // namespace bunsen
