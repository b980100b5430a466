/** Parts of files as memory, and what becomes of one whose file is cut meanwhile. Knows nothing of what the bytes mean. */

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace bunsen {

/**
 * `bytes` of an open file from `offset` on, in place: they come from the disk as they are read, the machine may drop and
 * fetch them again, and what is written to them stays with the process. At least 8 bytes before them are mapped too.
 * Throws std::invalid_argument when the file has not so many, std::system_error when it cannot be mapped.
 */
std::shared_ptr<char> mapFile(int file, std::uint64_t offset, std::size_t bytes);

/**
 * How often so far a mapped file turned out to have been cut. What it had lost reads as zeros from then on; without
 * that the system would end the process at the first read.
 */
unsigned filesCut();

} // namespace bunsen
