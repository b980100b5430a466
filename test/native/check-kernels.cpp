/**
 * The kernels of one instruction set (BUNSEN_KERNELS) against sums in double, over random shapes in memory whose last
 * byte is followed by none: scripts/sanitize.sh runs it. check-kernels [SEED [TURNS]]
 */

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <stdexcept>
#include <sys/mman.h>
#include <vector>

#include "../../native/flash.h"
#include "../../native/kernels.h"
#include "../../native/product.h"
#include "../../native/threads.h"

namespace {

using namespace bunsen;

/** Zeros that end where a page begins that nobody may touch: no sanitizer sees what a masked load reads. */
template <class T>
class Exact {
 public:
  const std::size_t size;

  explicit Exact(std::size_t size) : size(size), mapped_((size * sizeof(T) / PAGE + 2) * PAGE) {
    void* start = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) throw std::bad_alloc();
    start_.reset(static_cast<char*>(start));
    start_.get_deleter().mapped = mapped_;
    mprotect(start_.get() + mapped_ - PAGE, PAGE, PROT_NONE);
  }
  T* get() const {
    return reinterpret_cast<T*>(start_.get() + mapped_ - PAGE) - size;
  }
  T& operator[](std::size_t at) const {
    return get()[at];
  }

 private:
  static constexpr std::size_t PAGE = 4096;
  struct Unmap {
    std::size_t mapped = 0;
    void operator()(char* start) const {
      munmap(start, mapped);
    }
  };

  std::size_t mapped_;
  std::unique_ptr<char, Unmap> start_;
};

std::mt19937 random_bits;

int integer(int low, int high) {
  return low + int(random_bits() % unsigned(high - low + 1));
}

float number() {
  return float(random_bits() % 20001) / 10000 - 1;
}

Exact<float> numbers(std::size_t size) {
  Exact<float> all(size);
  for (std::size_t at = 0; at < size; at++) all[at] = number();
  return all;
}

bool all_good = true;

/** Reports where `found` is further from `expected` than `error` times `size`, which is what was added up there. */
void expectNear(const char* what, double found, double expected, double size, double error = 2e-6) {
  if (std::abs(found - expected) <= error * size) return;
  if (all_good) std::printf("%s: found %.9g, expected %.9g, size %.3g\n", what, found, expected, size);
  all_good = false;
}

// ---------------------------------------------------------------- weights

/** Scalars of any kind with what they are worth. */
struct Scalars {
  Scalar stored;
  Exact<char> bytes;
  std::vector<double> values;
};

Scalars scalars(Scalar stored, std::size_t size) {
  Scalars all = {stored, Exact<char>(size * (stored == Scalar::float32 ? 4 : 2)), {}};
  for (std::size_t at = 0; at < size; at++) {
    const float value = number();
    if (stored == Scalar::float32) {
      __builtin_memcpy(all.bytes.get() + 4 * at, &value, 4);
      all.values.push_back(value);
      continue;
    }
    std::uint32_t bits;
    __builtin_memcpy(&bits, &value, 4);
    std::uint16_t half = std::uint16_t(bits >> 16);
    if (stored == Scalar::float16) {
      const int exponent = integer(0, 30); // also those below the least normal one
      half = std::uint16_t((random_bits() & 0x83ff) | unsigned(std::min(exponent, 15)) << 10);
      const double mantissa = (half & 0x3ff) + (half >> 10 & 31 ? 1024 : 0);
      const double magnitude = std::ldexp(mantissa, std::max(1, half >> 10 & 31) - 25);
      all.values.push_back(half & 0x8000 ? -magnitude : magnitude);
    } else {
      bits &= 0xffff0000;
      float kept;
      __builtin_memcpy(&kept, &bits, 4);
      all.values.push_back(kept);
    }
    __builtin_memcpy(all.bytes.get() + 2 * at, &half, 2);
  }
  return all;
}

struct Weights {
  Matrix matrix;
  Scalars scales;
  Scalars biases;
  Exact<std::uint32_t> words;
  std::vector<Exact<char>> strips = {};

  double at(int row, int column) {
    if (matrix.bits == 0) return scales.values[row * matrix.row_stride + column * matrix.column_stride];
    const std::size_t bit = (std::size_t(row) * matrix.columns + column) * matrix.bits;
    std::uint64_t two = words[bit / 32];
    if (bit % 32 + matrix.bits > 32) two |= std::uint64_t(words[bit / 32 + 1]) << 32;
    const std::size_t group = std::size_t(row) * matrix.groups() + column / matrix.group_size;
    return scales.values[group] * double(two >> bit % 32 & ((1u << matrix.bits) - 1)) + biases.values[group];
  }
};

