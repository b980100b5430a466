/**
 * Measures any server that speaks the OpenAI chat protocol: start to first answer, time to first token, prefill and decode
 * speed, resident memory. Knows nothing of what is behind the URL, so that a peer is measured by the same tool.
 */

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

const HELP = `bun scripts/bench/chat.ts --url http://127.0.0.1:10240/v1 [options]

  --url URL            base URL of the API
  --model NAME         else the first model the server lists
  --command "…"        start this server, measure from its start, and stop it at the end
  --concurrency LIST   requests at once, 1,4,8 unless given
  --prompt-words N     length of the prompt, 256 unless given
  --tokens N           length of each answer, 64 unless given
  --runs N             measured rounds per level, 5 unless given; medians are printed (one more goes before, unmeasured)
  --json               print for programs
`;

const START_MS_MAX = 300_000;
const POLL_MS = 20;
const STOP_MS_MAX = 10_000;

interface Settings {
  readonly url: string;
  readonly model: string;
  readonly prompt_words: number;
  readonly tokens: number;
  readonly runs: number;
}

/** One streamed answer. Times count from the moment it was asked for. */
interface Answer {
  readonly first_token_ms: number;
  readonly end_ms: number;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
}

interface Level {
  readonly concurrency: number;
  readonly first_token_ms: number;
  readonly prefill_tokens_per_s: number;
  /** Of one answer, after its first token. */
  readonly decode_tokens_per_s: number;
  /** Of all answers together, over the whole round. */
  readonly total_tokens_per_s: number;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
}

