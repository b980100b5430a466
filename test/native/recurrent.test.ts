/** Recurrent layers over several sequences at once: against float64 token by token, and composed of ordinary operations against the same. */

import { afterAll, describe, expect, test } from "bun:test";
import { StatePool } from "../../src/engine/state-pool.ts";
import { evaluate, fromBytes, type MlxArray, toFloat32 } from "../../src/mlx/array.ts";
import { applyConvolution, applyDeltaRule, openExtras } from "../../src/mlx/extras.ts";
import { convolve } from "../../src/models/convolution.ts";
import { deltaRule } from "../../src/models/delta-rule.ts";
import { Step } from "../../src/models/step.ts";
import { LIBRARY, WITH_EXTRAS } from "../open-mlx.ts";
import { integer, seeded } from "../random.ts";

const ERROR_MAX = 2e-4;

afterAll(() => openExtras(LIBRARY, WITH_EXTRAS));

type Random = () => number;

interface Sequence {
  readonly count: number;
  /** What was kept of it; null: it starts here. */
  readonly before: Float32Array | null;
}

function numbers(random: Random, size: number, most = 1): Float32Array {
  return Float32Array.from({ length: size }, () => most * (2 * random() - 1));
}

function sequences(random: Random, state_size: number): Sequence[] {
  return Array.from({ length: integer(random, 1, 5) }, () => {
    const count = random() < 0.4 ? 1 : integer(random, 1, 80);
    return { count, before: random() < 0.5 ? null : numbers(random, state_size) };
  });
}

/** A step over the sequences, each from the slot of its number to one behind all of those. */
function stepOver(pool: StatePool, all: readonly Sequence[], shape: readonly number[]): Step {
  for (const [index, { before }] of all.entries())
    if (before !== null) pool.write(index, 0, fromBytes(before, shape, "float32"));
  const spans = all.map(({ count, before }, index) => {
    return { count, start: 0, blocks: [], state: { from: before === null ? null : index, to: all.length + index } };
  });
  return new Step(spans, [], pool);
}

/** What comes out, and what is kept of each sequence. */
function run(all: readonly Sequence[], shape: readonly number[], apply: (step: Step) => MlxArray): number[][] {
  using pool = new StatePool([shape]);
  using step = stepOver(pool, all, shape);
  using y = apply(step);
  evaluate(y, ...step.kept);
  return [y, ...all.map((_, index) => pool.read(all.length + index, 0))].map((array) => [...toFloat32(array)]);
}

function worst(found: readonly number[][], expected: readonly number[][]): number {
  expect(found.map((each) => each.length)).toEqual(expected.map((each) => each.length));
  const errors = found.flatMap((each, index) =>
    each.map((value, at) => Math.abs(value - (expected[index]?.[at] ?? NaN))),
  );
  return Math.max(...errors.map((error) => (Number.isNaN(error) ? Number.POSITIVE_INFINITY : error)));
}

function convolved(
  x: Float32Array,
  taps: Float32Array,
  bias: Float32Array | null,
  channels: number,
  all: readonly Sequence[],
) {
  const kept = taps.length / channels - 1;
  const out: number[] = [];
  let first = 0;
  const after = all.map(({ count, before }) => {
    const own = [
      ...(before ?? new Float32Array(kept * channels)),
      ...x.slice(first * channels, (first + count) * channels),
    ];
    for (let at = 0; at < count * channels; at++) {
      let sum = bias?.[at % channels] ?? 0;
      for (let tap = 0; tap <= kept; tap++)
        sum += (own[at + tap * channels] ?? 0) * (taps[tap * channels + (at % channels)] ?? 0);
      out.push(sum);
    }
    first += count;
    return own.slice(own.length - kept * channels);
  });
  return [out, ...after];
}

interface Delta {
  readonly key_heads: number;
  readonly heads: number;
  readonly key_dim: number;
  readonly value_dim: number;
}

type Inputs = Record<"queries" | "keys" | "values" | "log_decays" | "rates", Float32Array>;

function recalled(how: Delta, inputs: Inputs, all: readonly Sequence[]): number[][] {
  const { heads, key_dim, value_dim } = how;
  const out = new Array<number>(inputs.values.length).fill(0);
  let first = 0;
  const after = all.map(({ count, before }) => {
    const state = Float64Array.from(before ?? new Float32Array(heads * key_dim * value_dim));
    for (let token = first; token < first + count; token++) {
      for (let at = 0; at < heads * value_dim; at++) {
        out[token * heads * value_dim + at] = recall(how, inputs, state, token, at);
      }
    }
    first += count;
    return [...state];
  });
  return [out, ...after];
}

/** One column of one head's state, by one token. */
function recall(how: Delta, inputs: Inputs, state: Float64Array, token: number, place: number): number {
  const { key_heads, heads, key_dim, value_dim } = how;
  const [head, column] = [Math.floor(place / value_dim), place % value_dim];
  const key_at = (token * key_heads + Math.floor(head / (heads / key_heads))) * key_dim;
  const own = (from: Float32Array) => [...from.slice(key_at, key_at + key_dim)];
  const of = (key: number) => (head * key_dim + key) * value_dim + column;
  const faded = own(inputs.keys).map(
    (_, key) => (state[of(key)] ?? 0) * Math.exp(inputs.log_decays[token * heads + head] ?? 0),
  );
  const held = own(inputs.keys).reduce((sum, value, key) => sum + value * (faded[key] ?? 0), 0);
  const change =
    (inputs.rates[token * heads + head] ?? 0) * ((inputs.values[token * heads * value_dim + place] ?? 0) - held);
  for (const [key, value] of own(inputs.keys).entries()) state[of(key)] = (faded[key] ?? 0) + value * change;
  return own(inputs.queries).reduce((sum, value, key) => sum + value * (state[of(key)] ?? 0), 0);
}

