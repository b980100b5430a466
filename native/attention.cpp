/** Attention over plain memory: projections, positions, the cache, and softmax block by block without a full score matrix. */

#include "attention.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>

#include "threads.h"

namespace bunsen {

namespace {

// Rows of queries (tokens by heads of a group) that share the keys they read.
constexpr int QUERY_ROWS = 48;
// Blocks between two corrections of the running softmax.
constexpr int BLOCKS_AT_ONCE = 4;
constexpr int KEYS_AT_ONCE = BLOCKS_AT_ONCE * BLOCK;

/** Asks for a block of the cache that is read soon: the machine does not foresee where the next one lies. */
void fetch(const char* block, std::size_t bytes) {
  constexpr std::size_t LINE = 64;
  for (std::size_t at = 0; at < bytes; at += LINE) __builtin_prefetch(block + at, 0, 2);
}

/** One head's quantised keys or values in one block. */
struct Packed {
  std::uint32_t* words;
  std::uint16_t* scales;
  std::uint16_t* biases;
  int bits;
  int head_dim;

  Packed(char* data, int bits, int head_dim)
      : words(reinterpret_cast<std::uint32_t*>(data)),
        scales(reinterpret_cast<std::uint16_t*>(words + head_dim * bits)), // 32 tokens of head_dim * bits / 32
        biases(scales + head_dim), // 32 tokens of head_dim / 32
        bits(bits),
        head_dim(head_dim) {}

  void put(int slot, const float* vector) const {
    const int groups = head_dim / PACKED_GROUP;
    for (int group = slot * groups; group < (slot + 1) * groups; group++, vector += PACKED_GROUP) {
      float scale, bias;
      kernels().quantizeGroup(vector, bits, words + group * bits, &scale, &bias);
      const mx::float16_t halves[] = {mx::float16_t(scale), mx::float16_t(bias)};
      std::memcpy(scales + group, halves, sizeof *scales);
      std::memcpy(biases + group, halves + 1, sizeof *biases);
    }
  }

  /** (head_dim, 32) */
  void readTurned(int count, float* panel) const {
    Matrix matrix = {};
    matrix.data = words;
    matrix.rows = count;
    matrix.columns = head_dim;
    matrix.bits = bits;
    matrix.group_size = PACKED_GROUP;
    matrix.scales = scales;
    matrix.biases = biases;
    matrix.stored = Scalar::float16;
    kernels().unpack(matrix, 0, 0, head_dim, panel);
  }

