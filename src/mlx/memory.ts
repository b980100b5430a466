/** MLX's own memory: its limit, and what it keeps for later. */

import { check, emptySlot, library } from "./library.ts";

/** Of everything in this process; what is above it waits for what is computing to end. */
export function limitMemory(bytes: number): void {
  check("mlx_set_memory_limit", library().native.mlx_set_memory_limit(emptySlot(), bytes));
}

/** Gives back what MLX keeps of arrays that are gone. */
export function clearCache(): void {
  check("mlx_clear_cache", library().native.mlx_clear_cache());
}
