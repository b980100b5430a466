/**
 * Runs the rows of one model: plan, forward, sample, commit. It knows token ids and the model;
 * it knows nothing of text, of requests, or of the thread it runs in.
 */

import type { AdapterFiles, AdapterMemory } from "../core/adapter.ts";
import { assert } from "../core/assert.ts";
import { divideCache } from "../core/cache-shares.ts";
import { type FailureRecord, toRecord } from "../core/failure.ts";
import type { DrawnLogprob, RowStep } from "../core/generation.ts";
import type { CompiledGrammar, ThoughtBound, TokenBytes } from "../core/grammar.ts";
import type { PrefixMatch } from "../core/prefix.ts";
import type { Urgency } from "../core/priority.ts";
import type { EngineSettings } from "../core/settings.ts";
import { evaluate, fromBytes, fromTokens } from "../mlx/array.ts";
import { take } from "../mlx/ops.ts";
import { adapterBytes, loadAdapter } from "../models/adapter.ts";
import { BLOCK_TOKENS } from "../models/block.ts";
import { type Model, stateBytes } from "../models/family.ts";
import { Step } from "../models/step.ts";
import { AdapterShelf } from "./adapter-shelf.ts";
import { Batcher } from "./batcher.ts";
import type { BlockFiles } from "./block-files.ts";
import { NO_TIER } from "./block-store.ts";
import { DiskTier } from "./disk-tier.ts";
import { blockBytes } from "./kv-pool.ts";
import { LayerPools, roomFor } from "./layer-pools.ts";
import type { Part } from "./plan.ts";
import { ModelGrammars } from "./row-grammar.ts";
import { type Draw, type RowText, type SampledRow, Sampler, SamplerMemory } from "./sampler.ts";
import { StatePool } from "./state-pool.ts";
import { StepLogits } from "./step-logits.ts";
import { ThoughtBudget } from "./thought-budget.ts";

export interface NewRow extends SampledRow {
  readonly id: number;
  /** What the answer's text must follow; null: anything. */
  readonly grammar: CompiledGrammar | null;
  /** null: a thought ends when the model ends it. */
  readonly thought: ThoughtBound | null;
  /** What the model is adapted by for this row. */
  readonly adapter: AdapterFiles | null;
  /** Also how likely each token of the prompt was is told. */
  readonly prompt_logprobs: boolean;
  /** What its answer is expected to be. */
  readonly predicted_ids?: readonly number[];
  /** What all adapters of the model may take. */
  readonly adapter_bytes_max: number;
  readonly tokens_max: number;
  readonly urgency: Urgency;
}

export type RowOutcome =
  | (RowStep & { readonly kind: "progress"; readonly id: number })
  | { readonly kind: "failed"; readonly id: number; readonly failure: FailureRecord };

/** Where the blocks of a model are kept beyond its engine's life. */
export interface Disk {
  readonly files: BlockFiles;
  /** From `blockKey`. */
  readonly key: string;
}

// A disk of 500 MB/s gives them in 32 ms.
const RESTORED_BYTES_MAX = 16 * 2 ** 20;

// What was read stays in memory as long as it is no more than this; the disk holds more for less.
const CACHED_BYTES_MIN = 64 * 2 ** 20;
const CACHED_SHARE_OF_WEIGHTS = 2;

export class Engine implements Disposable {
  readonly #model: Model;
  readonly #batcher: Batcher;
  readonly #pools: LayerPools;
  readonly #states: StatePool;
  readonly #disk: DiskTier | null;
  /** Of the layers that see a window, or of recurrent ones. */
  readonly #slot_disk: DiskTier | null;
  readonly #drafts: boolean;
  #steps = 0;
  #is_disposed = false;
  readonly #samplers = new Map<number, Sampler>();
  readonly #adapters: AdapterShelf;
  readonly #memory: SamplerMemory;
  #spelling: { readonly tokens: TokenBytes; readonly grammars: ModelGrammars } | null = null;
  /** For one output's logits on the host. */
  readonly #logits: Float32Array;
  readonly #now: () => number;

