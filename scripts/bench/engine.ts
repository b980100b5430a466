/**
 * Measures what only an engine with one lane and a prefix cache is good at: many rows, long prompts beside running
 * answers, texts that came before. Ours and a peer in turns; knows nothing of what is behind a URL.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ask } from "./answer.ts";
import {
  CONTENDER_HELP,
  CONTENDER_OPTIONS,
  type Name,
  type Running,
  readContenders,
  startContender,
} from "./contenders.ts";
import { type Line, memory, print } from "./report.ts";
import { alternate, decodeSpeed, lineOf, newSalt, prefillSpeed, question, totalSpeed } from "./rounds.ts";
import { stopServer } from "./server.ts";

const SLOT_TOKENS = 2560; // the longest prompt, its template and the answer
const WORDS_PER_TOKEN = 0.88; // of the text below, in the default model's tokens
const STORY = "tell me a long story about the sea and the wind, with many people in it, and ";
const SHORT_PROMPT = "Write a very long story about the sea, in many chapters.";
const SHARED_TOKENS = 1500;
const INTRUDER_TOKENS = 2048;
// So that the stream runs when the long prompt comes.
const INTRUDER_AFTER_MS = 700;

const HELP = `bun scripts/bench/engine.ts --ours URL | --ours-command "…" [--peer URL | --peer-command PATH --peer-model FILE]

${CONTENDER_HELP}  --rows LIST          requests at once, 1,2,4,8,16 unless given
  --prompts LIST       prompt tokens for prefill, 512,2048 unless given
  --tokens N           length of each answer, 128 unless given
  --runs N             measured rounds of each kind, 3 unless given; medians are printed (one more goes before, unmeasured)
  --json               print for programs

Greedy, streamed; tokens are those the servers report in "usage". Rounds alternate: ours, peer, ours, …
rows     tokens of all answers a second, over the whole round, short prompts included
prefill  tokens of a new prompt a second, until the first token of the answer has come
shared   to the first token of a new question after ${SHARED_TOKENS} tokens: never read before, read before, and read before the
         server was started again (only of a command, which keeps its cache on disk meanwhile)
gap      the longest time between two tokens of an answer while a new prompt of ${INTRUDER_TOKENS} tokens arrives, and until that has its
         own first token
`;

const { values } = parseArgs({
  options: {
    ...CONTENDER_OPTIONS,
    rows: { type: "string", default: "1,2,4,8,16" },
    prompts: { type: "string", default: "512,2048" },
    tokens: { type: "string", default: "128" },
    runs: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const [rows, prompts, tokens, runs] = [
  list(values.rows),
  list(values.prompts),
  Number(values.tokens),
  Number(values.runs),
];

const contenders = readContenders(values, Math.max(1, ...rows), SLOT_TOKENS);
if (values.help || contenders.length === 0) {
  process.stdout.write(HELP);
  process.exit(values.help ? 0 : 2);
}
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
// An empty home, so that no cache of an earlier run answers.
const home = mkdtempSync(join(tmpdir(), "bench-engine-"));
process.env["BUNSEN_HOME"] = home;
process.once("exit", () => rmSync(home, { recursive: true, force: true }));
await main();

async function main(): Promise<void> {
  const all: Running[] = [];
  try {
    for (const contender of contenders) all.push((await startContender(contender)).running);
    const lines = [...(await measureRows(all)), ...(await measurePrompts(all)), ...(await measureGap(all))];
    const worked = memory(all, "memory after the work");
    print(all, [...lines, worked, ...(await measureShared(all))], values.json);
  } finally {
    for (const { server } of all) await stopServer(server);
  }
}

async function measureRows(all: readonly Running[]): Promise<Line[]> {
  const lines: Line[] = [];
  for (const count of rows) {
    const rounds = await alternate(all, runs, (each) =>
      Promise.all(Array.from({ length: count }, () => question(each, SHORT_PROMPT, tokens))),
    );
    lines.push(lineOf(`${count} rows`, "tok/s", rounds, totalSpeed));
    if (count === 1)
      lines.push(lineOf("1 row after its first token", "tok/s", rounds, ({ answers }) => decodeSpeed(answers[0])));
  }
  return lines;
}

async function measurePrompts(all: readonly Running[]): Promise<Line[]> {
  const lines: Line[] = [];
  for (const count of prompts) {
    const rounds = await alternate(all, runs, async (each) => [await question(each, textOf(count), 1)]);
    lines.push(lineOf(`prefill of ${count}`, "tok/s", rounds, ({ answers }) => prefillSpeed(answers[0])));
    lines.push(lineOf("  length of the prompt", "tokens", rounds, ({ answers }) => answers[0]?.prompt_tokens ?? 0));
  }
  return lines;
}

async function measureGap(all: readonly Running[]): Promise<Line[]> {
  const rounds = await alternate(all, runs, async (each) => {
    const stream = question(each, SHORT_PROMPT, 8 * tokens);
    await Bun.sleep(INTRUDER_AFTER_MS);
    const intruder = question(each, textOf(INTRUDER_TOKENS), 1);
    return await Promise.all([stream, intruder]);
  });
  return [
    lineOf("longest gap", "ms", rounds, ({ answers }) => answers[0]?.gap_ms_max ?? 0),
    lineOf("  and then to its first token", "ms", rounds, ({ answers }) => answers[1]?.first_token_ms ?? 0),
  ];
}

/** Each round has a text of its own; the last of them is asked about again after a new start. */
async function measureShared(all: Running[]): Promise<Line[]> {
  const samples: Record<"cold" | "warm" | "restarted", Partial<Record<Name, number[]>>> = {
    cold: {},
    warm: {},
    restarted: {},
  };
  const note = (what: keyof typeof samples, { name }: Running, ms: number) => {
    samples[what][name] = [...(samples[what][name] ?? []), ms];
  };
  const texts = Array.from({ length: runs }, () => newSalt());
  for (const salt of texts) {
    for (const each of all) note("cold", each, await firstToken(each, salt, "Who is in it?"));
    for (const each of all) note("warm", each, await firstToken(each, salt, "Where does it happen?"));
  }
  for (const [index, contender] of contenders.entries()) {
    const running = all[index];
    if (running === undefined || contender.command === null) continue;
    await stopServer(running.server);
    const started = (await startContender(contender)).running;
    all[index] = started;
    for (const salt of texts) note("restarted", started, await firstToken(started, salt, "How does it end?"));
  }
  return [
    { what: `${SHARED_TOKENS} shared, cold`, unit: "ms", samples: samples.cold },
    { what: `${SHARED_TOKENS} shared, warm`, unit: "ms", samples: samples.warm },
    { what: `${SHARED_TOKENS} shared, after a restart`, unit: "ms", samples: samples.restarted },
  ];
}

async function firstToken({ server, model, extra }: Running, salt: string, prompt: string): Promise<number> {
  const text = `${salt} ${textOf(SHARED_TOKENS)}`;
  return (await ask({ url: server.url, model, salt: text, prompt, tokens_max: 1, extra })).first_token_ms;
}

function textOf(count: number): string {
  return STORY.repeat(count)
    .split(" ")
    .slice(0, Math.round(count * WORDS_PER_TOKEN))
    .join(" ");
}

function list(text: string): number[] {
  return text
    .split(",")
    .map(Number)
    .filter((count) => count > 0);
}
