/** Memory for weights: large pieces that the machine backs with large pages, shared among many matrices. Knows nothing of weights. */

#pragma once

#include <cstddef>
#include <memory>

namespace bunsen {

/** Aligned to 64 bytes; goes back to the machine with the last of its piece. Throws std::bad_alloc. */
std::shared_ptr<char> takeMemory(std::size_t bytes);

} // namespace bunsen
