/** Which rule counts, and what no plan may ever do, over random worlds. */

import { describe, expect, test } from "bun:test";
import { Failure } from "../../src/core/failure.ts";
import type { Provider, Rule, RuleConditions } from "../../src/core/routing.ts";
import { compilePattern } from "../../src/route/pattern.ts";
import { plan, type World } from "../../src/route/policy.ts";
import { withModel } from "../../src/route/remote/top-level-model.ts";
import { integer, seeded } from "../random.ts";

const SEED = 20261121;
const ALWAYS: RuleConditions = { cold: null, queue_longer_than: null, ttft_ms_above: null, context_too_long: null };
const CLOUD: Provider = {
  name: "cloud",
  api_type: "openai",
  backend_type: "cloud",
  base_url: "https://example.com/v1",
};
const NEAR: Provider = {
  name: "near",
  api_type: "openai",
  backend_type: "ollama",
  base_url: "http://127.0.0.1:11434/v1",
};
/** Of a local kind, but on another machine. */
const HOUSE: Provider = { ...NEAR, name: "house", base_url: "http://10.0.0.5:11434/v1" };

const PLAIN: Rule = {
  id: 1,
  model_pattern: "a",
  pattern_type: "exact",
  target: { backend: "cloud", model: null },
  fallbacks: [],
  priority: 0,
  enabled: true,
  profile: null,
  privacy: null,
  when: ALWAYS,
};

function world(rules: readonly Rule[], changes: Partial<World> = {}): World {
  return {
    rules: rules.map((rule) => ({ rule, matches: compilePattern(rule.pattern_type, rule.model_pattern) })),
    providers: new Map([CLOUD, NEAR, HOUSE].map((provider) => [provider.name, provider])),
    settings: { enable_cloud_routing: true, default_provider: null, default_model: null },
    hasModel: (model) => model === "here",
    isLocalOnly: () => false,
    local: (model) =>
      model === "here"
        ? {
            resident: false,
            queue_length: 3,
            context_length: 100,
            evicts: [],
            purpose: "chat",
            bytes_weights: 1,
            ttft_ms_predicted: 500,
          }
        : null,
    ...changes,
  };
}

const ask = (model: string, of: World, prompt_tokens_about = 10, local_only: string | null = null) =>
  plan({ model, prompt_tokens_about, local_only }, of);

describe("a pattern", () => {
  for (const [type, pattern, fits, misses] of [
    ["exact", "gpt-4", ["gpt-4"], ["gpt-4o", "GPT-4", ""]],
    ["prefix", "gpt-", ["gpt-", "gpt-4"], ["my-gpt-4"]],
    ["glob", "gpt-?*[x].", ["gpt-4o[x].", "gpt-4[x]."], ["gpt-[x].", "gpt-4[x]!", "gpt-4ox."]],
    ["regex", "^(gpt|o\\d)-", ["gpt-4", "o1-mini"], ["xgpt-4"]],
  ] as const) {
    test(`of type ${type}`, () => {
      const matches = compilePattern(type, pattern);
      expect(fits.filter((name) => !matches(name))).toEqual([]);
      expect(misses.filter((name) => matches(name))).toEqual([]);
    });
  }

  for (const hostile of ["(a)\\1", "(?=a)b", "(", "(?:a{1000}){1000}", "a".repeat(257)]) {
    test(`${hostile.slice(0, 20)} is refused`, () => {
      expect(() => compilePattern("regex", hostile)).toThrow(Failure);
    });
  }

  test("takes time in proportion to the name, whatever it is", () => {
    const matches = compilePattern("regex", "^(a+)+$");
    const started_ms = performance.now();
    expect(matches(`${"a".repeat(50_000)}!`)).toBe(false);
    // A backtracking engine would need more than the age of the universe.
    expect(performance.now() - started_ms).toBeLessThan(5000);
  });
});

describe("the order is", () => {
  test("a rule, then this machine, then the provider in the name, then the default", () => {
    const settings = { enable_cloud_routing: true, default_provider: "near", default_model: null };
    const backends = (of: World, model: string) => ask(model, of).stops.map((stop) => `${stop.backend}:${stop.model}`);
    expect(backends(world([{ ...PLAIN, model_pattern: "here" }]), "here")).toEqual(["cloud:here"]);
    expect(backends(world([]), "here")).toEqual(["local:here"]);
    expect(backends(world([], { settings }), "cloud:gpt:free")).toEqual(["cloud:gpt:free"]);
    expect(backends(world([], { settings }), "else")).toEqual(["near:else"]);
    expect(() => ask("else", world([]))).toThrow(/not known here/);
  });
});

