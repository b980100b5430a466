/** Sixteen columns of one head's state at a time, over all tokens: what they share is read, nothing is waited for. */

#include "delta-rule.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>

#include "kernels.h"
#include "primitive.h"
#include "threads.h"

namespace bunsen {

namespace {

constexpr int COLUMNS = 16;

void expect(const mx::array& a, const mx::Shape& shape, const char* name) {
  if (a.shape() == shape && a.dtype() == mx::float32) return;
  throw std::invalid_argument(std::string("[bunsen] delta rule: ") + name + " fit the values and are of float32");
}

} // namespace

std::vector<mx::array> deltaRule(
    const mx::array& queries,
    const mx::array& keys,
    const mx::array& values,
    const mx::array& log_decays,
    const mx::array& rates,
    const std::optional<mx::array>& before,
    mx::Stream stream) {
  if (values.ndim() != 3 || keys.ndim() != 3) throw std::invalid_argument("[bunsen] delta rule: keys and values have three axes");
  const int tokens = values.shape(0), heads = values.shape(1), value_dim = values.shape(2);
  const int key_heads = keys.shape(1), key_dim = keys.shape(2);
  if (tokens == 0 || key_heads == 0 || heads % key_heads != 0) {
    throw std::invalid_argument("[bunsen] delta rule: heads divide among key heads");
  }
  if (key_dim > DELTA_KEY_DIM_MAX) {
    throw std::invalid_argument("[bunsen] delta rule: keys have at most " + std::to_string(DELTA_KEY_DIM_MAX) + " dimensions");
  }
  const mx::Shape state = {heads, key_dim, value_dim};
  expect(values, {tokens, heads, value_dim}, "values");
  expect(keys, {tokens, key_heads, key_dim}, "keys");
  expect(queries, keys.shape(), "queries");
  expect(log_decays, {tokens, heads}, "decays");
  expect(rates, {tokens, heads}, "rates");
  std::vector<mx::array> inputs;
  for (const mx::array* each : {&queries, &keys, &values, &log_decays, &rates}) inputs.push_back(inRows(*each, stream));
  if (before) {
    expect(*before, state, "state");
    inputs.push_back(inRows(*before, stream));
  }
  return operation(
      "DeltaRule", {values.shape(), state}, mx::float32, std::move(inputs), stream,
      [=](const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) -> Task {
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
            .tokens = tokens,
            .key_dim = key_dim,
            .columns = 0,
            .before = inputs.size() > 5 ? inputs[5].data<float>() : nullptr,
            .after = outputs[1].data<float>(),
            .state_stride = std::size_t(value_dim),
        };
        return [=, logarithms = inputs[3].data<float>()] {
          const std::size_t count = std::size_t(tokens) * heads;
          const std::unique_ptr<float[]> decays(new float[count]);
          std::transform(logarithms, logarithms + count, decays.get(), [](float each) { return std::exp(each); });
          const std::size_t parts = (value_dim + COLUMNS - 1) / COLUMNS;
          parallel(heads * parts, [&](std::size_t index) {
            const std::size_t head = index / parts, first = index % parts * COLUMNS;
            const std::size_t key_head = head / (heads / key_heads);
            const std::size_t in_values = head * value_dim + first;
            const std::size_t in_state = head * key_dim * value_dim + first;
            DeltaColumns own = whole;
            own.queries += key_head * key_dim;
            own.keys += key_head * key_dim;
            own.values += in_values;
            own.y += in_values;
            own.decays = decays.get() + head;
            own.rates += head;
            own.columns = std::min(COLUMNS, value_dim - int(first));
            if (own.before != nullptr) own.before += in_state;
            own.after += in_state;
            kernels().deltaRule(own);
          });
        };
      });
}

} // namespace bunsen
