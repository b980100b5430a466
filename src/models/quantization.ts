/** What a config says of quantisation, layer by layer, in MLX's forms. */

import { Failure } from "../core/failure.ts";
import { asObject } from "../formats/json.ts";
import type { Quantization } from "../mlx/ops.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";

const GROUP_SIZES = [32, 64, 128];
const BITS = [2, 3, 4, 5, 6, 8];

/** Forms of small floats come in one size: OCP's microscaling formats, and NVIDIA's, whose scales are E4M3. */
export const SMALL_FLOATS = {
  mxfp4: { mode: "mxfp4", group_size: 32, bits: 4 },
  mxfp8: { mode: "mxfp8", group_size: 32, bits: 8 },
  nvfp4: { mode: "nvfp4", group_size: 16, bits: 4 },
} as const;

type Mode = Quantization["mode"];

export const MODES: readonly Mode[] = ["affine", "mxfp4", "mxfp8", "nvfp4"];

/** As MLX has it where nothing more is said. */
export function formOfMode(mode: Mode): Quantization {
  return mode === "affine" ? { mode, group_size: 64, bits: 4 } : SMALL_FLOATS[mode];
}

/** The quantisation of the layer `name`, or null where it is dense. */
export function quantizationOf(config: ModelConfig, name: string, file: string): Quantization | null {
  if (config["quantization"] === undefined) return null;
  const whole = asObject(config["quantization"]);
  if (whole === null) throw new Failure("unsupported", `Cannot load ${file}: quantization must be an object`);
  // mlx-lm writes exceptions under the layer's own name: numbers that stand for all of the others, or false for dense
  const own = whole[name];
  if (own === false) return null;
  const reader = new ConfigReader(asObject(own) ?? whole, file);
  const named = reader.stringOr("mode", "affine");
  const mode = MODES.find((each) => each === named);
  if (mode === undefined) {
    const state = `its quantization mode is "${named}", known are ${MODES.join(", ")}`;
    throw new Failure("unsupported", `Cannot load ${file}: ${state}`);
  }
  const usual = formOfMode(mode);
  const group_size = reader.dimensionOr("group_size", usual.group_size);
  const bits = reader.dimensionOr("bits", usual.bits);
  checkForm({ mode, group_size, bits }, file);
  return { mode, group_size, bits };
}

/** Throws unless MLX has it. */
export function checkForm({ mode, group_size, bits }: Quantization, file: string): void {
  const usual = formOfMode(mode);
  const is_known =
    mode === "affine"
      ? GROUP_SIZES.includes(group_size) && BITS.includes(bits)
      : group_size === usual.group_size && bits === usual.bits;
  if (is_known) return;
  const form =
    mode === "affine"
      ? `a form MLX has: bits are ${BITS.join(", ")}, groups ${GROUP_SIZES.join(", ")}`
      : `a form of ${mode}, which has ${usual.bits} in ${usual.group_size}`;
  throw new Failure("unsupported", `Cannot load ${file}: ${bits} bits in groups of ${group_size} is not ${form}`);
}

/** GPTQ, AWQ and the like: their tensors have other names and other layouts. Says what to do instead. */
export function refuseForeignQuantization(config: ModelConfig, file: string): void {
  const method = foreignMethod(config);
  if (method === null) return;
  const way = fp8Block(config)
    ? '"bunsen quantize" reads it'
    : 'take a GGUF or an MLX conversion of it, or have "bunsen quantize" read what it was made of';
  const state = `it is quantised by "${method}", known are MLX's own forms and GGUF: ${way}`;
  throw new Failure("unsupported", `Cannot load ${file}: ${state}`);
}

/** null: it is not quantised, or in a form that is read as it is. */
function foreignMethod(config: ModelConfig): string | null {
  const foreign = config["quantization"] === undefined ? foreignOf(config) : null;
  if (foreign === null) return null;
  const method = String(foreign["quant_method"] ?? "unnamed");
  return method === "mxfp4" ? null : method; // of experts, whose blocks are read as they are
}

/** Rows and columns of the blocks of weights in E4M3 that have a scale each; null: it has none. */
export function fp8Block(config: ModelConfig): readonly [number, number] | null {
  const foreign = foreignOf(config);
  const { quant_method, weight_block_size: block, fmt = "e4m3" } = foreign ?? {};
  if (quant_method !== "fp8" || fmt !== "e4m3" || !Array.isArray(block) || block.length !== 2) return null;
  const [rows, columns] = block;
  const is_good = [rows, columns].every((size) => Number.isInteger(size) && size >= 1);
  return is_good ? [rows, columns] : null;
}

function foreignOf(config: ModelConfig): ModelConfig | null {
  return asObject(config["quantization_config"]) ?? asObject(asObject(config["text_config"])?.["quantization_config"]);
}