Weights weights() {
  static const int widths[] = {0, 2, 3, 4, 4, 4, 5, 6, 8, 8, 8};
  Matrix matrix = {};
  matrix.bits = widths[integer(0, 10)];
  matrix.stored = Scalar(integer(0, 2));
  matrix.rows = integer(1, integer(0, 4) == 0 ? 300 : 70);
  if (matrix.bits == 0) {
    matrix.columns = integer(1, integer(0, 4) == 0 ? 3000 : 200);
    const bool by_column = integer(0, 1) == 1;
    matrix.row_stride = by_column ? 1 : matrix.columns;
    matrix.column_stride = by_column ? matrix.rows : 1;
    Weights dense = {matrix, scalars(matrix.stored, std::size_t(matrix.rows) * matrix.columns),
                     scalars(matrix.stored, 0), Exact<std::uint32_t>(0)};
    dense.matrix.data = dense.scales.bytes.get();
    return dense;
  }
  matrix.group_size = 32 << integer(0, 2);
  matrix.columns = matrix.group_size * integer(1, integer(0, 4) == 0 ? 40 : 12);
  const std::size_t groups = std::size_t(matrix.rows) * matrix.groups();
  Weights affine = {matrix, scalars(matrix.stored, groups), scalars(matrix.stored, groups),
                    Exact<std::uint32_t>(matrix.rows * matrix.words())};
  for (std::size_t at = 0; at < affine.words.size; at++) affine.words[at] = std::uint32_t(random_bits());
  affine.matrix.data = affine.words.get();
  affine.matrix.scales = affine.scales.bytes.get();
  affine.matrix.biases = affine.biases.bytes.get();
  return affine;
}

/** The same rows of items in strips, zeros behind the last. */
Exact<char> inStrips(const char* from, std::size_t rows, std::size_t items, std::size_t bytes) {
  const std::size_t row_bytes = items * bytes;
  Exact<char> to((rows + STRIP_ROWS - 1) / STRIP_ROWS * STRIP_ROWS * row_bytes);
  for (std::size_t at = 0; at < to.size; at++) to[at] = 85;
  for (std::size_t row = 0; row < rows; row += STRIP_ROWS) {
    const int some = static_cast<int>(std::min<std::size_t>(STRIP_ROWS, rows - row));
    kernels().turn(from + row * row_bytes, some, items, bytes, to.get() + row * row_bytes);
  }
  for (std::size_t row = rows; row % STRIP_ROWS != 0; row++) {
    const char* last = to.get() + (row / STRIP_ROWS * STRIP_ROWS * items + row % STRIP_ROWS) * bytes;
    for (std::size_t at = 0; at < bytes; at++) expectNear("turn beyond the rows", last[at], 0, 0);
  }
  return to;
}

void turnIntoStrips(Weights& w) {
  Matrix& matrix = w.matrix;
  const std::size_t scalar_bytes = matrix.stored == Scalar::float32 ? 4 : 2;
  const auto turned = [&](const void* data, std::size_t items, std::size_t bytes) {
    return inStrips(static_cast<const char*>(data), matrix.rows, items, bytes);
  };
  w.strips.push_back(turned(matrix.data, matrix.words(), 4));
  w.strips.push_back(turned(matrix.scales, matrix.groups(), scalar_bytes));
  w.strips.push_back(turned(matrix.biases, matrix.groups(), scalar_bytes));
  matrix.data = w.strips[0].get();
  matrix.scales = w.strips[1].get();
  matrix.biases = w.strips[2].get();
  matrix.in_strips = true;
}

void checkProduct() {
  Weights w = weights();
  if (w.matrix.bits != 0 && integer(0, 1) == 1) turnIntoStrips(w);
  const auto [rows, columns] = std::pair(w.matrix.rows, w.matrix.columns);
  const int count = integer(1, integer(0, 3) == 0 ? 150 : 20);
  const std::size_t x_stride = std::size_t(columns) + integer(0, 3), y_stride = std::size_t(rows) + integer(0, 3);
  Exact<float> x = numbers((count - 1) * x_stride + columns), bias = numbers(std::size_t(rows));
  Exact<float> y((count - 1) * y_stride + rows);
  const bool has_bias = integer(0, 1) == 1;
  multiply(x.get(), x_stride, count, {{w.matrix, has_bias ? bias.get() : nullptr, y.get(), y_stride}});
  for (int row = 0; row < rows; row++) {
    for (int index = 0; index < count; index += integer(1, 9)) {
      double sum = has_bias ? bias[row] : 0, size = std::abs(sum);
      for (int column = 0; column < columns; column++) {
        const double term = w.at(row, column) * x[index * x_stride + column];
        sum += term;
        size += std::abs(term);
      }
      expectNear("product", y[index * y_stride + row], sum, size + 1e-30);
    }
  }
  if (w.matrix.bits == 0) return;
  const int row = integer(0, rows - 1);
  Exact<float> unpacked{std::size_t(columns)};
  kernels().unpackRow(w.matrix, row, unpacked.get());
  for (int column = 0; column < columns; column++) {
    expectNear("unpackRow", unpacked[column], w.at(row, column), 300);
  }
}

