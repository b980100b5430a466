/** Decides which rows step next, with which tokens and in which blocks. Counts integers; knows nothing of tensors. */

import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import type { RowFinish } from "../core/generation.ts";
import type { PrefixMatch } from "../core/prefix.ts";
import { rankMs } from "../core/priority.ts";
import { BLOCK_TOKENS } from "../models/block.ts";
import { type BlockContent, BlockStore, type BlockTier, equalTokens, NO_TIER } from "./block-store.ts";
import { blocksFor, Row, type RowLimits } from "./row.ts";
import { CHUNK_TOKENS_MIN, StepCost, type StepLoad } from "./step-cost.ts";

// Copying a block costs about as much as computing a few tokens.
const COPY_TOKENS_MIN = 8;

// Each takes a vocabulary of logits: together they stay below a hundred MB.
const SCORED_TOKENS_MAX = 128;

/** Tokens of one row that go through the model in this step. */
export interface Part {
  readonly id: number;
  readonly token_ids: readonly number[];
  /** Position of the first of them. */
  readonly start: number;
  /** The row's block table, up to the end of these tokens. */
  readonly blocks: readonly number[];
  /** How many of the last positions' logits are wanted: 0, or 1 and one for each draft. */
  readonly outputs: number;
  /** Prompt tokens whose likelihood is wanted: they stand behind the positions from `from` on. Absent: none is. */
  readonly scored?: { readonly from: number; readonly token_ids: readonly number[] };
}

/** One forward pass: first the copies, in their order, then all parts together. Each part is committed, or its row leaves. */
export interface Plan extends StepLoad {
  readonly parts: readonly Part[];
  /** From block to block: a row goes on in a copy of what another may still write to. */
  readonly copies: readonly { readonly id: number; readonly from: number; readonly to: number }[];
}

interface OpenPlan extends Plan {
  readonly parts: Part[];
  readonly copies: { id: number; from: number; to: number }[];
  decode_rows: number;
  extra_tokens: number;
  restored_blocks: number;
}

export interface Committed {
  /** What was drawn, as far as it is part of the answer. */
  readonly token_ids: readonly number[];
  readonly finish: RowFinish | null;
}

export interface BatcherSettings {
  readonly blocks_max: number;
  /** Blocks kept for what they contain while no row holds them. */
  readonly cached_blocks_max: number;
  /** Rows that step together; the others wait. */
  readonly rows_max: number;
  /** How long a step may take while rows decode: prompts get what that leaves. */
  readonly decode_gap_ms_target: number;
  /** Prompt tokens in a step while no row decodes. */
  readonly chunk_tokens_max: number;
  /** Blocks that the tier fills, or is given, in a step while rows decode. */
  readonly restored_blocks_max: number;
  /** Tokens guessed for a row in one step; 0: none. */
  readonly draft_tokens_max: number;
}

export class Batcher {
  readonly #settings: BatcherSettings;
  readonly #store: BlockStore;
  readonly #cost: StepCost;
  #joined = 0;
  readonly #rows = new Map<number, Row>();
  /** Both by rank, the most urgent row first. */
  readonly #waiting: Row[] = [];
  readonly #active: Row[] = [];

  constructor(settings: BatcherSettings, tier: BlockTier = NO_TIER) {
    assert(settings.chunk_tokens_max >= BLOCK_TOKENS, "a chunk holds a block");
    this.#settings = settings;
    this.#store = new BlockStore(settings.blocks_max, tier, settings.cached_blocks_max);
    this.#cost = new StepCost(settings.decode_gap_ms_target, settings.chunk_tokens_max);
  }

