/** Tiles of queries by blocks of keys: scores by panels, softmax in parts, values summed at once. */

#include "flash.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "threads.h"

namespace bunsen {

namespace {

// Keys whose scores are held at a time, so that they and a panel of values stay in the first-level cache.
constexpr int BLOCK = 128;
// Queries that share the turning of a panel of keys.
constexpr int ROWS_MAX = 96;
// While there are few queries, several threads share the keys: this many each.
constexpr int PIECE = 512;
// Multiply-adds that take one thread about 5 µs.
constexpr std::size_t WORTH_SHARING = 1 << 17;

constexpr float LOWEST = std::numeric_limits<float>::lowest();
constexpr float NOTHING = -std::numeric_limits<float>::infinity();

/** Positions of all query heads that read one head of keys. Rows are numbered head by head. */
struct Tile {
  int batch;
  int kv_head;
  int first;
  int count;
};

/** The softmax of a tile's rows over some of the keys, so far. */
struct Part {
  std::vector<float> sums; // (rows, value dims)
  std::vector<float> tops;
  std::vector<float> totals;
  bool skipped = false; // whether a block that the mask hides from all rows was left out
};

/** What one thread writes to while it works. */
struct Room {
  std::vector<float> queries;
  std::vector<float> scores;
  std::vector<float> panel;
  std::vector<float> hidden; // a mask whose items do not lie side by side, gathered
};

class Run {
 public:
  explicit Run(const FlashAttention& attention)
      : a_(attention),
        group_(attention.heads / attention.kv_heads),
        positions_(std::clamp(ROWS_MAX / group_, 1, attention.length)),
        tiles_per_head_((attention.length + positions_ - 1) / positions_),
        pieces_(tiles_per_head_ == 1 ? (attention.total + PIECE - 1) / PIECE : 1) {}

  void all() const {
    const std::size_t tiles = std::size_t(a_.batch) * a_.kv_heads * tiles_per_head_;
    const std::size_t work = std::size_t(a_.batch) * a_.heads * a_.length * a_.total * (a_.keys.dims + a_.values.dims);
    std::vector<Part> parts(pieces_ > 1 ? tiles * pieces_ : 0);
    const auto task = [&](std::size_t index) {
      if (pieces_ > 1) {
        const int first = static_cast<int>(index % pieces_) * PIECE;
        sweep(tileAt(index / pieces_), first, std::min(first + PIECE, a_.total), true, parts[index]);
      } else {
        static thread_local Part part;
        sweep(tileAt(index), 0, a_.total, true, part);
        finish(tileAt(index), &part, 1);
      }
    };
    if (work < WORTH_SHARING) {
      for (std::size_t index = 0; index < tiles * pieces_; index++) task(index);
    } else {
      parallel(tiles * pieces_, task);
    }
    for (std::size_t tile = 0; pieces_ > 1 && tile < tiles; tile++) finish(tileAt(tile), &parts[tile * pieces_], pieces_);
  }

 private:
  Tile tileAt(std::size_t index) const {
    const int first = static_cast<int>(index % tiles_per_head_) * positions_;
    const int head = static_cast<int>(index / tiles_per_head_);
    return {head / a_.kv_heads, head % a_.kv_heads, first, std::min(positions_, a_.length - first)};
  }

  int headOf(const Tile& tile, int row) const {
    return tile.kv_head * group_ + row / tile.count;
  }

  static int positionOf(const Tile& tile, int row) {
    return tile.first + row % tile.count;
  }

  /** Adds the keys first_key … last_key to `part`, which is begun anew. */
  void sweep(const Tile& tile, int first_key, int last_key, bool skips, Part& part) const {
    static thread_local Room room;
    const int rows = group_ * tile.count;
    begin(tile, first_key == 0, part);
    gatherQueries(tile, room);
    room.scores.resize(std::size_t(rows) * BLOCK);
    if (a_.mask.kind == MaskKind::causal) last_key = std::min(last_key, a_.total - a_.length + tile.first + tile.count);
    for (int key = first_key; key < last_key; key += BLOCK) {
      const int size = std::min(BLOCK, last_key - key);
      if (skips && hidesAll(tile, key, size, room)) {
        part.skipped = true;
        continue;
      }
      score(tile, key, size, room);
      for (int row = 0; row < rows; row++) soften(tile, row, key, size, room, part);
      addValues(tile, key, size, room, part);
    }
  }

