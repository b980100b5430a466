/** Products in which each row of activations goes to the matrices that indices name, as in a mixture of experts. */

#pragma once

#include <optional>

#include "matmul.h"

namespace bunsen {

/**
 * For each pair of indices, broadcast together: x[lhs] (rows, columns) by the transpose of matrix w[rhs] of a stack
 * (experts, rows, columns) that is quantised. Indices count along all leading axes; absent ones name each in turn.
 * Nothing where there is no kernel for it.
 */
std::optional<mx::array> gatherGroupedProduct(
    const mx::array& x,
    const GroupedWeights& weights,
    const GroupForm& form,
    const std::optional<mx::array>& lhs,
    const std::optional<mx::array>& rhs,
    mx::Stream stream);

/** The same with dense matrices b (experts, columns, rows) of any float dtype, not transposed. */
std::optional<mx::array> gatherProduct(
    const mx::array& a,
    const mx::array& b,
    const std::optional<mx::array>& lhs,
    const std::optional<mx::array>& rhs,
    mx::Stream stream);

} // namespace bunsen