const { values } = parseArgs({
  options: {
    url: { type: "string" },
    model: { type: "string" },
    command: { type: "string" },
    concurrency: { type: "string", default: "1,4,8" },
    "prompt-words": { type: "string", default: "256" },
    tokens: { type: "string", default: "64" },
    runs: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (values.help || values.url === undefined) {
  process.stdout.write(HELP);
  process.exit(values.help ? 0 : 2);
}
await main(values.url.replace(/\/$/, ""));

async function main(url: string): Promise<void> {
  const server = values.command === undefined ? null : startServer(values.command);
  try {
    const started_ms = performance.now();
    const model = values.model ?? (await firstModel(url));
    const settings = {
      url,
      model,
      prompt_words: Number(values["prompt-words"]),
      tokens: Number(values.tokens),
      runs: Number(values.runs),
    };
    await untilAnswered(settings);
    const start_to_first_answer_ms = server === null ? null : Math.round(performance.now() - started_ms);
    const levels: Level[] = [];
    for (const concurrency of values.concurrency.split(",").map(Number)) {
      levels.push(await measureLevel(settings, concurrency));
    }
    const memory = server === null ? null : residentBytes(server.pid);
    print({ url, model, start_to_first_answer_ms, bytes_resident: memory, levels });
  } finally {
    if (server !== null) await stopServer(server);
  }
}

function startServer(command: string) {
  return Bun.spawn(["sh", "-c", `exec ${command}`], { stdin: "ignore", stdout: "ignore", stderr: "inherit" });
}

async function stopServer(server: Bun.Subprocess): Promise<void> {
  server.kill("SIGTERM");
  await Promise.race([server.exited, Bun.sleep(STOP_MS_MAX)]);
  server.kill("SIGKILL");
}

async function firstModel(url: string): Promise<string> {
  return await untilDone(async () => {
    const reply = await fetch(`${url}/models`);
    const list = (await reply.json()) as { data?: readonly { id: string }[] };
    const first = list.data?.[0];
    if (first === undefined) throw new Error("the server lists no model");
    return first.id;
  });
}

async function untilAnswered(settings: Settings): Promise<void> {
  await untilDone(() => ask({ ...settings, prompt_words: 1, tokens: 1 }, 0));
}

/** A server that is still starting refuses connections, or answers that it loads. */
async function untilDone<T>(act: () => Promise<T>): Promise<T> {
  const deadline_ms = performance.now() + START_MS_MAX;
  while (true) {
    try {
      return await act();
    } catch (error) {
      if (values.command === undefined || performance.now() > deadline_ms) throw error;
    }
    await Bun.sleep(POLL_MS);
  }
}

async function measureLevel(settings: Settings, concurrency: number): Promise<Level> {
  const answers: Answer[] = [];
  const totals: number[] = [];
  for (let run = 0; run <= settings.runs; run++) {
    const round_ms = performance.now();
    const round = await Promise.all(
      Array.from({ length: concurrency }, (_, row) => ask(settings, (run * 64 + row) * 1000 + concurrency)),
    );
    if (run === 0) continue; // warms caches and allocators
    answers.push(...round);
    totals.push(sum(round.map((answer) => answer.completion_tokens)) / seconds(performance.now() - round_ms));
  }
  const of = (pick: (answer: Answer) => number) => median(answers.map(pick));
  return {
    concurrency,
    first_token_ms: of((answer) => answer.first_token_ms),
    prefill_tokens_per_s: of((answer) => answer.prompt_tokens / seconds(answer.first_token_ms)),
    decode_tokens_per_s: of(
      (answer) => (answer.completion_tokens - 1) / seconds(answer.end_ms - answer.first_token_ms),
    ),
    total_tokens_per_s: median(totals),
    prompt_tokens: of((answer) => answer.prompt_tokens),
    completion_tokens: of((answer) => answer.completion_tokens),
  };
}

/** `salt` makes the beginning of each prompt new, so that no cache of prompts answers for the model. */
async function ask(settings: Settings, salt: number): Promise<Answer> {
  const content = `${salt}: ${"tell me a long story about the sea and the wind ".repeat(settings.prompt_words / 11 + 1)}`;
  const asked_ms = performance.now();
  const reply = await fetch(`${settings.url}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: settings.model,
      messages: [
        {
          role: "user",
          content: content
            .split(" ")
            .slice(0, settings.prompt_words + 1)
            .join(" "),
        },
      ],
      max_tokens: settings.tokens,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
    }),
  });
  if (!reply.ok || reply.body === null) throw new Error(`${reply.status} ${await reply.text()}`);
  return await readStream(reply.body, asked_ms);
}

interface Chunk {
  readonly choices?: readonly { readonly delta?: { readonly content?: string | null } }[];
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
}

async function readStream(body: ReadableStream<Uint8Array>, asked_ms: number): Promise<Answer> {
  let first_token_ms: number | null = null;
  let end_ms = 0;
  let usage: Chunk["usage"] = null;
  for await (const chunk of chunksOf(body)) {
    usage = chunk.usage ?? usage;
    if ((chunk.choices?.[0]?.delta?.content ?? "") === "") continue;
    end_ms = performance.now() - asked_ms;
    first_token_ms ??= end_ms;
  }
  if (usage === null) throw new Error("the server reported no usage at the end of the stream");
  return { first_token_ms: first_token_ms ?? performance.now() - asked_ms, end_ms, ...usage };
}

async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Chunk> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const data = /^data: ?(.*?)\r?$/.exec(line)?.[1];
      if (data !== undefined && data !== "[DONE]") yield JSON.parse(data) as Chunk;
    }
  }
}

/** Of a process and all its descendants; counts what they share once for each. */
function residentBytes(pid: number): number | null {
  const list = Bun.spawnSync(["ps", "-A", "-o", "pid=,ppid=,rss="]);
  if (!list.success) return ownResidentBytes(pid);
  const rows = list.stdout
    .toString()
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  const family = new Set([pid]);
  for (let before = 0; before !== family.size; ) {
    before = family.size;
    for (const [child = 0, parent = 0] of rows) if (family.has(parent)) family.add(child);
  }
  return sum(rows.map(([process_id = 0, , kilobytes = 0]) => (family.has(process_id) ? kilobytes * 1024 : 0)));
}

/** Small Linux images have no `ps`. */
function ownResidentBytes(pid: number): number | null {
  try {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
  } catch {
    return null;
  }
}

function print(result: {
  readonly url: string;
  readonly model: string;
  readonly start_to_first_answer_ms: number | null;
  readonly bytes_resident: number | null;
  readonly levels: readonly Level[];
}): void {
  if (values.json) {
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return;
  }
  const { model, url, start_to_first_answer_ms, bytes_resident, levels } = result;
  process.stdout.write(`${model} at ${url}\n`);
  if (start_to_first_answer_ms !== null)
    process.stdout.write(`start to first answer  ${start_to_first_answer_ms} ms\n`);
  if (bytes_resident !== null) process.stdout.write(`resident memory        ${Math.round(bytes_resident / 1e6)} MB\n`);
  const cell = (text: string | number) => String(text).padStart(14);
  const head = ["at once", "first token ms", "prefill tok/s", "decode tok/s", "all tok/s", "prompt tok", "answer tok"];
  process.stdout.write(`${head.map(cell).join(" ")}\n`);
  for (const level of levels) {
    const row = [
      level.concurrency,
      level.first_token_ms.toFixed(1),
      level.prefill_tokens_per_s.toFixed(0),
      level.decode_tokens_per_s.toFixed(1),
      level.total_tokens_per_s.toFixed(1),
      level.prompt_tokens,
      level.completion_tokens,
    ];
    process.stdout.write(`${row.map(cell).join(" ")}\n`);
  }
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle) - 1] ?? 0)) / 2;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function seconds(duration_ms: number): number {
  return duration_ms / 1000;
}
