/** The one class of primitives behind `operation`, and the count of fallbacks. */

#include "primitive.h"

#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "mlx/backend/cpu/encoder.h"
#include "mlx/ops.h"
#include "mlx/primitives.h"
#include "mlx/utils.h"

namespace bunsen {

namespace {

class Operation : public mx::Primitive {
 public:
  using Plan = std::function<Task(const std::vector<mx::array>&, std::vector<mx::array>&)>;

  Operation(mx::Stream stream, const char* name, Plan plan)
      : mx::Primitive(stream), name_(name), plan_(std::move(plan)) {}

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    for (mx::array& out : outputs) out.set_data(allocate(out.nbytes()));
    mx::cpu::get_command_encoder(stream()).dispatch(plan_(inputs, outputs));
  }

  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error(std::string("[bunsen] ") + name_ + " runs on the CPU only");
  }

  const char* name() const override {
    return name_;
  }

 private:
  const char* name_;
  Plan plan_;
};

struct Counts {
  std::mutex lock;
  std::map<std::string, std::size_t> by_name;
};

Counts& counts() {
  static Counts all;
  return all;
}

} // namespace

mx::array operation(
    const char* name,
    mx::Shape shape,
    mx::Dtype dtype,
    std::vector<mx::array> inputs,
    mx::Stream stream,
    std::function<Task(const std::vector<mx::array>&, mx::array&)> plan) {
  auto all = [plan = std::move(plan)](const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) {
    return plan(inputs, outputs[0]);
  };
  return mx::array(
      std::move(shape), dtype, std::make_shared<Operation>(stream, name, std::move(all)), std::move(inputs));
}

std::vector<mx::array> operation(
    const char* name,
    std::vector<mx::Shape> shapes,
    mx::Dtype dtype,
    std::vector<mx::array> inputs,
    mx::Stream stream,
    std::function<Task(const std::vector<mx::array>&, std::vector<mx::array>&)> plan) {
  const std::vector<mx::Dtype> dtypes(shapes.size(), dtype);
  return mx::array::make_arrays(
      std::move(shapes), dtypes, std::make_shared<Operation>(stream, name, std::move(plan)), inputs);
}

std::size_t byteCount(const mx::Shape& shape, mx::Dtype dtype) {
  std::size_t bytes = dtype.size();
  for (int dim : shape) {
    if (dim < 0 || __builtin_mul_overflow(bytes, static_cast<std::size_t>(dim), &bytes)) {
      std::ostringstream message;
      message << "[array] Invalid shape " << shape << ".";
      throw std::invalid_argument(message.str());
    }
  }
  return bytes;
}

mx::allocator::Data allocate(std::size_t bytes) {
  mx::allocator::Data data = mx::allocator::malloc(bytes);
  if (data.buffer().ptr() == nullptr) throw std::bad_alloc();
  return data;
}

mx::array inRows(const mx::array& a, mx::Stream stream) {
  return a.is_available() && a.flags().row_contiguous ? a : mx::contiguous(a, false, stream);
}

mx::array ready(const mx::array& a, mx::Stream stream) {
  mx::array rows = inRows(a, stream);
  rows.eval();
  return rows;
}

const Scalar* scalarOf(const mx::array& a) {
  static constexpr Scalar all[] = {Scalar::float32, Scalar::float16, Scalar::bfloat16};
  if (a.dtype() == mx::float32) return &all[0];
  if (a.dtype() == mx::float16) return &all[1];
  if (a.dtype() == mx::bfloat16) return &all[2];
  return nullptr;
}

void countFallback(const std::string& name) {
  std::lock_guard<std::mutex> hold(counts().lock);
  counts().by_name[name]++;
}

std::string fallbacks() {
  std::lock_guard<std::mutex> hold(counts().lock);
  std::string text;
  for (const auto& [name, count] : counts().by_name) text += name + " " + std::to_string(count) + "\n";
  return text;
}

} // namespace bunsen
