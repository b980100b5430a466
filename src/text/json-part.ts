/** One object of a model's JSON file, read field by field; a wrong field is a `Failure` that names file and place. */

import { Failure } from "../core/failure.ts";
import { asObject } from "../formats/json.ts";

/** The largest vocabularies have 262,144 tokens; tables are made up to the largest id, so a wild one is refused. */
const TOKEN_ID_MAX = 2 ** 22;
const TOKEN_ID = `a token id from 0 to ${TOKEN_ID_MAX}`;

export function isTokenId(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= TOKEN_ID_MAX;
}

export class JsonPart {
  readonly #fields: Readonly<Record<string, unknown>>;
  /** The file, for messages. */
  readonly file: string;
  readonly #place: string;

  constructor(value: unknown, file: string, place = "") {
    const fields = asObject(value);
    if (fields === null) throw wrong(file, place, value, "an object");
    this.#fields = fields;
    this.file = file;
    this.#place = place;
  }

  /** The field as it is; null stands for absent. */
  value(key: string): unknown {
    return Object.hasOwn(this.#fields, key) ? (this.#fields[key] ?? null) : null;
  }

  fields(): Readonly<Record<string, unknown>> {
    return this.#fields;
  }

  keys(): readonly string[] {
    return Object.keys(this.#fields);
  }

  text(key: string): string {
    return this.textOrNull(key) ?? this.#fail(key, "text");
  }

  textOrNull(key: string): string | null {
    const value = this.value(key);
    return value === null || typeof value === "string" ? value : this.#fail(key, "text");
  }

  number(key: string): number {
    return this.numberOrNull(key) ?? this.#fail(key, "a number");
  }

  numberOrNull(key: string): number | null {
    const value = this.value(key);
    return value === null || typeof value === "number" ? value : this.#fail(key, "a number");
  }

  flag(key: string, otherwise: boolean): boolean {
    return this.flagOrNull(key) ?? otherwise;
  }

  flagOrNull(key: string): boolean | null {
    const value = this.value(key);
    return value === null || typeof value === "boolean" ? value : this.#fail(key, "true or false");
  }

  tokenId(key: string): number {
    const value = this.value(key);
    return isTokenId(value) ? value : this.#fail(key, TOKEN_ID);
  }

  tokenIds(key: string): readonly number[] {
    const values = this.list(key);
    return values.every(isTokenId) ? values : this.#fail(key, `a list with each ${TOKEN_ID}`);
  }

  /** Of an object whose fields are all token ids; of what another format has in its place they are known to be. */
  idsByText(): ReadonlyMap<string, number> {
    if (this.#fields instanceof Map) return this.#fields;
    const ids = new Map<string, number>();
    for (const [text, id] of Object.entries(this.#fields)) ids.set(text, isTokenId(id) ? id : this.tokenId(text));
    return ids;
  }

  part(key: string): JsonPart {
    return new JsonPart(this.value(key), this.file, this.#at(key));
  }

  partOrNull(key: string): JsonPart | null {
    return this.value(key) === null ? null : this.part(key);
  }

  list(key: string): readonly unknown[] {
    const value = this.value(key) ?? [];
    return Array.isArray(value) ? value : this.#fail(key, "a list");
  }

  parts(key: string): readonly JsonPart[] {
    return this.list(key).map((value, index) => new JsonPart(value, this.file, this.#at(`${key}/${index}`)));
  }

  /** For something the file may say, but which is not supported here. */
  unsupported(what: string): Failure {
    const place = this.#place === "" ? "" : `${this.#place}: `;
    return new Failure("unsupported", `Cannot read "${this.file}": ${place}${what} is not supported`);
  }

  /** For a field that is there and wrong. */
  damaged(key: string, expected: string): Failure {
    return wrong(this.file, this.#at(key), this.value(key), expected);
  }

  #at(key: string): string {
    return this.#place === "" ? key : `${this.#place}/${key}`;
  }

  #fail(key: string, expected: string): never {
    throw wrong(this.file, this.#at(key), this.value(key), expected);
  }
}

function wrong(file: string, place: string, found: unknown, expected: string): Failure {
  const shown = found === undefined || found === null ? "missing" : JSON.stringify(found).slice(0, 80);
  const what = place === "" ? "its content" : place;
  return new Failure("unavailable", `Cannot read "${file}": ${what} is ${shown}, expected ${expected}`);
}
