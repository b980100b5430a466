/** Rotary position embedding and its scalings, read from a config's `rope_scaling`. Knows no family. */

import { Failure } from "../core/failure.ts";
import { fromBytes, type MlxArray } from "../mlx/array.ts";
import { rope } from "../mlx/fast.ts";
import { astype, multiply } from "../mlx/ops.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";

export interface Rope extends Disposable {
  /** Of a head, its first ones; the others stay as they are. */
  readonly dims: number;
  /** What makes a pair: the dimensions i and i + dims / 2, or 2i and 2i + 1. */
  readonly pairs: "halves" | "neighbours";
  /** Of each pair of dimensions, over 2π; float32 (dims / 2). */
  readonly wavelengths: MlxArray;
  /** Positions are multiplied by this. */
  readonly scale: number;
  /** What turns of queries and keys is multiplied by this (yarn, longrope). */
  readonly magnitude: number;
  /** Beyond as many positions the scaling would have to be another. */
  readonly positions_max: number;
}

/** Rotates `x` (1, heads, length, head_dim) from position `offset` on. */
export function rotate(x: MlxArray, how: Rope, offset: number): MlxArray {
  using scaled = magnified(x, how);
  return rope(scaled ?? x, how.dims, how.pairs === "neighbours", how.wavelengths, how.scale, offset);
}

export interface RopeForm {
  readonly dims: number;
  readonly pairs?: Rope["pairs"];
  /** Where the config says nothing of its base. */
  readonly base?: number;
  /** For configs that say it for each of `layer_types`. */
  readonly layer_type?: "full_attention" | "sliding_attention";
}

/** `file` is named in the refusal of a scaling we do not know or that lacks a number. */
export function readRope(config: ModelConfig, said: RopeForm, file: string): Rope {
  const reader = new ConfigReader(config, file);
  const form = { ...said, pairs: pairsOf(reader, said) };
  // transformers 5 moved theta and the scaling together into rope_parameters
  const every = reader.object("rope_parameters");
  const own = form.layer_type === undefined ? null : every?.object(form.layer_type);
  const parameters = own ?? every ?? reader.object("rope_scaling");
  const outer = reader.numberOr("rope_theta", form.base ?? 10_000);
  const base = parameters?.numberOr("rope_theta", outer) ?? outer;
  const kind = parameters?.stringOr("rope_type", parameters.stringOr("type", "default")) ?? "default";
  if (parameters === null || kind === "default") return turning(form, unscaled(base, form.dims));
  switch (kind) {
    case "linear":
      return turning(form, unscaled(base, form.dims), { scale: 1 / parameters.positive("factor") });
    case "llama3":
      return turning(form, llama3(base, form.dims, parameters));
    case "yarn":
      return yarn(base, form, parameters, reader);
    case "longrope":
    case "su": // its first name
      return longrope(base, form, parameters, reader);
    case "factors":
      return turning(form, factored(base, form.dims, "factors", parameters));
    default:
      throw new Failure(
        "unsupported",
        `Cannot load ${file}: its rope scaling is "${kind}", known are linear, llama3, yarn and longrope`,
      );
  }
}

/** mlx-lm's configs may say it. */
function pairsOf(reader: ConfigReader, { pairs = "halves" }: RopeForm): Rope["pairs"] {
  const neighbours = reader.booleanOr("rope_traditional", null) ?? pairs === "neighbours";
  return neighbours ? "neighbours" : "halves";
}

/** Of layers that see a window: a scaling is theirs only where the config says so for them. */
export function nearRope(config: ModelConfig, form: RopeForm, file: string): Rope {
  const reader = new ConfigReader(config, file);
  const parameters = reader.object("rope_parameters");
  if (parameters?.has("sliding_attention")) return readRope(config, { ...form, layer_type: "sliding_attention" }, file);
  const base = reader.numberOr("rope_theta", form.base ?? 10_000);
  return plainRope(form, parameters?.numberOr("rope_theta", base) ?? base);
}

/** With this base and no scaling, whatever the config says. */
export function plainRope(form: RopeForm, base: number): Rope {
  return turning(form, unscaled(base, form.dims));
}

