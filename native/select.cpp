/** Floats are ordered as whole numbers, by radix where there are many; the greatest few by a bound that rises. */

#include "select.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "primitive.h"
#include "product.h"
#include "rows.h"

namespace bunsen {

namespace {

using Key = std::uint32_t;

constexpr Key SIGN = 1u << 31;
constexpr Key NAN_KEY = ~Key(0);

/** Keys are ordered as their floats are; a NaN of either sign comes last. */
Key keyOf(float value) {
  if (std::isnan(value)) return NAN_KEY;
  const Key bits = std::bit_cast<Key>(value);
  return bits & SIGN ? ~bits : bits | SIGN;
}

float valueOf(Key key) {
  return std::bit_cast<float>(key & SIGN ? key ^ SIGN : ~key);
}

// Three passes of eleven bits.
constexpr int PASSES = 3;
constexpr int PASS_BITS = 11;
constexpr std::size_t BUCKETS = std::size_t(1) << PASS_BITS;
// Below it, counting into buckets takes longer than comparing.
constexpr int RADIX_MIN = 2048;

std::size_t bucketOf(Key key, int pass) {
  return key >> (pass * PASS_BITS) & (BUCKETS - 1);
}

void sortByRadix(std::vector<Key>& keys, std::vector<Key>& other) {
  std::array<std::array<Key, BUCKETS>, PASSES> places = {};
  for (Key key : keys) {
    for (int pass = 0; pass < PASSES; pass++) places[pass][bucketOf(key, pass)]++;
  }
  other.resize(keys.size());
  for (int pass = 0; pass < PASSES; pass++) {
    Key next = 0;
    for (Key& place : places[pass]) next += std::exchange(place, next);
    for (Key key : keys) other[places[pass][bucketOf(key, pass)]++] = key;
    keys.swap(other);
  }
}

void sortRow(const float* x, int size, float* y) {
  static thread_local std::vector<Key> keys;
  static thread_local std::vector<Key> other;
  keys.resize(size);
  std::transform(x, x + size, keys.begin(), keyOf);
  if (size < RADIX_MIN) std::sort(keys.begin(), keys.end());
  else sortByRadix(keys, other);
  std::transform(keys.begin(), keys.end(), y, valueOf);
}

/** Holds all that may be among the `k` greatest; whenever it is full, only those stay and the bound rises. */
class Greatest {
 public:
  explicit Greatest(int k) : k_(k), full_(2 * std::size_t(k) + 64) {
    keys_.reserve(full_);
  }

  void take(const float* x, int count) {
    for (int at = 0; at < count; at++) {
      const Key key = keyOf(x[at]);
      if (key <= bound_) continue;
      keys_.push_back(key);
      if (keys_.size() == full_) keepBest();
    }
  }

  /** What is less than it is of no interest. */
  float least() const {
    return bound_ == 0 ? -std::numeric_limits<float>::infinity() : valueOf(bound_);
  }

  const std::vector<Key>& best() {
    keepBest();
    return keys_;
  }

 private:
  void keepBest() {
    if (keys_.size() <= k_) return;
    std::nth_element(keys_.begin(), keys_.begin() + (k_ - 1), keys_.end(), std::greater<Key>());
    keys_.resize(k_);
    bound_ = keys_.back();
  }

  std::size_t k_;
  std::size_t full_;
  std::vector<Key> keys_;
  Key bound_ = 0; // below the key of any float
};

void topkRow(const float* x, int size, int k, float* y) {
  constexpr int STEP = 64;
  const Kernels& set = kernels();
  Greatest greatest(k);
  for (int at = 0; at < size; at += STEP) {
    at += set.skipBelow(x + at, size - at, greatest.least());
    greatest.take(x + at, std::min(STEP, size - at));
  }
  std::transform(greatest.best().begin(), greatest.best().end(), y, valueOf);
}

bool isLast(const mx::array& x, int axis) {
  return axis == -1 || axis == static_cast<int>(x.ndim()) - 1;
}

} // namespace

std::optional<mx::array> argmax(const mx::array& x, int axis, bool keeps_axis, mx::Stream stream) {
  if (!isForKernels(x, stream) || !isLast(x, axis)) return std::nullopt;
  mx::Shape shape = x.shape();
  shape.pop_back();
  if (keeps_axis) shape.push_back(1);
  return operation(
      "Argmax", shape, mx::uint32, {x}, stream, [](const std::vector<mx::array>& inputs, mx::array& out) -> Task {
        return [rows = Rows<float>(inputs[0]), y = out.data<std::uint32_t>()] {
          eachRow(rows.count(), rows.size(), [&](int row) {
            static thread_local std::vector<float> room;
            room.resize(rows.size());
            y[row] = static_cast<std::uint32_t>(kernels().argmax(rows.at(row, room.data()), rows.size()));
          });
        };
      });
}

std::optional<mx::array> sort(const mx::array& x, int axis, mx::Stream stream) {
  if (!isForKernels(x, stream) || !isLast(x, axis)) return std::nullopt;
  return operation(
      "Sort", x.shape(), mx::float32, {x}, stream, [](const std::vector<mx::array>& inputs, mx::array& out) -> Task {
        return [rows = Rows<float>(inputs[0]), y = out.data<float>()] {
          eachRow(rows.count(), 8 * std::size_t(rows.size()), [&](int row) {
            float* to = y + std::size_t(row) * rows.size();
            sortRow(rows.at(row, to), rows.size(), to);
          });
        };
      });
}

std::optional<mx::array> topk(const mx::array& x, int k, int axis, mx::Stream stream) {
  if (!isForKernels(x, stream) || !isLast(x, axis) || k < 1 || k > x.shape(-1)) return std::nullopt;
  mx::Shape shape = x.shape();
  shape.back() = k;
  return operation(
      "Topk", shape, mx::float32, {x}, stream, [k](const std::vector<mx::array>& inputs, mx::array& out) -> Task {
        return [k, rows = Rows<float>(inputs[0]), y = out.data<float>()] {
          eachRow(rows.count(), rows.size(), [&](int row) {
            static thread_local std::vector<float> room;
            room.resize(rows.size());
            topkRow(rows.at(row, room.data()), rows.size(), k, y + std::size_t(row) * k);
          });
        };
      });
}

} // namespace bunsen
