/** Which of the models that may go goes first. Knows no memory and no models, only when and how often they were used. */

import type { PoolSettings } from "../core/settings.ts";

export interface Used {
  readonly uses: number;
  readonly last_used_ms: number;
}

/** null when none may go. */
export function mostDispensable<Model extends Used>(
  idle: readonly Model[],
  { eviction_policy, ttl_s }: Pick<PoolSettings, "eviction_policy" | "ttl_s">,
  now_ms: number,
): Model | null {
  const oldest = idle.toSorted((left, right) => left.last_used_ms - right.last_used_ms);
  switch (eviction_policy) {
    case "lru":
      return oldest[0] ?? null;
    case "lfu":
      return oldest.toSorted((left, right) => left.uses - right.uses)[0] ?? null;
    case "ttl":
      return oldest.find(({ last_used_ms }) => now_ms - last_used_ms >= ttl_s * 1000) ?? null;
  }
}
