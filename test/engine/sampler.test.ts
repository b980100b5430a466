/** What is drawn, counted against what ought to be. */

import { describe, expect, test } from "bun:test";
import { Failure } from "../../src/core/failure.ts";
import { PLAIN_SAMPLING, type Sampling } from "../../src/core/generation.ts";
import { type SampledRow, Sampler, SamplerMemory } from "../../src/engine/sampler.ts";
import { integer, seeded } from "../random.ts";

// In the order of their tokens; the greatest is token 2.
const PROBABILITIES = [0.2, 0.05, 0.4, 0.1, 0.25];
const DRAWS = 4000;

/** The same memory for all, as rows of one model share it. */
const memories = new Map<number, SamplerMemory>();

function samplerOf(sampling: Partial<Sampling>, vocabulary_size: number, row: Partial<SampledRow> = {}): Sampler {
  const memory = memories.get(vocabulary_size) ?? new SamplerMemory(vocabulary_size);
  memories.set(vocabulary_size, memory);
  const whole = { ...PLAIN_SAMPLING, seed: 7, ...sampling };
  const plain = { prompt_ids: [], logprobs: null, tokens_min: 0, stop_token_ids: [] };
  return new Sampler({ ...plain, ...row, sampling: whole }, memory);
}

function logitsOf(probabilities: readonly number[]): Float32Array {
  return Float32Array.from(probabilities, Math.log);
}

/** Share of each token in the first draw of many seeds. */
function shares(
  sampling: Partial<Sampling>,
  probabilities: readonly number[] = PROBABILITIES,
  row: Partial<SampledRow> = {},
): number[] {
  const logits = logitsOf(probabilities);
  const counts = probabilities.map(() => 0);
  for (let seed = 0; seed < DRAWS; seed++) {
    const { token_id } = samplerOf({ seed, ...sampling }, probabilities.length, row).draw(logits, 0);
    counts[token_id] = (counts[token_id] ?? 0) + 1;
  }
  return counts.map((count) => count / DRAWS);
}

/** Pearson's chi-square of the observed shares; tokens that must not be drawn must not have been. */
function expectShares(found: readonly number[], weights: readonly number[]): void {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let chi_square = 0;
  for (const [token, weight] of weights.entries()) {
    const expected = (weight / total) * DRAWS;
    const observed = (found[token] ?? 0) * DRAWS;
    if (weight === 0) expect(observed).toBe(0);
    else chi_square += (observed - expected) ** 2 / expected;
  }
  expect(chi_square).toBeLessThan(18.47); // p = 0.001 at four degrees of freedom
}

