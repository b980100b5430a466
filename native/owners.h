/**
 * Which thread made what stands behind a handle. A thread that is ended from outside, as a worker of JavaScript is, frees
 * nothing itself: what it has left is freed when it ends.
 */

#pragma once

namespace mlxc {

/** Notes that this thread made `object`, which `destroy` frees. */
void own(void* object, void (*destroy)(void*));

/** Forgets `object`, whichever thread made it: it is being freed. */
void disown(void* object) noexcept;

} // namespace mlxc