  /** `now` tells milliseconds. */
  constructor(model: Model, settings: EngineSettings, now: () => number, disk: Disk | null = null) {
    const state_bytes = stateBytes(model.state_shapes);
    const { room, rows_max, states } = cacheRoom(model, settings);
    const { blocks_max, block_bytes, slot_bytes } = room;
    const both_bytes = block_bytes + slot_bytes;
    const restored_blocks_max = Math.max(1, Math.floor(RESTORED_BYTES_MAX / both_bytes));
    this.#model = model;
    this.#drafts = settings.draft_tokens_max > 0;
    this.#pools = new LayerPools(model.cache_shape, room, settings.kv_bits);
    this.#states = new StatePool(model.state_shapes, RESTORED_BYTES_MAX);
    const { blocks, slots } = this.#pools;
    this.#disk = disk && new DiskTier(disk.files, disk.key, blocks, block_bytes);
    this.#slot_disk =
      disk && state_bytes > 0
        ? new DiskTier(disk.files, `${disk.key}s`, this.#states, ...this.#states.piece_bytes)
        : disk && slots && new DiskTier(disk.files, `${disk.key}w`, slots, slot_bytes);
    const cached_bytes_max = Math.max(CACHED_BYTES_MIN, CACHED_SHARE_OF_WEIGHTS * model.bytes_resident);
    const cached_max = Math.floor(cached_bytes_max / both_bytes);
    const windows = room.windows === null ? undefined : { ...room.windows, cached_slots_max: cached_max };
    const cached_blocks_max = block_bytes === 0 ? blocks_max : cached_max;
    const limits = { rows_max, blocks_max, cached_blocks_max, restored_blocks_max, windows, states };
    this.#batcher = new Batcher({ ...settings, ...limits }, this.#disk ?? NO_TIER, this.#slot_disk ?? NO_TIER);
    this.#adapters = new AdapterShelf({
      measure: (folder) => adapterBytes(folder, model.adaptable),
      load: (folder) => loadAdapter(folder, model.adaptable),
    });
    this.#memory = new SamplerMemory(model.vocabulary_size);
    this.#logits = new Float32Array(model.vocabulary_size);
    this.#now = now;
  }

  get rows(): number {
    return this.#samplers.size;
  }

  /** Tokens of prompt and answer that one row may have. */
  get context_length(): number {
    return Math.min(this.#model.context_length, this.#batcher.blocks_max * BLOCK_TOKENS);
  }

  get adapter_memory(): AdapterMemory {
    return this.#adapters.memory;
  }

  /** Drops the adapters that no row uses. */
  trimAdapters(): void {
    this.#adapters.trim();
  }

  get blocks(): Batcher["blocks"] {
    return this.#batcher.blocks;
  }

  /** What the model's tokens spell: rows that are held to a text are added after it. */
  learnTokens(tokens: TokenBytes): void {
    this.#spelling = { tokens, grammars: new ModelGrammars(tokens, this.#model.vocabulary_size) };
  }

  /** Throws a `Failure` when the row could never finish. */
  add(row: NewRow): void {
    const { id, prompt_ids, tokens_max } = row;
    const text = this.#textOf(row);
    const limits = {
      tokens_max,
      stop_token_ids: new Set(row.stop_token_ids),
      urgency: row.urgency,
      root: row.adapter?.key ?? "",
      scores_prompt: row.prompt_logprobs,
      drafts: this.#drafts,
      ...(row.predicted_ids === undefined ? {} : { predicted_ids: row.predicted_ids }),
    };
    if (row.adapter !== null) this.#adapters.hold(id, row.adapter, row.adapter_bytes_max);
    try {
      this.#batcher.join(id, prompt_ids, limits, this.#now());
    } catch (error) {
      this.#adapters.release(id);
      throw error;
    }
    this.#samplers.set(id, new Sampler(row, this.#memory, text));
  }

  /** Frees the row; one that has ended already is no matter. */
  remove(id: number): void {
    this.#batcher.leave(id);
    this.#adapters.release(id);
    this.#samplers.delete(id);
  }

  /** One forward pass: a token for every decoding row, and as much of the prompts as the gap allows. */
  step(): RowOutcome[] {
    this.#steps += 1;
    const plan = this.#batcher.next();
    const began_ms = this.#now(); // what the tier took says nothing of what a token costs
    try {
      const { blocks: whole, slots: windowed } = this.#pools;
      for (const { blocks } of plan.parts) for (const block of blocks) whole.cover(block);
      for (const { slots } of plan.parts) for (const slot of slots ?? []) windowed?.cover(slot);
      whole.copy(plan.copies);
      windowed?.copy(plan.copies.flatMap(({ slots }) => slots ?? []));
    } catch (error) {
      const ids = new Set([...plan.parts, ...plan.copies].map(({ id }) => id));
      return [...ids].map((id) => this.#fail(id, error));
    }
    const outcomes = this.#run(plan.parts);
    if (outcomes.every(({ kind }) => kind === "progress")) this.#batcher.observe(plan, this.#now() - began_ms);
    return outcomes;
  }

  /** Why a prompt would, or would not, be found in the cache. */
  explain(prompt_ids: readonly number[], adapter: AdapterFiles | null): PrefixMatch {
    return this.#batcher.explain(prompt_ids, adapter?.key ?? "");
  }

  /** Without rows: brings to the disk what is cached, until the next step or its end, and gives back the memory of the rest. */
  async keepCached(): Promise<void> {
    const steps = this.#steps;
    if (this.rows === 0) {
      this.#batcher.trim();
      this.#pools.blocks.forget(this.#batcher.freeBlocks);
      this.#pools.slots?.forget(this.#batcher.freeSlots);
      this.#states.forget(this.#batcher.freeSlots);
    }
    const isIdle = () => this.#steps === steps && !this.#is_disposed;
    await this.#slot_disk?.keep(this.#batcher.cachedSlots(), isIdle);
    await this.#disk?.keep(this.#batcher.cached(), isIdle);
  }

  checkIntegrity(): void {
    this.#batcher.checkIntegrity();
  }

  [Symbol.dispose](): void {
    this.#is_disposed = true;
    this.#pools[Symbol.dispose]();
    this.#states[Symbol.dispose]();
    this.#adapters[Symbol.dispose]();
  }

  /**
   * A pass that fails is run again in halves, down to the rows that are at fault; the others go on. It may be, since what
   * it had written of its positions is written again, and nothing is committed before it is through.
   */
  #run(parts: readonly Part[]): RowOutcome[] {
    let computed: StepLogits | null;
    try {
      computed = this.#forward(parts);
    } catch (error) {
      if (parts.length === 1) return parts.map(({ id }) => this.#fail(id, error));
      const middle = Math.ceil(parts.length / 2);
      return [...this.#run(parts.slice(0, middle)), ...this.#run(parts.slice(middle))];
    }
    using logits = computed;
    return this.#draw(parts, logits);
  }

  /** The logits of all outputs, part by part, or null when no part has one. */
  #forward(parts: readonly Part[]): StepLogits | null {
    using step = new Step(
      parts.map(({ id, start, blocks, slots, token_ids, state }) => {
        return { start, blocks, slots, count: token_ids.length, adapter: this.#adapters.of(id), state };
      }),
      this.#pools.layers,
      this.#states,
    );
    using tokens = fromTokens(parts.flatMap((part) => part.token_ids));
    using hidden = this.#model.forward(tokens, step);
    const places = outputPlaces(parts);
    if (places.length === 0) {
      evaluate(hidden, ...step.kept);
      return null;
    }
    using numbers = fromBytes(Int32Array.from(places), [places.length], "int32");
    using wanted = take(hidden, numbers, 0);
    const logits = this.#model.logits(wanted);
    evaluate(logits, hidden, ...step.kept);
    return new StepLogits(logits, this.#logits);
  }

  #draw(parts: readonly Part[], logits: StepLogits | null): RowOutcome[] {
    let first = 0;
    return parts.map((part) => {
      const scores = first;
      const place = scores + scoredIds(part).length;
      first = place + part.outputs;
      try {
        const scored = logits === null ? [] : this.#score(part, logits, scores);
        return {
          ...this.#commit(part, logits === null ? [] : this.#drawPart(part, logits, place)),
          prompt_logprobs: scored,
        };
      } catch (error) {
        return this.#fail(part.id, error);
      }
    });
  }

  /** What the part's outputs give: drafts as long as the model draws the same, and then the token it draws. */
  #drawPart(part: Part, logits: StepLogits, place: number): Draw[] {
    const sampler = this.#samplers.get(part.id);
    assert(sampler !== undefined, "a row that steps has a sampler");
    const draws: Draw[] = [];
    const drafts = part.token_ids.slice(part.token_ids.length - part.outputs + 1);
    for (let output = 0; output < part.outputs; output++) {
      const step = this.#batcher.drawn(part.id) + output;
      const draw = sampler.takesBest(step)
        ? sampler.take(logits.bestToken(place + output))
        : sampler.draw(logits.read(place + output), step);
      draws.push(draw);
      if (draw.token_id !== drafts[output] || sampler.is_complete) break;
    }
    return draws;
  }

  #score(part: Part, logits: StepLogits, place: number): DrawnLogprob[] {
    const sampler = this.#samplers.get(part.id);
    assert(sampler !== undefined, "a row that steps has a sampler");
    return scoredIds(part).map((token_id, index) => sampler.describe(logits.read(place + index), token_id));
  }

  #textOf({ grammar, thought, stop_token_ids }: NewRow): RowText {
    const spelling = this.#spelling;
    if (grammar === null && thought === null) return { grammar, thought };
    assert(spelling !== null, "the tokens are known before a text that they spell");
    return {
      grammar: grammar === null ? null : spelling.grammars.begin(grammar, stop_token_ids),
      thought: thought === null ? null : new ThoughtBudget(thought, spelling.tokens),
    };
  }

  #commit(part: Part, draws: readonly Draw[]): RowOutcome {
    const { id } = part;
    const drawn_ids = draws.map((draw) => draw.token_id);
    const committed = this.#batcher.commit(part, drawn_ids, this.#samplers.get(id)?.is_complete);
    const { token_ids, finish, predicted } = committed;
    const cached_tokens = this.#batcher.cachedTokens(id);
    const logprobs = draws.slice(0, token_ids.length).flatMap((draw) => draw.logprob ?? []);
    if (finish !== null) this.remove(id);
    const told = predicted === undefined ? {} : { predicted };
    return { kind: "progress", id, token_ids, logprobs, cached_tokens, ...told, finish };
  }

  #fail(id: number, error: unknown): RowOutcome {
    this.remove(id);
    return { kind: "failed", id, failure: toRecord(error, "engine") };
  }
}

