/** The repacking, shared among the threads row by row. */

#include "repack.h"

#include <cstring>

#include "threads.h"

namespace bunsen {

namespace {

constexpr std::size_t BLOCK = 32;
constexpr std::size_t ROWS_PER_CHUNK = 64;

std::uint16_t halfAt(const std::uint8_t* from) {
  std::uint16_t half;
  std::memcpy(&half, from, sizeof half);
  return half;
}

/** -(2^power) times a half float; an infinity where that is too large. */
std::uint16_t negativeTimes(std::uint16_t half, int power) {
  const std::uint16_t sign = ~half & 0x8000;
  int exponent = half >> 10 & 31;
  std::uint32_t mantissa = half & 0x3ff;
  if (exponent == 31) return sign | (half & 0x7fff);
  if (exponent == 0) { // subnormal: twice the mantissa is twice the value, until it is normal
    if (mantissa == 0) return sign;
    for (; power > 0 && mantissa < 0x400; power--) mantissa <<= 1;
    if (mantissa < 0x400) return sign | std::uint16_t(mantissa);
    exponent = 1;
    mantissa &= 0x3ff;
  }
  exponent += power;
  if (exponent >= 31) return sign | 0x7c00;
  return sign | std::uint16_t(exponent << 10) | std::uint16_t(mantissa);
}

/** The low halves of four bytes, side by side in 16 bits. */
std::uint32_t lowNibbles(std::uint32_t word) {
  const std::uint32_t spread = word & 0x0f0f0f0f;
  const std::uint32_t pairs = (spread | spread >> 4) & 0x00ff00ff;
  return (pairs | pairs >> 8) & 0xffff;
}

/** 16 bytes, of which byte i holds the elements i (low) and 16 + i (high). */
void repackNibbles(const std::uint8_t* from, std::uint32_t* words) {
  std::uint32_t in[4];
  std::memcpy(in, from, sizeof in);
  words[0] = lowNibbles(in[0]) | lowNibbles(in[1]) << 16;
  words[1] = lowNibbles(in[2]) | lowNibbles(in[3]) << 16;
  words[2] = lowNibbles(in[0] >> 4) | lowNibbles(in[1] >> 4) << 16;
  words[3] = lowNibbles(in[2] >> 4) | lowNibbles(in[3] >> 4) << 16;
}

void repackBlock(BlockType type, const std::uint8_t* from, std::uint32_t* words, std::uint16_t* scale, std::uint16_t* bias) {
  *scale = halfAt(from);
  switch (type) {
    case BlockType::q4_0: // weight = d * (q - 8)
      *bias = negativeTimes(*scale, 3);
      repackNibbles(from + 2, words);
      break;
    case BlockType::q4_1: // weight = d * q + m
      *bias = halfAt(from + 2);
      repackNibbles(from + 4, words);
      break;
    case BlockType::q8_0: // weight = d * q, q signed; with 128 added the bytes are unsigned
      *bias = negativeTimes(*scale, 7);
      std::memcpy(words, from + 2, BLOCK);
      for (std::size_t word = 0; word < BLOCK / 4; word++) words[word] ^= 0x80808080;
      break;
  }
}

} // namespace

int bitsOf(BlockType type) {
  return type == BlockType::q8_0 ? 8 : 4;
}

std::size_t bytesOf(BlockType type) {
  switch (type) {
    case BlockType::q4_0: return 18;
    case BlockType::q4_1: return 20;
    case BlockType::q8_0: return 34;
  }
  return 0;
}

void repack(
    BlockType type, const std::uint8_t* blocks, std::size_t rows, std::size_t columns, const std::uint32_t* order,
    const Groups& groups) {
  const std::size_t row_blocks = columns / BLOCK;
  const std::size_t block_words = bitsOf(type);
  parallel((rows + ROWS_PER_CHUNK - 1) / ROWS_PER_CHUNK, [&](std::size_t chunk) {
    for (std::size_t row = chunk * ROWS_PER_CHUNK; row < rows && row < (chunk + 1) * ROWS_PER_CHUNK; row++) {
      const std::uint8_t* from = blocks + (order == nullptr ? row : order[row]) * row_blocks * bytesOf(type);
      for (std::size_t block = row * row_blocks; block < (row + 1) * row_blocks; block++, from += bytesOf(type)) {
        repackBlock(type, from, groups.words + block * block_words, groups.scales + block, groups.biases + block);
      }
    }
  });
}

} // namespace bunsen
