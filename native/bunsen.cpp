/** bunsen.h: the fused layers as operations of MLX. */

#include "bunsen.h"

#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "attention.h"
#include "forward.h"
#include "mapping.h"
#include "mlp.h"
#include "primitive.h"
#include "product.h"
#include "recurrent.h"
#include "repack.h"
#include "threads.h"

using namespace mlxc;

namespace {

/** A projection alone, made as the other layers are. */
class Projection : public bunsen::Linear {
 public:
  enum { WEIGHTS = ARRAYS };

  Projection(const std::optional<mx::array>* weights, const int* numbers, const float*, mx::Stream stream)
      : Linear(weights, numbers + 1, numbers[0], stream) {}
};

template <class Layer>
const std::shared_ptr<const Layer>& layerOf(void* ctx) {
  if (ctx == nullptr) throw std::invalid_argument("expected a layer, found an empty one");
  return *static_cast<std::shared_ptr<const Layer>*>(ctx);
}

/** `Kept` is what the handle holds: the layer or a base of it. */
template <class Handle, class Layer, class Kept = Layer>
Handle makeLayer(const mlx_array* weights, const int* numbers, const float* factors, mlx_stream s) {
  return valueOr(Handle{nullptr}, [&] {
    std::vector<std::optional<mx::array>> arrays;
    for (int index = 0; index < Layer::WEIGHTS; index++) arrays.push_back(optional(weights[index]));
    std::shared_ptr<const Kept> layer = std::make_shared<Layer>(arrays.data(), numbers, factors, get(s));
    return Handle{keep(std::make_unique<std::shared_ptr<const Kept>>(std::move(layer)))};
  });
}

/** A projection of a layer; the layer's weights stay as long as it does. */
template <class Layer>
bunsen_linear projectionOf(void* ctx, int number) {
  return valueOr(bunsen_linear{nullptr}, [&] {
    const auto& layer = layerOf<Layer>(ctx);
    std::shared_ptr<const bunsen::Linear> linear(layer, &layer->linear(number));
    return bunsen_linear{keep(std::make_unique<std::shared_ptr<const bunsen::Linear>>(std::move(linear)))};
  });
}

template <class Layer>
int freeLayer(void* ctx) {
  return drop<std::shared_ptr<const Layer>>(ctx);
}

void expect(const mx::array& a, const mx::Shape& shape, mx::Dtype dtype, const char* name) {
  if (a.shape() == shape && a.dtype() == dtype) return;
  throw std::invalid_argument(std::string("[bunsen] ") + name + " has not the shape or dtype of its layer");
}

/** The bits in which the cache of one layer holds its keys and values. */
int cacheBits(const bunsen::Attention& layer, mlx_array keys, mlx_array values) {
  const int blocks = get(keys).shape(0);
  const int heads = layer.kvHeads(), dim = layer.headDim();
  for (const int bits : {8, 4}) {
    const int items = static_cast<int>(bunsen::Cache::bytes(bits, dim) / sizeof(std::uint16_t));
    if (dim % bunsen::PACKED_GROUP != 0 || get(keys).shape() != mx::Shape{blocks, heads, items}) continue;
    expect(get(keys), {blocks, heads, items}, mx::uint16, "keys");
    expect(get(values), {blocks, heads, items}, mx::uint16, "values");
    return bits;
  }
  expect(get(keys), {blocks, heads, dim, bunsen::BLOCK}, mx::float32, "keys");
  expect(get(values), {blocks, heads, bunsen::BLOCK, dim}, mx::float32, "values");
  return 32;
}

/** Keys and values are written in place: the bridge evaluates one step after another. */
bunsen::Cache cacheOf(const mx::array& keys, const mx::array& values, int bits) {
  if (!keys.flags().row_contiguous || !values.flags().row_contiguous) {
    throw std::invalid_argument("[bunsen] keys and values are written in place and must lie in rows");
  }
  return {const_cast<char*>(keys.data<char>()), const_cast<char*>(values.data<char>()), bits};
}

void expectSpans(const bunsen::Attention& layer, int tokens, mlx_array spans, mlx_array angles) {
  expect(get(spans), {get(spans).shape(0)}, mx::int32, "spans");
  expect(get(angles), {tokens, 2, layer.ropeDims() / 2}, mx::float32, "angles");
}

/** An array that counts as computed; its memory is the caller's to fill. */
mx::array written(mx::Shape shape, mx::Dtype dtype) {
  const std::size_t bytes = bunsen::byteCount(shape, dtype);
  mx::array a(std::move(shape), dtype, nullptr, {});
  a.set_data(bunsen::allocate(bytes));
  a.set_status(mx::array::Status::available);
  return a;
}

} // namespace

