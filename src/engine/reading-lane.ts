/**
 * Reads the texts of many requests side by side, in passes of texts of like length that stop where running answers want
 * their step. Counts tokens and milliseconds; knows no tensor.
 */

import { assert } from "../core/assert.ts";
import type { EncoderText } from "../core/encoding.ts";
import { type FailureRecord, toRecord } from "../core/failure.ts";
import type { Pieces, TextReader } from "./text-reader.ts";

export type ReadOutcome =
  | { readonly kind: "read"; readonly id: number; readonly values: readonly Float32Array[] }
  | { readonly kind: "failed"; readonly id: number; readonly failure: FailureRecord };

interface Job {
  readonly id: number;
  readonly values: Float32Array[];
  /** Not in a pass yet; the longest first. */
  readonly waiting: Entry[];
  /** Whose numbers are not there yet. */
  unread: number;
}

interface Entry {
  readonly job: Job;
  /** Among the texts of its job. */
  readonly index: number;
  readonly text: EncoderText;
}

interface Pass {
  readonly entries: readonly Entry[];
  readonly pieces: Pieces;
  /** With those that only fill up. */
  readonly tokens: number;
}

// Beyond this a product gains nothing by more rows, and who is cancelled holds the engine up.
const PASS_TOKENS_MAX = 1024;
// While answers run and nothing is known of what a token costs.
const PASS_TOKENS_AT_FIRST = 64;
/** A text shorter than this share of a pass's longest is left to another: it would be mostly filling. */
const LIKE_LENGTH = 0.75;
const NEWEST_WEIGHT = 0.3;

export class ReadingLane implements Disposable {
  readonly reader: TextReader;
  readonly #now: () => number;
  readonly #jobs = new Map<number, Job>();
  #pass: Pass | null = null;
  /** Of a token in a piece. */
  #token_ms: number | null = null;

  /** Owns the reader. `now` tells milliseconds. */
  constructor(reader: TextReader, now: () => number) {
    this.reader = reader;
    this.#now = now;
  }

  get jobs(): number {
    return this.#jobs.size;
  }

  add(id: number, texts: readonly EncoderText[]): void {
    assert(texts.length > 0, "a request has a text");
    const job: Job = { id, values: [], waiting: [], unread: texts.length };
    const by_length = texts.map((text, index) => ({ job, index, text })).sort((a, b) => lengthOf(b) - lengthOf(a));
    job.waiting.push(...by_length);
    this.#jobs.set(id, job);
  }

  /** What is computed of it already is dropped. */
  remove(id: number): void {
    this.#jobs.delete(id);
    if (this.#pass?.entries.every(({ job }) => !this.#jobs.has(job.id)) === true) this.#drop();
  }

  /** Works for about so long, a piece at least. `others_wait`: answers do, so a piece should take half of that at most. */
  advance(duration_ms: number, others_wait: boolean): ReadOutcome[] {
    const end_ms = this.#now() + duration_ms;
    const piece_ms = duration_ms / 2;
    const outcomes: ReadOutcome[] = [];
    while (this.#jobs.size > 0) {
      this.#pass ??= this.#begin(others_wait ? this.#tokensIn(piece_ms) : PASS_TOKENS_MAX);
      outcomes.push(...this.#work(this.#pass));
      const next_ms = this.#pass === null ? piece_ms : (this.#token_ms ?? 0) * this.#pass.tokens;
      if (this.#now() + (others_wait ? next_ms : 0) >= end_ms) break;
    }
    return outcomes;
  }

  [Symbol.dispose](): void {
    this.#drop();
    this.#jobs.clear();
    this.reader[Symbol.dispose]();
  }

  #tokensIn(duration_ms: number): number {
    if (this.#token_ms === null) return PASS_TOKENS_AT_FIRST;
    return Math.max(1, Math.min(PASS_TOKENS_MAX, Math.floor(duration_ms / this.#token_ms)));
  }

  /** Led by the longest text of the job that has waited longest for a lead, and filled up from all. */
  #begin(tokens_max: number): Pass {
    const jobs = [...this.#jobs.values()];
    const lead = jobs.find(({ waiting }) => waiting.length > 0);
    assert(lead !== undefined, "a request whose texts are all in passes is not waited for twice");
    const length = Math.max(1, ...lead.waiting.slice(0, 1).map(lengthOf));
    const texts_max = Math.max(1, Math.min(this.reader.texts_max, Math.floor(tokens_max / length)));
    const entries: Entry[] = [];
    for (const { waiting } of [lead, ...jobs]) {
      const from = waiting.findIndex((entry) => lengthOf(entry) <= length);
      if (from < 0) continue;
      const fitting = waiting.slice(from).findIndex((entry) => lengthOf(entry) < LIKE_LENGTH * length);
      const like = fitting < 0 ? waiting.length - from : fitting;
      entries.push(...waiting.splice(from, Math.min(like, texts_max - entries.length)));
    }
    this.#jobs.delete(lead.id);
    this.#jobs.set(lead.id, lead);
    const texts = entries.map(({ text }) => text);
    return {
      entries,
      pieces: this.reader.read(texts, tokens_max),
      tokens: Math.min(tokens_max, length * texts.length),
    };
  }

  #work(pass: Pass): ReadOutcome[] {
    const began_ms = this.#now();
    try {
      const { done, value } = pass.pieces.next();
      this.#observe((this.#now() - began_ms) / pass.tokens);
      if (done !== true) return [];
      this.#pass = null;
      return pass.entries.flatMap((entry, place) => this.#deliver(entry, value[place]));
    } catch (error) {
      this.#pass = null;
      return this.#fail(pass, error);
    }
  }

  #observe(token_ms: number): void {
    this.#token_ms = this.#token_ms === null ? token_ms : this.#token_ms + NEWEST_WEIGHT * (token_ms - this.#token_ms);
  }

  #deliver({ job, index }: Entry, values: Float32Array | undefined): ReadOutcome[] {
    assert(values !== undefined, "each text of a pass has its numbers");
    job.values[index] = values;
    job.unread -= 1;
    if (job.unread > 0 || !this.#jobs.delete(job.id)) return [];
    return [{ kind: "read", id: job.id, values: job.values }];
  }

  #fail({ entries }: Pass, error: unknown): ReadOutcome[] {
    const failure = toRecord(error, "engine");
    const ids = new Set(entries.map(({ job }) => job.id));
    return [...ids].flatMap((id) => (this.#jobs.delete(id) ? [{ kind: "failed", id, failure } as const] : []));
  }

  #drop(): void {
    this.#pass?.pieces.return([]);
    this.#pass = null;
  }
}

function lengthOf({ text }: Entry): number {
  return text.token_ids.length;
}
