/**
 * The kernels of one instruction set (BUNSEN_KERNELS) against sums in double, over random shapes in memory whose last
 * byte is followed by none: scripts/sanitize.sh runs it. check-kernels [SEED [TURNS]]
 */

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <random>
#include <sys/mman.h>
#include <vector>

#include "../../native/kernels.h"
#include "../../native/product.h"

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

void checkProduct() {
  Weights w = weights();
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

} // namespace

int main(int count, char** words) {
  const unsigned seed = count > 1 ? unsigned(std::atoi(words[1])) : 1;
  const int turns = count > 2 ? std::atoi(words[2]) : 200;
  random_bits.seed(seed);
  for (int turn = 0; turn < turns && all_good; turn++) {
    checkProduct();
    checkPoison();
    for (int row = 0; row < 20; row++) checkRows();
    if (!all_good) std::printf("%s: seed %u, turn %d\n", bunsen::kernels().name, seed, turn);
  }
  if (all_good) std::printf("%s: %d turns are right (seed %u)\n", bunsen::kernels().name, turns, seed);
  return all_good ? 0 : 1;
}
