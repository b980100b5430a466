/**
 * Measures one server that speaks the OpenAI chat protocol, or ours and a peer in turns, so that what else the machine
 * does falls on both alike. Knows nothing of what is behind a URL.
 */

import { parseArgs } from "node:util";
import {
  CONTENDER_HELP,
  CONTENDER_OPTIONS,
  type Name,
  type Running,
  readContenders,
  startContender,
} from "./contenders.ts";
import { type Line, memory, print, samplesOf } from "./report.ts";
import {
  alternate,
  decodeSpeed,
  lineOf,
  OTHERS_MAX,
  prefillSpeed,
  question,
  type Round,
  TRIES_MAX,
  totalSpeed,
} from "./rounds.ts";
import { cpuSeconds, stopServer } from "./server.ts";

const SLOT_TOKENS = 1024; // the long prompt, its template and the answer
const STORY = "tell me a long story about the sea and the wind, with many people in it, and ";
const SHORT_PROMPT = "Write a very long story about the sea, in many chapters.";

const HELP = `bun scripts/bench/chat.ts --ours URL | --ours-command "…" [--peer URL | --peer-command PATH --peer-model FILE]

${CONTENDER_HELP}  --streams LIST       requests at once, 4,8,16 unless given
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
twice. Both are asked to ignore the end of an answer.
Rounds in which something else took more than ${OTHERS_MAX * 100} % of a core are made again, up to ${TRIES_MAX} times as many as asked for, and
the quietest count. What that something took in them is the last line. A server at a URL cannot be told from others, so there
every round counts.
`;

const { values } = parseArgs({
  options: {
    ...CONTENDER_OPTIONS,
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

const contenders = readContenders(values, Math.max(1, ...streamCounts()), SLOT_TOKENS);
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
    const worked = memory(all, "memory after the work");
    print(all, [...starts, loaded, idle, ...work, worked], values.json);
  } finally {
    for (const { server } of all) await stopServer(server);
  }
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
  const start = async (contender: (typeof contenders)[number]) => {
    const { running, start_ms } = await startContender(contender);
    if (contender.command !== null) samples[contender.name] = [...(samples[contender.name] ?? []), start_ms];
    return running;
  };
  const commands = contenders.filter(({ command }) => command !== null);
  for (let round = 1; round < Number(values.starts); round++) {
    for (const contender of commands) await stopServer((await start(contender)).server);
  }
  for (const contender of contenders) all.push(await start(contender));
  const fastest = Object.fromEntries(Object.entries(samples).map(([name, all_ms]) => [name, [Math.min(...all_ms)]]));
  return commands.length === 0 ? [] : [{ what: "start to first answer", unit: "ms", samples: fastest }];
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
  const [tokens, runs] = [Number(values.tokens), Number(values.runs)];
  const prompt = STORY.repeat(100).split(" ").slice(0, Number(values["prompt-words"])).join(" ");
  const decoded = await alternate(all, runs, async (each) => [await question(each, SHORT_PROMPT, tokens)]);
  const filled = await alternate(all, runs, async (each) => [await question(each, prompt, 1)]);
  const lines = [
    lineOf("decode, one stream", "tok/s", decoded, ({ answers }) => decodeSpeed(answers[0])),
    lineOf("  length of the answer", "tokens", decoded, ({ answers }) => answers[0]?.completion_tokens ?? 0),
    lineOf("prefill", "tok/s", filled, ({ answers }) => prefillSpeed(answers[0])),
    lineOf("  length of the prompt", "tokens", filled, ({ answers }) => answers[0]?.prompt_tokens ?? 0),
    lineOf("  to the first token", "ms", filled, ({ answers }) => answers[0]?.first_token_ms ?? 0),
  ];
  const together: Round[] = [];
  for (const streams of streamCounts()) {
    const rounds = await alternate(all, runs, (each) =>
      Promise.all(Array.from({ length: streams }, () => question(each, SHORT_PROMPT, tokens))),
    );
    together.push(...rounds);
    lines.push(lineOf(`${streams} streams, all together`, "tok/s", rounds, totalSpeed));
  }
  const rounds = [...decoded, ...filled, ...together];
  lines.push(lineOf("  others meanwhile", "% of a core", rounds, (round) => 100 * round.others));
  return lines;
}