/** Of length 1, as the nets give them; all alike in some cases, where powers of their products would grow. */
function unit(random: Random, count: number, dim: number, alike: boolean): Float32Array {
  const same = numbers(random, dim);
  const all = Array.from({ length: count }, () => (alike ? same : numbers(random, dim)));
  return Float32Array.from(all.flatMap((each) => [...each].map((value) => value / Math.hypot(...each))));
}

describe.each([
  ["by the library's operations", true],
  ["composed of ordinary ones", false],
])("recurrent layers %s", (_, extras) => {
  test.if(!extras || (WITH_EXTRAS && process.platform === "linux"))("convolve each channel of each sequence", () => {
    openExtras(LIBRARY, extras);
    const random = seeded(21);
    for (let turn = 0; turn < 18; turn++) {
      const channels = integer(random, 1, 70);
      const length = integer(random, 2, 5);
      const all = sequences(random, (length - 1) * channels);
      const tokens = all.reduce((sum, { count }) => sum + count, 0);
      const [x, taps] = [numbers(random, tokens * channels), numbers(random, length * channels)];
      const bias = random() < 0.5 ? numbers(random, channels) : null;
      using input = fromBytes(x, [tokens, channels], "float32");
      using weight = fromBytes(taps, [length, channels], "float32");
      using biases = bias && fromBytes(bias, [channels], "float32");
      const how = { taps: weight, bias: biases, state: 0 };
      const found = run(all, [length - 1, channels], (step) => convolve(input, how, step));
      expect(worst(found, convolved(x, taps, bias, channels, all))).toBeLessThan(ERROR_MAX);
    }
  });

  test.if(!extras || (WITH_EXTRAS && process.platform === "linux"))(
    "recall what they held, for keys that differ and keys that are all alike",
    () => {
      openExtras(LIBRARY, extras);
      const random = seeded(22);
      for (let turn = 0; turn < 18; turn++) {
        const key_heads = integer(random, 1, 3);
        const how = {
          key_heads,
          heads: key_heads * integer(random, 1, 3),
          key_dim: integer(random, 1, 40),
          value_dim: integer(random, 1, 40),
        };
        const { heads, key_dim, value_dim } = how;
        const all = sequences(random, heads * key_dim * value_dim);
        const tokens = all.reduce((sum, { count }) => sum + count, 0);
        const alike = turn % 3 === 0;
        const inputs = {
          queries: unit(random, tokens * key_heads, key_dim, false),
          keys: unit(random, tokens * key_heads, key_dim, alike),
          values: numbers(random, tokens * heads * value_dim),
          log_decays: numbers(random, tokens * heads).map((value) => -Math.abs(value) * (alike ? 1e-3 : 3)),
          rates: numbers(random, tokens * heads).map((value) => (alike ? 1 : Math.abs(value))),
        };
        using stack = new DisposableStack();
        const array = (values: Float32Array, shape: readonly number[]) =>
          stack.use(fromBytes(values, shape, "float32"));
        const given = {
          queries: array(inputs.queries, [tokens, key_heads, key_dim]),
          keys: array(inputs.keys, [tokens, key_heads, key_dim]),
          values: array(inputs.values, [tokens, heads, value_dim]),
          log_decays: array(inputs.log_decays, [tokens, heads]),
          rates: array(inputs.rates, [tokens, heads]),
        };
        const found = run(all, [heads, key_dim, value_dim], (step) => deltaRule(given, 0, step));
        expect(worst(found, recalled(how, inputs, all))).toBeLessThan(ERROR_MAX);
      }
    },
    60_000, // the reference takes its time where others compute
  );
});

test.if(WITH_EXTRAS && process.platform === "linux")(
  "sequences that do not make up the tokens, and states of another shape, are refused",
  () => {
    openExtras(LIBRARY, true);
    using stack = new DisposableStack();
    const zeros = (...shape: number[]) =>
      stack.use(fromBytes(new Float32Array(shape.reduce((product, size) => product * size, 1)), shape, "float32"));
    const [x, taps, state] = [zeros(4, 8), zeros(3, 8), zeros(2, 8)];
    const convolution =
      (stretches: readonly number[], befores: readonly MlxArray[] = []) =>
      () =>
        applyConvolution(x, taps, null, { stretches: Int32Array.from(stretches), befores });
    expect(convolution([0, 3, -1])).toThrow("sequences make up all tokens");
    expect(convolution([0, 3, -1, 2, 2, -1])).toThrow("sequences follow each other");
    expect(convolution([0, 2_000_000_000, -1])).toThrow("sequences follow each other");
    expect(convolution([0, 4, 0])).toThrow("a state that is there");
    expect(convolution([0, 4, 1], [state])).toThrow("a state that is there");
    expect(convolution([0, 4, 0], [taps])).toThrow("kept states fit");
    const sequences = { stretches: Int32Array.of(0, 4, -1), befores: [] };
    const rates = zeros(4, 2);
    const rule = (keys: MlxArray, values: MlxArray) => () =>
      applyDeltaRule(keys, keys, values, rates, rates, sequences);
    expect(rule(zeros(4, 3, 8), zeros(4, 2, 8))).toThrow("heads divide among key heads");
    expect(rule(zeros(4, 1, 2048), zeros(4, 2, 8))).toThrow("keys have 1024 dimensions at most");
    expect(rule(zeros(3, 1, 8), zeros(4, 2, 8))).toThrow("keys fit the tokens");
  },
);
