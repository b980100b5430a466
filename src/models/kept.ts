/** What the layers of each family keep of a text, as far as its config tells; a family with windows or states is one line here. */

import { cohere2Windows } from "./cohere2.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import { sameWindows } from "./decoder.ts";
import type { Kept, Windows } from "./family.ts";
import { gemma2Windows } from "./gemma2.ts";
import { gemma3Windows } from "./gemma3-text.ts";
import { gptOssWindows } from "./gpt-oss.ts";
import { lfm2Keeps } from "./lfm2-mixers.ts";
import { llamaWindows } from "./llama.ts";
import { mistralWindows } from "./mistral.ts";
import { olmo3Windows } from "./olmo3.ts";
import { qwen2Windows } from "./qwen2.ts";
import { qwen3MoeWindows } from "./qwen3-moe.ts";
import { qwen3NextKeeps } from "./qwen3-next.ts";
import { smollm3Windows } from "./smollm3.ts";

/** By `model_type` of the config. */
const WINDOWS: ReadonlyMap<string, (reader: ConfigReader) => Windows> = new Map([
  ["cohere2", cohere2Windows],
  ["gemma2", gemma2Windows],
  ["gemma3_text", gemma3Windows],
  ["gpt_oss", gptOssWindows],
  ["llama", llamaWindows],
  ["mistral", mistralWindows],
  ["mixtral", sameWindows],
  ["olmo3", olmo3Windows],
  ["phi3", sameWindows],
  ["qwen2", qwen2Windows],
  ["qwen2_moe", qwen2Windows],
  ["qwen3", qwen2Windows],
  ["qwen3_moe", qwen3MoeWindows],
  ["smollm3", smollm3Windows],
  ["starcoder2", sameWindows],
]);

const RECURRENT: ReadonlyMap<string, (reader: ConfigReader) => Kept> = new Map([
  ["lfm2", lfm2Keeps],
  ["lfm2_moe", lfm2Keeps],
  ["qwen3_next", qwen3NextKeeps],
]);

/** Throws the `Failure` that the load would; null: every layer keeps keys and values of the whole text. */
export function keptOf(config: ModelConfig, file: string): Kept | null {
  const reader = new ConfigReader(config, file);
  const type = String(config["model_type"]);
  const windows = WINDOWS.get(type)?.(reader);
  return windows === undefined ? (RECURRENT.get(type)?.(reader) ?? null) : { windows, state_shapes: [] };
}
