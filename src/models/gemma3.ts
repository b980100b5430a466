/**
 * Gemma 3 in the sizes that also see: the text of it, which is Gemma 3's under `text_config`; `model_type` "gemma3".
 * What sees is not loaded. The config leaves out what transformers has for a default.
 */

import { Failure } from "../core/failure.ts";
import { asObject } from "../formats/json.ts";
import type { ModelConfig } from "./config.ts";
import type { Model } from "./family.ts";
import { GEMMA3_CONTEXT_LENGTH, loadGemma3Text } from "./gemma3-text.ts";
import { renamed, type Weights } from "./weights.ts";

export const GEMMA3_DEFAULTS = {
  num_attention_heads: 8,
  num_key_value_heads: 4,
  vocab_size: 262_208,
  max_position_embeddings: GEMMA3_CONTEXT_LENGTH,
};

export function loadGemma3(config: ModelConfig, weights: Weights): Model {
  const text = asObject(config["text_config"]);
  if (text === null) throw new Failure("unsupported", `Cannot load ${weights.file}: text_config must be an object`);
  const { torch_dtype, dtype } = config;
  return loadGemma3Text(
    { ...GEMMA3_DEFAULTS, torch_dtype, dtype, ...text },
    renamed(weights, (name) => `language_model.${name}`),
  );
}