int bunsen_set_threads(int count) {
  return attempt([&] {
    if (count < 0 || static_cast<unsigned>(count) > bunsen::THREADS_MAX) {
      throw std::invalid_argument("[bunsen] expected a number of threads, found " + std::to_string(count));
    }
    bunsen::setThreads(static_cast<unsigned>(count));
  });
}

int bunsen_set_fast(bool fast) {
  bunsen::setFast(fast);
  return 0;
}

int bunsen_reserve(mlx_array* res, const int* shape, size_t dim, mlx_dtype dtype, const mlx_stream s) {
  (void)s;
  return forward(res, [&] { return written(toShape(shape, dim), toDtype(dtype)); });
}

int bunsen_forget(const mlx_array a, const uint32_t* parts, size_t count, size_t part_bytes) {
  return attempt([&] {
#if defined(__linux__)
    const mx::array& whole = get(a);
    static const std::uintptr_t page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto start = reinterpret_cast<std::uintptr_t>(whole.data<char>());
    for (std::size_t index = 0; index < count;) {
      std::size_t after = index + 1; // parts that lie side by side go together
      while (after < count && parts[after] == parts[after - 1] + 1) after++;
      const std::size_t end = (std::size_t(parts[after - 1]) + 1) * part_bytes;
      if (end > whole.nbytes()) throw std::out_of_range("[bunsen] a part beyond the array");
      const std::uintptr_t first = (start + parts[index] * part_bytes + page - 1) / page * page;
      const std::uintptr_t last = (start + end) / page * page; // pages that others share stay
      if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
      index = after;
    }
#endif
  });
}

int bunsen_map(mlx_array* res, int file, uint64_t offset, const int* shape, size_t dim, mlx_dtype dtype) {
  return forward(res, [&] {
    mx::Shape dims = toShape(shape, dim);
    const auto memory = bunsen::mapFile(file, offset, bunsen::byteCount(dims, toDtype(dtype)));
    // a buffer of MLX's allocator begins with its size, and its data behind that
    mx::allocator::Data data(
        mx::allocator::Buffer(memory.get() - sizeof(std::size_t)), [memory](mx::allocator::Buffer) {});
    if (data.buffer().raw_ptr() != memory.get()) throw std::runtime_error("[bunsen] this MLX lays its buffers out otherwise");
    return mx::array(std::move(data), std::move(dims), toDtype(dtype));
  });
}

int bunsen_files_cut(void) {
  return static_cast<int>(bunsen::filesCut());
}

int bunsen_repack(
    mlx_array* words, mlx_array* scales, mlx_array* biases, const mlx_array blocks, int type, size_t rows,
    size_t columns, const uint32_t* order) {
  return attempt([&] {
    const auto kind = static_cast<bunsen::BlockType>(type);
    const std::size_t bytes = get(blocks).nbytes();
    if (bytes == 0 || columns % 32 != 0 || bytes != rows * columns / 32 * bunsen::bytesOf(kind)) {
      throw std::invalid_argument("[bunsen] the bytes are not those rows of blocks");
    }
    const int row_groups = static_cast<int>(columns / 32);
    const int count = static_cast<int>(rows);
    auto packed = written({count, row_groups * bunsen::bitsOf(kind)}, mx::uint32);
    auto scale = written({count, row_groups}, mx::float16);
    auto bias = written({count, row_groups}, mx::float16);
    const bunsen::Groups groups = {
        packed.data<std::uint32_t>(), scale.data<std::uint16_t>(), bias.data<std::uint16_t>()};
    bunsen::repack(kind, get(blocks).data<std::uint8_t>(), rows, columns, order, groups);
    set(words, std::move(packed));
    set(scales, std::move(scale));
    set(biases, std::move(bias));
  });
}

int bunsen_rope_angles(
    mlx_array* res, const mlx_array positions, const mlx_array wavelengths, float scale, float magnitude,
    const mlx_stream s) {
  return forward(res, [&] {
    const auto stream = get(s);
    const int tokens = get(positions).shape(0);
    const int pairs = get(wavelengths).shape(0);
    expect(get(positions), {tokens}, mx::int32, "positions");
    expect(get(wavelengths), {pairs}, mx::float32, "wavelengths");
    return bunsen::operation(
        "RopeAngles", {tokens, 2, pairs}, mx::float32,
        {bunsen::inRows(get(positions), stream), bunsen::inRows(get(wavelengths), stream)}, stream,
        [=](const std::vector<mx::array>& inputs, mx::array& out) -> bunsen::Task {
          return [=, at = inputs[0].data<int>(), lengths = inputs[1].data<float>(), to = out.data<float>()] {
            for (int token = 0; token < tokens; token++) {
              for (int pair = 0; pair < pairs; pair++) {
                // in double: at the end of a long context a float's angle is off by a thousandth
                const double angle = double(at[token]) * scale / lengths[pair];
                to[(2 * token) * pairs + pair] = magnitude * float(std::cos(angle));
                to[(2 * token + 1) * pairs + pair] = magnitude * float(std::sin(angle));
              }
            }
          };
        });
  });
}

