/** Reads a model's config field by field: hostile input, so every value is checked where it is used. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../core/failure.ts";
import { asObject, readJson } from "../formats/json.ts";

/** `config.json`, or what a GGUF file says in its words. Checked field by field where a family reads it. */
export type ModelConfig = Readonly<Record<string, unknown>>;

// Far above any model that exists; a dimension beyond it is a damaged or hostile file.
const DIMENSION_MAX = 2 ** 24;

/** Of a Hugging Face folder; with the method of quantisation that NVIDIA's ModelOpt may write beside it. */
export function readConfig(folder: string): ModelConfig {
  const file = join(folder, "config.json");
  const config = asObject(readJson(file));
  if (config === null) throw new Failure("unavailable", `Cannot load ${file}: it is not a JSON object`);
  const beside = join(folder, MODELOPT);
  const says = config["quantization"] ?? config["quantization_config"];
  if (says !== undefined || !existsSync(beside)) return config;
  const algorithm = asObject(asObject(readJson(beside))?.["quantization"])?.["quant_algo"] ?? null;
  if (algorithm === null) return config; // of the cache alone
  return { ...config, quantization_config: { quant_method: `modelopt ${algorithm}` } };
}

const MODELOPT = "hf_quant_config.json";

export class ConfigReader {
  readonly #fields: Readonly<Record<string, unknown>>;
  /** For messages. */
  readonly file: string;

  constructor(fields: Readonly<Record<string, unknown>>, file: string) {
    this.#fields = fields;
    this.file = file;
  }

  get names(): readonly string[] {
    return Object.keys(this.#fields);
  }

  /** A whole number from 1 to 2^24. */
  dimension(name: string): number {
    const value = this.#fields[name];
    if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= DIMENSION_MAX) return value;
    throw this.#refusal(name, "a whole number of at least 1");
  }

  dimensionOr(name: string, otherwise: number): number {
    return this.#absent(name) ? otherwise : this.dimension(name);
  }

  /** A whole number from `least` to `most`. */
  dimensionWithin(name: string, least: number, most: number, otherwise?: number): number {
    const value = otherwise === undefined ? this.dimension(name) : this.dimensionOr(name, otherwise);
    if (value >= least && value <= most) return value;
    throw this.#refusal(name, `a whole number from ${least} to ${most}`);
  }

  optionalDimension(name: string): number | undefined {
    return this.#absent(name) ? undefined : this.dimension(name);
  }

  optionalPositive(name: string): number | undefined {
    return this.#absent(name) ? undefined : this.positive(name);
  }

  positive(name: string): number {
    const value = this.#fields[name];
    if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
    throw this.#refusal(name, "a number above 0");
  }

  /** `otherwise` where the field is absent, nothing where it is null. */
  positiveUnlessNull(name: string, otherwise: number): number | undefined {
    if (this.#fields[name] === null) return undefined;
    return this.#absent(name) ? otherwise : this.positive(name);
  }

  has(name: string): boolean {
    return !this.#absent(name);
  }

  numberOr(name: string, otherwise: number): number {
    if (this.#absent(name)) return otherwise;
    const value = this.#fields[name];
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw this.#refusal(name, "a number");
  }

  stringOr(name: string, otherwise: string): string {
    if (this.#absent(name)) return otherwise;
    const value = this.#fields[name];
    if (typeof value === "string") return value;
    throw this.#refusal(name, "a text");
  }

  booleanOr(name: string, otherwise: boolean | null): boolean | null {
    if (this.#absent(name)) return otherwise;
    const value = this.#fields[name];
    if (typeof value === "boolean") return value;
    throw this.#refusal(name, "true or false");
  }

  /** False where the field is absent. */
  flag(name: string): boolean {
    return this.booleanOr(name, false) === true;
  }

  numbers(name: string, count: number): readonly number[] {
    const value = this.#fields[name];
    if (Array.isArray(value) && value.length === count && value.every((item) => Number.isFinite(item))) return value;
    throw this.#refusal(name, `${count} numbers`);
  }

  /** `count` of them where it is given. */
  numbersOr(name: string, count?: number): readonly number[] | null {
    if (this.#absent(name)) return null;
    const value = this.#fields[name];
    return this.numbers(name, count ?? (Array.isArray(value) ? value.length : 0));
  }

  object(name: string): ConfigReader | null {
    if (this.#absent(name)) return null;
    const value = this.#fields[name];
    const fields = asObject(value);
    if (fields !== null) return new ConfigReader(fields, this.file);
    throw this.#refusal(name, "an object");
  }

  /** `count` words of `known`, or null where the field is absent. */
  wordsOr<Word extends string>(name: string, count: number, known: readonly Word[]): readonly Word[] | null {
    if (this.#absent(name)) return null;
    const value: unknown = this.#fields[name];
    const words = Array.isArray(value) ? value.flatMap((item) => known.find((word) => word === item) ?? []) : [];
    if (Array.isArray(value) && words.length === count && value.length === count) return words;
    throw this.#refusal(name, `${count} of ${known.join(" and ")}`);
  }

  /** Throws unless the field is absent or one of `known`: what else it may say is not computed here. */
  only(name: string, ...known: readonly (string | number | boolean)[]): void {
    const value = this.#fields[name];
    if (this.#absent(name) || known.some((each) => each === value)) return;
    throw this.#refusal(name, known.map((each) => JSON.stringify(each)).join(" or "));
  }

  #absent(name: string): boolean {
    return this.#fields[name] === undefined || this.#fields[name] === null;
  }

  #refusal(name: string, expected: string): Failure {
    const found = JSON.stringify(this.#fields[name])?.slice(0, 80) ?? "nothing";
    return new Failure("unsupported", `Cannot load ${this.file}: ${name} must be ${expected}, found ${found}`);
  }
}