/** An activation that is not finite must not come out as a number. */
void checkPoison() {
  Weights w = weights();
  const int bad_column = integer(0, w.matrix.columns - 1);
  Exact<float> x = numbers(std::size_t(w.matrix.columns)), y{std::size_t(w.matrix.rows)};
  x[bad_column] = integer(0, 1) ? std::nanf("") : HUGE_VALF;
  multiply(x.get(), w.matrix.columns, 1, {{w.matrix, nullptr, y.get(), std::size_t(w.matrix.rows)}});
  for (int row = 0; row < w.matrix.rows; row++) {
    if (w.at(row, bad_column) != 0 && std::isfinite(y[row])) expectNear("product of no number", y[row], HUGE_VAL, 0);
  }
}

// ---------------------------------------------------------------- one row at a time

using Each = std::function<double(int)>;

void expectEach(const char* what, const Exact<float>& y, const Each& expected, double size = 1) {
  for (std::size_t at = 0; at < y.size; at++) expectNear(what, y[at], expected(int(at)), size);
}

void checkRows() {
  const Kernels& set = kernels();
  const int size = integer(1, 100);
  Exact<float> a = numbers(std::size_t(size)), b = numbers(std::size_t(size)), c = numbers(std::size_t(size));
  for (int at = 0; at < size; at++) a[at] *= 8;
  Exact<float> y{std::size_t(size)};
  double squares = 0, total = 0, variance = 0, top = -1e9, powers = 0;
  for (int at = 0; at < size; at++) {
    squares += double(a[at]) * a[at];
    total += a[at];
    top = std::max(top, double(a[at]));
  }
  for (int at = 0; at < size; at++) {
    variance += (a[at] - total / size) * (a[at] - total / size);
    powers += std::exp(a[at] - top);
  }
  set.rmsNorm(a.get(), b.get(), size, 1e-2f, y.get());
  expectEach("rmsNorm", y, [&](int at) { return a[at] * b[at] / std::sqrt(squares / size + 1e-2); }, 10);
  set.layerNorm(a.get(), b.get(), c.get(), size, 1e-2f, y.get());
  expectEach("layerNorm", y, [&](int at) {
    return (a[at] - total / size) * b[at] / std::sqrt(variance / size + 1e-2) + c[at];
  }, 80);
  set.softmax(a.get(), size, y.get());
  expectEach("softmax", y, [&](int at) { return std::exp(a[at] - top) / powers; });
  set.siluMultiply(a.get(), b.get(), size, y.get());
  expectEach("siluMultiply", y, [&](int at) { return a[at] / (1 + std::exp(-double(a[at]))) * b[at]; }, 8);
  set.geluMultiply(a.get(), b.get(), size, y.get());
  expectEach("geluMultiply", y, [&](int at) {
    const double x = a[at];
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))) * b[at];
  }, 8);
  set.add(a.get(), b.get(), size, y.get());
  expectEach("add", y, [&](int at) { return double(a[at]) + b[at]; }, 8);
  set.scale(a.get(), 3, size, y.get());
  expectEach("scale", y, [&](int at) { return 3 * double(a[at]); }, 24);
  set.softCap(a.get(), 5, size, y.get());
  expectEach("softCap", y, [&](int at) { return 5 * std::tanh(a[at] / 5.0); }, 5);
  expectNear("argmax", a[set.argmax(a.get(), size)], top, 0);
  const int half = size / 2;
  Exact<float> turned{std::size_t(2 * half)};
  set.rotateHalves(a.get(), b.get(), c.get(), 2 * half, turned.get());
  expectEach("rotateHalves", turned, [&](int at) {
    const int other = at % std::max(half, 1);
    return at < half ? double(a[other]) * b[other] - double(a[other + half]) * c[other]
                     : double(a[other + half]) * b[other] + double(a[other]) * c[other];
  }, 16);
}

