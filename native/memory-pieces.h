/** Memory for weights: large pieces that the machine backs with large pages, shared among many matrices. Knows nothing of weights. */

#pragma once

#include <cstddef>
#include <memory>

namespace bunsen {

/** Aligned to 64 bytes. Goes back to the machine with its last owner, and the addresses with the last of their piece. Throws std::bad_alloc. */
std::shared_ptr<char> takeMemory(std::size_t bytes);

} // namespace bunsen
