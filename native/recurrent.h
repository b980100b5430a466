/**
 * Recurrent layers over the tokens of several sequences: a causal convolution, and the gated delta rule (Yang et al. 2024,
 * arXiv:2412.06464). What they keep of a sequence is an array of its own, never changed.
 */

#pragma once

#include <optional>
#include <vector>

#include "mlx/array.h"
#include "mlx/stream.h"

namespace bunsen {

namespace mx = mlx::core;

/** Consecutive tokens of one sequence: the first among all, and how many; and the place of what was kept of it, or -1 at its start. */
struct Stretch {
  int first;
  int count;
  int before;
};

/** Throws std::invalid_argument unless the stretches follow each other and make up all tokens. */
std::vector<Stretch> readStretches(const int* numbers, std::size_t count, int tokens, std::size_t befores);

/** What comes out, and what is kept of each sequence; shapes as in bunsen.h. Throws std::invalid_argument for others. */
std::vector<mx::array> convolve(
    const mx::array& x,
    const mx::array& taps,
    const std::optional<mx::array>& bias,
    const std::vector<Stretch>& stretches,
    const std::vector<mx::array>& befores,
    mx::Stream stream);

/** The same of the delta rule. */
std::vector<mx::array> deltaRule(
    const mx::array& queries,
    const mx::array& keys,
    const mx::array& values,
    const mx::array& log_decays,
    const mx::array& rates,
    const std::vector<Stretch>& stretches,
    const std::vector<mx::array>& befores,
    mx::Stream stream);

} // namespace bunsen
