/** What a config says of quantisation, layer by layer. Of MLX's forms, affine and mxfp4. */

import { Failure } from "../core/failure.ts";
import { asObject } from "../formats/json.ts";
import { MXFP4 } from "../formats/mxfp4.ts";
import type { Quantization } from "../mlx/ops.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";

const GROUP_SIZES = [32, 64, 128];
const BITS = [2, 3, 4, 5, 6, 8];

export interface StoredQuantization extends Quantization {
  readonly mode: "affine" | "mxfp4";
}

/** The quantisation of the layer `name`, or null where it is dense. */
export function quantizationOf(config: ModelConfig, name: string, file: string): StoredQuantization | null {
  if (config["quantization"] === undefined) return null;
  const whole = asObject(config["quantization"]);
  if (whole === null) throw new Failure("unsupported", `Cannot load ${file}: quantization must be an object`);
  // mlx-lm writes exceptions under the layer's own name: numbers that stand for all of the others, or false for dense
  const own = whole[name];
  if (own === false) return null;
  const reader = new ConfigReader(asObject(own) ?? whole, file);
  const mode = reader.stringOr("mode", "affine");
  const group_size = reader.dimensionOr("group_size", 64);
  const bits = reader.dimensionOr("bits", 4);
  if (mode === "mxfp4" && group_size === MXFP4.group_size && bits === MXFP4.bits) return { ...MXFP4, mode };
  if (mode !== "affine") {
    const state = `its quantization mode is "${mode}", known are affine and mxfp4`;
    throw new Failure("unsupported", `Cannot load ${file}: ${state}`);
  }
  if (GROUP_SIZES.includes(group_size) && BITS.includes(bits)) return { group_size, bits, mode };
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
  if (method === "mxfp4") return; // of experts, whose blocks are read as they are
  throw new Failure(
    "unsupported",
    `Cannot load ${file}: it is quantised by "${method}", known are MLX's own form and GGUF`,
  );
}