/** Groups of a quantised cache: each number within a step of what it was (the end nearer to 0 may be cut), and read in its place. */
void checkGroups() {
  const Kernels& set = kernels();
  const int bits = integer(0, 1) == 0 ? 4 : 8;
  const int count = integer(1, 40);
  const std::size_t size = std::size_t(count) * PACKED_GROUP;
  Exact<float> x = numbers(size), y{size};
  Exact<std::uint32_t> words{size * bits / 32};
  Exact<std::uint16_t> scales{std::size_t(count)}, biases{std::size_t(count)};
  const auto placeOf = [&](std::size_t at) { return words[at * bits / 32] >> (at * bits % 32) & ((1u << bits) - 1); };
  for (int group = 0; group < count; group++) {
    float scale, bias;
    const std::size_t first = std::size_t(group) * PACKED_GROUP;
    set.quantizeGroup(x.get() + first, bits, words.get() + std::size_t(group) * bits, &scale, &bias);
    for (std::size_t at = first; at < first + PACKED_GROUP; at++) {
      expectNear("quantizeGroup", scale * placeOf(at) + bias, x[at], 1, std::fabs(scale) + 1e-6);
    }
    scales[group] = group % 2 == 0 ? 0x3800 : 0xc000; // 0.5 and -2
    biases[group] = group % 3 == 0 ? 0xbc00 : 0x4200; // -1 and 3
  }
  set.unpackGroups({words.get(), scales.get(), biases.get(), count, bits}, y.get());
  expectEach("unpackGroups", y, [&](int at) {
    const int group = at / PACKED_GROUP;
    return (group % 2 == 0 ? 0.5 : -2.0) * placeOf(std::size_t(at)) + (group % 3 == 0 ? -1 : 3);
  }, 0);
}

void checkMoreRows() {
  const Kernels& set = kernels();
  const int size = integer(1, 300);
  const int from = integer(0, size), to = integer(from, size);
  Exact<float> a = numbers(std::size_t(size)), b = numbers(std::size_t(size)), c = numbers(std::size_t(size));
  for (int at = 0; at < size; at++) a[at] *= 8;
  Exact<float> y{std::size_t(size)};
  set.gelu(a.get(), size, y.get());
  expectEach("gelu", y, [&](int at) { return 0.5 * a[at] * (1 + std::erf(a[at] / std::sqrt(2.0))); }, 8);
  set.sigmoid(a.get(), size, y.get());
  expectEach("sigmoid", y, [&](int at) { return 1 / (1 + std::exp(-double(a[at]))); });
  Exact<std::uint8_t> mask{std::size_t(size)};
  for (int at = 0; at < size; at++) mask[at] = std::uint8_t(integer(0, 2));
  __builtin_memcpy(y.get(), a.get(), size * sizeof(float));
  set.hide(y.get(), mask.get(), size);
  const double hidden = std::numeric_limits<float>::lowest();
  expectEach("hide", y, [&](int at) { return mask[at] == 0 ? hidden : double(a[at]); }, 0);
  const int bound_at = set.skipBelow(a.get(), size, 4);
  for (int at = 0; at < bound_at; at++) expectNear("skipBelow", a[at] < 4, 1, 0);
  const int dims = size / 2 * 2;
  Exact<float> pairs{std::size_t(dims)};
  set.rotatePairs(a.get(), b.get(), c.get(), dims, pairs.get());
  expectEach("rotatePairs", pairs, [&](int at) { return double(a[at]) * b[at] + double(a[at ^ 1]) * c[at]; }, 16);
  float top = a[0], total = 1;
  const double best = std::max(double(top), to > from ? double(*std::max_element(a.get() + from, a.get() + to)) : -1e9);
  double powers = std::exp(a[0] - best);
  for (int at = from; at < to; at++) powers += std::exp(a[at] - best);
  __builtin_memcpy(y.get(), a.get(), size * sizeof(float));
  const float shrink = set.soften(y.get(), from, to, size, &top, &total);
  expectEach("soften", y, [&](int at) { return at < from || at >= to ? 0 : std::exp(a[at] - best); });
  expectNear("soften's top", top, best, 0);
  expectNear("soften's total", total, powers, powers);
  expectNear("soften's shrink", shrink, std::exp(a[0] - best), 1);
}

/** Heads of (batch, heads, positions, dims), side by side. */
Heads headsOf(const Exact<float>& data, int heads, int positions, int dims) {
  const std::size_t of_head = std::size_t(positions) * dims;
  return {data.get(), Scalar::float32, dims, heads * of_head, of_head, std::size_t(dims)};
}