/** For layers without positions: it turns by no angle. */
export function noRope(): Rope {
  return turning({ dims: 2 }, [Number.POSITIVE_INFINITY]);
}

/** How much of a head rotates. */
export function rotaryDims(config: ModelConfig, head_dim: number, file: string, otherwise = 1): number {
  const reader = new ConfigReader(config, file);
  const own = reader.numberOr("partial_rotary_factor", otherwise);
  const dims = Math.trunc(head_dim * (reader.object("rope_parameters")?.numberOr("partial_rotary_factor", own) ?? own));
  if (dims > 0 && dims <= head_dim && dims % 2 === 0) return dims;
  throw new Failure("unsupported", `Cannot load ${file}: dimensions rotate in pairs within a head, found ${dims}`);
}

function turning(
  { dims, pairs = "halves" }: RopeForm,
  lengths: readonly number[],
  more: Partial<Pick<Rope, "scale" | "magnitude" | "positions_max">> = {},
): Rope {
  const wavelengths = fromBytes(Float32Array.from(lengths), [lengths.length], "float32");
  return {
    ...{ dims, pairs, wavelengths, scale: 1, magnitude: 1, positions_max: Number.POSITIVE_INFINITY },
    ...more,
    [Symbol.dispose]: () => wavelengths[Symbol.dispose](),
  };
}

function magnified(x: MlxArray, { dims, magnitude }: Rope): MlxArray | null {
  if (magnitude === 1) return null;
  const head_dim = x.shape[3] ?? 0;
  using factors = fromBytes(
    Float32Array.from({ length: head_dim }, (_, dim) => (dim < dims ? magnitude : 1)),
    [head_dim],
    "float32",
  );
  using stored = astype(factors, x.dtype);
  return multiply(x, stored);
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
function yarn(base: number, form: RopeForm, parameters: ConfigReader, config: ConfigReader): Rope {
  const { dims } = form;
  const factor = parameters.positive("factor");
  const original = parameters.numberOr(
    "original_max_position_embeddings",
    config.numberOr("max_position_embeddings", 4096),
  );
  const turns = (rotations: number) => (dims * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(base));
  const whole = parameters.booleanOr("truncate", true) === true;
  const fast = turns(parameters.numberOr("beta_fast", 32));
  const slow = turns(parameters.numberOr("beta_slow", 1));
  const low = Math.max(whole ? Math.floor(fast) : fast, 0);
  const high = Math.min(whole ? Math.ceil(slow) : slow, dims - 1);
  const width = high === low ? 0.001 : high - low;
  const lengths = unscaled(base, dims).map((length, pair) => {
    const interpolated = Math.min(Math.max((pair - low) / width, 0), 1);
    return 1 / (interpolated / (factor * length) + (1 - interpolated) / length);
  });
  const growth = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  const usual = growth(parameters.numberOr("mscale", 1)) / growth(parameters.numberOr("mscale_all_dim", 0));
  return turning(form, lengths, { magnitude: parameters.numberOr("attention_factor", usual) });
}

/**
 * LongRoPE (Ding et al. 2024, arXiv:2402.13753): a stretch for each wavelength, one set for short sequences and one for
 * long. Where a sequence grows from short to long every key it has would turn anew: so the short ones end the context.
 */
function longrope(base: number, form: RopeForm, parameters: ConfigReader, config: ConfigReader): Rope {
  for (const name of ["short_mscale", "long_mscale"]) parameters.only(name);
  const known = config.dimensionOr("max_position_embeddings", 4096);
  const original = parameters.dimensionOr(
    "original_max_position_embeddings",
    config.dimensionOr("original_max_position_embeddings", known),
  );
  const factor = parameters.numberOr("factor", known / original);
  const usual = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
  return turning(form, factored(base, form.dims, "short_factor", parameters), {
    magnitude: parameters.numberOr("attention_factor", usual),
    positions_max: original,
  });
}

/** A stretch for each wavelength, in place of a formula. */
function factored(base: number, dims: number, name: string, parameters: ConfigReader): number[] {
  const factors = parameters.numbers(name, dims / 2);
  return unscaled(base, dims).map((length, pair) => length * (factors[pair] ?? 1));
}
