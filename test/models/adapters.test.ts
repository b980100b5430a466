/** Adapters against mlx-lm: alone, several in one batch, with a cache that keeps them apart; and what is refused. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AdapterFiles } from "../../src/core/adapter.ts";
import { Engine } from "../../src/engine/engine.ts";
import { findAdapter } from "../../src/hub/adapters.ts";
import { arrayCounts } from "../../src/mlx/array.ts";
import { adapterBytes, loadAdapter } from "../../src/models/adapter.ts";
import { loadModel } from "../../src/models/load.ts";
import { GREEDY_ROW } from "../engine/greedy-row.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { ENGINE_SETTINGS } from "../open-mlx.ts";
import { python } from "../python.ts";
import { type Expected, FIXTURES, prepareFixtures } from "./fixtures.ts";

// Below this the two best tokens are one to float32 rounding.
const EXCUSED_GAP = 0.01;

// A dense one, one quantised, packed projections, attention and feed-forward side by side, experts stacked and each by
// itself, with biases, quantised, with one that all ask, and projections whose rows take turns.
const BASES = [
  ...["untied", "affine-4-64", "family-phi3", "family-cohere2", "family-mixtral", "family-gpt_oss"],
  ...["family-qwen3_moe-4bit", "family-lfm2_moe", "family-qwen3_next"],
];
const WITHOUT_PEFT = ["family-gpt_oss"];
const OUT = scratchFolder();

beforeAll(() => {
  prepareFixtures();
  python("test/models/adapters.py", OUT, ...BASES.map((name) => join(FIXTURES, name)));
}, 120_000);

afterAll(() => {
  expect(arrayCounts().alive).toBe(0);
});

function expected(base: string): Record<"" | "narrow" | "wide" | "long", Expected[]> {
  return JSON.parse(readFileSync(join(OUT, base, "expected.json"), "utf8"));
}

function adapter(base: string, name: string): AdapterFiles | null {
  return name === "" ? null : findAdapter([join(OUT, base)], name);
}

interface Asked {
  readonly adapter: AdapterFiles | null;
  readonly prompt_ids: readonly number[];
}

function start(base: string) {
  const model = loadModel(join(OUT, base, "base"));
  const engine = new Engine(model, { ...ENGINE_SETTINGS, kv_bytes_max: 2 ** 26 }, () => performance.now());
  return {
    /** All together; what each draws, and how many tokens were found. */
    answer(rows: readonly Asked[], tokens_max: number) {
      for (const [id, row] of rows.entries()) engine.add({ ...GREEDY_ROW, ...row, id, tokens_max });
      const answers = rows.map(() => ({ token_ids: [] as number[], cached_tokens: 0 }));
      while (engine.rows > 0) {
        for (const outcome of engine.step()) {
          if (outcome.kind === "failed") throw new Error(outcome.failure.message);
          answers[outcome.id]?.token_ids.push(...outcome.token_ids);
          Object.assign(answers[outcome.id] ?? {}, { cached_tokens: outcome.cached_tokens });
        }
      }
      return answers;
    },
    engine,
    [Symbol.dispose]() {
      engine[Symbol.dispose]();
      model[Symbol.dispose]();
    },
  };
}

function expectSame(drawn: readonly number[] | undefined, said: Expected | undefined): void {
  const differing = said?.token_ids.findIndex((token, step) => token !== drawn?.[step]) ?? 0;
  if (differing >= 0) expect(said?.gaps[differing]).toBeLessThan(EXCUSED_GAP);
  expect(drawn?.length).toBe(said?.token_ids.length);
}

describe.each(BASES)("%s", (base) => {
  const names = ["", "narrow", "wide", "long"] as const;

  test("gives mlx-lm's tokens without an adapter and with each, all in one batch, from one prompt", () => {
    const said = expected(base);
    using run = start(base);
    const rows = [0, 1].flatMap((prompt) => names.map((name) => ({ name, said: said[name][prompt] })));
    const twice = [...rows, ...rows];
    const asked = twice.map(({ name, said }) => ({ adapter: adapter(base, name), prompt_ids: said?.prompt_ids ?? [] }));
    const answers = run.answer(asked, 16);
    for (const [index, row] of twice.entries()) expectSame(answers[index]?.token_ids, row.said);
    const [plain, narrow] = answers;
    expect(plain?.token_ids).not.toEqual(narrow?.token_ids);
  });

  test("finds what was read with the same adapter and nothing else", () => {
    const { "": plain, narrow } = expected(base);
    using run = start(base);
    const [prompt_ids = [], said] = [plain[1]?.prompt_ids, narrow[1]];
    const asked = { adapter: adapter(base, "narrow"), prompt_ids };
    run.answer([{ ...asked, adapter: null }], 16);
    const [first] = run.answer([asked], 16);
    expect(first?.cached_tokens).toBe(0);
    const [again] = run.answer([asked], 16);
    expect(again?.cached_tokens).toBeGreaterThanOrEqual(64);
    expectSame(first?.token_ids, said);
    expectSame(again?.token_ids, said);
    expect(run.engine.explain(prompt_ids, asked.adapter).matched_tokens).toBe(64);
    const other = { name: "other", folder: "", key: "other" };
    expect(run.engine.explain(prompt_ids, other)).toEqual({ matched_tokens: 0, departure: null });
  });

  test.skipIf(WITHOUT_PEFT.includes(base))("reads PEFT's folders as mlx-lm's", () => {
    const { wide, long } = expected(base);
    using run = start(base);
    const said = [
      ...wide.map((each) => ({ each, name: "peft" })),
      ...long.map((each) => ({ each, name: "peft-long" })),
    ];
    const asked = said.map(({ each, name }) => ({ adapter: adapter(base, name), prompt_ids: each.prompt_ids }));
    for (const [index, { token_ids }] of run.answer(asked, 16).entries()) expectSame(token_ids, said[index]?.each);
  });
});

