/** The batcher under a seeded random load, with a model of integers in place of the real one. */

import { expect, test } from "bun:test";
import { PRIORITY } from "../../src/core/priority.ts";
import { Batcher } from "../../src/engine/batcher.ts";
import type { BatcherSettings } from "../../src/engine/batcher-settings.ts";
import type { Part } from "../../src/engine/plan.ts";
import { BLOCK_TOKENS } from "../../src/models/block.ts";
import { integer, seeded } from "../random.ts";
import { answer, FakeModel, STOP } from "./fake-model.ts";

interface Client {
  readonly prompt_ids: readonly number[];
  readonly tokens_max: number;
  readonly joined_ms: number;
  readonly answer_ids: number[];
  /** Of the prompt, those whose likelihood was told; null: none is to be. */
  readonly scored_ids: number[] | null;
}

interface Window {
  readonly positions: number;
  readonly slots_max: number;
}

const ROWS_MAX = 16;
const ROWS_WAITING_MAX = 24;
const PRIORITIES = [PRIORITY.high, PRIORITY.normal, PRIORITY.low] as const;

class Load {
  readonly #requests: number;
  readonly #random: () => number;
  readonly model: FakeModel;
  readonly #batcher: Batcher;
  readonly #clients = new Map<number, Client>();
  readonly #prefixes: readonly number[][];
  /** Texts of one block each. */
  readonly #blocks: readonly number[][];
  #now_ms = 0;
  #reused_tokens = 0;
  readonly seen = { joined: 0, finished: 0, cancelled: 0, failed: 0, paused: 0, copies: 0, drafts: 0, took_ms_max: 0 };