describe("of many draws each token has its share", () => {
  const [a, b, c, d, e] = [0.2, 0.05, 0.4, 0.1, 0.25] as const;
  const cases: [string, Partial<Sampling>, readonly number[]][] = [
    ["without wishes its probability", {}, PROBABILITIES],
    ["a temperature raises it to the inverse", { temperature: 0.5 }, PROBABILITIES.map((p) => p ** 2)],
    ["a high temperature evens it out", { temperature: 2 }, PROBABILITIES.map((p) => p ** 0.5)],
    ["temperature 0 draws the best only", { temperature: 0 }, [0, 0, 1, 0, 0]],
    ["so does one too small to divide by", { temperature: 1e-40 }, [0, 0, 1, 0, 0]],
    ["top_k keeps the k best", { top_k: 2 }, [0, 0, c, 0, e]],
    ["top_k beyond the vocabulary keeps all", { top_k: 500 }, PROBABILITIES],
    ["top_p keeps the fewest that reach p", { top_p: 0.6 }, [0, 0, c, 0, e]],
    ["and the one that crosses it", { top_p: 0.7 }, [a, 0, c, 0, e]],
    ["top_p 0 keeps the best", { top_p: 0 }, [0, 0, 1, 0, 0]],
    ["top_p counts what top_k has left", { top_k: 3, top_p: 0.75 }, [0, 0, c, 0, e]],
    ["top_p counts what the temperature makes", { temperature: 0.5, top_p: 0.55 }, [0, 0, 1, 0, 0]],
    ["min_p drops those below its share of the best", { min_p: 0.45 }, [a, 0, c, 0, e]],
    ["min_p 1 keeps the best", { min_p: 1 }, [0, 0, 1, 0, 0]],
    // The entropy is 1.415 nats; the tokens surprise by 1.609, 2.996, 0.916, 2.303 and 1.386.
    ["typical_p keeps those of the expected surprise", { typical_p: 0.4 }, [a, 0, 0, 0, e]],
    ["and goes on to the next likely surprise", { typical_p: 0.6 }, [a, 0, c, 0, e]],
    ["typical_p 0 keeps the most typical", { typical_p: 0 }, [0, 0, 0, 0, 1]],
    ["min_p measures against the best that is left", { typical_p: 0.4, min_p: 0.9 }, [0, 0, 0, 0, 1]],
    ["xtc drops all top choices but the last", { xtc_probability: 1, xtc_threshold: 0.15 }, [a, b, 0, d, 0]],
    ["xtc leaves a top choice that is alone", { xtc_probability: 1, xtc_threshold: 0.3 }, PROBABILITIES],
    ["xtc with none leaves all", { xtc_probability: 1, xtc_threshold: 0.5 }, PROBABILITIES],
    ["xtc counts what top_p has left", { top_p: 0.6, xtc_probability: 1, xtc_threshold: 0.3 }, [0, 0, 0, 0, 1]],
    ["a bias is added to its logit", { logit_bias: [{ token_id: 1, bias: Math.log(8) }] }, [a, 0.4, c, d, e]],
    ["a bias of -100 bans", { logit_bias: [{ token_id: 2, bias: -100 }] }, [a, b, 0, d, e]],
    [
      "a bias of 100 leaves no other",
      { logit_bias: [1, 3].map((token_id) => ({ token_id, bias: 100 })) },
      [0, b, 0, d, 0],
    ],
  ];
  for (const [what, sampling, weights] of cases) {
    test(what, () => expectShares(shares(sampling), weights));
  }

  test("xtc happens as often as it should, whatever is drawn then", () => {
    const half = PROBABILITIES.map((p, token) => p / 2 + ([a, b, 0, d, 0][token] ?? 0) / (a + b + d) / 2);
    expectShares(shares({ xtc_probability: 0.5, xtc_threshold: 0.15 }), half);
  });

  test("a stop token has none before the least number of tokens", () => {
    expectShares(shares({}, PROBABILITIES, { tokens_min: 1, stop_token_ids: [2, 4, 99] }), [a, b, 0, d, 0]);
    expectShares(shares({}, PROBABILITIES, { tokens_min: 0, stop_token_ids: [2, 4, 99] }), PROBABILITIES);
  });

  test("tokens of equal logits are kept together", () => {
    const equal = [0.25, 0.25, 0.25, 0.25, 0];
    expectShares(shares({ top_k: 1 }, equal), equal);
    expectShares(shares({ top_p: 0.3 }, equal), equal);
    expectShares(shares({ typical_p: 0.1 }, equal), equal);
  });
});

