/** How work of our own becomes an operation in MLX's graph, and what is left to MLX is counted. */

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels.h"
#include "mlx/allocator.h"
#include "mlx/array.h"
#include "mlx/stream.h"

namespace bunsen {

namespace mx = mlx::core;

/** What runs on the stream's thread: pointers and numbers by value, as MLX may have freed the operation by then. */
using Task = std::function<void()>;

/**
 * An operation with one result. Once the inputs are computed and the result has memory, `plan` gives the task;
 * MLX keeps the memory of both until it ran.
 */
mx::array operation(
    const char* name,
    mx::Shape shape,
    mx::Dtype dtype,
    std::vector<mx::array> inputs,
    mx::Stream stream,
    std::function<Task(const std::vector<mx::array>& inputs, mx::array& out)> plan);

/** The same with several results of one dtype. */
std::vector<mx::array> operation(
    const char* name,
    std::vector<mx::Shape> shapes,
    mx::Dtype dtype,
    std::vector<mx::array> inputs,
    mx::Stream stream,
    std::function<Task(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs)> plan);

/** Of an array; throws std::invalid_argument when a dimension is negative or the product overflows. */
std::size_t byteCount(const mx::Shape& shape, mx::Dtype dtype);

/** Memory for `bytes`; throws std::bad_alloc where MLX's allocator for the CPU returns none. */
mx::allocator::Data allocate(std::size_t bytes);

/** `a` row by row in memory. What lies there already costs no operation. */
mx::array inRows(const mx::array& a, mx::Stream stream);

/** The same, computed: its items may be read at once. */
mx::array ready(const mx::array& a, mx::Stream stream);

/** Null while `a` is anything but float32, float16 or bfloat16. */
const Scalar* scalarOf(const mx::array& a);

/** Counts an operation that has a kernel, on inputs for which it has none. */
void countFallback(const std::string& name);

/** "name count" a line, since the library was opened. */
std::string fallbacks();

} // namespace bunsen
