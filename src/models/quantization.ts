/** What a config says of quantisation, layer by layer. MLX's affine form only. */

import { Failure } from "../core/failure.ts";
import { asObject } from "../formats/json.ts";
import type { Quantization } from "../mlx/ops.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";

const GROUP_SIZES = [32, 64, 128];
const BITS = [2, 3, 4, 5, 6, 8];

/** The quantisation of the layer `name`, or null where it is dense. */
export function quantizationOf(config: ModelConfig, name: string, file: string): Quantization | null {
  if (config["quantization"] === undefined) return null;
  const whole = asObject(config["quantization"]);
  if (whole === null) throw new Failure("unsupported", `Cannot load ${file}: quantization must be an object`);
  // mlx-lm writes exceptions under the layer's own name: other numbers, or false for a dense layer
  const own = whole[name];
  if (own === false) return null;
  const reader = new ConfigReader({ ...whole, ...asObject(own) }, file);
  const mode = reader.stringOr("mode", "affine");
  if (mode !== "affine")
    throw new Failure("unsupported", `Cannot load ${file}: its quantization mode is "${mode}", known is affine`);
  const group_size = reader.dimensionOr("group_size", 64);
  const bits = reader.dimensionOr("bits", 4);
  if (GROUP_SIZES.includes(group_size) && BITS.includes(bits)) return { group_size, bits };
  throw new Failure(
    "unsupported",
    `Cannot load ${file}: ${bits} bits in groups of ${group_size} is not a form MLX has`,
  );
}

/** GPTQ, AWQ and the like: their tensors have other names and other layouts. */
export function refuseForeignQuantization(config: ModelConfig, file: string): void {
  if (config["quantization"] !== undefined) return;
  const foreign = asObject(config["quantization_config"]);
  if (foreign === null) return;
  const method = foreign["quant_method"] ?? "unnamed";
  throw new Failure(
    "unsupported",
    `Cannot load ${file}: it is quantised by "${method}", known are MLX's own form and GGUF`,
  );
}
