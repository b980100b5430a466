/** Which blocks of the cache are free, held by rows, or kept for what they contain. Counts integers; knows no tensors and no rows. */

import { hash } from "node:crypto";
import { assert } from "../core/assert.ts";
import type { PrefixMatch } from "../core/prefix.ts";
import { BLOCK_TOKENS } from "../models/block.ts";

/** What a full block holds: these tokens, after all that its parent and the parents of that hold. */
export interface BlockContent {
  /** The block before it, itself published; null at the start of a text. */
  readonly parent: number | null;
  /** What beside the tokens decides what it holds: the key of an adapter, or nothing. */
  readonly root: string;
  readonly token_ids: readonly number[];
  /** Of every token up to the end of this block: names the content where block numbers mean nothing, as on disk. */
  readonly chain_hash: string;
}

/** Keeps contents beyond this store. Called between forward passes; the block's tensors are then at rest. */
export interface BlockTier {
  /** The block still holds its content, for as long as this call lasts. */
  evicted(block: number, content: BlockContent): void;
  /** Takes the next piece of what goes soon: then less is left to take where it does. */
  prepare(block: number, content: BlockContent): void;
  /** What is kept comes in so many, one after the other: more than one where all at once would take longer than a step may. */
  readonly pieces: number;
  /** Fills this piece of the block; false when the content is not there or is damaged. A miss is cheap: it is asked again each step. */
  restore(block: number, content: BlockContent, piece: number): boolean;
  /** Whether it says it is there. */
  has(content: BlockContent): boolean;
}

export const NO_TIER: BlockTier = {
  ...{ pieces: 1, evicted: () => {}, prepare: () => {} },
  ...{ restore: () => false, has: () => false },
};

/** A block is free, or referenced, or cached: published and referenced by nobody. */
export class BlockStore {
  readonly blocks_max: number;
  readonly #cached_max: number;
  readonly #tier: BlockTier;
  /** A stack: the block given back last is the warmest, and low numbers are used before the pool need grow. */
  readonly #free: number[];
  readonly #references: number[];
  readonly #contents: (BlockContent | null)[];
  readonly #published = new Map<string, number>();
  /** In the order of release. A chain is released from its end, so the oldest has no cached child. */
  readonly #cached = new Set<number>();

  /** `trim` leaves `cached_max` blocks cached: those last released. */
  constructor(blocks_max: number, tier: BlockTier = NO_TIER, cached_max: number = blocks_max) {
    this.blocks_max = blocks_max;
    this.#cached_max = cached_max;
    this.#tier = tier;
    this.#free = Array.from({ length: blocks_max }, (_, index) => blocks_max - 1 - index);
    this.#references = new Array(blocks_max).fill(0);
    this.#contents = new Array(blocks_max).fill(null);
  }

  /** Blocks that can be taken: free ones and, at the price of their content, cached ones. */
  get available(): number {
    return this.#free.length + this.#cached.size;
  }