describe("penalties", () => {
  const greedy = { temperature: 0 };
  const LOGITS = Float32Array.of(3, 2.5, -1, -1.2);

  /** The best tokens of so many steps, whose logits are always the same. */
  function drawn(sampling: Partial<Sampling>, count: number, prompt_ids: number[] = [], logits = LOGITS): number[] {
    const sampler = samplerOf({ ...greedy, ...sampling }, logits.length, { prompt_ids });
    return Array.from({ length: count }, (_, step) => sampler.draw(logits, step).token_id);
  }

  test("for presence are taken once", () => {
    expect(drawn({ presence_penalty: 0.6 }, 4)).toEqual([0, 1, 0, 0]);
  });

  test("for frequency are taken each time", () => {
    expect(drawn({ frequency_penalty: 0.3 }, 6)).toEqual([0, 0, 1, 0, 1, 0]);
  });

  test("below 0 reward a token that was drawn", () => {
    const logits = Float32Array.of(3, 2.9, -1, -1.2);
    expect(drawn({ presence_penalty: -2 }, 3, [1], logits)).toEqual([0, 0, 0]);
    expect(drawn({ presence_penalty: -2, logit_bias: [{ token_id: 1, bias: 1 }] }, 3, [], logits)).toEqual([1, 1, 1]);
  });

  test("for presence and frequency leave the prompt alone, for repetition do not", () => {
    expect(drawn({ presence_penalty: 2 }, 1, [0])).toEqual([0]);
    expect(drawn({ frequency_penalty: 2 }, 1, [0, 0])).toEqual([0]);
    expect(drawn({ repetition_penalty: 1.3 }, 1, [0])).toEqual([1]);
  });

  test("for repetition divide what is above 0 and multiply what is below, once", () => {
    expect(drawn({ repetition_penalty: 1.3 }, 4)).toEqual([0, 1, 0, 0]); // 3 / 1.3 is 2.31, 2.5 / 1.3 is 1.92
    const negative = Float32Array.of(-1, -1.2);
    expect(drawn({ repetition_penalty: 1.3 }, 3, [], negative)).toEqual([0, 1, 0]); // -1.3 and -1.56
  });

  test("with a window forget a token that has left it, of the prompt or of the answer", () => {
    const once = { repetition_penalty: 1.3, penalty_window: 1 };
    expect(drawn(once, 3, [0])).toEqual([1, 0, 1]);
    expect(drawn(once, 3, [0, 2])).toEqual([0, 1, 0]);
    expect(drawn({ presence_penalty: 2, penalty_window: 2 }, 5, [0, 0])).toEqual([0, 1, 0, 0, 1]);
    expect(drawn({ frequency_penalty: 0.3, penalty_window: 2 }, 6)).toEqual([0, 0, 1, 0, 0, 1]);
    expect(drawn({ presence_penalty: 2, repetition_penalty: 5, penalty_window: 0 }, 3, [0])).toEqual([0, 0, 0]);
  });

  test("are not taken from the logits that others see", () => {
    const logits = Float32Array.of(1, 2, 3);
    samplerOf({ presence_penalty: 2, logit_bias: [{ token_id: 2, bias: -100 }] }, 3, { prompt_ids: [1] }).draw(
      logits,
      0,
    );
    expect([...logits]).toEqual([1, 2, 3]);
  });
});

describe("a seed", () => {
  const flat = new Float32Array(1000);
  const drawn = (sampling: Partial<Sampling>) => {
    const sampler = samplerOf(sampling, 1000);
    return Array.from({ length: 20 }, (_, step) => sampler.draw(flat, step).token_id);
  };

  test("draws the same tokens again, another seed others", () => {
    expect(drawn({ seed: 5 })).toEqual(drawn({ seed: 5 }));
    expect(drawn({ seed: 5 })).not.toEqual(drawn({ seed: 6 }));
    expect(new Set(drawn({ seed: 5 })).size).toBeGreaterThan(15);
    expect(drawn({ seed: Number.MIN_SAFE_INTEGER })).not.toEqual(drawn({ seed: Number.MAX_SAFE_INTEGER }));
  });

  test("draws the same at a step, whatever was drawn before and beside it", () => {
    const alone = drawn({ seed: 5 });
    const [one, other] = [samplerOf({ seed: 5 }, 1000), samplerOf({ seed: 9, top_k: 3, top_p: 0.5 }, 1000)];
    const logits = Float32Array.from(flat, (_, id) => id % 7);
    for (let step = 19; step >= 0; step--) {
      other.draw(logits, step);
      expect(one.draw(flat, step).token_id).toBe(alone[step] ?? -1);
    }
  });
});

