/** The gated delta rule (Yang et al. 2024, arXiv:2412.06464): a recurrent layer's state over the tokens of one sequence. */

#pragma once

#include <optional>
#include <vector>

#include "mlx/array.h"
#include "mlx/stream.h"

namespace bunsen {

namespace mx = mlx::core;

/** What the state gives for each query, and the state after; shapes as in bunsen.h. Throws std::invalid_argument for others. */
std::vector<mx::array> deltaRule(
    const mx::array& queries,
    const mx::array& keys,
    const mx::array& values,
    const mx::array& log_decays,
    const mx::array& rates,
    const std::optional<mx::array>& before,
    mx::Stream stream);

} // namespace bunsen
