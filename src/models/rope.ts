/** Rotary position embedding and its scalings, read from a config's `rope_scaling`. Knows no family. */

import { Failure } from "../core/failure.ts";
import { fromBytes, type MlxArray, scalar } from "../mlx/array.ts";
import { rope } from "../mlx/fast.ts";
import { multiply } from "../mlx/ops.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";

export interface Rope {
  readonly dims: number;
  /** Of each pair of dimensions, over 2π; float32 (dims / 2). */
  readonly wavelengths: MlxArray;
  /** Positions are multiplied by this. */
  readonly scale: number;
  /** Queries and keys are multiplied by this (yarn). */
  readonly magnitude: number;
}

/** Rotates `x` (1, heads, length, head_dim) from position `offset` on. */
export function rotate(x: MlxArray, how: Rope, offset: number): MlxArray {
  if (how.magnitude === 1) return rope(x, how.dims, how.wavelengths, how.scale, offset);
  using magnitude = scalar(how.magnitude);
  using scaled = multiply(x, magnitude);
  return rope(scaled, how.dims, how.wavelengths, how.scale, offset);
}

/** `file` is named in the refusal of a scaling we do not know or that lacks a number. */
export function readRope(config: ModelConfig, dims: number, file: string): Rope {
  const reader = new ConfigReader(config, file);
  // transformers 5 moved theta and the scaling together into rope_parameters
  const parameters = reader.object("rope_parameters") ?? reader.object("rope_scaling");
  const base =
    parameters?.numberOr("rope_theta", reader.numberOr("rope_theta", 10_000)) ?? reader.numberOr("rope_theta", 10_000);
  const kind = parameters?.stringOr("rope_type", parameters.stringOr("type", "default")) ?? "default";
  const turning = (lengths: readonly number[], scale = 1, magnitude = 1): Rope => ({
    dims,
    wavelengths: fromBytes(Float32Array.from(lengths), [lengths.length], "float32"),
    scale,
    magnitude,
  });
  if (parameters === null || kind === "default") return turning(unscaled(base, dims));
  switch (kind) {
    case "linear":
      return turning(unscaled(base, dims), 1 / parameters.positive("factor"));
    case "llama3":
      return turning(llama3(base, dims, parameters));
    case "yarn": {
      const { lengths, magnitude } = yarn(base, dims, parameters, reader);
      return turning(lengths, 1, magnitude);
    }
    case "factors":
      return turning(factored(base, dims, parameters));
    default:
      throw new Failure(
        "unsupported",
        `Cannot load ${file}: its rope scaling is "${kind}", known are linear, llama3 and yarn`,
      );
  }
}

export function disposeRope(how: Rope): void {
  how.wavelengths[Symbol.dispose]();
}

/** base^(2i / dims): the wavelength of pair i, over 2π. */
function unscaled(base: number, dims: number): number[] {
  return Array.from({ length: dims / 2 }, (_, pair) => base ** ((2 * pair) / dims));
}

/** Long wavelengths are stretched by `factor`, short ones kept, those between blended (Llama 3.1). */
function llama3(base: number, dims: number, parameters: ConfigReader): number[] {
  const factor = parameters.positive("factor");
  const low = parameters.numberOr("low_freq_factor", 1);
  const high = parameters.numberOr("high_freq_factor", 4);
  const original = parameters.numberOr("original_max_position_embeddings", 8192);
  return unscaled(base, dims).map((length) => {
    const wave = 2 * Math.PI * length;
    if (wave > original / low) return length * factor;
    if (wave < original / high) return length;
    const smooth = (original / wave - low) / (high - low);
    return length / ((1 - smooth) / factor + smooth);
  });
}

/** YaRN (Peng et al. 2023, arXiv:2309.00071): interpolates by wavelength, and scales queries and keys. */
function yarn(
  base: number,
  dims: number,
  parameters: ConfigReader,
  config: ConfigReader,
): { lengths: number[]; magnitude: number } {
  const factor = parameters.positive("factor");
  const original = parameters.numberOr(
    "original_max_position_embeddings",
    config.numberOr("max_position_embeddings", 4096),
  );
  const turns = (rotations: number) => (dims * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(base));
  const low = Math.max(Math.floor(turns(parameters.numberOr("beta_fast", 32))), 0);
  const high = Math.min(Math.ceil(turns(parameters.numberOr("beta_slow", 1))), dims - 1);
  const width = high === low ? 0.001 : high - low;
  const lengths = unscaled(base, dims).map((length, pair) => {
    const interpolated = Math.min(Math.max((pair - low) / width, 0), 1);
    return 1 / (interpolated / (factor * length) + (1 - interpolated) / length);
  });
  const growth = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  const magnitude = growth(parameters.numberOr("mscale", 1)) / growth(parameters.numberOr("mscale_all_dim", 0));
  return { lengths, magnitude };
}

/** A GGUF file may carry the stretch of each wavelength as a tensor in place of a formula. */
function factored(base: number, dims: number, parameters: ConfigReader): number[] {
  const factors = parameters.numbers("factors", dims / 2);
  return unscaled(base, dims).map((length, pair) => length * (factors[pair] ?? 1));
}