describe("a rule with a condition holds only while it is true:", () => {
  for (const [when, prompt_tokens, holds] of [
    [{ cold: true }, 10, true],
    [{ cold: false }, 10, false],
    [{ queue_longer_than: 2 }, 10, true],
    [{ queue_longer_than: 3 }, 10, false],
    [{ ttft_ms_above: 499 }, 10, true],
    [{ ttft_ms_above: 500 }, 10, false],
    [{ context_too_long: true }, 101, true],
    [{ context_too_long: true }, 100, false],
    [{ cold: true, queue_longer_than: 9 }, 10, false],
  ] as const) {
    test(`${JSON.stringify(when)} with ${prompt_tokens} tokens: ${holds}`, () => {
      const rule = { ...PLAIN, model_pattern: "here", when: { ...ALWAYS, ...when } };
      expect(ask("here", world([rule]), prompt_tokens).stops[0].backend).toBe(holds ? "cloud" : "local");
    });
  }
});

test(`no plan lets out what must stay, and each keeps its rule's order (seed ${SEED})`, () => {
  const random = seeded(SEED);
  const below = (most: number) => integer(random, 0, most - 1);
  const pick = <Item>(items: readonly Item[]): Item => items[below(items.length)] as Item;
  const target = () => ({ backend: pick(["local", "cloud", "near", "house", "gone"]), model: pick([null, "m"]) });
  let refused = 0;
  for (let round = 0; round < 3000; round++) {
    const rules = Array.from({ length: below(4) }, (_, id): Rule => {
      const privacy = pick([null, null, "local-only"] as const);
      const fallbacks = Array.from({ length: below(4) }, target);
      return { ...PLAIN, id, model_pattern: pick(["a", "b", "here"]), target: target(), fallbacks, privacy };
    });
    const enable_cloud_routing = below(2) === 0;
    const labelled = pick([null, "a", "x"]);
    const of = world(rules, {
      isLocalOnly: (name) => name === labelled,
      settings: {
        enable_cloud_routing,
        default_provider: pick([null, "cloud", "near"]),
        default_model: null,
      },
    });
    const model = pick(["a", "b", "here", "cloud:x", "near:x"]);
    const local_only = pick([null, "the key"]);
    const rule = rules.find((rule) => rule.model_pattern === model);
    try {
      const made = ask(model, of, 10, local_only);
      const must_stay =
        !enable_cloud_routing ||
        local_only !== null ||
        rule?.privacy === "local-only" ||
        [model, model.split(":")[1]].includes(labelled ?? "-");
      const out = made.stops.filter((stop) => !["local", "near"].includes(stop.backend));
      if (must_stay) expect(out).toEqual([]);
      expect(made.stops.filter((stop) => stop.leaves_machine)).toEqual(out);
      if (rule !== undefined) {
        const said = [rule.target, ...rule.fallbacks].map((target) => target.backend);
        const kept = made.stops.map((stop) => stop.backend);
        expect(said.filter((backend) => !must_stay || ["local", "near"].includes(backend))).toEqual(kept);
      }
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      refused += 1;
    }
  }
  expect(refused).toBeGreaterThan(100);
});

test(`another model is named in any JSON, and all else stays (seed ${SEED})`, () => {
  const random = seeded(SEED);
  const below = (most: number) => integer(random, 0, most - 1);
  const texts = ["model", 'a"b', "\\", '{"model":1}', "ö\u2028", "", "}]"];
  const value = (depth: number): unknown => {
    const kind = below(depth > 3 ? 4 : 6);
    if (kind === 0) return texts[below(texts.length)];
    if (kind === 1) return below(1000) / 8;
    if (kind === 2) return null;
    if (kind === 3) return true;
    const inner = Array.from({ length: below(4) }, () => value(depth + 1));
    return kind === 4 ? inner : Object.fromEntries(inner.map((each, index) => [texts[(index * 3) % 7] ?? "", each]));
  };
  for (let round = 0; round < 2000; round++) {
    const before = Array.from({ length: below(3) }, (_, index) => [`a${index}`, value(0)]);
    const after = Array.from({ length: below(3) }, (_, index) => [`b${index}`, value(0)]);
    const body = { ...Object.fromEntries(before), model: texts[below(texts.length)], ...Object.fromEntries(after) };
    const space = [undefined, 1, "\t\r\n"][below(3)];
    const named = JSON.stringify({ ...body, model: 'new "one"' }, null, space);
    expect(withModel(JSON.stringify(body, null, space), 'new "one"')).toBe(named);
  }
  expect(withModel('{"model":"a","x":1e2,"mod\\u0065l": null}', "b")).toBe('{"model":"b","x":1e2,"mod\\u0065l": "b"}');
});