int bunsen_gelu(mlx_array* res, const mlx_array x, const mlx_stream s) {
  return forward(res, [&] {
    const int rows = get(x).shape(0), columns = get(x).shape(1);
    expect(get(x), {rows, columns}, mx::float32, "x");
    return bunsen::operation(
        "Gelu", {rows, columns}, mx::float32, {bunsen::inRows(get(x), get(s))}, get(s),
        [=](const std::vector<mx::array>& inputs, mx::array& out) -> bunsen::Task {
          return [=, from = inputs[0].data<float>(), to = out.data<float>()] {
            bunsen::eachRow(rows, 8 * std::size_t(columns), [&](int row) {
              const std::size_t at = std::size_t(row) * columns;
              bunsen::kernels().gelu(from + at, columns, to + at);
            });
          };
        });
  });
}

int bunsen_convolve(
    mlx_vector_array* res, const mlx_array x, const mlx_array taps, const mlx_array bias, const int* stretches,
    size_t count, const mlx_vector_array befores, const mlx_stream s) {
  return forward(res, [&] {
    const auto list = bunsen::readStretches(stretches, count, get(x).shape(0), get(befores).size());
    return bunsen::convolve(get(x), get(taps), optional(bias), list, get(befores), get(s));
  });
}

int bunsen_delta_rule(
    mlx_vector_array* res, const mlx_array queries, const mlx_array keys, const mlx_array values,
    const mlx_array log_decays, const mlx_array rates, const int* stretches, size_t count,
    const mlx_vector_array befores, const mlx_stream s) {
  return forward(res, [&] {
    const auto list = bunsen::readStretches(stretches, count, get(values).shape(0), get(befores).size());
    return bunsen::deltaRule(
        get(queries), get(keys), get(values), get(log_decays), get(rates), list, get(befores), get(s));
  });
}

bunsen_attention bunsen_attention_new(
    const mlx_array* weights, const int* numbers, const float* factors, const mlx_stream s) {
  return makeLayer<bunsen_attention, bunsen::Attention>(weights, numbers, factors, s);
}

int bunsen_attention_free(bunsen_attention layer) {
  return freeLayer<bunsen::Attention>(layer.ctx);
}

int bunsen_attention_apply(
    mlx_array* res, const bunsen_attention layer, const mlx_array x, const mlx_array residual, const mlx_array keys,
    const mlx_array values, const mlx_array spans, const mlx_array angles, const mlx_stream s) {
  return forward(res, [&] {
    const auto attention = layerOf<bunsen::Attention>(layer.ctx);
    const auto stream = get(s);
    const int tokens = get(x).shape(0);
    expect(get(x), {tokens, attention->hidden()}, mx::float32, "x");
    expect(get(residual), get(x).shape(), mx::float32, "residual");
    const int blocks = get(keys).shape(0);
    const int bits = cacheBits(*attention, keys, values);
    expectSpans(*attention, tokens, spans, angles);
    return bunsen::operation(
        "Attention", get(x).shape(), mx::float32,
        {bunsen::inRows(get(x), stream), bunsen::inRows(get(residual), stream), get(keys), get(values),
         bunsen::ready(get(spans), stream), bunsen::inRows(get(angles), stream)},
        stream, [=](const std::vector<mx::array>& inputs, mx::array& out) -> bunsen::Task {
          const auto cache = cacheOf(inputs[2], inputs[3], bits);
          const auto list = bunsen::readSpans(inputs[4].data<int>(), inputs[4].size(), tokens, blocks);
          return [=, x = inputs[0].data<float>(), residual = inputs[1].data<float>(),
                  angles = inputs[5].data<float>(), y = out.data<float>()] {
            attention->apply(x, residual, tokens, list, angles, cache, y);
          };
        });
  });
}

int bunsen_attention_mix(
    mlx_array* res, const bunsen_attention layer, const mlx_array projected, const mlx_array keys,
    const mlx_array values, const mlx_array spans, const mlx_array angles, const mlx_stream s) {
  return forward(res, [&] {
    const auto attention = layerOf<bunsen::Attention>(layer.ctx);
    const auto stream = get(s);
    const int tokens = get(projected).shape(0);
    const int width = (attention->heads() + 2 * attention->kvHeads()) * attention->headDim();
    expect(get(projected), {tokens, width}, mx::float32, "projected");
    const int blocks = get(keys).shape(0);
    const int bits = cacheBits(*attention, keys, values);
    expectSpans(*attention, tokens, spans, angles);
    return bunsen::operation(
        "AttentionMix", {tokens, attention->heads() * attention->headDim()}, mx::float32,
        {bunsen::inRows(get(projected), stream), get(keys), get(values), bunsen::ready(get(spans), stream),
         bunsen::inRows(get(angles), stream)},
        stream, [=](const std::vector<mx::array>& inputs, mx::array& out) -> bunsen::Task {
          const auto cache = cacheOf(inputs[1], inputs[2], bits);
          const auto list = bunsen::readSpans(inputs[3].data<int>(), inputs[3].size(), tokens, blocks);
          return [=, from = inputs[0].data<float>(), angles = inputs[4].data<float>(), y = out.data<float>()] {
            std::vector<float> turned(from, from + std::size_t(tokens) * width); // it is turned in place
            attention->mix(turned.data(), list, angles, cache, y);
          };
        });
  });
}