test("an adapter whose files have changed is another one, and those nobody uses any more are dropped", () => {
  using run = start("untied");
  const [said] = expected("untied").narrow;
  const prompt_ids = said?.prompt_ids ?? [];
  const counts: number[] = [];
  for (let copy = 0; copy < 12; copy++) {
    const folder = join(OUT, `copy-${copy}`, "narrow");
    cpSync(join(OUT, "untied", "narrow"), folder, { recursive: true });
    const [answer] = run.answer([{ adapter: findAdapter([join(folder, "..")], "narrow"), prompt_ids }], 16);
    expectSame(answer?.token_ids, said);
    counts.push(arrayCounts().alive);
  }
  expect(counts.at(-1)).toBe(counts.at(-2) ?? 0);
  expect(counts.at(-1)).toBeGreaterThan(counts[0] ?? 0);
});

test("what does not fit is refused with its bytes, and those that nobody uses make room", () => {
  using run = start("untied");
  const [said] = expected("untied").narrow;
  const [narrow, wide] = [adapter("untied", "narrow"), adapter("untied", "wide")];
  const row = (id: number, files: AdapterFiles | null, adapter_bytes_max: number) => {
    return { ...GREEDY_ROW, id, prompt_ids: said?.prompt_ids ?? [], tokens_max: 2, adapter: files, adapter_bytes_max };
  };
  using model = loadModel(join(OUT, "untied", "base"));
  const [needed = 0, more = 0] = [narrow, wide].map((files) => adapterBytes(files?.folder ?? "", model.adaptable));
  expect(() => run.engine.add(row(1, narrow, needed - 1))).toThrow(
    `Cannot load the adapter "narrow": it needs ${needed} bytes, ${needed - 1} are free`,
  );
  expect(run.engine.adapter_memory.bytes).toBe(0);
  run.engine.add(row(2, narrow, needed));
  expect(run.engine.adapter_memory.bytes).toBe(needed);
  expect(() => run.engine.add(row(3, wide, needed + more - 1))).toThrow(`${more - 1} are free`);
  run.engine.remove(2);
  run.engine.add(row(4, wide, more));
  expect(run.engine.adapter_memory.bytes).toBe(more);
});

const REFUSALS: [string, string, Record<string, unknown>, string][] = [
  ["full fine-tuning", "narrow", { fine_tune_type: "full" }, 'fine_tune_type must be "lora" or "dora", found "full"'],
  ["no scale", "narrow", { lora_parameters: {} }, "lora_parameters must have a scale"],
  ["another method of PEFT", "peft", { peft_type: "IA3" }, 'peft_type must be "LORA", found "IA3"'],
  ["biases", "peft", { bias: "all" }, 'bias must be "none", found "all"'],
  [
    "whole modules",
    "peft",
    { modules_to_save: ["lm_head"] },
    "modules_to_save in adapter_config.json is not supported",
  ],
  [
    "a start that takes a part out of the weights",
    "peft",
    { init_lora_weights: "pissa" },
    'init_lora_weights must be true or false or "gaussian" or "eva" or "orthogonal", found "pissa"',
  ],
  [
    "a pattern that is none",
    "peft",
    { alpha_pattern: { "(": 3 } },
    '"(" of alpha_pattern in adapter_config.json is not',
  ],
  [
    "lengths of rows in a file that says it has none",
    "long",
    { fine_tune_type: "lora" },
    '.m" of adapters.safetensors',
  ],
];

test.each(REFUSALS)("%s is refused by name", (_, name, changes, sentence) => {
  const folder = join(scratchFolder(), name);
  cpSync(join(OUT, "untied", name), folder, { recursive: true });
  const file = join(folder, "adapter_config.json");
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), ...changes }));
  using model = loadModel(join(OUT, "untied", "base"));
  expect(() => loadAdapter(folder, model.adaptable)).toThrow(sentence);
});

test("an adapter of another model is refused by the projection that does not fit", () => {
  using model = loadModel(join(OUT, "family-qwen3_moe-4bit", "base"));
  expect(() => loadAdapter(join(OUT, "untied", "narrow"), model.adaptable)).toThrow(
    '"model.layers.1.self_attn.q_proj" must fit a projection of 64 columns and 128 rows, found shapes [64,4] and [4,64]',
  );
});
