/** The real path of a chat but for its model: a script writes the tokens that the engine would draw. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { NO_WISHES } from "../../src/core/generation.ts";
import type { ResponseStore } from "../../src/core/responses.ts";
import type { PromptSettings } from "../../src/core/settings.ts";
import { ModelGrammars } from "../../src/engine/row-grammar.ts";
import { Sampler, SamplerMemory } from "../../src/engine/sampler.ts";
import { ThoughtBudget } from "../../src/engine/thought-budget.ts";
import { LocalBackend } from "../../src/route/local.ts";
import { Catalog } from "../../src/schedule/catalog.ts";
import type { AskedRow, Rows } from "../../src/schedule/scheduler.ts";
import { startTextWorker } from "../../src/text/client.ts";
import type { RowProgress } from "../../src/worker/messages.ts";
import { ROOT } from "../root.ts";
import { serverOf } from "./scripted-backend.ts";

const LOADED = { model: "tiny", path: "", context_length: 8192, vocabulary_size: 400, bytes_resident: 0 };
const END = "<|end|>";
const END_ID = 256;

export interface ScriptedModel extends AsyncDisposable {
  readonly server: ReturnType<typeof serverOf>;
  /** What it will say, an answer each; then it is silent. */
  readonly answers: string[];
  /** What it was asked. */
  readonly prompt_ids: (readonly number[])[];
  /** The same with control tokens and all. */
  readonly prompts: string[];
}

/** `control`: tokens of its own that have no text. Every other token is a byte. */
export function scriptedModel(
  folder: string,
  chat_template: string,
  control: readonly string[] = [],
  responses?: ResponseStore,
  settings: PromptSettings = { volatile_lines: "keep" },
): ScriptedModel {
  const special = [END, ...control];
  writeModel(folder, chat_template, special);
  const worker = new URL(`file://${join(ROOT, "src/text/main.ts")}`).href;
  const text = startTextWorker(worker);
  const grammars = startTextWorker(worker);
  const answers: string[] = [];
  const prompts: string[] = [];
  const prompt_ids: (readonly number[])[] = [];
  let calls = 0;
  const rows: Rows = {
    acquire: async () => ({ loaded: LOADED, [Symbol.dispose]: () => undefined }),
    explain: async () => ({ matched_tokens: 0, departure: null }),
    read: async () => [],
    generate: (row) => {
      prompt_ids.push(row.prompt_ids);
      prompts.push(spell(row.prompt_ids, special));
      return progress(row, idsOf(answers.shift() ?? "", special));
    },
  };
  const model = { name: "tiny", path: folder, changed_s: 0, bytes: 0, sampling: NO_WISHES };
  const random = { seed: () => 7, callId: () => `call${String(++calls).padStart(5, "0")}` };
  const backend = new LocalBackend(new Catalog([model]), { text, grammars }, rows, random, settings);
  return {
    server: serverOf(backend, undefined, undefined, { tokens: backend, ...(responses ? { responses } : {}) }),
    answers,
    prompts,
    prompt_ids,
    async [Symbol.asyncDispose]() {
      text.close();
      grammars.close();
    },
  };
}

/**
 * A token a step; the last step has none. The script is what the model wants, its next tokens the most: where a form or a
 * bound forbids some of them it goes on behind.
 */
async function* progress(row: AskedRow, script: readonly number[]): AsyncGenerator<RowProgress, void, undefined> {
  const { sampler, thought } = samplerOf(row);
  const logits = new Float32Array(LOADED.vocabulary_size);
  let rest = [...script, END_ID];
  for (let drawn = 0; drawn < row.tokens_max; drawn++) {
    const is_free = (thought?.forced ?? null) === null;
    const { token_id } = sampler.draw(wanting(rest, logits), drawn);
    if (is_free) rest = rest.slice(rest.indexOf(token_id) + 1);
    if (token_id === END_ID) return yield { id: 0, token_ids: [], logprobs: [], cached_tokens: 0, finish: "stop" };
    const logprobs = row.logprobs === null ? [] : [{ token_id, logprob: -1, top: [] }];
    const finish = sampler.is_complete ? "stop" : null;
    yield { id: 0, token_ids: [token_id], logprobs, cached_tokens: 0, finish };
    if (finish !== null) return;
  }
  yield { id: 0, token_ids: [], logprobs: [], cached_tokens: 0, finish: rest.length > 1 ? "length" : "stop" };
}

/** The sooner a token comes, the more it is wanted. */
function wanting(ids: readonly number[], logits: Float32Array): Float32Array {
  logits.fill(-1);
  for (const [place, id] of [...ids.entries()].toReversed()) logits[id] = 1 / (1 + place);
  return logits;
}

function samplerOf(row: AskedRow): { sampler: Sampler; thought: ThoughtBudget | null } {
  const { tokens, grammar } = row;
  const thought = row.thought === null || tokens === null ? null : new ThoughtBudget(row.thought, tokens);
  const greedy = { ...row, sampling: { ...row.sampling, temperature: 0 } };
  const grammars = tokens === null ? null : new ModelGrammars(tokens, LOADED.vocabulary_size);
  const held = grammar === null ? null : (grammars?.begin(grammar, row.stop_token_ids) ?? null);
  return {
    thought,
    sampler: new Sampler(greedy, new SamplerMemory(LOADED.vocabulary_size), { grammar: held, thought }),
  };
}

function idsOf(text: string, special: readonly string[]): number[] {
  const ids: number[] = [];
  for (let rest = text; rest !== ""; ) {
    const control = special.findIndex((token) => rest.startsWith(token));
    const [first = ""] = rest;
    const taken = special[control] ?? first;
    ids.push(...(control >= 0 ? [256 + control] : Buffer.from(first)));
    rest = rest.slice(taken.length);
  }
  return ids;
}

function spell(ids: readonly number[], special: readonly string[]): string {
  return Buffer.concat(
    ids.map((id) => (id < 256 ? Uint8Array.of(id) : Buffer.from(special[id - 256] ?? ""))),
  ).toString();
}

function writeModel(folder: string, chat_template: string, special: readonly string[]): void {
  const write = (name: string, content: object) => writeFileSync(join(folder, name), JSON.stringify(content));
  const isPrintable = (byte: number) => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  let next = 0x100;
  const alphabet = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
  const added = special.map((content, index) => ({ id: 256 + index, content, special: true, normalized: false }));
  write("tokenizer.json", {
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel" },
    model: { type: "BPE", vocab: Object.fromEntries(alphabet.map((token, id) => [token, id])), merges: [] },
  });
  write("tokenizer_config.json", { chat_template, eos_token: END });
  write("config.json", { model_type: "llama", architectures: ["LlamaForCausalLM"] });
}
