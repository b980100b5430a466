/** Decides which rows step next, with which tokens and in which blocks. Counts integers; knows nothing of tensors. */

import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import type { PrefixMatch } from "../core/prefix.ts";
import { rankMs } from "../core/priority.ts";
import { BLOCK_TOKENS, blocksFor } from "../models/block.ts";
import type { BatcherSettings } from "./batcher-settings.ts";
import { type BlockContent, BlockStore, type BlockTier, NO_TIER } from "./block-store.ts";
import { type OpenPlan, openPlan, type Part, type Plan } from "./plan.ts";
import { Recurrence, tellingStates } from "./recurrence.ts";
import { type Drawn, insertByRank, NO_GUESSES, Row, type RowLimits } from "./row.ts";
import { RowWindows, tellingWindows } from "./row-windows.ts";
import { isFollowing, nearestTail } from "./shared-tails.ts";
import { StepCost } from "./step-cost.ts";

// Of all rows in one step. Each takes a vocabulary of logits: together they stay near a hundred MB.
const SCORED_TOKENS_MAX = 128;

export class Batcher {
  readonly #settings: BatcherSettings;
  readonly #store: BlockStore;
  readonly #windows: RowWindows | null;
  readonly #recurrence: Recurrence | null;
  readonly #cost: StepCost;
  #joined = 0;
  readonly #rows = new Map<number, Row>();
  /** Both by rank, the most urgent row first. */
  readonly #waiting: Row[] = [];
  readonly #active: Row[] = [];

