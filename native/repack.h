/** Blocks of ggml (Q4_0, Q4_1, Q8_0) to MLX's affine groups of 32, without loss. Knows plain memory only. */

#pragma once

#include <cstddef>
#include <cstdint>

namespace bunsen {

enum class BlockType { q4_0, q4_1, q8_0 };

/** Bits of one quantised element. */
int bitsOf(BlockType type);

/** Bytes of a block of 32 elements. */
std::size_t bytesOf(BlockType type);

/** Where the groups of all rows go: words, and scales and biases as half floats. */
struct Groups {
  std::uint32_t* words; // (rows, columns * bits / 32)
  std::uint16_t* scales; // (rows, columns / 32)
  std::uint16_t* biases;
};

/**
 * `blocks` holds `rows` rows of `columns` elements; row i of the result is row order[i], or i where there is no order.
 * Where a scale is so large that its offset is no half float, that is an infinity.
 */
void repack(
    BlockType type, const std::uint8_t* blocks, std::size_t rows, std::size_t columns, const std::uint32_t* order,
    const Groups& groups);

} // namespace bunsen
