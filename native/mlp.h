/** The feed-forward layer: residual + down(act(gate(norm(x))) * up(norm(x))), or without a gate down(act(up(norm(x)))). */

#pragma once

#include "layer.h"

namespace bunsen {

class Mlp {
 public:
  enum Weight { NORM, GATE, UP = GATE + Linear::ARRAYS, DOWN = UP + Linear::ARRAYS, POST_NORM = DOWN + Linear::ARRAYS, WEIGHTS };
  enum Number { HIDDEN, ACTIVATION, GATE_FORM, UP_FORM = GATE_FORM + Linear::NUMBERS, DOWN_FORM = UP_FORM + Linear::NUMBERS };
  enum Factor { EPSILON, RESIDUAL };
  enum Activation { SILU, GELU_TANH };

  Mlp(const std::optional<mx::array>* weights, const int* numbers, const float* factors, mx::Stream stream);

  /** x, residual and y (count, hidden). */
  void apply(const float* x, const float* residual, int count, float* y) const;

  /** 0 to 2: gate, up and down. Throws std::out_of_range for another, or one that is not there. */
  const Linear& linear(int number) const;

  int hidden() const {
    return hidden_;
  }

 private:
  static Activation activationOf(int number);

  int hidden_;
  Activation activation_;
  float factor_;
  Norm norm_;
  std::optional<Linear> gate_;
  Linear up_;
  Linear down_;
  Norm post_norm_;
  std::vector<float> ones_; // what multiplies where there is no gate
};

} // namespace bunsen
