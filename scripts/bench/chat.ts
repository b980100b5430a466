/**
 * Measures one server that speaks the OpenAI chat protocol, or ours and a peer in turns, so that what else the machine
 * does falls on both alike. Knows nothing of what is behind a URL.
 */

import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { type Answer, ask } from "./answer.ts";
import { median, sum, table } from "./numbers.ts";
import {
  cpuSeconds,
  machineCpuSeconds,
  ownCpuSeconds,
  residentBytes,
  type Server,
  startServer,
  stopServer,
} from "./server.ts";

const START_MS_MAX = 300_000;
const POLL_MS = 5;
// Of one core: less does not show in a median.
const OTHERS_MAX = 0.1;
const TRIES_MAX = 4;
const SLOT_TOKENS = 1024; // the long prompt, its template and the answer
const STORY = "tell me a long story about the sea and the wind, with many people in it, and ";
const SHORT_PROMPT = "Write a very long story about the sea, in many chapters.";

const HELP = `bun scripts/bench/chat.ts --ours URL | --ours-command "…" [--peer URL | --peer-command PATH --peer-model FILE]

  --ours URL           base URL of a running server, as http://127.0.0.1:10240/v1
  --ours-command "…"   start this one, as "dist/bunsen serve --port {port}", and stop it at the end
  --peer URL           base URL of a llama-server that runs
  --peer-command PATH  start this llama-server executable, and stop it at the end
  --peer-model FILE    the GGUF file it is to serve
  --streams LIST       requests at once, 4,8,16 unless given
  --prompt-words N     length of the prompt for prefill, 440 unless given (about 500 tokens)
  --tokens N           length of each answer, 128 unless given
  --runs N             measured rounds of each kind, 5 unless given; medians are printed (one more goes before, unmeasured)
  --starts N           starts of each command, 3 unless given; the last one is measured further
  --idle-s N           seconds of rest in which the processor's time is counted, 5 unless given
  --json               print for programs

Greedy, streamed, a new prompt every time; tokens are those the servers report in "usage". Rounds alternate: ours, peer, ours, …
decode   tokens a second of one answer, after its first token
prefill  tokens of a long prompt a second, until the first token of the answer has come
streams  tokens of all answers a second, over the whole round, short prompts included
start    from the start of the process to the end of a first answer of one token; the fastest counts
The peer runs with -t (the machine's processors), with a slot (-np) for each of the most requests at once, so that nobody
waits for one, 1024 tokens for each slot (-c), which its memory holds from the start, and --cache-ram 0, as no prompt comes
twice. It is asked to ignore the end of an answer; ours has no such field, and its prompts are those whose answers run long.
Rounds in which something else took more than ${OTHERS_MAX * 100} % of a core are made again, up to ${TRIES_MAX} times as many as asked for, and
the quietest count. What that something took in them is the last line. A server at a URL cannot be told from others, so there
every round counts.
`;

type Name = "ours" | "peer";

interface Contender {
  readonly name: Name;
  /** null: it runs at `url` already. */
  readonly command: readonly string[] | null;
  readonly url: string | null;
  readonly extra: Readonly<Record<string, unknown>>;
}

interface Running {
  readonly name: Name;
  readonly server: Server;
  readonly model: string;
  readonly extra: Contender["extra"];
}

/** One figure of each contender, from all its rounds. */
interface Line {
  readonly what: string;
  readonly unit: string;
  readonly samples: Partial<Record<Name, readonly number[]>>;
}

