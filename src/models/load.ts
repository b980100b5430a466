/** Opens a model, whatever its files, and builds the family its config names. A family is one line here. */

import { statSync } from "node:fs";
import { Failure } from "../core/failure.ts";
import type { ReadingPurpose } from "../core/purpose.ts";
import { purposeOf } from "../formats/purpose.ts";
import { wasFileCut } from "../mlx/extras.ts";
import { loadBert } from "./bert.ts";
import { loadCohere2 } from "./cohere2.ts";
import { type ModelConfig, readConfig } from "./config.ts";
import type { Encoder, Model } from "./family.ts";
import { loadGemma } from "./gemma.ts";
import { loadGemma2 } from "./gemma2.ts";
import { loadGemma3 } from "./gemma3.ts";
import { loadGemma3Text } from "./gemma3-text.ts";
import { openGguf } from "./gguf-weights.ts";
import { loadGlm4 } from "./glm4.ts";
import { loadGptOss } from "./gpt-oss.ts";
import { loadGranite } from "./granite.ts";
import { loadLfm2 } from "./lfm2.ts";
import { loadLfm2Moe } from "./lfm2-moe.ts";
import { loadLlama } from "./llama.ts";
import { loadMistral } from "./mistral.ts";
import { loadMixtral } from "./mixtral.ts";
import { loadOlmo2 } from "./olmo2.ts";
import { loadOlmo3 } from "./olmo3.ts";
import { loadPhi3 } from "./phi3.ts";
import { loadQwen2 } from "./qwen2.ts";
import { loadQwen2Moe } from "./qwen2-moe.ts";
import { loadQwen3 } from "./qwen3.ts";
import { loadQwen3Moe } from "./qwen3-moe.ts";
import { loadQwen3Next } from "./qwen3-next.ts";
import { openSafetensors } from "./safetensors-weights.ts";
import { loadSmollm3 } from "./smollm3.ts";
import { loadStarcoder2 } from "./starcoder2.ts";
import { renamed, type Weights } from "./weights.ts";

/** By `model_type` of the config: those that read texts both ways. */
const ENCODERS: ReadonlyMap<string, (config: ModelConfig, weights: Weights) => Encoder> = new Map([
  ["bert", loadBert],
  ["roberta", loadBert],
  ["xlm-roberta", loadBert],
]);

/** By `model_type` of the config. */
const FAMILIES: ReadonlyMap<string, (config: ModelConfig, weights: Weights) => Model> = new Map([
  ["cohere2", loadCohere2],
  ["gemma", loadGemma],
  ["gemma2", loadGemma2],
  ["gemma3", loadGemma3],
  ["gemma3_text", loadGemma3Text],
  ["glm4", loadGlm4],
  ["gpt_oss", loadGptOss],
  ["granite", loadGranite],
  ["lfm2", loadLfm2],
  ["lfm2_moe", loadLfm2Moe],
  ["llama", loadLlama],
  ["mistral", loadMistral],
  ["mixtral", loadMixtral],
  ["olmo2", loadOlmo2],
  ["olmo3", loadOlmo3],
  ["phi3", loadPhi3],
  ["qwen2", loadQwen2],
  ["qwen2_moe", loadQwen2Moe],
  ["qwen3", loadQwen3],
  ["qwen3_moe", loadQwen3Moe],
  ["qwen3_next", loadQwen3Next],
  ["smollm3", loadSmollm3],
  ["starcoder2", loadStarcoder2],
]);

/** Every family that is known, by `model_type`. */
export function isFamily(type: unknown): boolean {
  return FAMILIES.has(String(type)) || ENCODERS.has(String(type));
}

/** By what a model is for: one that answers is a decoder; one that reads may be either. */
export type Opened =
  | { readonly kind: "answers"; readonly model: Model }
  | { readonly kind: "reads"; readonly purpose: ReadingPurpose; readonly model: Model }
  | { readonly kind: "reads_both_ways"; readonly purpose: ReadingPurpose; readonly model: Encoder };

/** `path`: a Hugging Face folder or a GGUF file; `told` of the bytes that have come in, with each array. Throws a `Failure` that names the file and what is wrong with it. */
export function openModel(path: string, told: (bytes: number) => void = () => undefined): Opened {
  const purpose = purposeOf(path);
  const { config, weights } = openPath(path, told);
  if (purpose.kind === "chat") return { kind: "answers", model: build(FAMILIES, config, weights) };
  if (ENCODERS.has(String(config["model_type"]))) {
    return { kind: "reads_both_ways", purpose, model: build(ENCODERS, config, weights) };
  }
  return { kind: "reads", purpose, model: build(FAMILIES, config, unprefixed(weights)) };
}

/** A decoder, whatever it is for. */
export function loadModel(path: string, told: (bytes: number) => void = () => undefined): Model {
  const { config, weights } = openPath(path, told);
  return build(FAMILIES, config, unprefixed(weights));
}

function build<Built extends Disposable>(
  families: ReadonlyMap<string, (config: ModelConfig, weights: Weights) => Built>,
  config: ModelConfig,
  weights: Weights,
): Built {
  try {
    const type = config["model_type"];
    const family = families.get(String(type));
    if (family !== undefined) {
      using stack = new DisposableStack();
      const model = stack.use(family(config, weights));
      weights.release();
      refuseLeftOver(weights);
      if (wasFileCut()) {
        throw new Failure("unavailable", `Cannot load ${weights.file}: it became shorter while it was read`);
      }
      stack.move();
      return model;
    }
    const known = [...families.keys()].join(", ");
    throw new Failure("unsupported", `Cannot load ${weights.file}: its family is "${type}", known: ${known}`);
  } catch (error) {
    weights[Symbol.dispose]();
    throw error;
  }
}

/** As where a config is silent of biases that the file holds. */
function refuseLeftOver({ file, left_over }: Weights): void {
  if (left_over === null) return;
  const state = `nothing its config says asks for tensor "${left_over}", which would be left out`;
  throw new Failure("unsupported", `Cannot load ${file}: ${state}`);
}

/** A decoder that was saved without its head, as embedding models are, has no "model." before its names. */
function unprefixed(weights: Weights): Weights {
  if (weights.has("model.embed_tokens.weight") || !weights.has("embed_tokens.weight")) return weights;
  return renamed(weights, (name) => name.replace(/^model\./, ""));
}

function openPath(path: string, told: (bytes: number) => void): { config: ModelConfig; weights: Weights } {
  return statSync(path).isDirectory() ? openFolder(path, told) : openGguf(path, told);
}

function openFolder(folder: string, told: (bytes: number) => void): { config: ModelConfig; weights: Weights } {
  const config = readConfig(folder);
  return { config, weights: openSafetensors(folder, config, told) };
}