bunsen_linear bunsen_attention_linear(const bunsen_attention layer, int number) {
  return projectionOf<bunsen::Attention>(layer.ctx, number);
}

bunsen_mlp bunsen_mlp_new(const mlx_array* weights, const int* numbers, const float* factors, const mlx_stream s) {
  return makeLayer<bunsen_mlp, bunsen::Mlp>(weights, numbers, factors, s);
}

int bunsen_mlp_free(bunsen_mlp layer) {
  return freeLayer<bunsen::Mlp>(layer.ctx);
}

int bunsen_mlp_apply(
    mlx_array* res, const bunsen_mlp layer, const mlx_array x, const mlx_array residual, const mlx_stream s) {
  return forward(res, [&] {
    const auto mlp = layerOf<bunsen::Mlp>(layer.ctx);
    const auto stream = get(s);
    const int tokens = get(x).shape(0);
    expect(get(x), {tokens, mlp->hidden()}, mx::float32, "x");
    expect(get(residual), get(x).shape(), mx::float32, "residual");
    return bunsen::operation(
        "Mlp", get(x).shape(), mx::float32, {bunsen::inRows(get(x), stream), bunsen::inRows(get(residual), stream)},
        stream, [=](const std::vector<mx::array>& inputs, mx::array& out) -> bunsen::Task {
          return [=, x = inputs[0].data<float>(), residual = inputs[1].data<float>(), y = out.data<float>()] {
            mlp->apply(x, residual, tokens, y);
          };
        });
  });
}

bunsen_linear bunsen_mlp_linear(const bunsen_mlp layer, int number) {
  return projectionOf<bunsen::Mlp>(layer.ctx, number);
}

bunsen_linear bunsen_linear_new(
    const mlx_array* weights, const int* numbers, const float* factors, const mlx_stream s) {
  return makeLayer<bunsen_linear, Projection, bunsen::Linear>(weights, numbers, factors, s);
}

int bunsen_linear_free(bunsen_linear layer) {
  return freeLayer<bunsen::Linear>(layer.ctx);
}

int bunsen_linear_apply(mlx_array* res, const bunsen_linear layer, const mlx_array x, const mlx_stream s) {
  return forward(res, [&] {
    const auto linear = layerOf<bunsen::Linear>(layer.ctx);
    const auto stream = get(s);
    const int tokens = get(x).shape(0);
    expect(get(x), {tokens, linear->columns()}, mx::float32, "x");
    return bunsen::operation(
        "Linear", {tokens, linear->rows()}, mx::float32, {bunsen::inRows(get(x), stream)}, stream,
        [=](const std::vector<mx::array>& inputs, mx::array& out) -> bunsen::Task {
          return [=, x = inputs[0].data<float>(), y = out.data<float>()] {
            bunsen::multiply(x, linear->columns(), tokens, {linear->into(y, linear->rows())});
          };
        });
  });
}

int bunsen_linear_rows(mlx_array* res, const bunsen_linear layer, const mlx_array numbers, const mlx_stream s) {
  return forward(res, [&] {
    const auto linear = layerOf<bunsen::Linear>(layer.ctx);
    const auto stream = get(s);
    const int tokens = get(numbers).shape(0);
    expect(get(numbers), {tokens}, mx::uint32, "numbers");
    return bunsen::operation(
        "Rows", {tokens, linear->columns()}, mx::float32, {bunsen::ready(get(numbers), stream)}, stream,
        [=](const std::vector<mx::array>& inputs, mx::array& out) -> bunsen::Task {
          const auto* rows = inputs[0].data<std::uint32_t>();
          for (int token = 0; token < tokens; token++) linear->check(rows[token]);
          return [=, y = out.data<float>()] {
            const std::size_t columns = linear->columns();
            bunsen::eachRow(tokens, 8 * columns, [&](int token) { linear->row(rows[token], y + token * columns); });
          };
        });
  });
}

int bunsen_fallbacks(mlx_string* res) {
  return forward(res, [] { return bunsen::fallbacks(); });
}