void checkAttention() {
  FlashAttention a = {};
  a.batch = integer(1, 2);
  a.kv_heads = integer(1, 2);
  const int group = integer(1, 3);
  a.heads = a.kv_heads * group;
  a.total = integer(1, integer(0, 3) == 0 ? 1200 : 90);
  a.length = std::min(a.total, integer(0, 1) == 0 ? 1 : integer(1, 70));
  a.scale = 0.5f;
  const int dims = integer(1, 70), value_dims = integer(0, 1) == 0 ? 16 * integer(1, 4) : integer(1, 70);
  const std::size_t queries_size = std::size_t(a.batch) * a.heads * a.length;
  Exact<float> queries = numbers(queries_size * dims);
  Exact<float> keys = numbers(std::size_t(a.batch) * a.kv_heads * a.total * dims);
  Exact<float> values = numbers(std::size_t(a.batch) * a.kv_heads * a.total * value_dims);
  Exact<float> sinks = numbers(std::size_t(a.heads)), out{queries_size * value_dims};
  Exact<std::uint8_t> seen{std::size_t(a.length) * a.total};
  for (std::size_t at = 0; at < seen.size; at++) seen[at] = integer(0, 3) == 0 || at % a.total == 0;
  a.queries = headsOf(queries, a.heads, a.length, dims);
  a.keys = headsOf(keys, a.kv_heads, a.total, dims);
  a.values = headsOf(values, a.kv_heads, a.total, value_dims);
  a.mask.kind = MaskKind(integer(0, 2));
  if (a.mask.kind == MaskKind::boolean) a.mask = {MaskKind::boolean, seen.get(), {0, 0, a.total, 1}};
  a.sinks = integer(0, 1) == 0 ? sinks.get() : nullptr;
  a.out = out.get();
  a.out_position_stride = value_dims;
  a.out_head_stride = std::size_t(a.length) * value_dims;
  a.out_batch_stride = a.heads * a.out_head_stride;
  attend(a);
  for (int turn = 0; turn < 20; turn++) {
    const int row = integer(0, int(queries_size) - 1);
    const int query = row % a.length, head = row / a.length, kv_head = head / group; // heads of all batches in a row
    std::vector<double> weights(a.total);
    double total = a.sinks == nullptr ? 0 : std::exp(double(sinks[head % a.heads]));
    for (int key = 0; key < a.total; key++) {
      if (a.mask.kind == MaskKind::causal && key > a.total - a.length + query) continue;
      if (a.mask.kind == MaskKind::boolean && seen[std::size_t(query) * a.total + key] == 0) continue;
      double score = 0;
      for (int dim = 0; dim < dims; dim++) {
        score += double(queries[std::size_t(row) * dims + dim]) * keys[(std::size_t(kv_head) * a.total + key) * dims + dim];
      }
      total += weights[key] = std::exp(score * a.scale);
    }
    const int dim = integer(0, value_dims - 1);
    double sum = 0;
    for (int key = 0; key < a.total; key++) {
      sum += weights[key] / total * values[(std::size_t(kv_head) * a.total + key) * value_dims + dim];
    }
    expectNear("attention", out[std::size_t(row) * value_dims + dim], sum, 2);
  }
}

/** What a chunk throws reaches the caller once no chunk runs any more, and the threads, or others in their place, go on. */
void checkThrowing() {
  std::atomic<int> done{0};
  bool has_thrown = false;
  try {
    parallel(100, [&](std::size_t chunk) {
      done++;
      if (chunk % 3 == 0) throw std::runtime_error("a chunk");
    });
  } catch (const std::runtime_error&) {
    has_thrown = true;
  }
  expectNear("a throwing task", has_thrown, true, 0);
  done = 0;
  setThreads(unsigned(integer(0, 9)));
  parallel(100, [&](std::size_t) { done++; });
  expectNear("chunks after one that threw", done.load(), 100, 0);
}

} // namespace

int main(int count, char** words) {
  const unsigned seed = count > 1 ? unsigned(std::atoi(words[1])) : 1;
  const int turns = count > 2 ? std::atoi(words[2]) : 200;
  random_bits.seed(seed);
  for (int turn = 0; turn < turns && all_good; turn++) {
    checkProduct();
    checkPoison();
    for (int row = 0; row < 20; row++) checkRows();
    for (int row = 0; row < 20; row++) checkMoreRows();
    for (int row = 0; row < 5; row++) checkGroups();
    for (int row = 0; row < 5; row++) checkAttention();
    checkThrowing();
    if (!all_good) std::printf("%s: seed %u, turn %d\n", bunsen::kernels().name, seed, turn);
  }
  if (all_good) std::printf("%s: %d turns are right (seed %u)\n", bunsen::kernels().name, turns, seed);
  return all_good ? 0 : 1;
}