  get counts(): { readonly free: number; readonly cached: number; readonly referenced: number } {
    const referenced = this.blocks_max - this.available;
    return { free: this.#free.length, cached: this.#cached.size, referenced };
  }

  /** Blocks that hold nothing. */
  get free(): readonly number[] {
    return this.#free;
  }

  /** A block to write to, with one reference. */
  take(): number {
    if (this.#free.length === 0) this.#evict();
    const block = this.#free.pop();
    assert(block !== undefined, "a block is taken only where one is available");
    this.#references[block] = 1;
    return block;
  }

  share(block: number): void {
    this.#cached.delete(block);
    this.#references[block] = this.#referencesOf(block) + 1;
  }

  release(block: number): void {
    const references = this.#referencesOf(block) - 1;
    assert(references >= 0, "a released block was held");
    this.#references[block] = references;
    if (references > 0) return;
    if (this.#contents[block] === null) this.#free.push(block);
    else this.#cached.add(block);
  }

  /** The published block of this very content. A hash only points there: parent and tokens are compared. */
  find(content: BlockContent): number | null {
    const block = this.#published.get(content.chain_hash);
    const found = block === undefined ? null : this.#contents[block];
    if (block === undefined || !found || found.parent !== content.parent) return null;
    return found.token_ids.every((token, index) => token === content.token_ids[index]) ? block : null;
  }

  /** What a published block holds; null: it is not. */
  contentOf(block: number): BlockContent | null {
    return this.#contents[block] ?? null;
  }

  /** Finds and shares. */
  hold(content: BlockContent): number | null {
    const block = this.find(content);
    if (block !== null) this.share(block);
    return block;
  }

  /**
   * Makes a full block known by its content; returns the block the holder has from now on: when the content is known
   * already it is that one, so that a text is in memory once. After a collision of hashes the block stays private.
   */
  publish(block: number, content: BlockContent): number {
    const { parent, chain_hash } = content;
    if (parent !== null && this.#contents[parent] === null) return block;
    const known = this.find(content);
    if (known !== null) {
      this.share(known);
      this.release(block);
      return known;
    }
    if (this.#published.has(chain_hash)) return block;
    this.#published.set(chain_hash, block);
    this.#contents[block] = content;
    return block;
  }

  /**
   * The published block behind `parent`, or where that is null at the start of a text of this root, that begins most like
   * these tokens, and how many are equal; null: there is none.
   */
  nearest(parent: number | null, root: string, token_ids: readonly number[]): { block: number; tokens: number } | null {
    let best: { block: number; tokens: number } | null = null;
    for (const [block, content] of this.#contents.entries()) {
      if (content === null || content.parent !== parent || content.root !== root) continue;
      const tokens = equalTokens(content.token_ids, token_ids);
      if (tokens > (best?.tokens ?? -1)) best = { block, tokens };
    }
    return best;
  }

  /** Takes a block and has the tier fill it; null when the tier cannot. */
  restore(content: BlockContent): number | null {
    const block = this.take();
    if (this.#tier.restore(block, content, 0)) return this.publish(block, content);
    this.release(block);
    return null;
  }

  /** What is cached, the last released first: so each block comes before those that go on from it. */
  cached(): { block: number; content: BlockContent }[] {
    return [...this.#cached].reverse().flatMap((block) => {
      const content = this.#contents[block] ?? null;
      return content === null ? [] : [{ block, content }];
    });
  }

  /** Gives up to `count` of the blocks beyond those that may stay cached, to the tier if there is one. */
  trim(count: number): void {
    for (let done = 0; done < count && this.#cached.size > this.#cached_max; done++) this.#evict();
  }

  /** Gives up what is cached, to the tier if there is one. */
  clear(): void {
    while (this.#cached.size > 0) this.#evict();
  }

  /** Whether the content is published, or the tier says that it has it. */
  has(content: BlockContent): boolean {
    return this.#published.has(content.chain_hash) || this.#tier.has(content);
  }

  isPublished({ chain_hash }: BlockContent): boolean {
    return this.#published.has(chain_hash);
  }

  /** Why a prompt was, or was not, found; `mayEnd`: whether who finds this much can go on from there. */
  explain(
    token_ids: readonly number[],
    root: string,
    mayEnd: (contents: readonly BlockContent[]) => boolean = () => true,
  ): PrefixMatch {
    const contents: BlockContent[] = [];
    let parent: number | null = null;
    let chain_hash = root;
    let position = 0;
    let matched_tokens = 0;
    let in_memory = true;
    for (; position + BLOCK_TOKENS <= token_ids.length; position += BLOCK_TOKENS) {
      const next = token_ids.slice(position, position + BLOCK_TOKENS);
      chain_hash = chainHash(chain_hash, next);
      const content: BlockContent = { parent, root, token_ids: next, chain_hash };
      const block = in_memory ? this.find(content) : null;
      if (block !== null) parent = block;
      else if (this.#tier.has(content)) in_memory = false;
      else break;
      contents.push(content);
      if (mayEnd(contents)) matched_tokens = position + BLOCK_TOKENS;
    }
    if (!in_memory) return { matched_tokens, departure: null };
    const rest = token_ids.slice(position, position + BLOCK_TOKENS);
    const nearest = this.nearest(parent, root, rest);
    const content = nearest === null ? null : this.#contents[nearest.block];
    if (nearest === null || !content || nearest.tokens === rest.length) return { matched_tokens, departure: null };
    const departure = { position: position + nearest.tokens, cached_token_ids: content.token_ids };
    return { matched_tokens, departure };
  }

  /** Every block is in one state and its references are those of the tables, each a chain of blocks. */
  checkIntegrity(tables: readonly (readonly number[])[]): void {
    const references = new Array<number>(this.blocks_max).fill(0);
    for (const block of tables.flat()) references[block] = (references[block] ?? 0) + 1;
    const free = new Set(this.#free);
    assert(free.size === this.#free.length, "a block is free once");
    for (let block = 0; block < this.blocks_max; block++) {
      const content = this.#contents[block] ?? null;
      const held = this.#referencesOf(block) > 0;
      assert(this.#referencesOf(block) === references[block], `block ${block} has the references of the tables`);
      assert(free.has(block) === (!held && content === null), `block ${block} is free when nobody needs it`);
      assert(this.#cached.has(block) === (!held && content !== null), `block ${block} is cached when only published`);
      if (content !== null) this.#checkContent(block, content, held);
    }
    const published = this.#contents.filter((content) => content !== null).length;
    assert(this.#published.size === published, "every published block is known by its hash");
  }

  #checkContent(block: number, { parent, chain_hash }: BlockContent, held: boolean): void {
    assert(this.#published.get(chain_hash) === block, `block ${block} is known by its hash`);
    if (parent === null) return;
    assert(this.#contents[parent] !== null, `the parent of block ${block} is published`);
    assert(!held || this.#referencesOf(parent) > 0, `who holds block ${block} holds its parent`);
  }

  #evict(): void {
    for (const block of this.#cached) {
      const content = this.#contents[block] ?? null;
      assert(content !== null, "a cached block has content");
      this.#tier.evicted(block, content);
      this.#cached.delete(block);
      this.#published.delete(content.chain_hash);
      this.#contents[block] = null;
      this.#free.push(block);
      return;
    }
  }

  #referencesOf(block: number): number {
    const references = this.#references[block];
    assert(references !== undefined, "a block's number is in the store");
    return references;
  }
}

/** The hash of a chain from that of all blocks before its last (the root for none) and the last one's tokens. */
export function chainHash(before: string, token_ids: readonly number[]): string {
  return hash("sha256", `${before}:${token_ids.join()}`, "base64url");
}

/** How many tokens are equal from the start. */
export function equalTokens(left: readonly number[], right: readonly number[]): number {
  const length = Math.min(left.length, right.length);
  for (let index = 0; index < length; index++) if (left[index] !== right[index]) return index;
  return length;
}