  void begin(const Tile& tile, bool with_sinks, Part& part) const {
    const std::size_t rows = std::size_t(group_) * tile.count;
    part.sums.assign(rows * a_.values.dims, 0);
    part.tops.assign(rows, NOTHING);
    part.totals.assign(rows, 0);
    part.skipped = false;
    if (a_.sinks == nullptr || !with_sinks) return;
    for (std::size_t row = 0; row < rows; row++) {
      part.tops[row] = a_.sinks[headOf(tile, static_cast<int>(row))];
      part.totals[row] = 1;
    }
  }

  void gatherQueries(const Tile& tile, Room& room) const {
    const int dims = a_.queries.dims;
    const int rows = group_ * tile.count;
    room.queries.resize(std::size_t(rows) * dims);
    for (int row = 0; row < rows; row++) {
      const float* from = static_cast<const float*>(a_.queries.data) + tile.batch * a_.queries.batch_stride +
          headOf(tile, row) * a_.queries.head_stride + positionOf(tile, row) * a_.queries.position_stride;
      set_.scale(from, a_.scale, dims, room.queries.data() + std::size_t(row) * dims);
    }
  }

  static const char* headData(const Heads& heads, const Tile& tile) {
    const std::size_t bytes = heads.stored == Scalar::float32 ? 4 : 2;
    const std::size_t at = tile.batch * heads.batch_stride + tile.kv_head * heads.head_stride;
    return static_cast<const char*>(heads.data) + at * bytes;
  }

  void score(const Tile& tile, int key, int size, Room& room) const {
    const int dims = a_.keys.dims;
    room.panel.resize(std::max(dims, BLOCK) * std::size_t(PANEL_ROWS));
    Matrix keys = {};
    keys.data = headData(a_.keys, tile);
    keys.rows = key + size;
    keys.columns = dims;
    keys.row_stride = a_.keys.position_stride;
    keys.column_stride = 1;
    keys.stored = a_.keys.stored;
    for (int at = 0; at < size; at += PANEL_ROWS) {
      set_.unpack(keys, key + at, 0, dims, room.panel.data());
      set_.multiply(
          {room.queries.data(), std::size_t(dims), group_ * tile.count, room.panel.data(), PANEL_ROWS, dims,
           room.scores.data() + at, BLOCK, std::min(PANEL_ROWS, size - at), false});
    }
  }

  /** The mask of one row from `key` on, `size` items side by side. */
  template <class Item>
  const Item* maskOf(const Tile& tile, int row, int key, int size, Room& room) const {
    const auto& [batch_stride, head_stride, query_stride, key_stride] = a_.mask.strides;
    const Item* from = static_cast<const Item*>(a_.mask.data) + tile.batch * batch_stride +
        headOf(tile, row) * head_stride + positionOf(tile, row) * query_stride + key * key_stride;
    if (key_stride == 1) return from;
    room.hidden.resize(BLOCK);
    Item* gathered = reinterpret_cast<Item*>(room.hidden.data());
    for (int at = 0; at < size; at++) gathered[at] = from[at * key_stride];
    return gathered;
  }

  bool hidesAll(const Tile& tile, int key, int size, Room& room) const {
    static constexpr std::uint8_t none[BLOCK] = {};
    if (a_.mask.kind != MaskKind::boolean) return false;
    const int rows = a_.mask.strides[1] == 0 ? tile.count : group_ * tile.count;
    for (int row = 0; row < rows; row++) {
      if (std::memcmp(maskOf<std::uint8_t>(tile, row, key, size, room), none, size) != 0) return false;
    }
    return true;
  }

