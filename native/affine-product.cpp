/** The affine product as an operation of MLX. */

#include "affine-product.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "kernels.h"
#include "mlx/allocator.h"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/ops.h"
#include "mlx/primitives.h"
#include "threads.h"

namespace bunsen {

namespace mx = mlx::core;

namespace {

// Rows of weights one thread takes at a time: as floats, a panel of them stays in the second-level cache.
constexpr int ROWS_PER_CHUNK = 24;
// Multiply-adds that take one thread about 10 µs.
constexpr std::size_t WORTH_SHARING = 1 << 18;

void multiply(const Kernels& set, const AffineMatrix& matrix, const float* x, int count, float* y) {
  const std::size_t length = set.arranged_length(matrix);
  const std::size_t groups = matrix.columns / matrix.group_size;
  std::unique_ptr<float[]> arranged(new float[count * length]);
  std::unique_ptr<float[]> sums(new float[groups]);
  for (int index = 0; index < count; index++) {
    set.arrange(matrix, x + std::size_t(index) * matrix.columns, arranged.get() + index * length, sums.get());
  }
  const int chunks = (matrix.rows + ROWS_PER_CHUNK - 1) / ROWS_PER_CHUNK;
  const auto work = [&](std::size_t chunk) {
    const int first = static_cast<int>(chunk) * ROWS_PER_CHUNK;
    const int last = std::min(first + ROWS_PER_CHUNK, matrix.rows);
    if (count == 1) {
      set.multiply_row(matrix, arranged.get(), sums.get(), first, last, y);
    } else {
      static thread_local std::vector<float> panel;
      panel.resize(ROWS_PER_CHUNK * length);
      set.multiply_rows(matrix, arranged.get(), count, first, last, panel.data(), y);
    }
  };
  // A small product is done before a second thread has woken up.
  if (std::size_t(matrix.rows) * matrix.columns * count < WORTH_SHARING) {
    for (int chunk = 0; chunk < chunks; chunk++) work(chunk);
  } else {
    parallel(chunks, work);
  }
}

class AffineProduct : public mx::Primitive {
 public:
  AffineProduct(mx::Stream stream, const Kernels& set, const AffineForm& form)
      : mx::Primitive(stream), set_(set), form_(form) {}

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    auto& out = outputs[0];
    out.set_data(mx::allocator::malloc(out.nbytes()));
    const auto& x = inputs[0];
    const auto& w = inputs[1];
    const AffineMatrix matrix = {
        w.data<std::uint32_t>(), inputs[2].data<float>(), inputs[3].data<float>(),
        w.shape(0), x.shape(-1), form_.group_size, form_.bits};
    const int count = static_cast<int>(x.size() / matrix.columns);
    // By value and never `this`: the primitive may be gone before its task runs. MLX keeps the inputs' memory until then.
    mx::cpu::get_command_encoder(stream()).dispatch(
        [&set = set_, matrix, count, from = x.data<float>(), to = out.data<float>()] {
          multiply(set, matrix, from, count, to);
        });
  }

  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error("[bunsen] the affine product runs on the CPU only");
  }

  const char* name() const override {
    return "AffineProduct";
  }

 private:
  const Kernels& set_;
  const AffineForm form_;
};

bool isMatrix(const mx::array& a, mx::Dtype dtype, int rows, int columns) {
  return a.dtype() == dtype && a.shape() == mx::Shape{rows, columns};
}

bool hasKernel(
    const mx::array& x, const mx::array& w, const mx::array& scales, const mx::array& biases, const AffineForm& form) {
  const auto [group_size, bits, transpose] = form;
  if (!transpose || (bits != 4 && bits != 8)) return false;
  if (group_size != 32 && group_size != 64 && group_size != 128) return false;
  if (x.dtype() != mx::float32 || x.ndim() == 0 || x.size() == 0 || w.ndim() != 2) return false;
  const int rows = w.shape(0);
  const int columns = x.shape(-1);
  return columns % group_size == 0 && isMatrix(w, mx::uint32, rows, columns / 32 * bits) &&
      isMatrix(scales, mx::float32, rows, columns / group_size) &&
      isMatrix(biases, mx::float32, rows, columns / group_size);
}

} // namespace

std::optional<mx::array> affineProduct(
    const mx::array& x,
    const mx::array& w,
    const mx::array& scales,
    const mx::array& biases,
    const AffineForm& form,
    mx::Stream stream) {
  const Kernels* set = kernels();
  if (set == nullptr || stream.device != mx::Device::cpu || !hasKernel(x, w, scales, biases, form)) {
    return std::nullopt;
  }
  // A weight that lies there already needs no operation of its own to be put in order.
  const auto rows = [&](const mx::array& a) {
    return a.is_available() && a.flags().row_contiguous ? a : mx::contiguous(a, false, stream);
  };
  auto shape = x.shape();
  shape.back() = w.shape(0);
  return mx::array(
      std::move(shape),
      mx::float32,
      std::make_shared<AffineProduct>(stream, *set, form),
      {rows(x), rows(w), rows(scales), rows(biases)});
}

} // namespace bunsen