describe("log probabilities", () => {
  test("are the model's own, whatever changes the draw", () => {
    const sampling = { temperature: 0.1, top_k: 1, logit_bias: [{ token_id: 1, bias: 100 }], presence_penalty: 2 };
    const { token_id, logprob } = samplerOf(sampling, 5, { logprobs: 3 }).draw(logitsOf(PROBABILITIES), 0);
    expect(token_id).toBe(1);
    expect(logprob?.token_id).toBe(1);
    expect(logprob?.logprob).toBeCloseTo(Math.log(0.05), 5);
    expect(logprob?.top.map((each) => each.token_id)).toEqual([2, 4, 0]);
    for (const { token_id, logprob: told } of logprob?.top ?? []) {
      expect(told).toBeCloseTo(Math.log(PROBABILITIES[token_id] ?? 0), 5);
    }
  });

  test("of a token that cannot come are OpenAI's least number, which JSON has", () => {
    const logits = Float32Array.of(0, Number.NEGATIVE_INFINITY, 1);
    const { logprob } = samplerOf({ temperature: 0 }, 3, { logprobs: 20 }).draw(logits, 0);
    expect(logprob?.top.map((each) => each.token_id)).toEqual([2, 0]);
    const [banned] = [samplerOf({ logit_bias: [{ token_id: 0, bias: 100 }] }, 3, { logprobs: 0 })];
    expect(banned.draw(Float32Array.of(-3e38, 0, 1), 0).logprob).toEqual({ token_id: 0, logprob: -9999, top: [] });
  });

  test("are told of as many as there are, the lower id first of equals", () => {
    const { logprob } = samplerOf({}, 4, { logprobs: 20 }).draw(new Float32Array(4), 0);
    expect(logprob?.top.map((each) => each.token_id)).toEqual([0, 1, 2, 3]);
    expect(logprob?.logprob).toBeCloseTo(-Math.log(4), 6);
  });
});

describe("logits that are no numbers", () => {
  const { NaN: none, NEGATIVE_INFINITY: low, POSITIVE_INFINITY: high } = Number;

  test("fail the draw in a sentence", () => {
    for (const logits of [
      [none, none, none],
      [low, low, low],
      [0, high, 1],
      [none, low, none],
    ]) {
      for (const sampling of [{}, { temperature: 0, presence_penalty: 1 }, { top_p: 0.5, typical_p: 0.5 }]) {
        const sampler = samplerOf(sampling, 3, { logprobs: 2 });
        expect(() => sampler.draw(Float32Array.from(logits), 0)).toThrow(
          new Failure("engine", "Cannot draw a token: the model's logits are not finite"),
        );
      }
    }
  });

  test("among others are never drawn", () => {
    const logits = Float32Array.of(none, 0, low, 0);
    const sampler = samplerOf({}, 4);
    const tokens = Array.from({ length: 200 }, (_, step) => sampler.draw(logits, step).token_id);
    expect(new Set(tokens)).toEqual(new Set([1, 3]));
  });
});

test("a row whose best token is all it wants leaves that to the device", () => {
  const takesBest = (sampling: Partial<Sampling>, row: Partial<SampledRow> = {}, step = 0) =>
    samplerOf({ temperature: 0, ...sampling }, 4, row).takesBest(step);
  expect(takesBest({})).toBe(true);
  expect(takesBest({ top_p: 0.5, top_k: 3, xtc_probability: 1 })).toBe(true);
  for (const changes of [{ temperature: 1 }, { presence_penalty: 1 }, { frequency_penalty: 1 }]) {
    expect(takesBest(changes)).toBe(false);
  }
  expect(takesBest({ repetition_penalty: 1.1 })).toBe(false);
  expect(takesBest({ logit_bias: [{ token_id: 0, bias: 1 }] })).toBe(false);
  expect(takesBest({}, { logprobs: 0 })).toBe(false);
  expect([0, 1, 2].map((step) => takesBest({}, { tokens_min: 2 }, step))).toEqual([false, false, true]);
});

