/** One forward pass over parts of several sequences: where each stands, and where its keys and values are. Knows no model. */

import { assert } from "../core/assert.ts";
import { fromBytes, type MlxArray } from "../mlx/array.ts";
import { ropeAngles, type Sequences } from "../mlx/extras.ts";
import { astype } from "../mlx/ops.ts";
import type { Adapter } from "./adapter.ts";
import type { Rope } from "./rope.ts";

/** Consecutive tokens of one sequence. */
export interface Span {
  /** Place of its first token among the tokens of all spans. */
  readonly first: number;
  readonly count: number;
  /** Position of its first token in its sequence. */
  readonly start: number;
  /** Blocks of the positions 0 … start + count - 1, in order. */
  readonly blocks: readonly number[];
  /** The same in layers that see a window, where these have a table of their own; what lies behind it is not read. */
  readonly slots?: readonly number[] | undefined;
  /** What its tokens' projections are adapted by; nothing where absent. */
  readonly adapter?: Adapter | null | undefined;
  /** Where its recurrent layers go on from, and where what they then keep goes; absent for models that have none. */
  readonly state?: StateMove | null | undefined;
}

/** From a slot (null: nothing, at the start of a sequence) to another. */
export interface StateMove {
  readonly from: number | null;
  readonly to: number;
}

/** What recurrent layers keep of sequences. What a slot holds is not changed while anybody may go on from it. */
export interface StateSlots {
  /** `index` is the place among the model's `state_shapes`; the array stays the slots'. */
  read(slot: number, index: number): MlxArray;
  /** The array is the slots' from now on. */
  write(slot: number, index: number, array: MlxArray): void;
}

/** The tokens that go through one adapter. */
export interface AdaptedTokens {
  readonly adapter: Adapter;
  /** Their places among the tokens of all spans. */
  readonly places: readonly number[];
  /** The same, int32. */
  readonly numbers: MlxArray;
}

/** The blocks of one layer; whoever writes them by making new arrays puts those here. */
export interface LayerCache {
  /** (blocks, kv_heads, head_dim, 32), each head's keys turned; or as packed-cache.ts has them */
  keys: MlxArray;
  /** (blocks, kv_heads, 32, head_dim), or the same */
  values: MlxArray;
}

export class Step implements Disposable {
  readonly spans: readonly Span[];
  readonly #layers: readonly LayerCache[];
  readonly #states: StateSlots | null;
  readonly #kept: MlxArray[] = [];
  readonly #arrays = new DisposableStack();
  readonly #angles = new Map<Rope, MlxArray>();
  readonly #windows = new Map<string, MlxArray>();
  #layout: MlxArray | null = null;
  #slot_layout: MlxArray | null = null;
  #adapted: readonly AdaptedTokens[] | null = null;

  /** `layers` are the blocks of every layer, which stay the caller's. */
  constructor(parts: readonly Omit<Span, "first">[], layers: readonly LayerCache[], states: StateSlots | null = null) {
    let first = 0;
    this.spans = parts.map((part) => {
      const span = { ...part, first };
      first += part.count;
      return span;
    });
    this.#layers = layers;
    this.#states = states;
  }

  cache(layer: number): LayerCache {
    const cache = this.#layers[layer];
    if (cache === undefined) throw new RangeError(`no cache for layer ${layer}`);
    return cache;
  }

