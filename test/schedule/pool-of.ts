/** A pool over a real engine, with room for whatever a test loads. */

import { defaultSettings, type Settings } from "../../src/core/settings.ts";
import { ModelPool } from "../../src/schedule/pool.ts";
import type { EngineClient } from "../../src/worker/client.ts";

export function poolOf(engine: EngineClient, settings: Partial<Settings> = {}): ModelPool {
  const host = {
    measure: (path: string) => engine.measure(path),
    load: (...order: Parameters<EngineClient["load"]>) => engine.load(...order),
    unload: (model: string) => engine.unload(model),
    trimAdapters: (model: string) => engine.trimAdapters(model),
    prepare: async () => undefined,
    forget: () => undefined,
  };
  return new ModelPool(host, { ...defaultSettings(2 ** 34), ...settings }, 2 ** 34, Date.now);
}