describe("whatever the logits", () => {
  const SEED = 20_261_122;

  /**
   * Temperature, filters and order of the definitions, by sorting all tokens: the tokens that may be drawn, with their
   * probabilities.
   */
  function allowed(logits: Float32Array, how: Sampling): Map<number, number> {
    const best_logit = Math.max(...logits);
    let left = Array.from(logits, (logit, id) => ({ id, weight: Math.exp((logit - best_logit) / how.temperature) }));
    left.sort((one, other) => other.weight - one.weight);
    if (how.top_k > 0) left = left.slice(0, how.top_k);
    const share = () => {
      const total = left.reduce((sum, { weight }) => sum + weight, 0);
      left = left.map(({ id, weight }) => ({ id, weight: weight / total }));
    };
    /** Of those in order, so many that reach `p`. */
    const until = (p: number) => {
      let before = 0;
      left = left.filter(({ weight }, index) => {
        const kept = index === 0 || before < p;
        before += weight;
        return kept;
      });
    };
    share();
    if (how.typical_p < 1) {
      const entropy = -left.reduce((sum, { weight }) => sum + weight * Math.log(weight), 0);
      const off = ({ weight }: { weight: number }) => Math.abs(-Math.log(weight) - entropy);
      left.sort((one, other) => off(one) - off(other));
      until(how.typical_p);
      left.sort((one, other) => other.weight - one.weight);
      share();
    }
    if (how.top_p < 1) until(how.top_p);
    const [best] = left;
    left = left.filter(({ weight }) => weight >= how.min_p * (best?.weight ?? 0));
    share();
    return new Map(left.map(({ id, weight }) => [id, weight]));
  }

  function randomSampling(random: () => number, size: number): Sampling {
    const often = <Value>(plain: Value, other: Value) => (random() < 0.5 ? plain : other);
    return {
      ...PLAIN_SAMPLING,
      temperature: 0.3 + random() * 1.7,
      top_k: often(0, integer(random, 1, size)),
      typical_p: often(1, random()),
      top_p: often(1, random()),
      min_p: often(0, random()),
      seed: integer(random, 0, 1e9),
    };
  }

  test(`a token outside the allowed set is never drawn, and each inside it can be (seed ${SEED})`, () => {
    const random = seeded(SEED);
    for (let round = 0; round < 150; round++) {
      const size = [2, 3, 40, 3000][integer(random, 0, 3)] ?? 2;
      const spread = [0.1, 3, 12][integer(random, 0, 2)] ?? 1;
      const logits = Float32Array.from({ length: size }, () => (random() + random() + random() - 1.5) * spread);
      const how = randomSampling(random, size);
      const inside = allowed(logits, how);
      const sampler = samplerOf(how, size);
      const drawn = new Set(Array.from({ length: 300 }, (_, step) => sampler.draw(logits, step).token_id));
      const outside = [...drawn].filter((id) => !inside.has(id));
      // A token of 5 % is missed in 300 draws once in five million.
      const missed = [...inside].filter(([id, share]) => share > 0.05 && !drawn.has(id));
      expect({ round, outside, missed }).toEqual({ round, outside: [], missed: [] });
    }
  });

  test(`-100 is never drawn and 100 always, with any other wishes (seed ${SEED})`, () => {
    const random = seeded(SEED);
    for (let round = 0; round < 300; round++) {
      const size = integer(random, 3, 50);
      const logits = Float32Array.from({ length: size }, () => (random() - 0.5) * 10 ** integer(random, 0, 6));
      const banned = integer(random, 0, size - 1);
      const others = {
        temperature: random() < 0.2 ? 0 : random() * 2,
        top_k: integer(random, 0, 3),
        typical_p: random(),
        top_p: random(),
        xtc_probability: random(),
        presence_penalty: random() * 4 - 2,
        frequency_penalty: random() * 4 - 2,
        repetition_penalty: 0.5 + random(),
        seed: round,
      };
      const prompt_ids = [integer(random, 0, size - 1)];
      const without = samplerOf({ ...others, logit_bias: [{ token_id: banned, bias: -100 }] }, size, { prompt_ids });
      const only = samplerOf({ ...others, logit_bias: [{ token_id: banned, bias: 100 }] }, size, { prompt_ids });
      for (let step = 0; step < 10; step++) {
        expect(without.draw(logits, step).token_id).not.toBe(banned);
        expect(only.draw(logits, step).token_id).toBe(banned);
      }
    }
  });
});
