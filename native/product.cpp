/** The product of a few rows by bytes, of many by panels of floats. */

#include "product.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

namespace bunsen {

namespace {

// Columns of a panel at a time: it stays in the second-level cache. Fewer make the turning of scales dear.
constexpr int DEPTH = 1024;
// Multiply-adds that take one thread about 5 µs.
constexpr std::size_t WORTH_SHARING = 1 << 17;
// Chunks in a product that fills all threads: few, as the first rows of each are not fetched ahead, yet some to even out.
constexpr std::size_t CHUNKS = 8;

std::atomic<bool> is_fast{false};

bool goesByBytes(const Kernels& set, const Matrix& matrix) {
  return set.digitize != nullptr && (matrix.bits == 4 || (matrix.bits == 8 && !matrix.hasSmallFloats()));
}

/** The activations of one call, in the forms its matrices want: one for each width of bits and size of group. */
class DigitForms {
 public:
  DigitForms(const Kernels& set, const float* x, std::size_t x_stride, int count)
      : set_(set), x_(x), x_stride_(x_stride), count_(count) {}

  void prepare(const Matrix& matrix) {
    if (find(matrix) != nullptr) return;
    const std::size_t groups = std::size_t(count_) * matrix.groups();
    const int digits_each = is_fast ? DIGITS_FAST : DIGITS_EXACT;
    Form& form = forms_.emplace_back();
    form.bits = matrix.bits;
    form.group_size = matrix.group_size;
    form.bytes.reset(new std::int8_t[groups * matrix.group_size * digits_each]);
    form.floats.reset(new float[2 * groups]);
    form.digits = {digits_each, form.bytes.get(), form.floats.get(), form.floats.get() + groups};
    eachRow(count_, 4 * std::size_t(matrix.columns), [&](int row) {
      const std::size_t at = std::size_t(row) * matrix.groups();
      set_.digitize(
          matrix, x_ + row * x_stride_, digits_each, form.digits.digits + at * matrix.group_size * digits_each,
          form.digits.units + at, form.digits.sums + at);
    });
  }

  const Digits* find(const Matrix& matrix) const {
    for (const Form& form : forms_) {
      if (form.bits == matrix.bits && form.group_size == matrix.group_size) return &form.digits;
    }
    return nullptr;
  }

 private:
  struct Form {
    int bits;
    int group_size;
    std::unique_ptr<std::int8_t[]> bytes;
    std::unique_ptr<float[]> floats;
    Digits digits;
  };

  const Kernels& set_;
  const float* x_;
  std::size_t x_stride_;
  int count_;
  std::vector<Form> forms_;
};

/** Rows of weights of one product that one thread takes at a time, and for which rows of activations. */
struct Chunk {
  const Product* product;
  int first;
  int last;
};

void addBias(const Kernels& set, const Chunk& chunk, int first_row, int last_row) {
  const auto& [product, first, last] = chunk;
  if (product->bias == nullptr) return;
  for (int row = first_row; row < last_row; row++) {
    float* y = product->y + row * product->y_stride + first;
    set.add(y, product->bias + first, last - first, y);
  }
}

void multiplyByBytes(const Kernels& set, const Chunk& chunk, const Digits& x, int count) {
  const auto& [product, first, last] = chunk;
  const std::size_t groups = product->matrix.groups();
  for (int row = 0; row < count; row += FEW_ROWS) {
    const std::size_t at = row * groups;
    const Digits rows = {x.each, x.digits + at * product->matrix.group_size * x.each, x.units + at, x.sums + at};
    float* y = product->y + row * product->y_stride;
    set.multiplyFew(product->matrix, rows, std::min(FEW_ROWS, count - row), first, last, y, product->y_stride);
  }
}

void multiplyByPanels(const Kernels& set, const Chunk& chunk, const float* x, std::size_t x_stride, int count) {
  const Product& product = *chunk.product;
  const int columns = product.matrix.columns;
  const int depth = std::min(DEPTH, columns);
  static thread_local std::vector<float> panel;
  panel.resize(std::max(panel.size(), std::size_t(depth) * PANEL_ROWS));
  for (int row = chunk.first; row < chunk.last; row += PANEL_ROWS) {
    const int width = std::min(PANEL_ROWS, chunk.last - row);
    for (int column = 0; column < columns; column += depth) {
      const int end = std::min(column + depth, columns);
      set.unpack(product.matrix, row, column, end, panel.data());
      set.multiply(
          {x + column, x_stride, count, panel.data(), PANEL_ROWS, end - column, product.y + row, product.y_stride,
           width, column > 0});
    }
  }
}

std::vector<Chunk> cut(std::initializer_list<Product> products) {
  std::size_t weights = 0;
  for (const Product& product : products) weights += std::size_t(product.matrix.rows) * product.matrix.columns;
  std::vector<Chunk> chunks;
  for (const Product& product : products) {
    const int rows = product.matrix.rows;
    const std::size_t panel = std::size_t(product.matrix.columns) * PANEL_ROWS;
    const int step = PANEL_ROWS * static_cast<int>(std::max<std::size_t>(1, weights / CHUNKS / panel));
    for (int row = 0; row < rows; row += step) chunks.push_back({&product, row, std::min(row + step, rows)});
  }
  return chunks;
}

} // namespace

void setFast(bool fast) {
  is_fast = fast;
}

void multiply(const float* x, std::size_t x_stride, int count, std::initializer_list<Product> products) {
  const Kernels& set = kernels();
  DigitForms forms(set, x, x_stride, count);
  std::size_t work = 0;
  for (const Product& product : products) {
    work += std::size_t(product.matrix.rows) * product.matrix.columns * count;
    if (goesByBytes(set, product.matrix)) forms.prepare(product.matrix);
  }
  const std::vector<Chunk> chunks = cut(products);
  const auto run = [&](std::size_t index) {
    const Chunk& chunk = chunks[index];
    const Product& product = *chunk.product;
    if (goesByBytes(set, product.matrix)) {
      multiplyByBytes(set, chunk, *forms.find(product.matrix), count);
    } else {
      multiplyByPanels(set, chunk, x, x_stride, count);
    }
    addBias(set, chunk, 0, count);
  };
  // A small product is done before a second thread has woken up.
  if (work < WORTH_SHARING) {
    for (std::size_t chunk = 0; chunk < chunks.size(); chunk++) run(chunk);
  } else {
    parallel(chunks.size(), run);
  }
}

} // namespace bunsen
