/** Convolutions token by token; the delta rule by sixteen columns of one head's state at a time, over all tokens of a sequence. */

#include "recurrent.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "kernels.h"
#include "primitive.h"
#include "product.h"
#include "threads.h"

namespace bunsen {

namespace {

constexpr int COLUMNS = 16;

[[noreturn]] void refuse(const std::string& what) {
  throw std::invalid_argument("[bunsen] a recurrent layer: " + what);
}

void expect(const mx::array& a, const mx::Shape& shape, const char* name) {
  if (a.shape() != shape || a.dtype() != mx::float32) refuse(std::string(name) + " fit the tokens and are of float32");
}

/** A stretch with its memory. */
struct Memory {
  int first;
  int count;
  const float* before; // null: zeros
  float* after;
};

/** `inputs` hold the befores from `offset` on; outputs[0] is what comes out, those behind it what is kept. */
std::vector<Memory> memoryOf(
    const std::vector<Stretch>& stretches, const std::vector<mx::array>& inputs, std::size_t offset,
    std::vector<mx::array>& outputs) {
  std::vector<Memory> all;
  for (std::size_t index = 0; index < stretches.size(); index++) {
    const auto& [first, count, before] = stretches[index];
    const float* from = before < 0 ? nullptr : inputs[offset + before].data<float>();
    all.push_back({first, count, from, outputs[1 + index].data<float>()});
  }
  return all;
}

void addAll(const std::vector<mx::array>& befores, const mx::Shape& shape, std::vector<mx::array>& inputs, mx::Stream stream) {
  for (const mx::array& before : befores) {
    expect(before, shape, "kept states");
    inputs.push_back(inRows(before, stream));
  }
}

/** The input of a token of the sequence, or of one before the first; null: zeros. */
const float* inputOf(const Memory& own, const float* x, int token, int kept, int channels) {
  if (token >= 0) return x + std::size_t(own.first + token) * channels;
  return own.before == nullptr ? nullptr : own.before + std::size_t(kept + token) * channels;
}

} // namespace

std::vector<Stretch> readStretches(const int* numbers, std::size_t count, int tokens, std::size_t befores) {
  std::vector<Stretch> stretches;
  int next = 0;
  for (std::size_t index = 0; index < count; index++) {
    const Stretch own = {numbers[3 * index], numbers[3 * index + 1], numbers[3 * index + 2]};
    if (own.first != next || own.count <= 0 || own.count > tokens - next) refuse("sequences follow each other");
    if (own.before < -1 || own.before >= int(befores)) refuse("a sequence goes on from a state that is there");
    stretches.push_back(own);
    next += own.count;
  }
  if (next != tokens) refuse("sequences make up all tokens");
  return stretches;
}

std::vector<mx::array> convolve(
    const mx::array& x,
    const mx::array& taps,
    const std::optional<mx::array>& bias,
    const std::vector<Stretch>& stretches,
    const std::vector<mx::array>& befores,
    mx::Stream stream) {
  if (x.ndim() != 2 || taps.ndim() != 2) refuse("tokens and taps have two axes");
  const int tokens = x.shape(0), channels = x.shape(1), length = taps.shape(0), kept = length - 1;
  if (length > CONVOLUTION_TAPS_MAX) refuse("a convolution has " + std::to_string(CONVOLUTION_TAPS_MAX) + " taps at most");
  expect(x, {tokens, channels}, "tokens");
  expect(taps, {length, channels}, "taps");
  std::vector<mx::array> inputs = {inRows(x, stream), inRows(taps, stream)};
  addAll(befores, {kept, channels}, inputs, stream);
  if (bias) {
    expect(*bias, {channels}, "biases");
    inputs.push_back(inRows(*bias, stream));
  }
  std::vector<mx::Shape> shapes(1 + stretches.size(), {kept, channels});
  shapes[0] = x.shape();
  return operation(
      "Convolution", std::move(shapes), mx::float32, std::move(inputs), stream,
      [=, biased = bias.has_value()](const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) -> Task {
        const auto memory = memoryOf(stretches, inputs, 2, outputs);
        return [=, x = inputs[0].data<float>(), taps = inputs[1].data<float>(),
                bias = biased ? inputs.back().data<float>() : nullptr, y = outputs[0].data<float>()] {
          for (const Memory& own : memory) {
            eachRow(own.count, std::size_t(length) * channels, [&](int token) {
              const float* rows[CONVOLUTION_TAPS_MAX];
              for (int tap = 0; tap < length; tap++) rows[tap] = inputOf(own, x, token + tap - kept, kept, channels);
              kernels().convolve(rows, taps, bias, length, channels, y + std::size_t(own.first + token) * channels);
            });
            for (int place = 0; place < kept; place++) {
              const float* from = inputOf(own, x, own.count - kept + place, kept, channels);
              float* to = own.after + std::size_t(place) * channels;
              if (from == nullptr) std::fill_n(to, channels, 0.0f);
              else std::memcpy(to, from, channels * sizeof(float));
            }
          }
        };
      });
}

std::vector<mx::array> deltaRule(
    const mx::array& queries,
    const mx::array& keys,
    const mx::array& values,
    const mx::array& log_decays,
    const mx::array& rates,
    const std::vector<Stretch>& stretches,
    const std::vector<mx::array>& befores,
    mx::Stream stream) {
  if (values.ndim() != 3 || keys.ndim() != 3) refuse("keys and values have three axes");
  const int tokens = values.shape(0), heads = values.shape(1), value_dim = values.shape(2);
  const int key_heads = keys.shape(1), key_dim = keys.shape(2);
  if (key_heads <= 0 || heads % key_heads != 0) refuse("heads divide among key heads");
  if (key_dim > DELTA_KEY_DIM_MAX) refuse("keys have " + std::to_string(DELTA_KEY_DIM_MAX) + " dimensions at most");
  expect(values, {tokens, heads, value_dim}, "values");
  expect(keys, {tokens, key_heads, key_dim}, "keys");
  expect(queries, keys.shape(), "queries");
  expect(log_decays, {tokens, heads}, "decays");
  expect(rates, {tokens, heads}, "rates");
  std::vector<mx::array> inputs;
  for (const mx::array* each : {&queries, &keys, &values, &log_decays, &rates}) inputs.push_back(inRows(*each, stream));
  addAll(befores, {heads, key_dim, value_dim}, inputs, stream);
  std::vector<mx::Shape> shapes(1 + stretches.size(), {heads, key_dim, value_dim});
  shapes[0] = values.shape();
  return operation(
      "DeltaRule", std::move(shapes), mx::float32, std::move(inputs), stream,
      [=](const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) -> Task {
        const auto memory = memoryOf(stretches, inputs, 5, outputs);
        const DeltaColumns whole = {
            .queries = inputs[0].data<float>(),
            .keys = inputs[1].data<float>(),
            .key_stride = std::size_t(key_heads) * key_dim,
            .values = inputs[2].data<float>(),
            .y = outputs[0].data<float>(),
            .value_stride = std::size_t(heads) * value_dim,
            .decays = nullptr,
            .rates = inputs[4].data<float>(),
            .rate_stride = std::size_t(heads),
            .tokens = 0,
            .key_dim = key_dim,
            .columns = 0,
            .before = nullptr,
            .after = nullptr,
            .state_stride = std::size_t(value_dim),
        };
        return [=, logarithms = inputs[3].data<float>()] {
          const std::size_t count = std::size_t(tokens) * heads;
          const std::unique_ptr<float[]> decays(new float[count]);
          std::transform(logarithms, logarithms + count, decays.get(), [](float each) { return std::exp(each); });
          const std::size_t parts = (value_dim + COLUMNS - 1) / COLUMNS;
          parallel(memory.size() * heads * parts, [&](std::size_t index) {
            const Memory& sequence = memory[index / (heads * parts)];
            const std::size_t head = index / parts % heads, column = index % parts * COLUMNS;
            const std::size_t first = sequence.first;
            const std::size_t in_keys = first * whole.key_stride + head / (heads / key_heads) * key_dim;
            const std::size_t in_values = first * whole.value_stride + head * value_dim + column;
            const std::size_t in_rates = first * heads + head;
            const std::size_t in_state = head * key_dim * value_dim + column;
            DeltaColumns own = whole;
            own.queries += in_keys;
            own.keys += in_keys;
            own.values += in_values;
            own.y += in_values;
            own.decays = decays.get() + in_rates;
            own.rates += in_rates;
            own.tokens = sequence.count;
            own.columns = std::min(COLUMNS, value_dim - int(column));
            own.before = sequence.before == nullptr ? nullptr : sequence.before + in_state;
            own.after = sequence.after + in_state;
            kernels().deltaRule(own);
          });
        };
      });
}

} // namespace bunsen