  /** (count, head_dim) */
  void read(int count, float* rows) const {
    kernels().unpackGroups({words, scales, biases, count * head_dim / PACKED_GROUP, bits}, rows);
  }
};

/** Of one head, or of all where the weight is as long. */
int normSize(const std::optional<mx::array>& weight, int heads, int head_dim) {
  return weight && weight->size() == std::size_t(heads) * head_dim ? heads * head_dim : head_dim;
}

[[noreturn]] void refuse(const char* what) {
  throw std::invalid_argument(std::string("[bunsen] attention: ") + what);
}

} // namespace

std::vector<Span> readSpans(const int* numbers, std::size_t size, int tokens, int blocks_max) {
  if (size == 0 || numbers[0] < 0 || std::size_t(numbers[0]) > (size - 1) / 4) refuse("spans do not fit their array");
  std::vector<Span> spans;
  int next = 0;
  for (int index = 0; index < numbers[0]; index++) {
    const int* at = numbers + 1 + 4 * index;
    const auto [first, count, start, blocks] = *reinterpret_cast<const int(*)[4]>(at);
    if (first != next || count <= 0 || start < 0 || blocks < 0) refuse("spans follow each other");
    const std::size_t needed = (std::size_t(start) + count + BLOCK - 1) / BLOCK;
    if (std::size_t(blocks) + needed > size) refuse("a span lacks blocks");
    for (std::size_t block = 0; block < needed; block++) {
      const int number = numbers[blocks + block];
      if (number < 0 || number >= blocks_max) refuse("a span names a block beyond the cache");
    }
    spans.push_back({first, count, start, numbers + blocks});
    next = first + count;
  }
  if (next != tokens) refuse("spans make up all tokens");
  return spans;
}

Attention::Attention(
    const std::optional<mx::array>* weights, const int* numbers, const float* factors, mx::Stream stream)
    : hidden_(numbers[HIDDEN]),
      heads_(numbers[HEADS]),
      kv_heads_(numbers[KV_HEADS]),
      head_dim_(numbers[HEAD_DIM]),
      rope_dims_(numbers[ROPE_DIMS]),
      interleaved_(numbers[INTERLEAVED] != 0),
      window_(numbers[WINDOW]),
      scale_(factors[SCALE]),
      soft_cap_(factors[SOFT_CAP]),
      factor_(factors[RESIDUAL]),
      norm_(weights[NORM], factors[EPSILON], hidden_, stream),
      q_(weights + Q, numbers + Q_FORM, hidden_, stream),
      k_(weights + K, numbers + K_FORM, hidden_, stream),
      v_(weights + V, numbers + V_FORM, hidden_, stream),
      o_(weights + O, numbers + O_FORM, heads_ * head_dim_, stream),
      q_norm_(weights[Q_NORM], factors[EPSILON], normSize(weights[Q_NORM], heads_, head_dim_), stream),
      k_norm_(weights[K_NORM], factors[EPSILON], normSize(weights[K_NORM], kv_heads_, head_dim_), stream),
      post_norm_(weights[POST_NORM], factors[EPSILON], hidden_, stream) {
  if (kv_heads_ <= 0 || heads_ <= 0 || head_dim_ <= 0 || heads_ % kv_heads_ != 0) refuse("heads divide among key heads");
  if (rope_dims_ < 0 || rope_dims_ > head_dim_ || rope_dims_ % 2 != 0) refuse("dims rotate in pairs within a head");
  if (q_.rows() != heads_ * head_dim_ || k_.rows() != kv_heads_ * head_dim_ || v_.rows() != k_.rows() ||
      o_.rows() != hidden_) {
    refuse("projections fit the heads");
  }
  if (weights[SINKS]) sinks_ = floats(*weights[SINKS], heads_, "sinks", stream);
}

/** Queries, keys and values of all tokens: (count, heads + 2 * kv_heads, head_dim). */
struct Attention::Heads {
  float* data;
  std::size_t stride;
  int keys_at;
  int values_at;