/** How the memory of a cache is divided: blocks, slots of windows, states of recurrent layers. */
function cacheRoom(model: Model, settings: EngineSettings) {
  const { cache_shape, context_length } = model;
  const { kv_bits, kv_bytes_max } = settings;
  const state_bytes = stateBytes(model.state_shapes);
  if (state_bytes === 0) {
    return { room: roomFor(cache_shape, context_length, settings), rows_max: settings.rows_max, states: undefined };
  }
  const block_bytes = blockBytes(cache_shape, kv_bits);
  const shares = divideCache(kv_bytes_max, { block_bytes, state_bytes }, settings.rows_max);
  const { rows_max, blocks_max, states_max, blocks_per_state } = shares;
  const left = { ...settings, rows_max, kv_bytes_max: blocks_max * block_bytes };
  const room = roomFor(cache_shape, context_length, left);
  return { room, rows_max, states: { slots_max: states_max, blocks_per_state } };
}

function scoredIds({ scored }: Part): readonly number[] {
  return scored?.token_ids ?? [];
}

/** Places of the scores and the outputs among the tokens of all parts. */
function outputPlaces(parts: readonly Part[]): number[] {
  let end = 0;
  return parts.flatMap((part) => {
    const start = end + (part.scored?.from ?? 0);
    end += part.token_ids.length;
    const scores = scoredIds(part).map((_, index) => start + index);
    const { outputs } = part;
    return [...scores, ...Array.from({ length: outputs }, (_, index) => end - outputs + index)];
  });
}