  /** `window`: positions and slots of a layer that sees no more; `states`: slots of a recurrent one. */
  constructor(
    seed: number,
    requests: number,
    blocks_max: number,
    window: Window | null = null,
    states: BatcherSettings["states"] = undefined,
  ) {
    this.#random = seeded(seed);
    this.model = new FakeModel(window?.positions);
    this.#requests = requests;
    const isLost = () => this.#random() < 0.1;
    const tier = this.model.tier(isLost);
    const cached_slots_max = integer(this.#random, 0, blocks_max);
    const settings = {
      blocks_max,
      cached_blocks_max: integer(this.#random, 0, blocks_max),
      rows_max: ROWS_MAX,
      decode_gap_ms_target: 50,
      chunk_tokens_max: 256,
      restored_blocks_max: 2,
      draft_tokens_max: 8,
      windows: window === null ? undefined : { ...window, cached_slots_max },
      states,
    };
    const slot_tier = states === undefined ? this.model.slotTier(isLost) : this.model.stateTier(isLost);
    this.#batcher = new Batcher(settings, tier, slot_tier);
    this.#prefixes = Array.from({ length: 40 }, () => this.#tokens(integer(this.#random, 1, 130)));
    this.#blocks = Array.from({ length: 3 }, () => this.#tokens(BLOCK_TOKENS));
  }

  run(): void {
    while (this.seen.joined < this.#requests || this.#clients.size > 0) {
      this.#arrive();
      this.#step();
      if (this.#random() < 0.1) this.#cancel();
      this.#batcher.checkIntegrity();
    }
    this.#batcher.clearCache();
    this.#batcher.checkIntegrity();
  }

  /** Tokens of prompts that were not computed. */
  get reused_tokens(): number {
    return this.#reused_tokens;
  }

  get counts() {
    return { ...this.#batcher.counts, ...this.#batcher.blocks };
  }

  #arrive(): void {
    while (
      this.seen.joined < this.#requests &&
      this.#batcher.counts.waiting < ROWS_WAITING_MAX &&
      this.#random() < 0.7
    ) {
      const prompt_ids = this.#prompt();
      const tokens_max = integer(this.#random, 1, this.#random() < 0.3 ? 150 : 24);
      const copies = this.#random() < 0.05 ? 4 : 1; // as n asks for
      for (let copy = 0; copy < copies; copy++) this.#join(prompt_ids, tokens_max);
    }
  }

  #join(prompt_ids: readonly number[], tokens_max: number): void {
    const id = ++this.seen.joined;
    const priority = PRIORITIES[integer(this.#random, 0, 2)] ?? PRIORITY.normal;
    const urgency = { priority, waited_ms: integer(this.#random, 0, 5_000) };
    const limits = {
      tokens_max,
      stop_token_ids: new Set([STOP]),
      urgency,
      root: "",
      scores_prompt: this.#random() < 0.05,
      drafts: this.#random() < 0.7,
    };
    this.#batcher.join(id, prompt_ids, limits, this.#now_ms);
    const scored_ids = limits.scores_prompt ? [] : null;
    this.#clients.set(id, { prompt_ids, tokens_max, joined_ms: this.#now_ms, answer_ids: [], scored_ids });
  }

  /** Prompts with a beginning in common, with the same text after another beginning, the same again, and new ones. */
  #prompt(): number[] {
    const kind = this.#random();
    if (kind < 0.1) return this.#tokens(integer(this.#random, 1, 100));
    const prefix = this.#pick(this.#prefixes);
    if (kind < 0.3) return prefix;
    if (kind < 0.4) return [...this.#pick(this.#blocks), ...this.#pick(this.#blocks), ...prefix.slice(0, 40)];
    return [...prefix, ...this.#tokens(integer(this.#random, 1, 40))];
  }

  #pick(texts: readonly (readonly number[])[]): number[] {
    return [...(texts[integer(this.#random, 0, texts.length - 1)] ?? [])];
  }

  #tokens(count: number): number[] {
    return Array.from({ length: count }, () => integer(this.#random, 0, STOP - 1));
  }

  #step(): void {
    const plan = this.#batcher.next();
    if (plan.parts.length === 0 && this.#clients.size > 0) throw new Error("rows are there and none steps");
    const stepping = new Set(plan.parts.map((part) => part.id));
    // Who has begun to answer steps each time, unless its blocks were needed.
    for (const [id, { answer_ids }] of this.#clients)
      if (answer_ids.length > 0 && !stepping.has(id)) this.seen.paused += 1;
    this.model.copy(plan);
    for (const part of plan.parts) this.#run(part);
    const duration_ms = 5 + plan.decode_rows + plan.extra_tokens / 4;
    this.#now_ms += duration_ms;
    this.#batcher.observe(plan, duration_ms);
    this.seen.copies += plan.copies.length;
  }

  #run(part: Part): void {
    const client = this.#clients.get(part.id);
    if (client === undefined) throw new Error(`row ${part.id} steps and is not there`);
    const { prompt_ids, answer_ids } = client;
    // The last token of an answer is never read, nor is a draft beyond it.
    const length_max = prompt_ids.length + client.tokens_max;
    if (part.start + part.token_ids.length >= length_max) throw new Error(`row ${part.id} reads beyond its answer`);
    const drawn = this.model.forward(part, [...prompt_ids, ...answer_ids]);
    if (this.#random() < 0.001) {
      this.seen.failed += 1;
      this.#leave(part.id);
      return;
    }
    const { token_ids, finish } = this.#batcher.commit(part, drawn);
    this.seen.drafts += Math.max(0, drawn.length - 1);
    answer_ids.push(...token_ids);
    client.scored_ids?.push(...(part.scored?.token_ids ?? []));
    if (finish === null) return;
    if (client.scored_ids !== null) expect(client.scored_ids).toEqual(prompt_ids.slice(1));
    this.#reused_tokens += this.#batcher.cachedTokens(part.id);
    expect(answer_ids).toEqual(answer(prompt_ids, client.tokens_max));
    this.seen.finished += 1;
    this.seen.took_ms_max = Math.max(this.seen.took_ms_max, this.#now_ms - client.joined_ms);
    this.#leave(part.id);
  }

  #cancel(): void {
    const ids = [...this.#clients.keys()];
    const id = ids[integer(this.#random, 0, ids.length - 1)];
    if (id === undefined) return;
    this.seen.cancelled += 1;
    this.#leave(id);
  }

  #leave(id: number): void {
    this.#batcher.leave(id);
    this.#clients.delete(id);
  }
}

const WINDOWED = [
  { seed: 5, requests: 4_000, blocks_max: 40, window: { positions: 50, slots_max: 14 } },
  { seed: 6, requests: 3_000, blocks_max: 200, window: { positions: 20, slots_max: 40 } },
  { seed: 7, requests: 3_000, blocks_max: 24, window: { positions: 100, slots_max: 24 } },
];

test.each(WINDOWED)(
  "over $blocks_max blocks, of which each token sees a window, each of $requests requests is answered as if alone (seed $seed)",
  (how) => {
    const load = new Load(how.seed, how.requests, how.blocks_max, how.window);
    load.run();
    const { joined, finished, cancelled, failed } = load.seen;
    expect(finished + cancelled + failed).toBe(joined);
    expect(load.counts).toMatchObject({ active: 0, waiting: 0, free: how.blocks_max });
  },
  60_000,
);

const LOADS = [
  { seed: 1, requests: 100_000, blocks_max: 40 },
  { seed: 2, requests: 10_000, blocks_max: 16 },
  { seed: 3, requests: 10_000, blocks_max: 400 },
] as const;

for (const { seed, requests, blocks_max } of LOADS) {
  test(`each of ${requests} requests over ${blocks_max} blocks is answered as if alone (seed ${seed})`, () => {
    const load = new Load(seed, requests, blocks_max);
    load.run();
    const { joined, finished, cancelled, failed } = load.seen;
    expect(joined).toBeGreaterThanOrEqual(requests);
    expect(finished + cancelled + failed).toBe(joined);
    expect(load.counts).toEqual({ active: 0, waiting: 0, free: blocks_max, cached: 0, referenced: 0 });
    expect(load.seen.took_ms_max).toBeLessThan(20_000);
  }, 300_000);
}

const RECURRENT_LOADS = [
  { seed: 5, requests: 20_000, blocks_max: 40, slots_max: 2 * ROWS_MAX + 10, blocks_per_state: 1 },
  { seed: 6, requests: 10_000, blocks_max: 16, slots_max: 2 * ROWS_MAX, blocks_per_state: 3 },
  { seed: 7, requests: 10_000, blocks_max: 400, slots_max: 2 * ROWS_MAX + 200, blocks_per_state: 2 },
] as const;

for (const { seed, requests, blocks_max, slots_max, blocks_per_state } of RECURRENT_LOADS) {
  test(`so is each of ${requests} with ${slots_max} states beside ${blocks_max} blocks (seed ${seed})`, () => {
    const load = new Load(seed, requests, blocks_max, null, { slots_max, blocks_per_state });
    load.run();
    const { joined, finished, cancelled, failed } = load.seen;
    expect(finished + cancelled + failed).toBe(joined);
    expect(load.counts).toEqual({ active: 0, waiting: 0, free: blocks_max, cached: 0, referenced: 0 });
    expect(load.seen.copies + load.seen.drafts).toBe(0);
    expect(load.reused_tokens).toBeGreaterThan(12 * requests);
    expect(load.seen.took_ms_max).toBeLessThan(20_000);
  }, 120_000);
}

test("the loads meet all there is to go wrong", () => {
  const load = new Load(4, 5_000, 24);
  load.run();
  const { seen } = load.model;
  for (const [what, count] of Object.entries({ ...load.seen, ...seen }))
    expect([what, count > 10]).toEqual([what, true]);
});