  /** What a recurrent layer kept of the span's sequence before; null at its start. */
  state({ state }: Span, index: number): MlxArray | null {
    assert(this.#states !== null && state != null, "a model with recurrent layers steps with states");
    return state.from === null ? null : this.#states.read(state.from, index);
  }

  /** What it keeps after the span's tokens; the array is the step's from now on, and becomes float32. */
  keep({ state }: Span, index: number, array: MlxArray): void {
    assert(this.#states !== null && state != null, "a model with recurrent layers steps with states");
    const own = inFloat32(array);
    this.#states.write(state.to, index, own);
    this.#kept.push(own);
  }

  /** Of each span in turn. */
  keepAll(index: number, arrays: readonly MlxArray[]): void {
    for (const [place, span] of this.spans.entries()) {
      const array = arrays[place];
      assert(array !== undefined, "something is kept of each span");
      this.keep(span, index, array);
    }
  }

  /** The spans as native/bunsen.h has sequences. */
  sequences(index: number): Sequences {
    const befores: MlxArray[] = [];
    const stretches = this.spans.flatMap((span) => {
      const before = this.state(span, index);
      return [span.first, span.count, before === null ? -1 : befores.push(before) - 1];
    });
    return { stretches: Int32Array.from(stretches), befores };
  }

  /** All that was kept, to be computed with what the step gives: it leads to no logits. */
  get kept(): readonly MlxArray[] {
    return this.#kept;
  }

  /** Empty where no token goes through any. */
  get adapted(): readonly AdaptedTokens[] {
    this.#adapted ??= [...placesOf(this.spans)].map(([adapter, places]) => {
      return { adapter, places, numbers: this.#arrays.use(integers(places)) };
    });
    return this.#adapted;
  }

  /** The spans as native/attention.h reads them. */
  get layout(): MlxArray {
    this.#layout ??= this.#arrays.use(integers(layoutOf(this.spans)));
    return this.#layout;
  }

  /** The same for layers that see a window. */
  get slot_layout(): MlxArray {
    if (this.spans.every(({ slots }) => slots === undefined)) return this.layout;
    const inSlots = () => this.spans.map((span) => ({ ...span, blocks: span.slots ?? span.blocks }));
    this.#slot_layout ??= this.#arrays.use(integers(layoutOf(inSlots())));
    return this.#slot_layout;
  }

  /** Cosines and sines of every token's position: computed once for all layers that turn alike. */
  angles(rope: Rope): MlxArray {
    const known = this.#angles.get(rope);
    if (known !== undefined) return known;
    using positions = integers(
      this.spans.flatMap(({ start, count }) => Array.from({ length: count }, (_, i) => start + i)),
    );
    const angles = this.#arrays.use(ropeAngles(positions, rope.wavelengths, rope.scale, rope.magnitude));
    this.#angles.set(rope, angles);
    return angles;
  }

  /** Which positions each token of a span sees, through a window that ends with its own: bools (count, start + count). */
  window(span: Span, width: number): MlxArray {
    const key = `${span.first} ${width}`;
    const known = this.#windows.get(key);
    if (known !== undefined) return known;
    const seen = this.#arrays.use(windowOf(span, width));
    this.#windows.set(key, seen);
    return seen;
  }

  [Symbol.dispose](): void {
    this.#arrays.dispose();
  }
}

function inFloat32(array: MlxArray): MlxArray {
  if (array.dtype === "float32") return array;
  using given = array;
  return astype(given, "float32");
}

function placesOf(spans: readonly Span[]): ReadonlyMap<Adapter, number[]> {
  const by_adapter = new Map<Adapter, number[]>();
  for (const { adapter, first, count } of spans) {
    if (!adapter) continue;
    const places = by_adapter.get(adapter) ?? [];
    for (let token = first; token < first + count; token++) places.push(token);
    by_adapter.set(adapter, places);
  }
  return by_adapter;
}

function layoutOf(spans: readonly Span[]): number[] {
  const heads: number[] = [spans.length];
  const blocks: number[] = [];
  for (const span of spans) {
    heads.push(span.first, span.count, span.start, 1 + 4 * spans.length + blocks.length);
    blocks.push(...span.blocks);
  }
  return [...heads, ...blocks];
}

function windowOf({ start, count }: Span, width: number): MlxArray {
  const total = start + count;
  const seen = new Uint8Array(count * total);
  for (let row = 0; row < count; row++) {
    const end = row * total + start + row + 1;
    seen.fill(1, Math.max(row * total, end - width), end);
  }
  return fromBytes(seen, [count, total], "bool");
}

function integers(values: readonly number[]): MlxArray {
  return fromBytes(Int32Array.from(values), [values.length], "int32");
}
