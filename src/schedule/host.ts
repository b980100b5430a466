/** Where models are loaded to: the engine and whatever else keeps something of them. Knows no policy. */

import type { LoadedModel, ModelEstimate } from "../core/backend.ts";

export interface ModelHost {
  measure(path: string): Promise<ModelEstimate>;
  /** `told` of the bytes of weights that are in memory. */
  load(model: string, path: string, kv_bytes_max: number, told: (bytes: number) => void): Promise<LoadedModel>;
  /** Gives back all it takes. One that is not there is no matter. */
  unload(model: string): Promise<void>;
  /** Drops the adapters of the model that nobody uses. */
  trimAdapters(model: string): Promise<void>;
  /** What goes with the model elsewhere, as its tokenizer does. */
  prepare(path: string): Promise<void>;
  forget(path: string): void;
}