const { values } = parseArgs({
  options: {
    ours: { type: "string" },
    "ours-command": { type: "string" },
    peer: { type: "string" },
    "peer-command": { type: "string" },
    "peer-model": { type: "string" },
    streams: { type: "string", default: "4,8,16" },
    "prompt-words": { type: "string", default: "440" },
    tokens: { type: "string", default: "128" },
    runs: { type: "string", default: "5" },
    starts: { type: "string", default: "3" },
    "idle-s": { type: "string", default: "5" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

let asked = 0;

const contenders = readContenders();
if (values.help || contenders.length === 0) {
  process.stdout.write(HELP);
  process.exit(values.help ? 0 : 2);
}
// Without a listener a signal ends this process before it has stopped what it started.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
await main();

async function main(): Promise<void> {
  const all: Running[] = [];
  try {
    const starts = await startAll(all);
    const loaded = memory(all, "memory after the start");
    const idle = await measureIdle(all);
    const work = await measureWork(all);
    const lines = [...starts, loaded, idle, ...work, memory(all, "memory after the work")];
    print(all, lines.filter(isTold));
  } finally {
    for (const { server } of all) await stopServer(server);
  }
}

function readContenders(): Contender[] {
  const ours = values["ours-command"]?.split(/\s+/).filter(Boolean) ?? null;
  const found: Contender[] = [];
  if (ours !== null || values.ours !== undefined) {
    found.push({ name: "ours", command: ours, url: values.ours ?? null, extra: {} });
  }
  const program = values["peer-command"];
  if (program !== undefined || values.peer !== undefined) {
    const command = program === undefined ? null : peerCommand(program, values["peer-model"] ?? "");
    found.push({ name: "peer", command, url: values.peer ?? null, extra: { ignore_eos: true } });
  }
  return found;
}

function peerCommand(program: string, model: string): string[] {
  const slots = Math.max(1, ...streamCounts());
  const sizes = ["-t", availableParallelism(), "-np", slots, "-c", slots * SLOT_TOKENS, "--cache-ram", 0].map(String);
  return [program, "-m", model, ...sizes, "--host", "127.0.0.1", "--port", "{port}"];
}

function streamCounts(): number[] {
  return values.streams
    .split(",")
    .map(Number)
    .filter((count) => count > 0);
}

/** Starts each as often as asked for and leaves the last of each in `all`. */
async function startAll(all: Running[]): Promise<Line[]> {
  const samples: Partial<Record<Name, number[]>> = {};
  const commands = contenders.filter(({ command }) => command !== null);
  for (let round = 1; round < Number(values.starts); round++) {
    for (const contender of commands) await stopServer((await start(contender, samples)).server);
  }
  for (const contender of contenders) all.push(await start(contender, samples));
  const fastest = Object.fromEntries(Object.entries(samples).map(([name, all_ms]) => [name, [Math.min(...all_ms)]]));
  return commands.length === 0 ? [] : [{ what: "start to first answer", unit: "ms", samples: fastest }];
}

async function start(contender: Contender, samples: Partial<Record<Name, number[]>>): Promise<Running> {
  const { name, command, url, extra } = contender;
  const start_ms = performance.now();
  const server = command === null ? { url: (url ?? "").replace(/\/$/, ""), process: null } : startServer(command);
  const model = await firstAnswer(server, extra);
  if (command !== null) samples[name] = [...(samples[name] ?? []), performance.now() - start_ms];
  return { name, server, model, extra };
}

/** The model that answered. A server that is still starting refuses connections, or answers that it loads. */
async function firstAnswer(server: Server, extra: Contender["extra"]): Promise<string> {
  const deadline_ms = performance.now() + START_MS_MAX;
  while (true) {
    try {
      const model = await firstModel(server.url);
      await ask({ url: server.url, model, salt: "Answer.", prompt: "Hello", tokens_max: 1, extra });
      return model;
    } catch (error) {
      const ended = server.process !== null && server.process.exitCode !== null;
      if (ended || server.process === null || performance.now() > deadline_ms) {
        await stopServer(server);
        throw error;
      }
    }
    await Bun.sleep(POLL_MS);
  }
}

async function firstModel(url: string): Promise<string> {
  const reply = await fetch(`${url}/models`);
  const list = (await reply.json()) as { data?: readonly { id: string }[] };
  const first = list.data?.[0];
  if (first === undefined) throw new Error(`${url} lists no model`);
  return first.id;
}

function memory(all: readonly Running[], what: string): Line {
  return { what, unit: "MB", samples: samplesOf(all, ({ server }) => (residentBytes(server) ?? Number.NaN) / 1e6) };
}

/** Both rest in the same seconds. */
async function measureIdle(all: readonly Running[]): Promise<Line> {
  const seconds = Number(values["idle-s"]);
  await Bun.sleep(1000); // what the first answer left to be tidied up
  const before = new Map(all.map(({ name, server }) => [name, cpuSeconds(server) ?? Number.NaN]));
  await Bun.sleep(seconds * 1000);
  const used = ({ name, server }: Running) => (cpuSeconds(server) ?? Number.NaN) - (before.get(name) ?? 0);
  return {
    what: "processor while idle",
    unit: "% of a core",
    samples: samplesOf(all, (each) => (100 * used(each)) / seconds),
  };
}

async function measureWork(all: readonly Running[]): Promise<Line[]> {
  const tokens = Number(values.tokens);
  const prompt = STORY.repeat(100).split(" ").slice(0, Number(values["prompt-words"])).join(" ");
  const decoded = await alternate(all, async (each) => [await question(each, SHORT_PROMPT, tokens)]);
  const filled = await alternate(all, async (each) => [await question(each, prompt, 1)]);
  const lines = [
    lineOf("decode, one stream", "tok/s", decoded, ({ answers }) => decodeSpeed(answers[0])),
    lineOf("  length of the answer", "tokens", decoded, ({ answers }) => answers[0]?.completion_tokens ?? 0),
    lineOf("prefill", "tok/s", filled, ({ answers }) => prefillSpeed(answers[0])),
    lineOf("  length of the prompt", "tokens", filled, ({ answers }) => answers[0]?.prompt_tokens ?? 0),
    lineOf("  to the first token", "ms", filled, ({ answers }) => answers[0]?.first_token_ms ?? 0),
  ];
  const together: Round[] = [];
  for (const streams of streamCounts()) {
    const rounds = await alternate(all, (each) =>
      Promise.all(Array.from({ length: streams }, () => question(each, SHORT_PROMPT, tokens))),
    );
    together.push(...rounds);
    lines.push(lineOf(`${streams} streams, all together`, "tok/s", rounds, totalSpeed));
  }
  const rounds = [...decoded, ...filled, ...together];
  lines.push(lineOf("  others meanwhile", "% of a core", rounds, (round) => 100 * round.others));
  return lines;
}

/** Answers of one round, how long it took, and how much of a core went to neither server nor this process. */
interface Round {
  readonly name: Name;
  readonly answers: readonly Answer[];
  readonly duration_ms: number;
  readonly others: number;
}

type Act = (each: Running) => Promise<readonly Answer[]>;

async function alternate(all: readonly Running[], act: Act): Promise<Round[]> {
  const wanted = Number(values.runs);
  for (const each of all) await act(each); // warms caches and allocators
  const rounds: Round[] = [];
  const quiet = ({ name }: Running) => rounds.filter((round) => round.name === name && !(round.others > OTHERS_MAX));
  for (let run = 0; run < wanted * TRIES_MAX && all.some((each) => quiet(each).length < wanted); run++) {
    for (const each of all) rounds.push(await measureRound(each, all, act));
  }
  const quietest = rounds.toSorted((a, b) => a.others - b.others);
  return all.flatMap(({ name }) => quietest.filter((round) => round.name === name).slice(0, wanted));
}

async function measureRound(each: Running, all: readonly Running[], act: Act): Promise<Round> {
  const known_s = () => sum([ownCpuSeconds(), ...all.map(({ server }) => cpuSeconds(server) ?? Number.NaN)]);
  const others_s = () => (machineCpuSeconds() ?? Number.NaN) - known_s();
  const [start_ms, before_s] = [performance.now(), others_s()];
  const answers = await act(each);
  const duration_ms = performance.now() - start_ms;
  return { name: each.name, answers, duration_ms, others: (others_s() - before_s) / (duration_ms / 1000) };
}

function question({ server, model, extra }: Running, prompt: string, tokens_max: number): Promise<Answer> {
  asked += 1;
  return ask({ url: server.url, model, salt: `${asked * 7919} is your number.`, prompt, tokens_max, extra });
}

function decodeSpeed(answer: Answer | undefined): number {
  if (answer === undefined) return Number.NaN;
  return (answer.completion_tokens - 1) / ((answer.last_token_ms - answer.first_token_ms) / 1000);
}

function prefillSpeed(answer: Answer | undefined): number {
  return answer === undefined ? Number.NaN : answer.prompt_tokens / (answer.first_token_ms / 1000);
}

function totalSpeed({ answers, duration_ms }: Round): number {
  return sum(answers.map((answer) => answer.completion_tokens)) / (duration_ms / 1000);
}

function lineOf(what: string, unit: string, rounds: readonly Round[], pick: (round: Round) => number): Line {
  const samples: Partial<Record<Name, number[]>> = {};
  for (const round of rounds) samples[round.name] = [...(samples[round.name] ?? []), pick(round)];
  return { what, unit, samples };
}

function samplesOf(all: readonly Running[], pick: (each: Running) => number): Line["samples"] {
  return Object.fromEntries(all.map((each) => [each.name, [pick(each)]]));
}

function print(all: readonly Running[], lines: readonly Line[]): void {
  if (values.json) {
    const servers = Object.fromEntries(all.map(({ name, server, model }) => [name, { url: server.url, model }]));
    process.stdout.write(`${JSON.stringify({ servers, lines })}\n`);
    return;
  }
  for (const { name, server, model } of all) process.stdout.write(`${name}: ${model} at ${server.url}\n`);
  const names = all.map(({ name }) => name);
  const ratio = (line: Line) => median(line.samples.ours ?? []) / median(line.samples.peer ?? []);
  const compares = names.length > 1;
  const rows = lines.map((line) => [
    line.what,
    ...names.map((name) => figure(median(line.samples[name] ?? [Number.NaN]))),
    line.unit,
    ...(compares ? [isDetail(line) ? "" : figure(ratio(line))] : []),
  ]);
  process.stdout.write(`\n${table([["", ...names, "", ...(compares ? ["ours / peer"] : [])], ...rows])}`);
}

/** An indented line tells under what conditions the others came about; nobody is better in it. */
function isDetail({ what }: Line): boolean {
  return what.startsWith(" ");
}

/** Of a server that ran before, neither memory nor time can be told. */
function isTold({ samples }: Line): boolean {
  return Object.values(samples).some((of) => of.some(Number.isFinite));
}

function figure(value: number): string {
  if (!Number.isFinite(value)) return "–";
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(value < 10 ? 2 : 1);
}