  void soften(const Tile& tile, int row, int key, int size, Room& room, Part& part) const {
    float* scores = room.scores.data() + std::size_t(row) * BLOCK;
    int live = size;
    if (a_.mask.kind == MaskKind::causal) {
      live = std::clamp(a_.total - a_.length + positionOf(tile, row) + 1 - key, 0, size);
    } else if (a_.mask.kind == MaskKind::boolean) {
      set_.hide(scores, maskOf<std::uint8_t>(tile, row, key, size, room), size);
    } else if (a_.mask.kind == MaskKind::additive) {
      set_.add(scores, maskOf<float>(tile, row, key, size, room), size, scores);
    }
    const float shrink = set_.soften(scores, 0, live, size, &part.tops[row], &part.totals[row]);
    if (shrink == 1) return;
    float* sums = part.sums.data() + std::size_t(row) * a_.values.dims;
    set_.scale(sums, shrink, a_.values.dims, sums);
  }

  void addValues(const Tile& tile, int key, int size, Room& room, Part& part) const {
    const Heads& values = a_.values;
    // rows of whole sixteens are a panel as they lie
    const bool as_they_lie = values.stored == Scalar::float32 && values.dims % 16 == 0;
    Matrix turned = {};
    turned.data = headData(values, tile);
    turned.rows = values.dims;
    turned.columns = key + size;
    turned.row_stride = 1;
    turned.column_stride = values.position_stride;
    turned.stored = values.stored;
    for (int dim = 0; dim < values.dims; dim += PANEL_ROWS) {
      const float* panel = static_cast<const float*>(turned.data) + key * values.position_stride + dim;
      if (!as_they_lie) {
        set_.unpack(turned, dim, key, key + size, room.panel.data());
        panel = room.panel.data();
      }
      set_.multiply(
          {room.scores.data(), BLOCK, group_ * tile.count, panel, as_they_lie ? values.position_stride : PANEL_ROWS,
           size, part.sums.data() + dim, std::size_t(values.dims), std::min(PANEL_ROWS, values.dims - dim), true});
    }
  }

  /** Puts the parts of a tile together. */
  void finish(const Tile& tile, const Part* parts, int count) const {
    const int rows = group_ * tile.count;
    for (int row = 0; row < rows; row++) {
      float top = NOTHING;
      bool skipped = false;
      for (int part = 0; part < count; part++) {
        top = std::max(top, parts[part].tops[row]);
        skipped = skipped || parts[part].skipped;
      }
      if (skipped && top <= LOWEST) { // a row that sees no key is the mean of all values, as in MLX
        Part whole;
        sweep(tile, 0, a_.total, false, whole);
        return finish(tile, &whole, 1);
      }
      writeRow(tile, row, parts, count, top);
    }
  }

  void writeRow(const Tile& tile, int row, const Part* parts, int count, float top) const {
    const int dims = a_.values.dims;
    float* out = a_.out + tile.batch * a_.out_batch_stride + headOf(tile, row) * a_.out_head_stride +
        positionOf(tile, row) * a_.out_position_stride;
    const auto share = [&](const Part& part) { return part.tops[row] == top ? 1 : std::exp(part.tops[row] - top); };
    float total = 0;
    for (int part = 0; part < count; part++) total += parts[part].totals[row] * share(parts[part]);
    set_.scale(parts[0].sums.data() + std::size_t(row) * dims, share(parts[0]) / total, dims, out);
    for (int part = 1; part < count; part++) {
      const float* sums = parts[part].sums.data() + std::size_t(row) * dims;
      const float factor = share(parts[part]) / total;
      for (int dim = 0; dim < dims; dim++) out[dim] += sums[dim] * factor;
    }
  }

  const Kernels& set_ = kernels();
  const FlashAttention& a_;
  const int group_;
  const int positions_; // of one tile
  const int tiles_per_head_;
  const int pieces_; // in which the keys are shared among threads
};

} // namespace

void attend(const FlashAttention& attention) {
  Run(attention).all();
}

} // namespace bunsen
