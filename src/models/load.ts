/** Opens a model, whatever its files, and builds the family its config names. A family is one line here. */

import { statSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../core/failure.ts";
import { asObject, readJson } from "../formats/json.ts";
import type { ModelConfig } from "./config.ts";
import type { Model } from "./family.ts";
import { openGguf } from "./gguf-weights.ts";
import { loadLlama } from "./llama.ts";
import { openSafetensors } from "./safetensors-weights.ts";
import type { Weights } from "./weights.ts";

/** By `model_type` of the config. */
const FAMILIES: ReadonlyMap<string, (config: ModelConfig, weights: Weights) => Model> = new Map([["llama", loadLlama]]);

/** `path`: a Hugging Face folder or a GGUF file; `told` of the bytes that have come in, with each array. Throws a `Failure` that names the file and what is wrong with it. */
export function loadModel(path: string, told: (bytes: number) => void = () => undefined): Model {
  const { config, weights } = statSync(path).isDirectory() ? openFolder(path, told) : openGguf(path, told);
  try {
    const type = config["model_type"];
    const family = FAMILIES.get(String(type));
    if (family !== undefined) {
      const model = family(config, weights);
      weights.release();
      return model;
    }
    const known = [...FAMILIES.keys()].join(", ");
    throw new Failure("unsupported", `Cannot load ${weights.file}: its family is "${type}", known: ${known}`);
  } catch (error) {
    weights[Symbol.dispose]();
    throw error;
  }
}

function openFolder(folder: string, told: (bytes: number) => void): { config: ModelConfig; weights: Weights } {
  const file = join(folder, "config.json");
  const config = asObject(readJson(file));
  if (config === null) throw new Failure("unavailable", `Cannot load ${file}: it is not a JSON object`);
  return { config, weights: openSafetensors(folder, config, told) };
}
