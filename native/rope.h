/** Rotary position embedding: the angles, and the operation of MLX. */

#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "mlx/array.h"
#include "mlx/stream.h"

namespace bunsen {

namespace mx = mlx::core;

/** Which angle belongs to a position. */
struct RopeForm {
  int dims;
  /** Whether neighbours turn together; otherwise i and i + dims / 2 do. */
  bool traditional;
  float scale;
  /** Where no wavelengths are given. */
  float base;
};

/** Cosines and sines as the kernels read them, a row for each position. */
struct Turns {
  std::size_t width; // dims, or half of them
  std::vector<float> cosines;
  std::vector<float> sines;
};

/**
 * Those of positions first … first + length for each of `firsts`, one after the other. `wavelengths` has dims / 2, or is
 * null. The last few are kept, as all layers of a step ask for the same.
 */
std::shared_ptr<const Turns> turnsOf(
    const RopeForm& form, const float* wavelengths, const std::vector<int>& firsts, int length);

/**
 * `x` (batch, …, length, head_dim), the first `dims` turned. `offset` holds one integer, or one for each of the batch.
 * Nothing where there is no kernel for it.
 */
std::optional<mx::array> rope(
    const mx::array& x,
    const RopeForm& form,
    const mx::array& offset,
    const std::optional<mx::array>& wavelengths,
    mx::Stream stream);

/** The same from one known position. */
std::optional<mx::array> rope(
    const mx::array& x,
    const RopeForm& form,
    int offset,
    const std::optional<mx::array>& wavelengths,
    mx::Stream stream);

} // namespace bunsen
