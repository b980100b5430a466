/** The feed-forward layer over plain memory. */

#include "mlp.h"

#include <memory>
#include <stdexcept>

namespace bunsen {

Mlp::Mlp(const std::optional<mx::array>* weights, const int* numbers, const float* factors, mx::Stream stream)
    : hidden_(numbers[HIDDEN]),
      activation_(activationOf(numbers[ACTIVATION])),
      factor_(factors[RESIDUAL]),
      norm_(weights[NORM], factors[EPSILON], hidden_, stream),
      up_(weights + UP, numbers + UP_FORM, hidden_, stream),
      down_(weights + DOWN, numbers + DOWN_FORM, up_.rows(), stream),
      post_norm_(weights[POST_NORM], factors[EPSILON], hidden_, stream) {
  if (weights[GATE]) gate_.emplace(weights + GATE, numbers + GATE_FORM, hidden_, stream);
  else ones_.assign(up_.rows(), 1.0f);
  if ((gate_ && gate_->rows() != up_.rows()) || down_.rows() != hidden_) {
    throw std::invalid_argument("[bunsen] a feed-forward layer's projections do not fit each other");
  }
}

Mlp::Activation Mlp::activationOf(int number) {
  if (number == SILU) return SILU;
  if (number == GELU_TANH) return GELU_TANH;
  throw std::invalid_argument("[bunsen] a feed-forward layer's activation is not one of those known");
}

void Mlp::apply(const float* x, const float* residual, int count, float* y) const {
  const Kernels& set = kernels();
  const std::size_t inner = up_.rows();
  std::unique_ptr<float[]> normed;
  if (norm_) {
    normed.reset(new float[std::size_t(count) * hidden_]);
    norm_.apply(x, hidden_, count, normed.get(), hidden_);
    x = normed.get();
  }
  const std::unique_ptr<float[]> both(new float[(gate_ ? 2 : 1) * count * inner]);
  float* activated = both.get();
  const float* factors = ones_.data();
  if (gate_) {
    float* up = activated + count * inner;
    factors = up;
    multiply(x, hidden_, count, {gate_->into(activated, inner), up_.into(up, inner)});
  } else {
    multiply(x, hidden_, count, {up_.into(activated, inner)});
  }
  const auto activate = activation_ == SILU ? set.siluMultiply : set.geluMultiply;
  const std::size_t factor_stride = gate_ ? inner : 0;
  eachRow(count, 8 * inner, [&](int row) {
    float* to = activated + row * inner;
    activate(to, factors + row * factor_stride, static_cast<int>(inner), to);
  });
  multiply(activated, inner, count, {down_.into(y, hidden_)});
  close(post_norm_, residual, factor_, count, hidden_, y);
}

const Linear& Mlp::linear(int number) const {
  const Linear* const all[] = {gate_ ? &*gate_ : nullptr, &up_, &down_};
  if (number < 0 || std::size_t(number) >= std::size(all) || all[number] == nullptr) {
    throw std::out_of_range("[bunsen] no such projection");
  }
  return *all[number];
}

} // namespace bunsen