  float* of(int token, int head, int head_dim) const {
    return data + token * stride + std::size_t(head) * head_dim;
  }
};

/** Consecutive tokens of one span, over one head of keys. */
struct Attention::Work {
  const Span* span;
  int kv_head;
  int first;
  int count;
};

void Attention::apply(
    const float* x, const float* residual, int count, const std::vector<Span>& spans, const float* angles,
    const Cache& cache, float* y) const {
  std::unique_ptr<float[]> normed;
  if (norm_) {
    normed.reset(new float[std::size_t(count) * hidden_]);
    norm_.apply(x, hidden_, count, normed.get(), hidden_);
    x = normed.get();
  }
  const std::size_t stride = std::size_t(heads_ + 2 * kv_heads_) * head_dim_;
  const std::unique_ptr<float[]> projected(new float[count * stride]);
  const Heads heads = headsOf(projected.get());
  multiply(
      x, hidden_, count,
      {q_.into(heads.of(0, 0, head_dim_), stride), k_.into(heads.of(0, heads.keys_at, head_dim_), stride),
       v_.into(heads.of(0, heads.values_at, head_dim_), stride)});
  const std::size_t width = std::size_t(heads_) * head_dim_;
  const std::unique_ptr<float[]> attended(new float[count * width]);
  mix(projected.get(), spans, angles, cache, attended.get());
  multiply(attended.get(), width, count, {o_.into(y, hidden_)});
  close(post_norm_, residual, factor_, count, hidden_, y);
}

void Attention::mix(
    float* projected, const std::vector<Span>& spans, const float* angles, const Cache& cache,
    float* attended) const {
  const Heads heads = headsOf(projected);
  std::vector<Work> work;
  std::vector<const Span*> span_of; // each token's
  const int tokens_each = std::max(1, QUERY_ROWS / (heads_ / kv_heads_));
  for (const Span& span : spans) {
    span_of.insert(span_of.end(), span.count, &span);
    for (int first = 0; first < span.count; first += tokens_each) {
      for (int head = 0; head < kv_heads_; head++) {
        work.push_back({&span, head, first, std::min(tokens_each, span.count - first)});
      }
    }
  }
  eachRow(static_cast<int>(span_of.size()), 4 * heads.stride, [&](int token) {
    place(heads, *span_of[token], token - span_of[token]->first, angles, cache);
  });
  // The last tokens of a prompt have the most to read: they go first, and the short ones fill the gaps.
  std::reverse(work.begin(), work.end());
  parallel(work.size(), [&](std::size_t index) { attend(heads, work[index], cache, attended); });
}

Attention::Heads Attention::headsOf(float* projected) const {
  return {projected, std::size_t(heads_ + 2 * kv_heads_) * head_dim_, heads_, heads_ + kv_heads_};
}

const Linear& Attention::linear(int number) const {
  const Linear* const all[] = {&q_, &k_, &v_, &o_};
  if (number < 0 || std::size_t(number) >= std::size(all)) throw std::out_of_range("[bunsen] no such projection");
  return *all[number];
}

/** Turns one token's queries and keys to its position, and puts keys and values where its blocks say. */
void Attention::place(
    const Heads& heads, const Span& span, int index, const float* angles, const Cache& cache) const {
  const int token = span.first + index;
  const int position = span.start + index;
  const float* turn = angles + std::size_t(token) * rope_dims_;
  const std::size_t block = span.blocks[position / BLOCK];
  const int slot = position % BLOCK;
  if (q_norm_) q_norm_.applyAll(heads.of(token, 0, head_dim_), heads_ * head_dim_);
  if (k_norm_) k_norm_.applyAll(heads.of(token, heads.keys_at, head_dim_), kv_heads_ * head_dim_);
  for (int head = 0; head < heads_ + kv_heads_; head++) rotate(turn, heads.of(token, head, head_dim_));
  for (int head = 0; head < kv_heads_; head++) {
    const float* key = heads.of(token, heads.keys_at + head, head_dim_);
    const float* value = heads.of(token, heads.values_at + head, head_dim_);
    const std::size_t at = (block * kv_heads_ + head) * Cache::bytes(cache.bits, head_dim_);
    if (cache.bits != 32) {
      Packed(cache.keys + at, cache.bits, head_dim_).put(slot, key);
      Packed(cache.values + at, cache.bits, head_dim_).put(slot, value);
      continue;
    }
    float* keys = reinterpret_cast<float*>(cache.keys + at);
    float* values = reinterpret_cast<float*>(cache.values + at);
    for (int dim = 0; dim < head_dim_; dim++) keys[std::size_t(dim) * BLOCK + slot] = key[dim];
    std::memcpy(values + std::size_t(slot) * head_dim_, value, head_dim_ * sizeof(float));
  }
}

void Attention::rotate(const float* angles, float* head) const {
  const int pairs = rope_dims_ / 2;
  if (!interleaved_) {
    kernels().rotateHalves(head, angles, angles + pairs, rope_dims_, head);
    return;
  }
  for (int pair = 0; pair < pairs; pair++) {
    const float first = head[2 * pair], second = head[2 * pair + 1];
    head[2 * pair] = first * angles[pair] - second * angles[pairs + pair];
    head[2 * pair + 1] = first * angles[pairs + pair] + second * angles[pair];
  }
}

void Attention::attend(
    const Heads& heads, const Work& work, const Cache& cache, float* out) const {
  const Kernels& set = kernels();
  const int group = heads_ / kv_heads_;
  const int rows = work.count * group;
  const Span& span = *work.span;
  const std::size_t row_floats = 2 * std::size_t(head_dim_) + KEYS_AT_ONCE + 2;
  static thread_local std::vector<float> scratch;
  const std::size_t block_floats = cache.bits == 32 ? 0 : std::size_t(BLOCK) * head_dim_;
  scratch.resize(std::max(scratch.size(), rows * row_floats + block_floats));
  float* queries = scratch.data(); // (rows, head_dim)
  float* sums = queries + std::size_t(rows) * head_dim_; // (rows, head_dim)
  float* scores = sums + std::size_t(rows) * head_dim_; // (rows, KEYS_AT_ONCE)
  float* tops = scores + std::size_t(rows) * KEYS_AT_ONCE; // (rows)
  float* totals = tops + rows; // (rows)
  float* unpacked = totals + rows; // of one block

  const auto headOf = [&](int row) { return work.kv_head * group + row % group; };
  const auto positionOf = [&](int row) { return span.start + work.first + row / group; };
  for (int row = 0; row < rows; row++) {
    const int token = span.first + work.first + row / group;
    set.scale(heads.of(token, headOf(row), head_dim_), scale_, head_dim_, queries + std::size_t(row) * head_dim_);
    tops[row] = sinks_ ? sinks_->data<float>()[headOf(row)] : -std::numeric_limits<float>::infinity();
    totals[row] = sinks_ ? 1 : 0;
  }
  std::fill_n(sums, std::size_t(rows) * head_dim_, 0.0f);

  const int end = positionOf(rows - 1) + 1;
  // a block wholly behind the window may be another sequence's by now
  const int begin = window_ > 0 ? std::max(0, positionOf(0) + 1 - window_) / BLOCK * BLOCK : 0;
  const std::size_t bytes = Cache::bytes(cache.bits, head_dim_);
  const auto blockOf = [&](char* data, int key) {
    return data + (std::size_t(span.blocks[key / BLOCK]) * kv_heads_ + work.kv_head) * bytes;
  };
  const auto keysOf = [&](int key, int count) -> const float* {
    char* block = blockOf(cache.keys, key);
    if (cache.bits == 32) return reinterpret_cast<const float*>(block);
    Packed(block, cache.bits, head_dim_).readTurned(count, unpacked);
    return unpacked;
  };
  const auto valuesOf = [&](int key, int count) -> const float* {
    char* block = blockOf(cache.values, key);
    if (cache.bits == 32) return reinterpret_cast<const float*>(block);
    Packed(block, cache.bits, head_dim_).read(count, unpacked);
    return unpacked;
  };
  for (int first = begin; first < end; first += KEYS_AT_ONCE) {
    const int last = std::min(first + KEYS_AT_ONCE, end);
    for (int key = first; key < last; key += BLOCK) {
      const int count = std::min(BLOCK, last - key);
      fetch(blockOf(cache.values, key), bytes);
      set.multiply(
          {queries, std::size_t(head_dim_), rows, keysOf(key, count), BLOCK, head_dim_, scores + (key - first),
           KEYS_AT_ONCE, count, false});
    }
    for (int row = 0; row < rows; row++) {
      const int position = positionOf(row);
      const int from = window_ > 0 ? std::clamp(position + 1 - window_ - first, 0, last - first) : 0;
      const int to = std::clamp(position + 1 - first, from, last - first);
      float* score = scores + std::size_t(row) * KEYS_AT_ONCE;
      if (soft_cap_ > 0) set.softCap(score + from, soft_cap_, to - from, score + from);
      const float correction = set.soften(score, from, to, last - first, tops + row, totals + row);
      float* sum = sums + std::size_t(row) * head_dim_;
      if (correction != 1) set.scale(sum, correction, head_dim_, sum);
    }
    for (int key = first; key < last; key += BLOCK) {
      const int next = key + KEYS_AT_ONCE;
      if (next < end) fetch(blockOf(cache.keys, next), bytes);
      const int count = std::min(BLOCK, last - key);
      const float* values = valuesOf(key, count);
      for (int dim = 0; dim < head_dim_; dim += PANEL_ROWS) {
        set.multiply(
            {scores + (key - first), KEYS_AT_ONCE, rows, values + dim, std::size_t(head_dim_), count, sums + dim, std::size_t(head_dim_), std::min(PANEL_ROWS, head_dim_ - dim),
             true});
      }
    }
  }
  for (int row = 0; row < rows; row++) {
    const int token = span.first + work.first + row / group;
    float* to = out + (std::size_t(token) * heads_ + headOf(row)) * head_dim_;
    set.scale(sums + std::size_t(row) * head_dim_, 1 / totals[row], head_dim_, to);
  }
}

} // namespace bunsen