  /** `slot_tier` keeps what layers that see a window, or recurrent ones, keep: slots in place of blocks. */
  constructor(settings: BatcherSettings, tier: BlockTier = NO_TIER, slot_tier: BlockTier = NO_TIER) {
    assert(settings.chunk_tokens_max >= BLOCK_TOKENS, "a chunk holds a block");
    const { windows, states, chunk_tokens_max } = settings;
    assert(
      states === undefined || states.slots_max >= 2 * settings.rows_max,
      "each row has a state to step from and to",
    );
    this.#settings = settings;
    const telling = tellingWindows(
      tellingStates(tier, () => this.#recurrence),
      () => this.#windows,
    );
    this.#store = new BlockStore(settings.blocks_max, telling, settings.cached_blocks_max);
    this.#windows = windows ? new RowWindows(windows, chunk_tokens_max, this.#store, slot_tier) : null;
    this.#recurrence = states ? new Recurrence(states, this.#store, slot_tier) : null;
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
    const unguessed = this.#recurrence === null ? {} : NO_GUESSES; // what recurrent layers keep is not taken back
    const rank = { ms: rankMs(limits.urgency, now_ms), order: this.#joined++ };
    const row = new Row(id, prompt_ids, { ...limits, ...unguessed }, rank);
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
    const plan = openPlan();
    this.#store.trim(this.#settings.restored_blocks_max);
    this.#windows?.trim(this.#settings.restored_blocks_max);
    this.#recurrence?.prepare();
    this.#admit();
    const decoding = this.#active.filter((row) => row.pending === 1 && this.#hasAll(row));
    const reading = this.#active.filter((row) => !decoding.includes(row));
    for (const row of decoding) this.#decode(row, decoding.length, plan);
    let budget = this.#cost.chunkTokens(decoding.length > 0);
    for (const row of reading) budget -= this.#read(row, budget, plan);
    for (const { from } of plan.copies) {
      this.#windows?.letGo(from);
      this.#store.release(from);
    }
    return plan;
  }

  /**
   * Books a part that went through. `drawn_ids` is empty when it had no outputs, else the accepted drafts and one more.
   * `is_complete`: nothing may follow them.
   */
  commit(part: Part, drawn_ids: readonly number[], is_complete = false): Drawn {
    const row = this.#row(part.id);
    assert(drawn_ids.length <= part.outputs && drawn_ids.length > 0 === part.outputs > 0, "an output draws a token");
    if (row.drawn === 0) row.prompt_tokens_computed += part.token_ids.length;
    row.scored += part.scored?.token_ids.length ?? 0;
    row.drafter?.observe(part.outputs - 1, drawn_ids.length - 1);
    const drawn = row.draw(drawn_ids);
    const { token_ids } = drawn;
    const finish = is_complete ? "stop" : drawn.finish;
    // Rejected drafts stay in the block and are written over.
    const length = part.start + part.token_ids.length - part.outputs + drawn_ids.length;
    row.length = Math.min(length, row.token_ids.length);
    this.#publish(row, part.start);
    this.#windows?.pass(row);
    this.#recurrence?.settle(row, part.start + part.token_ids.length, this.#active);
    return { token_ids, finish, predicted: row.predicted };
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
    return this.#store.explain(prompt_ids, root, (contents) => {
      return (this.#windows?.mayEnd(contents) ?? true) && (this.#recurrence?.mayEnd(contents) ?? true);
    });
  }

  /** What blocks nobody reads hold, the last used first. */
  cached(): ReturnType<BlockStore["cached"]> {
    return this.#store.cached();
  }

  get freeBlocks(): readonly number[] {
    return this.#store.free;
  }

  /** What no row sees in layers with a window, or what recurrent ones keep; the last used first, slots in place of blocks. */
  cachedSlots(): ReturnType<BlockStore["cached"]> {
    return this.#windows?.cached() ?? this.#recurrence?.cached() ?? [];
  }

  get freeSlots(): readonly number[] {
    return this.#windows?.free ?? this.#recurrence?.free ?? [];
  }

  /** Gives up at once what is cached beyond what may be. */
  trim(): void {
    this.#store.trim(Number.POSITIVE_INFINITY);
    this.#windows?.trim(Number.POSITIVE_INFINITY);
  }

  /** Gives up the blocks nobody reads, to the tier if there is one. */
  clearCache(): void {
    this.#store.clear();
  }

  checkIntegrity(): void {
    this.#store.checkIntegrity(this.#active.map((row) => row.blocks));
    this.#windows?.checkIntegrity(this.#active);
    this.#recurrence?.checkIntegrity(this.#active);
    assert(this.#spare() >= 0, "every promised block can be taken");
    assert(this.#rows.size === this.#active.length + this.#waiting.length, "a row waits or is active");
    for (const row of this.#waiting) assert(row.length + row.blocks.length === 0, "a waiting row holds no block");
    for (const row of this.#active) assert(blocksFor(row.length) <= row.blocks.length, "a row's tokens are in blocks");
  }

  /** Strictly by rank: a row that does not fit is not overtaken. Each running row is left one block to grow into. */
  #admit(): void {
    for (let row = this.#waiting[0]; row !== undefined; row = this.#waiting[0]) {
      if (this.#active.length >= this.#settings.rows_max) return;
      if (!row.limits.scores_prompt) this.#reuse(row, null);
      this.#windows?.settle(row, 0);
      if (this.#recurrence?.isFetching(row)) this.#recurrence.fallBack(row);
      row.blocks_promised = blocksFor(row.token_ids.length);
      this.#windows?.promise(row);
      const owed = Math.max(row.blocks_owed - this.#spareBlocks(), row.slots_owed - this.#spareSlots());
      if (owed + this.#active.length > 0) {
        this.#giveBack(row);
        return;
      }
      this.#waiting.shift();
      insertByRank(this.#active, row);
    }
  }

  #decode(row: Row, decode_rows: number, plan: OpenPlan): void {
    if (!this.#active.includes(row) || !this.#cover(row, row.length + 1)) return;
    const bounds = { own_max: this.#settings.draft_tokens_max, predicted_max: plan.predicted_room };
    const proposed = row.guess(bounds, this.#cost.acceptanceMin(decode_rows));
    // Nobody makes room for a guess.
    const fits = blocksFor(row.length + 1 + proposed.length) - row.blocks.length <= this.#spare();
    const drafts = fits ? proposed : [];
    this.#cover(row, row.length + 1 + drafts.length);
    plan.parts.push(this.#partOf(row, [...row.token_ids.slice(row.length), ...drafts], 1 + drafts.length));
    plan.decode_rows += 1;
    plan.extra_tokens += drafts.length;
    if (row.predicted !== undefined) plan.predicted_room -= drafts.length;
  }

  /** Plans a chunk of the row's prompt, less what others have computed or are about to; returns its tokens. */
  #read(row: Row, budget: number, plan: OpenPlan): number {
    if (!this.#active.includes(row)) return 0;
    if (row.atBlockStart && !row.limits.scores_prompt && !this.#begins(row, plan)) return 0;
    const scored_max = SCORED_TOKENS_MAX - plan.scored_tokens;
    const most = row.chunkEnd(row.limits.scores_prompt ? Math.min(budget, scored_max) : budget);
    const end = this.#recurrence?.stopBefore(row, most, this.#active) ?? most;
    if (end <= row.length) return 0;
    this.#cover(row, end);
    const token_ids = row.token_ids.slice(row.length, end);
    const part = this.#partOf(row, token_ids, end === row.token_ids.length ? 1 : 0);
    plan.parts.push(part);
    plan.extra_tokens += token_ids.length;
    plan.scored_tokens += part.scored?.token_ids.length ?? 0;
    return token_ids.length;
  }

  /** Takes over what others have computed; false when the row does not step now: more may be there, or is about to. */
  #begins(row: Row, plan: OpenPlan): boolean {
    this.#reuse(row, plan);
    if (this.#hasRestoredEnough(plan) || !this.#settle(row, plan) || !this.#goesOn(row)) return false;
    if (this.#recurrence?.isFollowing(row, this.#active) ?? isFollowing(row, this.#active)) return false;
    if (this.#recurrence === null) this.#copyTail(row, plan);
    return true;
  }

  /**
   * Takes over the blocks that hold what comes next, in memory only where `plan` is null. One token at least is left to
   * compute: its logits are wanted.
   */
  #reuse(row: Row, plan: OpenPlan | null): void {
    const end = this.#recurrence?.reach(row) ?? row.last_boundary;
    while (row.length < end) {
      const content = row.content(row.blocks.length);
      const block = content && (this.#store.hold(content) ?? (plan && this.#restore(content, plan)));
      if (block === null) return;
      row.blocks.push(block);
      row.length += BLOCK_TOKENS;
    }
    if (row.length <= end) this.#resume(row, plan);
  }

  /** Brings the state behind the row's blocks: at once where it is in memory, else as many pieces as a step may. */
  #resume(row: Row, plan: OpenPlan | null): void {
    while (this.#recurrence?.isFetching(row) && !(plan && this.#hasRestoredEnough(plan))) {
      const came = this.#recurrence.resume(row, plan !== null);
      if (came === null) return;
      if (plan && came === "piece") plan.restored_blocks += this.#recurrence.blocks_per_piece;
    }
  }

  /** Computes what was not there after all; false when the row has to wait, as what others hold is not there to be promised anew. */
  #goesOn(row: Row): boolean {
    if (!this.#recurrence?.isFetching(row)) return true;
    this.#recurrence.fallBack(row);
    if (this.#spare() >= 0) return true;
    this.#active.splice(this.#active.indexOf(row), 1);
    this.#waitAgain(row);
    return false;
  }

  #restore(content: BlockContent, plan: OpenPlan): number | null {
    const block = this.#hasRestoredEnough(plan) ? null : this.#store.restore(content);
    if (block !== null) plan.restored_blocks += 1;
    return block;
  }

  /** False while more of what the row sees is to be restored. */
  #settle(row: Row, plan: OpenPlan): boolean {
    if (this.#windows === null) return true;
    const most = this.#settings.restored_blocks_max - plan.restored_blocks;
    plan.restored_blocks += this.#windows.settle(row, plan.decode_rows > 0 ? most : Number.POSITIVE_INFINITY);
    return this.#windows.isSettled(row);
  }

  #hasRestoredEnough({ decode_rows, restored_blocks }: OpenPlan): boolean {
    return decode_rows > 0 && restored_blocks >= this.#settings.restored_blocks_max;
  }

  /** Goes on in a copy of a block that begins as this row's next: another row's, or one that is published. */
  #copyTail(row: Row, plan: OpenPlan): void {
    const has = (block: number) => this.#windows?.has(block) ?? true;
    const isSettled = (block: number) => plan.copies.every((copy) => copy.to !== block); // so that copies may be done in any order
    const best = nearestTail(row, this.#active, this.#store, (block) => has(block) && isSettled(block));
    if (best === null || this.#spare() < 1) return;
    this.#store.share(best.from); // until the plan is complete, so that nobody is given it meanwhile
    this.#windows?.hold(best.from);
    const to = this.#takeBlock(row);
    const slots = this.#windows && { from: this.#windows.slotOf(best.from), to: this.#windows.slotOf(to) };
    plan.copies.push({ id: row.id, from: best.from, to, ...(slots && { slots }) });
    row.length += best.tokens;
  }

  /** Gives the row blocks up to `end`, those of the least urgent rows if need be; false when that was the row itself. */
  #cover(row: Row, end: number): boolean {
    while (row.blocks.length < blocksFor(end)) {
      const has_block = row.blocks_owed > 0 || this.#spareBlocks() > 0;
      const has_slot = row.slots_owed > 0 || this.#spareSlots() > 0;
      if (has_block && has_slot) this.#takeBlock(row);
      else if (this.#preempt() === row) return false;
    }
    return true;
  }

  #takeBlock(row: Row): number {
    const block = this.#store.take();
    row.blocks.push(block);
    this.#windows?.take(row);
    return block;
  }

  /** The least urgent row waits again; it keeps what it has drawn, and its full blocks are cached for a while. */
  #preempt(): Row {
    const row = this.#active.pop();
    assert(row !== undefined, "a row alone has room");
    this.#waitAgain(row);
    return row;
  }

  #waitAgain(row: Row): void {
    this.#giveBack(row);
    insertByRank(this.#waiting, row);
  }

  #publish(row: Row, from: number): void {
    for (let index = Math.floor(from / BLOCK_TOKENS); (index + 1) * BLOCK_TOKENS <= row.length; index++) {
      const block = row.blocks[index];
      const content = row.content(index);
      assert(block !== undefined && content !== null, "a full block has its tokens");
      const known = this.#store.publish(block, content);
      this.#windows?.published(block, known);
      row.blocks[index] = known;
    }
  }

  #giveBack(row: Row): void {
    this.#windows?.leave(row);
    this.#recurrence?.leave(row);
    for (const block of row.blocks.toReversed()) this.#store.release(block);
    row.blocks = [];
    row.length = 0;
    row.blocks_promised = 0;
  }

  #partOf(row: Row, token_ids: readonly number[], outputs: number): Part {
    const count = blocksFor(row.length + token_ids.length);
    const slots = this.#windows?.table(row, count);
    const scored = row.scoredBy(token_ids.length);
    const state = this.#recurrence?.move(row);
    const blocks = row.blocks.slice(0, count);
    return { id: row.id, token_ids, start: row.length, blocks, slots, outputs, scored, state };
  }

  /** Blocks, with their slots, that are available and promised to nobody. */
  #spare(): number {
    return Math.min(this.#spareBlocks(), this.#spareSlots());
  }

  #spareBlocks(): number {
    return this.#active.reduce((spare, row) => spare - row.blocks_owed, this.#store.available);
  }

  #spareSlots(): number {
    return this.#windows?.spare(this.#active) ?? Number.POSITIVE_INFINITY;
  }

  /** Whether it holds all that its next token needs of those before. */
  #hasAll(row: Row): boolean {
    return (this.#windows?.isSettled(row) ?? true) && !this.#recurrence?.isFetching(row);
  }

  #row(id: number): Row {
    const row = this.#rows.get(id);
    assert(row !== undefined, "a row that steps has joined and not left");
    return row;
  }
}