  get counts(): { readonly active: number; readonly waiting: number } {
    return { active: this.#active.length, waiting: this.#waiting.length };
  }

  get blocks_max(): number {
    return this.#store.blocks_max;
  }

  get blocks(): BlockStore["counts"] {
    return this.#store.counts;
  }

  join(id: number, prompt_ids: readonly number[], limits: RowLimits, now_ms: number): void {
    assert(!this.#rows.has(id), "a row joins once");
    assert(prompt_ids.length > 0 && limits.tokens_max > 0, "a row has a prompt and an answer");
    const { blocks_max } = this.#store;
    const blocks = blocksFor(prompt_ids.length + limits.tokens_max - 1); // the last token drawn is never read
    if (blocks > blocks_max) {
      const asked = `${prompt_ids.length} tokens of prompt and up to ${limits.tokens_max} of answer`;
      const held = `the cache holds ${blocks_max * BLOCK_TOKENS} tokens`;
      throw new Failure("context_overflow", `Cannot start the request: ${asked}, ${held}`);
    }
    const row = new Row(id, prompt_ids, limits, { ms: rankMs(limits.urgency, now_ms), order: this.#joined++ });
    this.#rows.set(id, row);
    insertByRank(this.#waiting, row);
  }

  leave(id: number): void {
    const row = this.#rows.get(id);
    if (row === undefined) return;
    this.#rows.delete(id);
    const list = this.#active.includes(row) ? this.#active : this.#waiting;
    list.splice(list.indexOf(row), 1);
    this.#giveBack(row);
  }

  /** The next step: every row that decodes by one token and its drafts, then prompts by as much as the gap allows. */
  next(): Plan {
    const plan: OpenPlan = { parts: [], copies: [], decode_rows: 0, extra_tokens: 0, restored_blocks: 0 };
    this.#store.trim(this.#settings.restored_blocks_max);
    this.#admit();
    const decoding = this.#active.filter((row) => row.pending === 1);
    const reading = this.#active.filter((row) => row.pending > 1);
    for (const row of decoding) this.#decode(row, decoding.length, plan);
    let budget = this.#cost.chunkTokens(decoding.length > 0);
    for (const row of reading) budget -= this.#read(row, budget, plan);
    for (const { from } of plan.copies) this.#store.release(from);
    return plan;
  }

  /**
   * Books a part that went through. `drawn_ids` is empty when it had no outputs, else the accepted drafts and one more.
   * `is_complete`: nothing may follow them.
   */
  commit(part: Part, drawn_ids: readonly number[], is_complete = false): Committed {
    const row = this.#row(part.id);
    assert(drawn_ids.length <= part.outputs && drawn_ids.length > 0 === part.outputs > 0, "an output draws a token");
    if (row.drawn === 0) row.prompt_tokens_computed += part.token_ids.length;
    row.scored += part.scored?.token_ids.length ?? 0;
    row.drafter?.observe(part.outputs - 1, drawn_ids.length - 1);
    const drawn = draw(row, drawn_ids);
    const { token_ids } = drawn;
    const finish = is_complete ? "stop" : drawn.finish;
    // Rejected drafts stay in the block and are written over.
    const length = part.start + part.token_ids.length - part.outputs + drawn_ids.length;
    row.length = Math.min(length, row.token_ids.length);
    this.#publish(row, part.start);
    return { token_ids, finish };
  }

  observe(plan: Plan, duration_ms: number): void {
    this.#cost.observe(plan, duration_ms);
  }

  /** How many tokens the row has drawn. */
  drawn(id: number): number {
    return this.#row(id).drawn;
  }

  /** How many tokens of the prompt others had computed. */
  cachedTokens(id: number): number {
    const { prompt_tokens, prompt_tokens_computed } = this.#row(id);
    return Math.max(0, prompt_tokens - prompt_tokens_computed);
  }

  explain(prompt_ids: readonly number[], root: string): PrefixMatch {
    return this.#store.explain(prompt_ids, root);
  }

  /** What blocks nobody reads hold, the last used first. */
  cached(): ReturnType<BlockStore["cached"]> {
    return this.#store.cached();
  }

  get freeBlocks(): readonly number[] {
    return this.#store.free;
  }

  /** Gives up at once what is cached beyond what may be. */
  trim(): void {
    this.#store.trim(Number.POSITIVE_INFINITY);
  }

  /** Gives up the blocks nobody reads, to the tier if there is one. */
  clearCache(): void {
    this.#store.clear();
  }

  checkIntegrity(): void {
    this.#store.checkIntegrity(this.#active.map((row) => row.blocks));
    assert(this.#spare() >= 0, "every promised block can be taken");
    assert(this.#rows.size === this.#active.length + this.#waiting.length, "a row waits or is active");
    for (const row of this.#waiting) assert(row.length + row.blocks.length === 0, "a waiting row holds no block");
    for (const row of this.#active) assert(blocksFor(row.length) <= row.blocks.length, "a row's tokens are in blocks");
  }

  /** Strictly by rank: a row that does not fit is not overtaken. Each running row is left one block to grow into. */
  #admit(): void {
    for (let row = this.#waiting[0]; row !== undefined; row = this.#waiting[0]) {
      if (this.#active.length >= this.#settings.rows_max) return;
      if (!row.limits.scores_prompt) this.#reuse(row, (content) => this.#store.hold(content));
      row.blocks_promised = blocksFor(row.token_ids.length);
      if (row.blocks_owed + this.#active.length > this.#spare()) {
        this.#giveBack(row);
        return;
      }
      this.#waiting.shift();
      insertByRank(this.#active, row);
    }
  }

  #decode(row: Row, decode_rows: number, plan: OpenPlan): void {
    if (!this.#active.includes(row) || !this.#cover(row, row.length + 1)) return;
    const count_max = Math.min(row.limits.tokens_max - row.drawn - 1, this.#settings.draft_tokens_max);
    const proposed = row.drafter?.propose(row.token_ids, count_max, this.#cost.acceptanceMin(decode_rows)) ?? [];
    // Nobody makes room for a guess.
    const fits = blocksFor(row.length + 1 + proposed.length) - row.blocks.length <= this.#spare();
    const drafts = fits ? proposed : [];
    this.#cover(row, row.length + 1 + drafts.length);
    plan.parts.push(partOf(row, [...row.token_ids.slice(row.length), ...drafts], 1 + drafts.length));
    plan.decode_rows += 1;
    plan.extra_tokens += drafts.length;
  }

  /** Plans a chunk of the row's prompt, less what others have computed or are about to; returns its tokens. */
  #read(row: Row, budget: number, plan: OpenPlan): number {
    if (!this.#active.includes(row)) return 0;
    if (row.atBlockStart && !row.limits.scores_prompt) {
      this.#reuse(row, (content) => this.#store.hold(content) ?? this.#restore(content, plan));
      if (this.#hasRestoredEnough(plan)) return 0; // more may be there: it is not to be computed
      if (this.#isFollowing(row)) return 0;
      this.#copyTail(row, plan);
    }
    const end = chunkEnd(row, row.limits.scores_prompt ? Math.min(budget, SCORED_TOKENS_MAX) : budget);
    if (end <= row.length) return 0;
    this.#cover(row, end);
    const token_ids = row.token_ids.slice(row.length, end);
    plan.parts.push(partOf(row, token_ids, end === row.token_ids.length ? 1 : 0));
    plan.extra_tokens += token_ids.length;
    return token_ids.length;
  }

  /** Takes over the blocks that hold what comes next. One token at least is left to compute: its logits are wanted. */
  #reuse(row: Row, hold: (content: BlockContent) => number | null): void {
    while (row.pending > BLOCK_TOKENS) {
      const content = row.content(row.blocks.length);
      const block = content === null ? null : hold(content);
      if (block === null) return;
      row.blocks.push(block);
      row.length += BLOCK_TOKENS;
    }
  }

  #restore(content: BlockContent, plan: OpenPlan): number | null {
    const block = this.#hasRestoredEnough(plan) ? null : this.#store.restore(content);
    if (block !== null) plan.restored_blocks += 1;
    return block;
  }

  #hasRestoredEnough({ decode_rows, restored_blocks }: OpenPlan): boolean {
    return decode_rows > 0 && restored_blocks >= this.#settings.restored_blocks_max;
  }

  /** Whether to wait: a more urgent row computes this row's next block, or all that is left of its prompt. */
  #isFollowing(row: Row): boolean {
    const tokens = Math.min(BLOCK_TOKENS, row.pending - 1);
    const alike = this.#active.filter((other) => sharedTokens(row, other) >= tokens);
    const computed = alike.some((other) => other.length >= row.length + tokens);
    return !computed && tokens >= COPY_TOKENS_MIN && alike.some((other) => isMoreUrgent(other, row));
  }

  /** Goes on in a copy of a block that begins as this row's next: another row's, or one that is published. */
  #copyTail(row: Row, plan: OpenPlan): void {
    const index = row.blocks.length;
    const known = this.#store.nearest(row.blocks[index - 1] ?? null, row.limits.root, row.tokensOf(index));
    let best = { from: known?.block ?? 0, tokens: known?.tokens ?? 0 };
    for (const other of this.#active) {
      const from = other.blocks[index];
      const tokens = Math.min(sharedTokens(row, other), other.length - row.length);
      const settled = plan.copies.every((copy) => copy.to !== from); // so that copies may be done in any order
      if (from !== undefined && settled && tokens > best.tokens) best = { from, tokens };
    }
    const tokens = Math.min(best.tokens, row.pending - 1);
    if (tokens < COPY_TOKENS_MIN || this.#spare() < 1) return;
    this.#store.share(best.from); // until the plan is complete, so that nobody is given it meanwhile
    const to = this.#store.take();
    plan.copies.push({ id: row.id, from: best.from, to });
    row.blocks.push(to);
    row.length += tokens;
  }

  /** Gives the row blocks up to `end`, those of the least urgent rows if need be; false when that was the row itself. */
  #cover(row: Row, end: number): boolean {
    while (row.blocks.length < blocksFor(end)) {
      if (row.blocks_owed > 0 || this.#spare() > 0) row.blocks.push(this.#store.take());
      else if (this.#preempt() === row) return false;
    }
    return true;
  }

  /** The least urgent row waits again; it keeps what it has drawn, and its full blocks are cached for a while. */
  #preempt(): Row {
    const row = this.#active.pop();
    assert(row !== undefined, "a row alone has room");
    this.#giveBack(row);
    insertByRank(this.#waiting, row);
    return row;
  }

  #publish(row: Row, from: number): void {
    for (let index = Math.floor(from / BLOCK_TOKENS); (index + 1) * BLOCK_TOKENS <= row.length; index++) {
      const block = row.blocks[index];
      const content = row.content(index);
      assert(block !== undefined && content !== null, "a full block has its tokens");
      row.blocks[index] = this.#store.publish(block, content);
    }
  }

  #giveBack(row: Row): void {
    for (const block of row.blocks.toReversed()) this.#store.release(block);
    row.blocks = [];
    row.length = 0;
    row.blocks_promised = 0;
  }

  /** Blocks that are available and promised to nobody. */
  #spare(): number {
    return this.#active.reduce((spare, row) => spare - row.blocks_owed, this.#store.available);
  }

  #row(id: number): Row {
    const row = this.#rows.get(id);
    assert(row !== undefined, "a row that steps has joined and not left");
    return row;
  }
}

function isMoreUrgent({ rank: left }: Row, { rank: right }: Row): boolean {
  return left.ms < right.ms || (left.ms === right.ms && left.order < right.order);
}

function insertByRank(rows: Row[], row: Row): void {
  const behind = rows.findIndex((other) => isMoreUrgent(row, other));
  rows.splice(behind < 0 ? rows.length : behind, 0, row);
}

/** A chunk within a prompt ends with a block if it can, since full blocks can be shared, or in the middle of one. */
function chunkEnd(row: Row, budget: number): number {
  const end = row.length + budget;
  if (end >= row.token_ids.length) return row.token_ids.length;
  const whole = end - (end % BLOCK_TOKENS);
  return whole > row.length ? whole : end - (end % CHUNK_TOKENS_MIN);
}

/** How many tokens of the row's next block are another's too. Up to there both have the same blocks, or nothing is shared. */
function sharedTokens(row: Row, other: Row): number {
  const index = row.blocks.length;
  if (other === row || other.limits.root !== row.limits.root || other.blocks[index - 1] !== row.blocks[index - 1])
    return 0;
  return equalTokens(row.tokensOf(index), other.tokensOf(index));
}

function partOf(row: Row, token_ids: readonly number[], outputs: number): Part {
  const blocks = row.blocks.slice(0, blocksFor(row.length + token_ids.length));
  const part = { id: row.id, token_ids, start: row.length, blocks, outputs };
  // A row that waited again in between tells nothing twice.
  const from = Math.max(row.length, row.scored);
  const end = Math.min(row.length + token_ids.length, row.prompt_tokens - 1);
  if (!row.limits.scores_prompt || from >= end) return part;
  return { ...part, scored: { from: from - row.length, token_ids: row.token_ids.slice(from + 1, end + 1) } };
}

/** Appends what was drawn until the row ends. */
function draw(row: Row, drawn_ids: readonly number[]): Committed {
  const token_ids: number[] = [];
  for (const token of drawn_ids) {
    row.drawn += 1;
    if (row.limits.stop_token_ids.has(token)) return { token_ids, finish: "stop" };
    row.token_ids.push(token);
    token_ids.push(token);
    if (row.drawn >= row.limits.tokens_max) return { token_ids, finish: "length" };
  }
  return { token_ids, finish: null };
}
