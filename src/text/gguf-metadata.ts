/** Reads GGUF metadata by key and type; a wrong one is a `Failure` that names file and key. */

import { Failure } from "../core/failure.ts";
import type { GgufFile, GgufValue } from "../formats/gguf.ts";

export class GgufMetadata {
  readonly #file: GgufFile;

  constructor(file: GgufFile) {
    this.#file = file;
  }

  text(key: string): string {
    return this.textOrNull(key) ?? this.#fail(key, "text");
  }

  textOrNull(key: string): string | null {
    const value = this.#value(key);
    return value === null || typeof value === "string" ? value : this.#fail(key, "text");
  }

  numberOrNull(key: string): number | null {
    const value = this.#value(key);
    return value === null || typeof value === "number" ? value : this.#fail(key, "a number");
  }

  flag(key: string, otherwise: boolean): boolean {
    const value = this.#value(key) ?? otherwise;
    return typeof value === "boolean" ? value : this.#fail(key, "true or false");
  }

  texts(key: string): readonly string[] {
    const value = this.#value(key);
    const isText = (each: GgufValue): each is string => typeof each === "string";
    return Array.isArray(value) && value.every(isText) ? value : this.#fail(key, "a list of texts");
  }

  numbers(key: string, length: number): readonly number[] {
    return this.numbersOrNull(key, length) ?? this.#fail(key, `a list of ${length} numbers`);
  }

  numbersOrNull(key: string, length: number): readonly number[] | null {
    const value = this.#value(key);
    const isNumber = (each: GgufValue): each is number => typeof each === "number";
    if (value === null || (Array.isArray(value) && value.length === length && value.every(isNumber))) return value;
    return this.#fail(key, `a list of ${length} numbers`);
  }

  /** A token id; one the vocabulary does not have counts as absent, as files say 2^32 - 1 for "none". */
  idOrNull(key: string): number | null {
    const id = this.numberOrNull(key);
    const tokens = this.#value("tokenizer.ggml.tokens");
    return id !== null && Array.isArray(tokens) && tokens[id] !== undefined ? id : null;
  }

  unsupported(key: string, known: readonly string[]): Failure {
    const state = `${key} is "${this.text(key)}", known: ${known.join(", ")}`;
    return new Failure("unsupported", `Cannot read the tokenizer of "${this.#file.path}": ${state}`);
  }

  #value(key: string): GgufValue | null {
    return this.#file.metadata.get(key) ?? null;
  }

  #fail(key: string, expected: string): never {
    const value = this.#value(key);
    const found = value === null ? "missing" : Array.isArray(value) ? `a list of ${value.length}` : String(value);
    const state = `${key} is ${found.slice(0, 80)}, expected ${expected}`;
    throw new Failure("unavailable", `Cannot read the tokenizer of "${this.#file.path}": ${state}`);
  }
}
