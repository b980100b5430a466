/** The feed-forward layer over plain memory. */

#include "mlp.h"

#include <memory>
#include <stdexcept>

namespace bunsen {

Mlp::Mlp(const std::optional<mx::array>* weights, const int* numbers, const float* factors, mx::Stream stream)
    : hidden_(numbers[HIDDEN]),
      activation_(Activation(numbers[ACTIVATION])),
      factor_(factors[RESIDUAL]),
      norm_(weights[NORM], factors[EPSILON], hidden_, stream),
      gate_(weights + GATE, numbers + GATE_FORM, hidden_, stream),
      up_(weights + UP, numbers + UP_FORM, hidden_, stream),
      down_(weights + DOWN, numbers + DOWN_FORM, gate_.rows(), stream),
      post_norm_(weights[POST_NORM], factors[EPSILON], hidden_, stream) {
  if (up_.rows() != gate_.rows() || down_.rows() != hidden_) {
    throw std::invalid_argument("[bunsen] a feed-forward layer's projections do not fit each other");
  }
}

void Mlp::apply(const float* x, const float* residual, int count, float* y) const {
  const Kernels& set = kernels();
  const std::size_t inner = gate_.rows();
  std::unique_ptr<float[]> normed;
  if (norm_) {
    normed.reset(new float[std::size_t(count) * hidden_]);
    norm_.apply(x, hidden_, count, normed.get(), hidden_);
    x = normed.get();
  }
  const std::unique_ptr<float[]> both(new float[2 * count * inner]);
  float* gate = both.get();
  float* up = gate + count * inner;
  multiply(x, hidden_, count, {gate_.into(gate, inner), up_.into(up, inner)});
  eachRow(count, 8 * inner, [&](int row) {
    const auto activate = activation_ == SILU ? set.siluMultiply : set.geluMultiply;
    activate(gate + row * inner, up + row * inner, static_cast<int>(inner), gate + row * inner);
  });
  multiply(gate, inner, count, {down_.into(y, hidden_)});
  close(post_norm_, residual, factor_, count, hidden_, y);
}

} // namespace bunsen
