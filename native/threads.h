/** One pool of threads for all kernels. Knows nothing of what it runs. */

#pragma once

#include <cstddef>
#include <functional>

namespace bunsen {

/**
 * Runs task(0) … task(chunks - 1), each once, on the calling thread and the pool's; returns when all are done.
 * Chunks are taken one by one, so a thread that loses its core holds up one chunk and not a half. What a chunk throws
 * is thrown here, the first if several do, once none runs any more. A task does not call this again.
 */
void parallel(std::size_t chunks, const std::function<void(std::size_t)>& task);

constexpr unsigned THREADS_MAX = 1024;

/** How many threads there are, the calling one included; 0: as many as the machine has cores. Holds from the next work on. */
void setThreads(unsigned count);

} // namespace bunsen
